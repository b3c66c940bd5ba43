# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which hints are worth a look: what has changed since the picture before, is small, in no ignore zone and not in doubt."""

from __future__ import annotations

import time
from collections.abc import Iterator

import av
import numpy as np
import pytest

from daemon.clock import NS, HostClocks
from daemon.detect.boxes import as_share_of_height
from daemon.detect.hints import SMALL_PX
from daemon.detect.rules import Zone
from daemon.domain import Box, Detection, FrameTime, Run
from daemon.ingest.colour import Colour
from daemon.ingest.doubts import FIRST_DOUBT_S
from daemon.ingest.frames import Picture
from daemon.ingest.hinted import STALE_S, Hinted
from daemon.ingest.likeness import APART_S
from daemon.ingest.patrol import Patrol, Patrolled
from daemon.ingest.plan import WorkerPlan
from tests.ingest.work_under_test import FakeWork

SIZE = (1280, 720)
INPUT_PX = 640
SIGN: Box = (100.0, 60.0, 114.0, 70.0)
FLAME: Box = (600.0, 300.0, 612.0, 316.0)


def picture(at_s: float, seed: int = 0, *, size: tuple[int, int] = SIZE, damage: str = "no") -> Picture:
    """Noise that `seed` alone decides, and a sign in it that is always the same."""
    luma = np.random.default_rng(seed).integers(0, 256, size[::-1], np.uint8)
    luma[52:78, 92:122] = 40
    luma[60:70, 100:114], luma[64:66, 103:111] = 120, 230
    run = Run("run-1", "hall", 0, 0, (1, 90_000), "h264", *size, "connected")
    time = FrameTime(round(at_s * NS), 0.2, 0.1, True, False)
    frame = av.VideoFrame.from_ndarray(luma, format="gray")
    return Picture(frame, run, round(at_s * 90_000), round(at_s * NS), time, damage, Colour("bt709", "limited"))


def hinted(*zones: Zone) -> Hinted:
    """After a picture with seed 0 at 0 s."""
    made = Hinted(INPUT_PX, zones)
    assert made.worth_a_look([FLAME], picture(0.0), 0.0) == [], "nothing to compare with"
    return made


def test_what_looks_as_before_is_no_hint() -> None:
    """A sign is not, nor is anything in a picture of which nothing has changed."""
    assert hinted().worth_a_look([SIGN, FLAME], picture(2.0, 1), 2.0) == [FLAME]
    assert hinted().worth_a_look([SIGN, FLAME], picture(2.0, 0), 2.0) == []


def test_it_is_the_place_itself_that_has_to_change() -> None:
    """Not what is beside it: a person who walks by a lamp is no reason to look at it."""
    beside = picture(2.0, 0)
    luma = beside.frame.to_ndarray()
    luma[290:326, 640:680] = luma[290:326, 740:780]
    beside = beside._replace(frame=av.VideoFrame.from_ndarray(luma, format="gray"))
    assert hinted().worth_a_look([FLAME, (650.0, 302.0, 660.0, 314.0)], beside, 2.0) == [(650.0, 302.0, 660.0, 314.0)]


def test_pictures_are_compared_that_lie_apart() -> None:
    """A flame may look the same sooner; with what is too old, another light would pass for one."""
    close = hinted()
    assert close.worth_a_look([FLAME], picture(APART_S - 0.1, 1), 1.8) == []
    assert close.worth_a_look([FLAME], picture(2.0, 2), 2.0) == [FLAME], "as with the first, not with the one between"
    assert close.worth_a_look([FLAME], picture(3.0, 3), 3.0) == [], "looks lie apart, too"
    old = hinted()
    assert old.worth_a_look([FLAME], picture(STALE_S + 1, 1), 31.0) == []
    assert old.worth_a_look([FLAME], picture(STALE_S + 3, 2), 33.0) == [FLAME]
    searched = hinted()
    searched.searched(picture(4.0, 1))
    assert searched.worth_a_look([FLAME], picture(5.0, 2), 5.0) == [], "a round has just seen it"
    assert searched.worth_a_look([FLAME], picture(6.0, 3), 6.0) == [FLAME]


def test_pictures_that_cannot_be_compared_are_not() -> None:
    """Of another size; damaged, where everything looks new: not the damaged one, nor one after it."""
    assert hinted().worth_a_look([FLAME], picture(2.0, 1, size=(1920, 1080)), 2.0) == []
    damaged = hinted()
    assert damaged.worth_a_look([FLAME], picture(2.0, 1, damage="yes"), 2.0) == []
    assert damaged.worth_a_look([FLAME], picture(4.0, 0), 4.0) == [], "as in the last that was whole"
    damaged.searched(picture(6.0, 1, damage="yes"))
    assert damaged.worth_a_look([FLAME], picture(8.0, 0), 8.0) == []
    back = hinted()
    assert back.worth_a_look([FLAME], picture(-5.0, 1), 2.0) == [], "a clock that settles may go back"
    assert back.worth_a_look([FLAME], picture(-3.0, 2), 4.0) == [FLAME]


def test_large_ones_and_those_in_ignore_zones_are_none() -> None:
    """What the whole picture shows well enough, and what burns on purpose."""
    side_px = SMALL_PX * SIZE[0] / INPUT_PX
    small, large = ((200.0, 400.0, 200 + side, 420.0) for side in (side_px, side_px + 1))
    stove = Zone("stove", ((0.45, 0.4), (0.5, 0.4), (0.5, 0.5), (0.45, 0.5)))
    smoker = Zone("chimney", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), ("smoke",))
    found = hinted(stove, smoker).worth_a_look([large, FLAME, small], picture(2.0, 1), 2.0)
    assert found == [small]


def test_a_place_is_in_doubt_after_a_look_and_until_it_counted() -> None:
    """Not by being asked of alone: a look may break off."""
    made = hinted()
    for number in (1, 2):
        assert made.worth_a_look([FLAME], picture(2.0 * number, number), 2.0 * number) == [FLAME]
    made.looked([FLAME, (FLAME[0] + 4, FLAME[1], FLAME[2] + 4, FLAME[3])], SIZE, 4.0)
    assert made.worth_a_look([FLAME], picture(6.0, 3), 6.0) == []
    after_s = 4 + FIRST_DOUBT_S
    made.searched(picture(after_s - 2))
    assert made.worth_a_look([FLAME], picture(after_s, 4), after_s) == [FLAME], "two hints of one place are one doubt"
    made.looked([FLAME], SIZE, after_s)
    made.bore_out([as_share_of_height(FLAME, SIZE)])
    assert made.worth_a_look([FLAME], picture(after_s + 2, 5), after_s + 2) == [FLAME]


@pytest.mark.parametrize("place", ["corner", "edge"])
def test_hints_at_the_pictures_border(place: str) -> None:
    """There is less around them to compare."""
    box: Box = (0.0, 0.0, 6.0, 5.0) if place == "corner" else (1274.0, 300.0, 1280.0, 309.0)
    assert hinted().worth_a_look([box], picture(2.0, 0), 2.0) == []
    assert hinted().worth_a_look([box], picture(2.0, 1), 2.0) == [box]


class Later(HostClocks):
    """The host's, but for what has passed."""

    passed_s = 0.0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + round(self.passed_s * NS)


class Patrolling:
    """A patrol, with its pictures' pixels all grey, and this test at the detector's end."""

    def __init__(self, work: FakeWork, patrol_s: float) -> None:
        self.clocks = Later()
        plan = WorkerPlan(
            camera="hall",
            url="",
            version="0",
            recorder_socket="",
            work_socket=str(work.path),
            thresholds={},
            patrol_s=patrol_s,
        )
        self.patrol = Patrol(plan, self.clocks)
        self.pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)

    def search(self, picture: Picture, hints: list[Box] | None = None) -> Patrolled:
        if hints is None:
            self.patrol.begin(picture, self.pixels)
        else:
            self.patrol.follow(hints, picture, self.pixels)
        until = time.monotonic() + 10
        while (done := self.patrol.take()) is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        return done


@pytest.fixture
def patrolling(work: FakeWork) -> Iterator[Patrolling]:
    """One that may begin a round every second."""
    made = Patrolling(work, patrol_s=1.0)
    yield made
    made.patrol.close()


def test_a_look_comes_after_a_round_and_a_round_after_a_look(patrolling: Patrolling) -> None:
    """Far enough apart for what was seen in the one to be known again in the other; and a place that counted is not in doubt."""
    patrol = patrolling.patrol
    assert patrol.worth_a_look([FLAME], picture(0.0)) == []
    assert patrol.worth_a_look([FLAME], picture(2.0, 1)) == [], "not before the first round"
    patrolling.search(picture(4.0, 2))
    assert patrol.worth_a_look([FLAME], picture(5.0, 3)) == []
    assert patrol.worth_a_look([FLAME], picture(6.0, 4)) == [FLAME]
    patrolling.clocks.passed_s = 6.0
    patrolling.search(picture(6.0, 4), [FLAME])
    patrolling.clocks.passed_s += APART_S - 0.5
    assert not patrol.is_due(SIZE), "though a second has passed"
    patrolling.clocks.passed_s += 0.6
    assert patrol.is_due(SIZE)
    assert patrol.worth_a_look([FLAME], picture(8.0, 5)) == []
    patrol.bore_out([as_share_of_height(FLAME, SIZE)])
    assert patrol.worth_a_look([FLAME], picture(10.0, 6)) == [FLAME]


def test_what_a_tile_shows_away_from_its_hint_is_not_even_remembered(patrolling: Patrolling, work: FakeWork) -> None:
    """It would be taken for standing there, or, cut by the border, in the place of what does."""
    patrolling.search(picture(0.0))
    scrap: Box = (20.0, 20.0, 32.0, 30.0)
    work.sees = lambda _: (Detection("fire", 0.9, scrap),)
    patrolling.patrol.worth_a_look([], picture(2.0))
    seen = patrolling.search(picture(2.0, 1), [FLAME])
    assert (seen.detections, seen.standing) == ((), ())


def test_a_look_that_breaks_off_leaves_no_doubt(patrolling: Patrolling) -> None:
    """It was cut short by something that burns, or refused."""
    patrol = patrolling.patrol
    patrolling.search(picture(0.0))
    for at in (2.0, 4.0):
        seen = picture(at, round(at))
        assert patrol.worth_a_look([FLAME], seen) == [FLAME]
        patrol.follow([FLAME], seen, patrolling.pixels)
        patrol.break_off()
    assert patrol.broken_off == 2
