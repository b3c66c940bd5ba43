# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rules of an incident, on made-up frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.detect.rules import (
    MAX_SUSPECTS,
    Event,
    Observation,
    Role,
    RuleSettings,
    RuleState,
    Zone,
    observe,
    same_place,
    tick,
)
from daemon.domain import Detection, Flicker, Verdict

SIZE = (1920, 1080)
RULES = RuleSettings({"fire": 0.3, "smoke": 0.35}, m=3, n=5, within_s=10, unconfirmed_after_s=10, ended_after_s=30)
A, B, C = (100.0, 100.0), (1500.0, 900.0), (900.0, 200.0)


def fire(at: tuple[float, float], confidence: float = 0.6, label: str = "fire", size: float = 40) -> Detection:
    """A detection whose centre is `at`, in pixels of SIZE."""
    x, y = at
    return Detection(label, confidence, (x - size / 2, y - size / 2, x + size / 2, y + size / 2))


class Camera:
    """Feeds frames one after another and keeps what came of them."""

    def __init__(self, rules: RuleSettings = RULES) -> None:
        self.rules = rules
        self.state = RuleState()
        self.events: list[Event] = []
        self.now_s = 0.0
        self.flicker: Flicker | None = None

    def frame(self, *detections: Detection, after_s: float = 0.2, size: tuple[int, int] = SIZE) -> Observation:
        self.now_s += after_s
        flickers = {each.number: self.flicker for each in self.state.tracks} if self.flicker is not None else {}
        seen = observe(self.state, detections, size, self.now_s, self.rules, flickers)
        self.state = seen.state
        self.events += seen.events
        return seen

    def quiet(self, for_s: float) -> None:
        self.now_s += for_s
        self.state, events = tick(self.state, self.now_s, self.rules)
        self.events += events

    @property
    def history(self) -> list[tuple[int, str]]:
        return [(event.track.number, event.track.state) for event in self.events]


def test_the_course_of_an_incident() -> None:
    """A fire is suspected at once, confirmed with the third sighting, and ended when it has been quiet."""
    camera = Camera()
    roles = [camera.frame(fire(A)).role for _ in range(4)]
    assert roles == [Role("first_suspect", 1), Role("hit", 1), Role("first_confirmed", 1), Role("hit", 1)]
    assert camera.frame().role == Role("context", 1)
    camera.quiet(29.7)
    assert camera.history == [(1, "suspect"), (1, "confirmed")]
    camera.quiet(0.2)
    assert camera.history == [(1, "suspect"), (1, "confirmed"), (1, "ended")]
    assert camera.frame().role is None
    ended = camera.events[-1].track
    assert (ended.first_s, ended.confirmed_s, ended.last_s) == pytest.approx((0.2, 0.6, 0.8))
    assert (ended.labels, ended.max_confidence) == (("fire",), 0.6)


def test_a_suspect_that_is_not_seen_again_is_unconfirmed() -> None:
    """Two sightings are not three; a later one begins anew."""
    camera = Camera()
    camera.frame(fire(A))
    camera.frame(fire(A))
    camera.quiet(10)
    assert camera.history == [(1, "suspect"), (1, "unconfirmed")]
    camera.frame(fire(A))
    assert camera.history[-1] == (2, "suspect")


def test_expiry_does_not_need_a_tick() -> None:
    """A frame that comes after the quiet time finds the suspect closed, whether or not tick was called between."""
    camera = Camera()
    camera.frame(fire(A))
    camera.frame(fire(A), after_s=11)
    assert camera.history == [(1, "suspect"), (1, "unconfirmed"), (2, "suspect")]


def test_sightings_must_be_recent_in_frames_and_in_time() -> None:
    """Three sightings confirm only among the last n frames, and only within `within_s`."""
    camera = Camera()
    for _ in range(3):
        camera.frame(fire(A))
        camera.frame()
        camera.frame()
    assert (1, "confirmed") not in camera.history
    slow = Camera(replace(RULES, unconfirmed_after_s=100))
    for _ in range(6):
        slow.frame(fire(A), after_s=6)
    assert (1, "confirmed") not in slow.history


def test_below_its_threshold_a_detection_does_not_count() -> None:
    """Thresholds are per label; an unknown label never counts; the detections are given back all the same."""
    camera = Camera()
    weak = (fire(A, 0.29), fire(B, 0.34, "smoke"), fire(C, 0.99, "steam"))
    seen = camera.frame(*weak)
    assert seen.detections == weak
    assert (seen.events, seen.role) == ((), None)
    camera.frame(fire(B, 0.35, "smoke"))
    assert camera.history == [(1, "suspect")]


def test_a_lamp_does_not_delay_a_fire_elsewhere() -> None:
    """With a flickering suspect at A, a fire at B is confirmed with its own third sighting and its own number."""
    camera = Camera()
    for turn in range(20):
        camera.frame(*([fire(A)] if turn % 3 == 0 else []))
    assert (1, "confirmed") not in camera.history
    for turn in range(3):
        camera.frame(fire(B), *([fire(A)] if turn == 1 else []))
    assert camera.history == [(1, "suspect"), (2, "suspect"), (2, "confirmed")]


def test_sightings_at_different_places_do_not_add_up() -> None:
    """One sighting at each of three places confirms nothing."""
    camera = Camera()
    for at in (A, B, C):
        camera.frame(fire(at))
    assert [state for _, state in camera.history] == ["suspect"] * 3


def test_fire_spreads() -> None:
    """While an incident is confirmed, what appears at new places belongs to it and keeps it open."""
    camera = Camera()
    for _ in range(3):
        camera.frame(fire(A))
    for _ in range(20):
        camera.frame(fire(B, 0.9), after_s=20)
    assert camera.history == [(1, "suspect"), (1, "confirmed")]
    assert camera.state.tracks[0].max_confidence == 0.9
    assert same_place(camera.state.tracks[0].place, (B[0] / 1920, B[1] / 1080, B[0] / 1920, B[1] / 1080))


def test_an_older_suspect_elsewhere_becomes_an_incident_of_its_own() -> None:
    """Two fires suspected before either is confirmed are two incidents; a third place belongs to the earlier one."""
    camera = Camera()
    camera.frame(fire(A))
    camera.frame(fire(A), fire(B))
    camera.frame(fire(A), fire(B))
    camera.frame(fire(B), fire(C))
    assert camera.history == [(1, "suspect"), (2, "suspect"), (1, "confirmed"), (2, "confirmed")]
    assert camera.state.tracks[0].last_s == camera.now_s


def test_two_suspects_that_grow_together_are_one_incident() -> None:
    """Of two suspects that have come to one place only one is confirmed; the other fades."""
    camera = Camera()
    camera.frame(fire((400, 400)), fire((520, 400)))
    for _ in range(8):
        camera.frame(fire((460, 400), size=200))
    assert camera.history == [(1, "suspect"), (2, "suspect"), (1, "confirmed")]
    for _ in range(60):
        camera.frame(fire((460, 400), size=200))
    assert camera.history[3:] == [(2, "unconfirmed")]


def test_small_boxes_that_jump_by_less_than_their_size_are_one_place() -> None:
    """A flame of 6 px has no overlap from frame to frame and is confirmed nevertheless."""
    camera = Camera()
    for step in range(3):
        camera.frame(fire((700 + 0.9 * 6 * (step % 2), 500), size=6))
    assert camera.history == [(1, "suspect"), (1, "confirmed")]


def test_a_new_resolution_keeps_the_incident() -> None:
    """Places are normalised: the same fire in a picture of half the size goes on."""
    camera = Camera()
    camera.frame(fire(B))
    camera.frame(fire((B[0] / 2, B[1] / 2), size=20), size=(960, 540))
    camera.frame(fire((B[0] / 2, B[1] / 2), size=20), size=(960, 540))
    assert camera.history == [(1, "suspect"), (1, "confirmed")]


def test_what_the_verifier_rejected_does_not_count() -> None:
    """However sure the detector is; it stays among the frame's detections. What passed counts as without a verifier."""
    camera = Camera()
    rejected = replace(fire(A, 0.99), verdict=Verdict(0.1, passed=False))
    for _ in range(5):
        assert camera.frame(rejected).detections == (rejected,)
    assert camera.events == []
    for _ in range(3):
        camera.frame(rejected, replace(fire(B), verdict=Verdict(0.9, passed=True)))
    assert [event.track.state for event in camera.events] == ["suspect", "confirmed"]


def test_ignore_zones_mark_and_do_not_hide() -> None:
    """In a zone nothing starts or feeds an incident; the detection is marked, and open incidents remember the zone."""
    burner = Zone("burner", ((0.0, 0.0), (0.2, 0.0), (0.2, 0.3), (0.0, 0.3)), ("fire",))
    camera = Camera(replace(RULES, zones=(burner,)))
    for _ in range(5):
        seen = camera.frame(fire(A))
        assert [each.zone for each in seen.detections] == ["burner"]
    assert (camera.events, camera.state.tracks) == ([], ())
    assert camera.frame(fire(A, label="smoke")).detections[0].zone is None
    assert camera.history == [(1, "suspect")]
    seen = camera.frame(fire(A), fire(B))
    assert camera.state.tracks[0].ignored_zones == ("burner",)
    assert seen.events[0].track.ignored_zones == ("burner",)
    assert camera.frame(fire(A)).role == Role("context", 2)


def test_a_detection_in_a_zone_does_not_keep_an_incident_open() -> None:
    """Quiet means quiet outside the zones."""
    camera = Camera(replace(RULES, zones=(Zone("all", ((0, 0), (1, 0), (1, 1), (0, 1)), ("smoke",)),)))
    for _ in range(3):
        camera.frame(fire(A))
    for _ in range(40):
        camera.frame(fire(A, 0.9, "smoke"), after_s=1)
    assert camera.history[-1] == (1, "ended")


@pytest.mark.parametrize(
    ("point", "inside"),
    [((0.5, 0.5), True), ((0.1, 0.5), False), ((0.75, 0.75), False), ((0.3, 0.8), True), ((2.0, 0.5), False)],
)
def test_zones_may_be_concave(point: tuple[float, float], inside: bool) -> None:
    """An L-shaped zone holds what lies in either arm and not what lies in its notch."""
    zone = Zone("L", ((0.2, 0.2), (0.8, 0.2), (0.8, 0.6), (0.6, 0.6), (0.6, 0.9), (0.2, 0.9)))
    assert zone.holds(point) is inside


def test_suspects_are_bounded_and_fire_is_still_confirmed() -> None:
    """In a picture full of lamps at most 8 places are suspected; those just seen stay the longest."""
    camera = Camera()
    lamps = [fire((60 + 220 * (i % 8), 60 + 300 * (i // 8))) for i in range(20)]
    for lamp in lamps:
        camera.frame(lamp)
        assert len(camera.state.tracks) <= MAX_SUSPECTS
    assert [state for _, state in camera.history].count("unconfirmed") == 12
    for turn in range(3):
        camera.frame(fire((1850, 1040)), lamps[turn])
    assert camera.history[-1][1] == "confirmed"


def test_one_frame_alone_cannot_overflow_the_suspects() -> None:
    """Of 30 places in one frame the strongest 8 are suspected, and none is closed again by the weaker ones."""
    camera = Camera()
    camera.frame(*(fire((60 + 220 * (i % 8), 60 + 250 * (i // 8)), 0.4 + i / 100) for i in range(30)))
    assert [state for _, state in camera.history] == ["suspect"] * 8
    assert min(track.max_confidence for track in camera.state.tracks) == pytest.approx(0.4 + 22 / 100)


def test_with_m_of_one_the_first_frame_confirms() -> None:
    """With m = 1: suspected and confirmed in one frame; the still is the first confirmed one."""
    camera = Camera(replace(RULES, m=1, n=1))
    seen = camera.frame(fire(A))
    assert camera.history == [(1, "suspect"), (1, "confirmed")]
    assert seen.roles == (Role("first_confirmed", 1),)


def test_a_frame_that_is_first_of_two_incidents_says_both() -> None:
    """Roles name every incident that the frame begins, so that each can keep its own first still."""
    assert Camera().frame(fire(A), fire(B)).roles == (Role("first_suspect", 1), Role("first_suspect", 2))


def test_a_hit_belongs_to_the_youngest_suspect() -> None:
    """A lamp that has flickered for long is thinned; a new suspect's hits are not lost to its schedule."""
    camera = Camera()
    camera.frame(fire(A))
    camera.frame(fire(B))
    assert camera.frame(fire(A), fire(B)).role == Role("hit", 2)
    assert camera.frame(fire(A)).role == Role("first_confirmed", 1)
    assert camera.frame(fire(A), fire((B[0], B[1] - 400))).role == Role("hit", 1)


coordinates = st.integers(0, 7)
sightings = st.builds(
    lambda x, y, confidence, label: fire((120.0 + 240 * x, 67.5 + 135 * y), confidence, label),
    coordinates,
    coordinates,
    st.sampled_from([0.2, 0.32, 0.5, 0.9]),
    st.sampled_from(["fire", "smoke"]),
)
frames = st.lists(
    st.tuples(st.lists(sightings, max_size=12), st.sampled_from([0.04, 0.2, 2.0, 9.0, 31.0]), st.booleans()),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(frames, st.integers(1, 4), st.integers(0, 3))
def test_whatever_is_seen_the_rules_hold(seen: list[tuple[list[Detection], float, bool]], m: int, more: int) -> None:
    """Confirmed only after m sightings in n frames, closed only when quiet or crowded out, in order, and once."""
    rules = replace(RULES, m=m, n=m + more)
    camera = Camera(rules)
    states: dict[int, str] = {}
    for detections, after_s, tick_first in seen:
        if tick_first:
            camera.quiet(after_s / 2)
            after_s /= 2
        before = len(camera.events)
        observation = camera.frame(*detections, after_s=after_s)
        assert [replace(each, zone=None) for each in observation.detections] == detections
        for event in camera.events[before:]:
            _check(event, rules, camera)
        assert len([track for track in camera.state.tracks if track.state == "suspect"]) <= MAX_SUSPECTS
        assert all(len(track.sightings) <= rules.n for track in camera.state.tracks)
        counting = [each for each in detections if each.confidence >= rules.thresholds[each.label]]
        if counting:
            assert observation.role is not None
            assert observation.role.kind != "context"
    for event in camera.events:
        was = states.get(event.track.number)
        assert (
            event.track.state
            in {None: ["suspect"], "suspect": ["confirmed", "unconfirmed"], "confirmed": ["ended"]}[was]
        )
        states[event.track.number] = event.track.state
    assert sorted(states) == list(range(1, len(states) + 1))
    assert {track.number for track in camera.state.tracks} == {
        n for n, s in states.items() if s in ("suspect", "confirmed")
    }


def _check(event: Event, rules: RuleSettings, camera: Camera) -> None:
    track = event.track
    if track.state == "confirmed":
        recent = [each.at_s for each in track.sightings if each.frame > camera.state.frame - rules.n]
        assert sum(1 for at_s in recent if at_s >= event.at_s - rules.within_s) >= rules.m
        assert track.confirmed_s == event.at_s
    elif track.state == "ended":
        assert event.at_s - track.last_s >= rules.ended_after_s
    elif track.state == "unconfirmed" and event.at_s - track.last_s < rules.unconfirmed_after_s:
        assert len([each for each in camera.state.tracks if each.state == "suspect"]) == MAX_SUSPECTS


@settings(max_examples=100, deadline=None)
@given(frames)
def test_the_order_of_a_frames_detections_does_not_matter(seen: list[tuple[list[Detection], float, bool]]) -> None:
    """Detections of equal confidence aside, the rules come to the same incidents whatever order they are given in."""
    one, other = Camera(), Camera()
    for at, (detections, after_s, _) in enumerate(seen):
        distinct = [replace(each, confidence=each.confidence + i / 1000) for i, each in enumerate(detections)]
        one.frame(*distinct, after_s=after_s)
        other.frame(*(distinct[::-1] if at % 2 else distinct), after_s=after_s)
    assert one.history == other.history
    assert one.state == other.state


boxes = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 0.5), st.floats(0.001, 0.5)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)


@given(boxes, boxes, st.floats(0.3, 3))
def test_same_place_is_symmetric_and_holds_for_a_box_and_itself(one: tuple, other: tuple, aspect: float) -> None:
    """Neither of two boxes is the first."""
    assert same_place(one, other, aspect) == same_place(other, one, aspect)
    assert same_place(one, one, aspect)


@pytest.mark.parametrize("says", ["held", "waits"])
def test_what_time_withholds_is_not_confirmed_until_it_is_let_go(says: Any) -> None:
    """However often it is seen; then with the next sighting, and never by a frame that does not show it."""
    camera = Camera()
    camera.flicker = Flicker(says, ("steady",))
    for _ in range(30):
        camera.frame(fire(A))
    assert camera.history == [(1, "suspect")]
    camera.flicker = Flicker("open")
    assert camera.frame().role == Role("context", 1)
    assert camera.frame(fire(A)).role == Role("first_confirmed", 1)
    assert camera.events[-1].track.reason == ""


@pytest.mark.parametrize("says", ["held", "waits"])
def test_smoke_once_at_a_lamp_does_not_confirm_it_and_smoke_often_enough_does(says: Any) -> None:
    """Time is asked of flames alone: what it withholds is confirmed by as many sightings of smoke as by any other."""
    camera = Camera()
    camera.flicker = Flicker(says, ("steady",))
    camera.frame(fire(A, label="smoke"))
    for _ in range(20):
        camera.frame(fire(A))
    assert camera.history == [(1, "suspect")]
    for _ in range(2):
        assert camera.frame(fire(A), fire(A, label="smoke")).role == Role("hit", 1)
    assert camera.frame(fire(A, label="smoke"), fire(A)).role == Role("first_confirmed", 1)
    assert camera.events[-1].track.labels == ("fire", "smoke")
    assert camera.events[-1].track.reason == "", "it is not what confirmed it"


def test_half_as_sure_is_not_enough_where_smoke_is_seen_too() -> None:
    """A plume of fog passes its outline to and fro as a flame does."""
    camera = Camera()
    camera.frame(fire(A), fire(A, label="smoke"))
    camera.flicker = Flicker("flickers", ("restless outline",))
    for _ in range(5):
        camera.frame(fire(A, 0.2))
    assert camera.history == [(1, "suspect")]


@pytest.mark.parametrize(("size_px", "confirmed"), [(190.0, True), (194.0, False)])
def test_half_as_sure_is_enough_of_what_is_small(size_px: float, confirmed: bool) -> None:
    """Of a neon sign that runs and fills a tenth of the picture's width the detector is sure, or it is none."""
    camera = Camera()
    camera.frame(fire(C, size=size_px))
    camera.flicker = Flicker("flickers", ("restless outline",))
    for _ in range(5):
        camera.frame(fire(C, 0.2, size=size_px))
    assert ((1, "confirmed") in camera.history) is confirmed


def test_a_lamp_that_was_held_ends_unconfirmed_and_says_why() -> None:
    """The incident's last transition has the reason."""
    camera = Camera()
    camera.flicker = Flicker("held", ("steady", "as minutes before"))
    for _ in range(5):
        camera.frame(fire(A))
    camera.quiet(11)
    assert camera.history == [(1, "suspect"), (1, "unconfirmed")]
    assert camera.events[-1].track.reason == "held: steady, as minutes before"


def test_where_it_flickers_half_as_sure_is_enough() -> None:
    """One sure sighting begins it, two weak ones confirm it; without flicker they count for nothing, nor anywhere else."""
    for flicker, states in (
        (Flicker("flickers", ("grows",)), ["suspect", "confirmed"]),
        (Flicker("open"), ["suspect"]),
        (None, ["suspect"]),
    ):
        camera = Camera()
        camera.frame(fire(A))
        camera.flicker = flicker
        camera.frame(fire(A, 0.16), fire(B, 0.29))
        assert camera.frame(fire(A, 0.14)).role == Role("context", 1), "less than half"
        camera.frame(fire(A, 0.15), fire(B, 0.29))
        assert [state for _, state in camera.history] == states
    confirmed = Camera()
    confirmed.frame(fire(A))
    confirmed.flicker = Flicker("flickers", ("restless outline",))
    for _ in range(2):
        confirmed.frame(fire(A, 0.2))
    confirmed.flicker = None
    confirmed.frame(fire(A))
    assert confirmed.events[-1].track.reason == "flickers: restless outline"
    assert confirmed.state.tracks[0].reason == "flickers: restless outline", "it keeps what it was confirmed with"
