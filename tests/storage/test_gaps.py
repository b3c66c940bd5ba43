# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gaps: each cause makes the gap that an investigator would expect, and no way of watching badly goes untold."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.clock import NS
from daemon.domain import Gap
from daemon.messages import StillsDropped, Watermark
from daemon.storage.coverage import Coverage, hour_of
from daemon.storage.gaps import CameraWatch, Event, Mark, Now, Watched

T0 = 1_795_449_600 * NS  # 2026-11-23T16:00:00Z
LIMIT_S = 4.0
_NUMBERS = itertools.count()


@dataclass
class Scene:
    """One camera with a worker whose frames and words the test dictates; seconds since T0 on a clock that can step."""

    started_s: float = 0.0
    opened_s: float | None = None
    """When the store was open, where that took long."""
    last: Mark | None = None
    wall_s: float = 0.0
    """By how much the wall clock is ahead of the monotonic one."""
    events: list[Event] = field(default_factory=list)
    frames: int = 0
    in_row: int = 0
    worker: str = "w1"

    def __post_init__(self) -> None:
        last = self.last or Mark(T0, 1000 * NS)
        now = self.now(self.started_s)
        opened = self.now(self.started_s if self.opened_s is None else self.opened_s)
        self.watch = CameraWatch("hall", round(LIMIT_S * NS), last, now, opened, lambda: f"gap{next(_NUMBERS)}")
        self.watched_s: float | None = None

    def now(self, at_s: float) -> Now:
        return Now(T0 + round((at_s + self.wall_s) * NS), round((1000 + at_s) * NS))

    def hello(self, worker: str = "w1") -> None:
        if worker != self.worker:
            self.frames, self.in_row, self.watched_s = 0, 0, None
        self.worker = worker
        self.watch.hello(worker)

    def frame(self, at_s: float) -> None:
        """The worker watches a frame."""
        kept = self.watched_s is not None and at_s - self.watched_s <= LIMIT_S
        self.in_row = self.in_row + 1 if kept else 1
        self.frames, self.watched_s = self.frames + 1, at_s

    def say(self, at_s: float, condition: str = "ok", **more: Any) -> None:
        """A watermark."""
        if self.watched_s is not None:
            moment = self.now(self.watched_s)
            more = {"watched_at_ns": moment.at_ns, "watched_mono_ns": moment.mono_ns, "run": "r", "pts": 1} | more
        mark = Watermark(
            at_ns=self.now(at_s).at_ns, condition=condition, frames_watched=self.frames, in_row=self.in_row, **more
        )
        self.events += self.watch.watermark(mark, self.now(at_s))

    def good(self, from_s: float, to_s: float, every_s: float = 1.0) -> None:
        """Watches well, a frame and a watermark each time."""
        at_s = from_s
        while at_s <= to_s:
            self.frame(at_s)
            self.say(at_s)
            at_s += every_s

    def bad(self, from_s: float, to_s: float, condition: str, **more: Any) -> None:
        """Watermarks without frames."""
        at_s = from_s
        while at_s <= to_s:
            self.say(at_s, condition, **more)
            at_s += 1.0

    def tick(self, at_s: float) -> None:
        self.events += self.watch.tick(self.now(at_s))

    def gaps(self) -> list[tuple[str, float, float | None]]:
        """(reason, from, to) as last said, seconds since T0."""
        last = {event.id: event for event in self.events if isinstance(event, Gap)}
        return [
            (gap.reason, _s(gap.from_at_ns), None if gap.to_at_ns is None else _s(gap.to_at_ns))
            for gap in last.values()
        ]


def _s(at_ns: int) -> float:
    return round((at_ns - T0) / NS, 3)


@pytest.fixture
def scene() -> Scene:
    """A camera that has been watched well for ten seconds."""
    scene = Scene()
    scene.hello()
    scene.good(0, 10)
    assert scene.gaps() == []
    return scene


@pytest.mark.parametrize("reason", ["unreachable", "refused", "stalled", "decode", "detector", "clock"])
def test_gap_from_last_frame_to_third_good_one(scene: Scene, reason: str) -> None:
    """It begins at the last watched frame, is not told before the limit, and ends with the third frame in a row."""
    scene.bad(11, 14, reason)
    assert scene.gaps() == []
    scene.say(14.5, reason)
    assert scene.gaps() == [(reason, 10, None)]
    scene.good(30, 31)
    assert scene.gaps() == [(reason, 10, None)]
    scene.good(32, 40)
    assert scene.gaps() == [(reason, 10, 32)]


@pytest.mark.parametrize("reason", ["frozen", "no_picture"])
def test_frozen_reaches_back(scene: Scene, reason: str) -> None:
    """A frozen picture is noticed 10 s late; the gap begins when it froze, though frames were watched since."""
    scene.say(10.5, reason, since_at_ns=T0 + 2 * NS)
    assert scene.gaps() == [(reason, 2, None)]


def test_frozen_reaches_back_from_an_open_gap(scene: Scene) -> None:
    """A gap that is open for another reason begins earlier when the picture proves to have been frozen before."""
    scene.bad(11, 15, "stalled")
    scene.say(16, "frozen", since_at_ns=T0 + 6 * NS)
    assert scene.gaps() == [("stalled", 6, None)]


def test_frozen_does_not_reach_into_an_earlier_gap(scene: Scene) -> None:
    """Gaps do not overlap: the new one begins at the earliest where the last one ended."""
    scene.bad(11, 20, "unreachable")
    scene.good(21, 24)
    scene.say(29, "frozen", since_at_ns=T0 + 5 * NS)
    assert scene.gaps() == [("unreachable", 10, 23), ("frozen", 23, None)]


def test_first_cause_counts(scene: Scene) -> None:
    """The reason is what was known first, whatever follows from it."""
    scene.say(11, "stalled")
    scene.bad(12, 20, "unreachable")
    scene.watch.lost()
    assert scene.gaps() == [("stalled", 10, None)]


@pytest.mark.parametrize("silent", ["unreachable", "refused", "stalled"])
def test_a_camera_that_sends_again_is_not_the_cause(scene: Scene, silent: str) -> None:
    """What is told further along a frame's way says that the camera sends: it was not the camera that lasted."""
    scene.say(11, silent)
    scene.bad(12, 20, "detector")
    assert scene.gaps() == [("detector", 10, None)]


def test_a_camera_that_sends_again_stays_the_cause_of_its_gap(scene: Scene) -> None:
    """What is open keeps its reason; and that all is well says nothing about what has not been watched."""
    scene.bad(11, 13, "unreachable")
    scene.say(13.5)
    scene.bad(14, 15, "ok")
    scene.bad(16, 20, "detector")
    assert scene.gaps() == [("unreachable", 10, None)]


def test_a_slow_answer_after_an_outage_is_the_cameras(scene: Scene) -> None:
    """The first frame of a camera that is back comes long after the last answer: the detector was not slow."""
    scene.bad(11, 13, "unreachable")
    scene.say(14.5, "overload")
    assert scene.gaps() == [("unreachable", 10, None)]


def test_a_dead_worker_stays_the_cause(scene: Scene) -> None:
    """That its successor waits for the detector does not make it the detector's."""
    scene.watch.lost()
    scene.hello("w2")
    scene.bad(12, 20, "detector")
    assert scene.gaps() == [("worker", 10, None)]


def test_a_cause_that_passed_is_forgotten(scene: Scene) -> None:
    """A cause that was followed by watched frames is not that of a later gap."""
    scene.say(11, "stalled")
    scene.good(12, 14)
    scene.bad(15, 20, "decode")
    assert scene.gaps() == [("decode", 14, None)]


def test_slow_detector_is_one_gap_with_its_interval(scene: Scene) -> None:
    """Frames every 5 s make one gap, not many, and its detail says the interval."""
    for at_s in range(15, 60, 5):
        for second in range(at_s - 4, at_s):
            scene.say(second)
        scene.frame(at_s)
        scene.say(at_s, interval_s=5.0)
    assert scene.gaps() == [("overload", 10, None)]
    assert scene.watch.open is not None
    assert scene.watch.open.detail == "longest interval 5.0 s"
    scene.good(56, 60)
    assert scene.gaps() == [("overload", 10, 57)]


def test_worker_killed(scene: Scene) -> None:
    """A closed connection is the cause `worker`; a new worker's three frames end it."""
    scene.watch.lost()
    for at_s in (11, 13, 14.9):
        scene.tick(at_s)
    scene.hello("w2")
    scene.good(20, 25)
    assert scene.gaps() == [("worker", 10, 22)]


def test_worker_back_in_time_makes_no_gap(scene: Scene) -> None:
    """A worker that is back and watching within the limit left none."""
    scene.watch.lost()
    scene.tick(12)
    scene.hello("w2")
    scene.good(13, 20)
    scene.tick(21)
    assert scene.gaps() == []


def test_worker_back_late_but_before_the_tick(scene: Scene) -> None:
    """A new worker whose first watermark comes before anyone looked at the time cannot hide the gap."""
    scene.watch.lost()
    scene.hello("w2")
    for at_s in (40, 41, 42):
        scene.frame(at_s)
    scene.say(42)
    assert scene.gaps() == [("worker", 10, 42)]


def test_silent_worker(scene: Scene) -> None:
    """A connected worker that says nothing at all is the cause itself."""
    scene.tick(15)
    assert scene.gaps() == [("worker", 10, None)]


def test_recorder_that_was_stuck_makes_no_gap(scene: Scene) -> None:
    """When the recorder did not read for a while, the worker's unbroken row says that all was watched."""
    for at_s in range(11, 31):
        scene.frame(at_s)
    scene.say(30)
    scene.tick(31)
    assert scene.gaps() == []
    assert scene.events[-1] == Watched("hall", T0 + 10 * NS, T0 + 30 * NS)


def test_a_break_in_the_row_while_the_recorder_was_stuck(scene: Scene) -> None:
    """Had the worker not watched meanwhile, its row would have broken: the gap is told afterwards."""
    for at_s in (11, 12, 20, 21, 22, 23):
        scene.frame(at_s)
    scene.say(23)
    assert scene.gaps() == [("overload", 10, 23)]


def test_disk(scene: Scene) -> None:
    """While nothing can be stored nothing is watched; three frames after the disk is back end the gap."""
    scene.watch.disk("full")
    scene.good(11, 30)
    assert scene.gaps() == [("disk", 10, None)]
    scene.watch.disk("ok")
    scene.good(31, 32)
    assert scene.gaps() == [("disk", 10, None)]
    scene.good(33, 34)
    assert scene.gaps() == [("disk", 10, 33)]


def test_short_disk_trouble(scene: Scene) -> None:
    """A disk that is back within the limit leaves none: the worker kept everything, and sends it again."""
    scene.watch.disk("gone")
    scene.good(11, 13)
    scene.watch.disk("ok")
    scene.good(14, 20)
    assert scene.gaps() == []


def test_dropped_stills(scene: Scene) -> None:
    """Stills that a worker let go make their time unwatched, though its frames were analysed."""
    scene.events += scene.watch.dropped(
        StillsDropped(count=7, from_at_ns=T0 + 4 * NS, to_at_ns=T0 + 9 * NS), "recorder"
    )
    scene.good(11, 12)
    assert scene.gaps() == [("recorder", 4, None)]
    assert scene.watch.open is not None
    assert scene.watch.open.detail == "7 stills dropped"
    scene.good(13, 14)
    assert scene.gaps() == [("recorder", 4, 13)]


def test_dropped_stills_before_an_open_gap(scene: Scene) -> None:
    """What was dropped can have been seen before the disk failed: the gap proves to have begun earlier."""
    scene.watch.disk("full")
    scene.good(11, 20)
    scene.events += scene.watch.dropped(StillsDropped(count=3, from_at_ns=T0 + 8 * NS, to_at_ns=T0 + 15 * NS), "disk")
    assert scene.gaps() == [("disk", 8, None)]
    assert scene.watch.open is not None
    assert scene.watch.open.detail == "full; 3 stills dropped"


def test_stop(scene: Scene) -> None:
    """A daemon that ends in order says from when on nothing is watched."""
    scene.events += scene.watch.stop(scene.now(10.5))
    assert scene.gaps() == [("daemon", 10, None)]


def test_dead_daemon() -> None:
    """After a dead daemon the gap begins at the heartbeat's watermark, also if the new worker is quick."""
    scene = Scene(started_s=3600, last=Mark(T0 + 7 * NS, 1007 * NS, "w0", 50, 50, "r", 1))
    scene.hello()
    scene.good(3601, 3602)
    assert scene.gaps() == [("daemon", 7, None)]
    scene.good(3603, 3604)
    assert scene.gaps() == [("daemon", 7, 3603)]


def test_a_long_recovery_is_no_gap_of_a_worker_that_lived() -> None:
    """The recorder was dead for a second and recovered for a minute: the worker's row says that it went on watching."""
    known = Mark(T0 + 10 * NS, 1010 * NS, "w1", 10, 10)
    scene = Scene(started_s=11, opened_s=71, last=known)
    scene.events += scene.watch.tick(scene.now(71))
    scene.hello("w1")
    scene.frames, scene.in_row, scene.watched_s = 70, 70, 70.5
    scene.say(71)
    scene.frames, scene.in_row = 10, 10
    assert scene.gaps() == []


def test_recorder_restarted_while_the_worker_lived(scene: Scene) -> None:
    """The same worker with an unbroken row proves to the next recorder that it went on watching."""
    again = Scene(started_s=20, last=scene.watch.last, frames=scene.frames, in_row=scene.in_row)
    again.watched_s = scene.watched_s
    again.hello()
    for at_s in range(11, 22):
        again.frame(at_s)
    again.say(21)
    again.tick(40)
    assert again.gaps() == [("worker", 21, None)]


def test_gap_goes_on_after_restart(scene: Scene) -> None:
    """A gap that was open when the daemon died is the same gap afterwards, with its reason and beginning."""
    scene.bad(11, 20, "unreachable")
    assert scene.watch.open is not None
    again = Scene(started_s=3600, last=scene.watch.last)
    again.watch.resume(scene.watch.open)
    again.hello("w2")
    again.tick(3610)
    again.good(3611, 3613)
    assert again.gaps() == [("unreachable", 10, 3613)]


def test_never_watched() -> None:
    """A camera that was never watched has a gap from when it was configured, for the worker's reason."""
    scene = Scene()
    scene.hello()
    scene.bad(1, 10, "refused")
    assert scene.gaps() == [("refused", 0, None)]


def test_disabled_and_enabled_again() -> None:
    """`enabled: false` is a gap of its own from the start on, and ends when it is switched on again."""
    off = Scene(started_s=100, last=Mark(T0 + 7 * NS, 1007 * NS, "w0", 50, 50, "r", 1))
    off.events += off.watch.disable(off.now(100))
    off.tick(200)
    assert off.gaps() == [("disabled", 7, None)]
    assert off.watch.open is not None
    on = Scene(started_s=900, last=off.watch.last)
    on.watch.resume(off.watch.open)
    on.events += on.watch.enable(on.now(900))
    on.hello()
    on.bad(901, 910, "unreachable")
    assert on.gaps() == [("disabled", 7, 900), ("unreachable", 900, None)]


def test_disabled_while_a_gap_was_open() -> None:
    """The gap of another reason ends where the one by configuration begins: they do not overlap."""
    scene = Scene(started_s=100, last=Mark(T0 + 7 * NS, 1007 * NS, "w0", 50, 50, "r", 1))
    scene.watch.resume(Gap("old", "hall", "unreachable", T0 + 7 * NS, None))
    scene.events += scene.watch.disable(scene.now(100))
    assert scene.gaps() == [("unreachable", 7, 100), ("disabled", 100, None)]


def test_enabled_and_watched_at_once() -> None:
    """A camera that is watched right after it was switched on has no second gap."""
    scene = Scene(started_s=900, last=Mark(T0 + 7 * NS, 1007 * NS, "w0", 50, 50, "r", 1))
    scene.watch.resume(Gap("old", "hall", "disabled", T0 + 7 * NS, None))
    scene.events += scene.watch.enable(scene.now(900))
    scene.hello()
    scene.good(901, 920)
    assert scene.gaps() == [("disabled", 7, 900)]


# ------------------------------------------------------------------ clocks that step


def test_step_forward_leaves_a_hole_in_utc(scene: Scene) -> None:
    """No frame can be of the hour that the clock went over: a gap `clock`, though no second was missed."""
    scene.wall_s = 3600
    scene.good(11, 20)
    assert scene.gaps() == [("clock", 10, 3611)]


def test_step_back_makes_no_negative_gap(scene: Scene) -> None:
    """UTC passes twice; nothing was missed, and nothing is negative."""
    scene.wall_s = -3600
    scene.good(11, 20)
    scene.tick(21)
    assert scene.gaps() == []


@pytest.mark.parametrize("step_s", [-86400, -3600, -5, 3, 3600, 86400])
def test_step_inside_a_gap(scene: Scene, step_s: float) -> None:
    """A gap during which the clock stepped is as long as it really was."""
    scene.bad(11, 20, "unreachable")
    scene.wall_s = step_s
    scene.good(40, 45)
    first = scene.gaps()[0]
    assert first[:2] == ("unreachable", 10)
    assert first[2] is not None
    assert abs(first[2] - 42) <= LIMIT_S
    assert scene.gaps()[1:] == ([("clock", 42, 42 + step_s)] if step_s > LIMIT_S else [])


def test_small_steps_change_nothing(scene: Scene) -> None:
    """Half a second of correction is no gap."""
    for step in range(20):
        scene.wall_s += 0.5 * (-1) ** step
        scene.good(11 + step, 11 + step)
    assert scene.gaps() == []


# ------------------------------------------------------------------ any history

STEP = st.one_of(
    st.tuples(st.just("good"), st.floats(0.1, 12)),
    st.tuples(st.sampled_from(["unreachable", "stalled", "frozen", "detector"]), st.floats(0.1, 12)),
    st.tuples(
        st.sampled_from(["lost", "new worker", "disk", "disk ok", "dropped", "tick", "stuck"]), st.floats(0.1, 12)
    ),
)


@dataclass
class History(Scene):
    """Plays steps, and knows when the camera really was watched."""

    at_s: float = 0.0
    seen: list[float] = field(default_factory=lambda: [0.0])
    """Frames that count: analysed while they could be stored."""
    blocked: bool = False

    def play(self, what: str, for_s: float) -> None:
        begin = self.at_s
        self.at_s += for_s
        if what == "good":
            self._good(begin, self.at_s)
        elif what == "new worker":
            self.watch.lost()
            self.hello(f"{self.worker}+")
        elif what == "lost":
            self.watch.lost()
            self.hello(self.worker + "'")
        elif what in ("disk", "disk ok"):
            self.blocked = what == "disk"
            self.watch.disk("full" if self.blocked else "ok")
        elif what == "dropped":
            from_ns = T0 + round(max(0.0, begin - for_s) * NS)
            message = StillsDropped(count=1, from_at_ns=from_ns, to_at_ns=T0 + round(begin * NS))
            self.events += self.watch.dropped(message, "recorder")
        elif what == "tick":
            self.tick(self.at_s)
        elif what == "stuck":
            return
        else:
            self.say(self.at_s, what)

    def _good(self, at_s: float, end_s: float) -> None:
        while (at_s := at_s + 0.7) <= end_s:
            self.frame(at_s)
            self.say(at_s)
            if not self.blocked:
                self.seen.append(at_s)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_nothing_unwatched_goes_untold(steps: list[tuple[str, float]]) -> None:
    """Time is watched or in a gap, never both, never neither.

    Gaps never overlap, and every stretch without a frame that is longer than the limit is in one.
    """
    history = History()
    history.hello()
    for what, for_s in steps:
        history.play(what, for_s)
    history.events += history.watch.stop(history.now(history.at_s + 0.1))
    end_ns = T0 + round((history.at_s + 0.1) * NS)

    gaps = list({event.id: event for event in history.events if isinstance(event, Gap)}.values())
    spans = sorted((gap.from_at_ns, end_ns if gap.to_at_ns is None else gap.to_at_ns) for gap in gaps)
    assert all(start <= end for start, end in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    assert sum(gap.to_at_ns is None for gap in gaps) == 1

    coverage = Coverage()
    for event in history.events:
        coverage.add(event)
    watched_s = coverage.of("hall", hour_of(T0))[1]
    gap_s = sum(end - start for start, end in spans) / NS
    assert watched_s + gap_s == pytest.approx((end_ns - T0) / NS, abs=0.01)

    for before, after in itertools.pairwise(history.seen):
        if after - before > LIMIT_S:
            hole = (T0 + round(before * NS), T0 + round(after * NS))
            assert any(start <= hole[0] and hole[1] <= end for start, end in spans)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(STEP, st.sampled_from([0.0, 0.0, -3600.0, 3600.0, 30.0, -30.0])), max_size=30))
def test_no_clock_makes_an_absurd_gap(steps: list[tuple[tuple[str, float], float]]) -> None:
    """However the wall clock steps: no gap is negative, and none but `clock` is longer than the time that passed."""
    history = History()
    history.hello()
    for (what, for_s), step_s in steps:
        history.wall_s += step_s
        if what != "dropped":  # its own times are of the clock at its time
            history.play(what, for_s)
    history.events += history.watch.stop(history.now(history.at_s))
    for gap in (event for event in history.events if isinstance(event, Gap) and event.to_at_ns is not None):
        assert gap.to_at_ns >= gap.from_at_ns
        if gap.reason != "clock":
            assert gap.to_at_ns - gap.from_at_ns <= round((history.at_s + LIMIT_S + 0.1) * NS)
