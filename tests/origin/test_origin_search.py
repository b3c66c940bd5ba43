# SPDX-License-Identifier: AGPL-3.0-or-later
"""Going back over made-up pasts whose truth is known: onset, flicker, a detector that errs, frames that are lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.clock import NS
from daemon.detect.rules import lower_thresholds
from daemon.domain import Detection
from daemon.origin.search import BEARS_OUT_NS, CLEAN_NS, FINE_NS, Found, Frame, Search

BOX = (100.0, 100.0, 140.0, 160.0)
ELSEWHERE = (900.0, 500.0, 940.0, 540.0)
LOWER = {"fire": 0.15, "smoke": 0.175}


def fire(confidence: float = 0.4, box: tuple[float, float, float, float] = BOX) -> Detection:
    return Detection("fire", confidence, box)


@dataclass
class Past:
    """A record of `seconds`; `shows` says what the detector would see in a frame."""

    seconds: float
    shows: Callable[[int], list[Detection] | None]
    fps: float = 25.0
    gop: int = 50
    first_key: int = 0

    def __post_init__(self) -> None:
        count = round(self.seconds * self.fps)
        self.frames = [
            Frame(7 * NS + round(place * NS / self.fps), (place - self.first_key) % self.gop == 0)
            for place in range(count)
        ]
        self.asked: list[int] = []
        self.rounds = 0

    def search(self, most_looks: int = 300) -> Found:
        """Runs the search to its end."""
        search = Search(self.frames, len(self.frames) - 1, fire(0.6), LOWER, most_looks)
        while search.wanted:
            self.rounds += 1
            assert not set(search.wanted) & set(self.asked), "no frame is looked at twice"
            self.asked += search.wanted
            search.told({place: self.shows(place) for place in search.wanted})
        assert search.result is not None
        return search.result


def from_frame(onset: int) -> Callable[[int], list[Detection] | None]:
    return lambda place: [fire()] if place >= onset else []


@given(
    seconds=st.floats(1, 60),
    onset_share=st.floats(0, 1),
    fps=st.sampled_from([1.0, 5.0, 12.5, 25.0, 29.97]),
    gop=st.integers(1, 300),
)
def test_a_steady_flame_is_found_to_the_frame(seconds: float, onset_share: float, fps: float, gop: int) -> None:
    """Whatever the record's length, frame rate and key frames: the first frame that shows it, and the one before."""
    count = max(1, round(seconds * fps))
    onset = min(count - 1, int(onset_share * count))
    past = Past(count / fps, from_frame(onset), fps, gop)
    found = past.search()
    assert found.first_visible == onset
    assert found.last_clean == (onset - 1 if onset else None)
    assert found.glimpsed is None
    assert found.clean_ns >= CLEAN_NS or found.ended == "record_begins"
    assert found.ended == ("clean" if past.frames[onset].at_ns - past.frames[0].at_ns >= CLEAN_NS else "record_begins")


def test_burning_already_when_the_record_begins() -> None:
    """No clean frame: there is no last clean, and the first frame is the first visible."""
    found = Past(20, from_frame(0)).search()
    assert (found.first_visible, found.last_clean, found.ended, found.clean_ns) == (0, None, "record_begins", 0)


def test_how_long_it_was_clean_is_told_when_the_record_begins_too_late() -> None:
    """One second of clean frames and then the record's beginning: a last clean, but not 3 s of it."""
    found = Past(20, from_frame(25)).search()
    assert (found.first_visible, found.last_clean, found.ended, found.clean_ns) == (25, 24, "record_begins", NS)


@given(onset=st.integers(80, 700), visible=st.floats(0.75, 1), seed=st.integers(0, 2**32))
@settings(max_examples=150)
def test_a_flickering_flame(onset: int, visible: float, seed: int) -> None:
    """A flame that some frames do not show: the earliest frame from which on most show it, as looking at all would give."""
    chance = random.Random(seed)
    shown = [place >= onset and (place == onset or chance.random() < visible) for place in range(800)]
    past = Past(32, lambda place: [fire()] if shown[place] else [])
    found = past.search()
    spans = [round(span * 25 / NS) for span in BEARS_OUT_NS]

    def bears_out(place: int) -> bool:
        return all(2 * sum(shown[place : place + n + 1]) > len(shown[place : place + n + 1]) for n in spans)

    assert found.first_visible == next(place for place in range(800) if shown[place] and bears_out(place))
    assert found.ended == "clean"


@given(onset=st.integers(150, 700), seed=st.integers(0, 2**32))
@settings(max_examples=150)
def test_a_detector_that_errs(onset: int, seed: int) -> None:
    """False sightings in one frame of fifty, and one frame of ten missed: within 0.4 s of the truth."""
    chance = random.Random(seed)
    shown = [chance.random() < (0.9 if place >= onset else 0.02) for place in range(800)]
    past = Past(32, lambda place: [fire(0.2)] if shown[place] else [])
    found = past.search()
    assert abs(found.first_visible - onset) <= 10
    assert len(past.asked) <= 300


def test_a_single_flash_before_the_fire_is_a_glimpse() -> None:
    """A sighting 2 s before the onset makes it look further back, is not the first visible flame, and is told, chain included."""
    past = Past(30, lambda place: [fire()] if place in (450, *range(500, 750)) else [])
    found = past.search()
    assert (found.first_visible, found.last_clean) == (500, 499)
    assert min(past.asked) <= 450 - 3 * 25
    assert (found.glimpsed, found.chain[0]) == (450, 450)


def test_three_clean_seconds_end_the_search() -> None:
    """A fire that was out for more than 3 s before it came again: the search stops between the two."""
    past = Past(60, lambda place: [fire()] if place in range(100, 400) or place >= 600 else [])
    found = past.search()
    assert (found.first_visible, found.ended) == (600, "clean")
    assert min(past.asked) > 400


def test_out_for_less_than_three_seconds_is_the_same_fire() -> None:
    """A passer-by hides it for 2.5 s: the search goes on to the beginning before that."""
    past = Past(60, lambda place: [fire()] if place >= 300 and place not in range(900, 962) else [])
    assert past.search().first_visible == 300


def test_what_is_elsewhere_or_weak_is_no_sighting() -> None:
    """A lamp in another corner all the time, and a reflection below the lower threshold at the place, are clean."""

    def shows(place: int) -> list[Detection]:
        lamp, weak = fire(0.9, ELSEWHERE), fire(0.149)
        return [lamp, fire(0.15)] if place >= 400 else [lamp, weak]

    found = Past(30, shows).search()
    assert (found.first_visible, found.last_clean) == (400, 399)
    assert found.looks[399].strongest == fire(0.149)


def test_what_lies_in_an_ignore_zone_is_no_sighting() -> None:
    """A pilot flame beside the place, where fire is meant to be, has burnt all the time."""
    pilot = Detection("fire", 0.9, (90.0, 100.0, 110.0, 130.0), zone="pilot")
    found = Past(30, lambda place: [pilot, fire(0.3)] if place >= 400 else [pilot]).search()
    assert (found.first_visible, found.ended) == (400, "clean")


def test_the_place_is_followed_as_the_fire_was_smaller_and_further_down() -> None:
    """A place that moves from frame to frame, further in the end than one box size."""

    def shows(place: int) -> list[Detection]:
        shift = (749 - place) * 0.5
        return [fire(0.5, (100 + shift, 100, 140 + shift, 160))] if place >= 500 else []

    assert Past(30, shows, gop=10).search().first_visible == 500


def test_frames_that_cannot_be_decoded_count_as_not_looked_at() -> None:
    """Damage round the onset: first visible is the first good frame that shows it, last clean the last good one before."""
    past = Past(30, lambda place: None if place in range(495, 505) else [fire()] if place >= 500 else [])
    found = past.search()
    assert (found.first_visible, found.last_clean, found.ended) == (505, 494, "clean")


def test_nothing_can_be_decoded() -> None:
    """Then the confirmation itself is all that is known; nothing before it is called clean, nor the record's beginning reached."""
    found = Past(10, lambda place: None).search()
    assert (found.first_visible, found.last_clean, found.ended) == (249, None, "bound")


@given(most=st.integers(0, 140), onset=st.integers(0, 7000))
@settings(max_examples=60)
def test_the_bound_is_kept_and_told(most: int, onset: int) -> None:
    """Ten minutes of fire and few frames allowed: never more are asked for, and the result says that it was bounded."""
    past = Past(600, from_frame(onset), fps=12.5, gop=12)
    found = past.search(most)
    assert len(past.asked) <= most
    if found.first_visible != onset:
        assert found.ended == "bound"


@pytest.mark.parametrize(("fps", "most"), [(25.0, 75), (60.0, 80)])
def test_a_minute_of_fire_costs_few_looks(fps: float, most: int) -> None:
    """Key frames while it burns, half-second steps round the edge, single frames for a second and a half."""
    past = Past(60, from_frame(round(6 * fps)), fps=fps, gop=round(2 * fps))
    found = past.search()
    assert abs(found.first_visible - 6 * fps) * NS / fps <= FINE_NS
    assert len(past.asked) <= most


def test_the_search_can_be_ended_from_outside() -> None:
    """What is known by then is the result, and says so."""
    past = Past(30, from_frame(100))
    search = Search(past.frames, 749, fire(0.6), LOWER)
    search.told({place: past.shows(place) for place in search.wanted})
    search.give_up()
    assert search.wanted == ()
    assert search.result is not None
    assert search.result.ended == "bound"
    assert search.result.first_visible == min(search.result.looks) < 749


def test_lower_thresholds() -> None:
    """Half of each class's, and never below the detector's floor."""
    assert lower_thresholds({"fire": 0.3, "smoke": 0.15}, 0.1) == {"fire": 0.15, "smoke": 0.1}
    assert lower_thresholds({"fire": 0.3, "smoke": 0.15}, 0.2) == {"fire": 0.2, "smoke": 0.2}


@given(onset=st.integers(120, 700), seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_what_shows_nothing_new_is_none(onset: int, seed: int) -> None:
    """Something that looks like fire stands there all along: once the pixels deny it, the flame itself is found, to the frame."""
    chance = random.Random(seed)
    past = Past(32, lambda place: [fire()])
    search = Search(past.frames, len(past.frames) - 1, fire(0.6), LOWER, most_looks=2000)
    while True:
        while search.wanted:
            search.told({place: past.shows(place) for place in search.wanted})
        found = search.result
        assert found is not None
        if found.first_visible >= onset:
            break
        false = [place for place, look in found.looks.items() if look.sighting and found.first_visible <= place < onset]
        search.nothing_new_until(chance.choice(false))
    assert found.first_visible == onset
    assert found.last_clean == onset - 1
    assert found.clean_ns >= CLEAN_NS


@pytest.mark.parametrize(
    ("hole_s", "clean_s", "told"), [(30.0, 1.5, True), (30.0, 4.0, False), (2.0, 1.5, False), (30.0, 0.0, False)]
)
def test_a_hole_before_it_is_told(hole_s: float, clean_s: float, told: bool) -> None:
    """A camera that was away comes back clean, and burns: what was in between, nobody knows. Short ones leave no room."""
    before, after = 10 * 25, 10 * 25 + round(clean_s * 25)
    past = Past(20, from_frame(after))
    shift_ns = round(hole_s * NS)
    past.frames = [
        each._replace(at_ns=each.at_ns + shift_ns * (place >= before)) for place, each in enumerate(past.frames)
    ]
    found = past.search()
    assert (found.first_visible, found.last_clean, found.ended) == (after, after - 1, "clean")
    assert found.unwatched == (before - 1 if told else None)


def test_damage_before_it_is_a_hole_too() -> None:
    """Four damaged seconds that end a second before it."""
    onset, lost = 10 * 25, range(5 * 25, 9 * 25)
    found = Past(12, lambda place: None if place in lost else from_frame(onset)(place)).search()
    assert (found.first_visible, found.ended, found.unwatched) == (onset, "clean", lost.start - 1)
