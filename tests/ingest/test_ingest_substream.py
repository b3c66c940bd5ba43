# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker with a sub-stream: it only raises suspicion, the main stream decides and is what is stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import cv2
import msgspec
import numpy as np
import psutil
import pytest

from daemon.clock import NS, HostClocks
from daemon.detect.rules import RuleSettings, Zone
from daemon.domain import Box, Detection
from daemon.ingest.doubts import FIRST_DOUBT_S, LONGEST_DOUBT_S
from daemon.ingest.incidents import Incidents
from daemon.ingest.looking import Looking
from daemon.ingest.showing import Showing
from daemon.ingest.suspicion import SECOND_LOOK_S, SecondLook, Suspicion
from daemon.messages import FrameWaiting
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.farm import Camera, FarmThread
from tests.ingest.test_ingest_capture import ask, until_ended
from tests.ingest.test_ingest_picture import PLAN, packets
from tests.ingest.worker_under_test import FIRE, FPS, Looked, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
MAIN_PX, SUB_PX = (640, 480), (320, 240)
GOP = FPS
HERE: Box = (0.1, 0.1, 0.2, 0.2)
THERE: Box = (0.7, 0.7, 0.8, 0.8)
RULES = RuleSettings({"fire": 0.4, "smoke": 0.4}, m=3, n=5, within_s=10.0, unconfirmed_after_s=10.0, ended_after_s=30.0)


@dataclass
class Pair:
    """A camera's two streams, which show the same picture at the same moment."""

    farm: FarmThread

    def start(self, start: Start, **plan: object) -> WorkerUnderTest:
        """A worker on both."""
        return start(self.farm.url("main"), detect_url=self.farm.url("sub"), patrol_s=0.0, **plan)


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chart, Chart]:
    """The same numbered pictures in two sizes, a key frame every second."""
    folder = tmp_path_factory.mktemp("pair")
    return (
        make_chart(folder / "main.mp4", size=MAIN_PX, fps=FPS, gop_s=1, seconds=20),
        make_chart(folder / "sub.mp4", size=SUB_PX, fps=FPS, gop_s=1, seconds=20),
    )


@pytest.fixture
def pair(charts: tuple[Chart, Chart]) -> Iterator[Pair]:
    """A farm that plays them."""
    with FarmThread([Camera("main", charts[0].path), Camera("sub", charts[1].path)]) as farm:
        yield Pair(farm)


def is_main(message: FrameWaiting) -> bool:
    return message.original_width_px == MAIN_PX[0]


def of(worker: WorkerUnderTest, main: bool, since: int = 0) -> list[Looked]:
    """What the detector was given of one of the streams."""
    return [each for each in worker.got.looked[since:] if is_main(each.message) is main]


def wait_for_sub(worker: WorkerUnderTest, count: int = 4) -> None:
    """Until detection runs on the sub-stream alone."""
    worker.until(
        lambda: len(of(worker, main=False)) >= count and not any(is_main(e.message) for e in worker.got.looked[-3:]),
        "frames of the sub-stream",
    )


def test_detection_runs_on_the_sub_stream(pair: Pair, start: Start) -> None:
    """Twice a second at its own size, with the main stream undecoded; watched are the main stream's moments."""
    worker = pair.start(start, sub_stream_px=160)
    wait_for_sub(worker)
    since, beats = len(worker.got.looked), len(worker.got.beats)
    worker.until(lambda: len(worker.got.looked) >= since + 12, "twelve frames more")
    assert of(worker, main=True, since=since) == []
    assert {(each.message.width_px, each.message.input_px) for each in of(worker, main=False)} == {(160, 160)}
    pts_s = [each.message.pts / 90_000 for each in of(worker, main=False, since=since)]
    assert np.diff(pts_s).min() >= 0.4
    assert np.diff(pts_s).max() <= 0.55
    worker.until(lambda: worker.got.watermarks[-1].in_row >= 5, "watched frames")
    mark, run = worker.got.watermarks[-1], worker.got.runs[-1]
    assert (run.width_px, run.height_px) == MAIN_PX
    assert mark.run == run.id
    assert {each.run for each in worker.got.watermarks if each.run} == {run.id}
    assert mark.condition == "ok"
    sub_runs = {each.message.run for each in of(worker, main=False)}
    assert sub_runs.isdisjoint({each.id for each in worker.got.runs}), "the recorder is told of no run of it"
    last = worker.got.beats[beats + 2 :]
    assert last
    assert all((each.sub_state, each.sub_condition) == ("streaming", "ok") for each in last)
    assert all(each.interval_s is not None and each.interval_s <= 0.6 for each in last)
    assert last[-1].frames_analysed > worker.got.beats[beats].frames_analysed
    assert worker.got.stills == []


def test_a_capture_is_of_the_main_stream(pair: Pair, start: Start) -> None:
    """Which lies compressed in the ring; meanwhile the sub-stream keeps watch alone. So do reference stills: of a glance."""
    worker = pair.start(start, reference_s=1.0)
    wait_for_sub(worker)
    worker.until(lambda: worker.beat and worker.beat.ring_s >= 2, "2 s in the ring")
    since = len(worker.got.looked)
    incident, _ = ask(worker, 2, 0.5)
    stills = [evidence for evidence, _ in until_ended(worker, incident)]
    assert len(stills) >= 10
    assert {(evidence.width_px, evidence.height_px) for evidence in stills} == {MAIN_PX}
    assert of(worker, main=True, since=since) == []
    references = [evidence for evidence, _ in worker.got.stills if evidence.kind == "reference"]
    assert references
    assert {(evidence.width_px, evidence.height_px) for evidence in references} == {MAIN_PX}


def test_a_hit_makes_the_main_stream_decide(pair: Pair, start: Start) -> None:
    """The main stream's frame of the same moment is analysed (± 1), and all that is stored is the main stream's."""
    worker = pair.start(start, ended_after_s=1.5, unconfirmed_after_s=1.5)
    wait_for_sub(worker)
    begun = {"burning": range(0)}
    hits: list[int] = []

    def sees(message: FrameWaiting, number: int | None) -> tuple[object, ...]:
        if number is None or number not in begun["burning"]:
            return ()
        if not is_main(message):
            hits.append(number)
        return (FIRE,)

    now = worker.got.looked[-1].number
    assert now is not None
    first = (now + 60) % 400
    begun["burning"] = range(first, first + 75)
    since = len(worker.got.looked)
    worker.detector.sees = sees  # type: ignore[assignment]
    worker.until(lambda: any(each.incident.state == "ended" for each in worker.got.incidents), "the incident's end", 30)
    assert [each.incident.state for each in worker.got.incidents] == ["suspect", "confirmed", "ended"]
    main = [each.number for each in of(worker, main=True, since=since) if each.number is not None]
    assert min(abs(number - hits[0]) for number in main) <= 1
    assert hits[0] - main[0] <= GOP + 2, "from the GOP of that moment on"
    kinds = [evidence.kind for evidence, _ in worker.got.stills]
    assert kinds[0] == "first_suspect"
    assert kinds.count("first_confirmed") == 1
    told = {run.id for run in worker.got.runs}
    for evidence, jpeg in worker.got.stills:
        assert evidence.run in told
        assert (evidence.width_px, evidence.height_px) == MAIN_PX
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape[:2] == (MAIN_PX[1], MAIN_PX[0])
        looked = next(each for each in worker.got.looked if each.message.pts == evidence.pts)
        assert Chart.read_frame_number(np.asarray(pixels, np.uint8)) == looked.number
    suspects = [each for each, _ in worker.got.stills if each.kind == "first_suspect"]
    seen = next(each.number for each in worker.got.looked if each.message.pts == suspects[0].pts)
    assert seen is not None
    assert first <= seen <= hits[0] + 1, "the main stream's GOP shows it as early as the sub-stream or earlier"
    wait_for_sub(worker, len(of(worker, main=False)) + 4)


def test_a_lamp_that_only_the_sub_stream_shows_wears_out(pair: Pair, start: Start) -> None:
    """Nothing is stored of it; the main stream is decoded for unconfirmed_after_s, then only its key frames are."""
    worker = pair.start(start, unconfirmed_after_s=2.0)
    wait_for_sub(worker)
    since = len(worker.got.looked)
    worker.detector.sees = lambda message, _: () if is_main(message) else (FIRE,)
    worker.until(lambda: len(of(worker, main=True, since=since)) >= 8, "the main stream looked at")
    wait_for_sub(worker, len(of(worker, main=False)) + 4)
    doubting = len(worker.got.looked)
    worker.until(lambda: len(of(worker, main=False, since=doubting)) >= 12, "more of the lamp")
    main = [each.number for each in of(worker, main=True, since=doubting)]
    assert 2 <= len(main) <= 5
    assert all(number is not None and number % GOP == 0 for number in main), "key frames alone"
    assert worker.got.incidents == []
    assert worker.got.stills == []
    worker.detector.sees = lambda *_: (FIRE,)
    worker.until(lambda: len(worker.got.stills) >= 1, "a fire at that very place, by a key frame")
    assert worker.got.incidents[0].incident.state == "suspect"


def test_without_the_sub_stream_the_main_stream_keeps_watch(pair: Pair, start: Start) -> None:
    """A sub-stream that is away makes no gap, is told, and is used again when it is back."""
    worker = pair.start(start)
    wait_for_sub(worker)
    worker.until(lambda: worker.got.watermarks[-1].in_row >= 3, "watched frames")
    marks, since = len(worker.got.watermarks), len(worker.got.looked)
    pair.farm.command("sub", "refuse")
    worker.until(lambda: len(of(worker, main=True, since=since)) >= 3, "the main stream's frames")
    assert worker.beat is not None
    assert worker.beat.sub_condition == "unreachable"
    worker.until(lambda: "sub-stream is unreachable" in worker.got.watermarks[-1].detail, "that it is said")
    assert worker.condition == "ok"
    pair.farm.command("sub", "resume")
    wait_for_sub(worker, len(of(worker, main=False)) + 4)
    worker.until(lambda: worker.beat is not None and worker.beat.sub_condition == "ok", "ok")
    after = worker.got.watermarks[marks:]
    assert {each.condition for each in after} == {"ok"}
    assert max(each.interval_s or 0.0 for each in after) <= 2 * worker.plan.max_interval_s
    assert all(each.in_row >= 3 for each in after), "no gap"


def test_without_the_main_stream_nothing_is_watched(pair: Pair, start: Start) -> None:
    """What could not be stored was not watched; the reason is the main stream's."""
    worker = pair.start(start)
    wait_for_sub(worker)
    pair.farm.command("main", "refuse")
    worker.until(lambda: worker.condition == "unreachable", "the condition")
    worker.pump(0.5)
    frames, since = worker.got.watermarks[-1].frames_watched, len(worker.got.looked)
    worker.detector.sees = lambda *_: (FIRE,)
    worker.until(lambda: len(of(worker, main=False, since=since)) >= 5, "the sub-stream still analysed")
    worker.pump(1.1)
    assert worker.got.watermarks[-1].frames_watched == frames
    assert worker.got.incidents == []
    worker.detector.sees = lambda *_: ()
    pair.farm.command("main", "resume")
    worker.until(lambda: worker.got.watermarks[-1].frames_watched > frames and worker.condition == "ok", "ok", 30)


def test_a_sub_stream_that_was_never_there(pair: Pair, start: Start) -> None:
    """A wrong detect_url leaves a camera that works as one without."""
    worker = start(pair.farm.url("main"), detect_url=pair.farm.url("nothing"), patrol_s=0.0)
    worker.until(lambda: len(worker.got.looked) >= 3, "the main stream's key frames")
    assert all(is_main(each.message) and each.number is not None for each in worker.got.looked)
    worker.detector.sees = lambda *_: (FIRE,)
    worker.until(lambda: len(worker.got.stills) >= 3, "stills")
    assert worker.beat is not None
    assert worker.beat.sub_condition == "unreachable"


def test_udp(charts: tuple[Chart, Chart], start: Start) -> None:
    """A camera that is asked for UDP is watched over UDP, and its silence is found as over TCP."""
    with FarmThread([Camera("main", charts[0].path)]) as farm:
        worker = start(farm.url("main"), transport="udp", read_timeout_s=1.0)
        worker.until(lambda: len(worker.got.looked) >= 3, "key frames")
        assert psutil.Process(worker.pid).net_connections("udp"), "RTP and RTCP come over UDP"
        assert all(each.number is not None and each.number % GOP == 0 for each in worker.got.looked)
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 3, "stills")
        assert {evidence.damage for evidence, _ in worker.got.stills} == {"no"}
        worker.detector.sees = lambda *_: ()
        farm.command("main", "stall")
        worker.until(lambda: worker.beat is not None and worker.beat.reconnects >= 1, "the end of the connection")
        farm.command("main", "resume")
        worker.until(lambda: worker.condition == "ok" and len(worker.got.runs) >= 2, "ok", 30)


def test_suspicion_lasts_and_ends() -> None:
    """It lasts that long from its first hit, however many follow; what the main stream shows ends it without doubt."""
    suspicion = Suspicion(10.0)
    assert suspicion.hit([HERE], 0.0)
    for at_s in range(1, 10):
        assert not suspicion.hit([HERE], at_s)
        suspicion.time_passes(at_s)
        assert suspicion.active
    suspicion.time_passes(10.0)
    assert not suspicion.active
    assert not suspicion.hit([HERE], 11.0), "doubted"
    assert suspicion.wants_key_frames(12.0)
    assert suspicion.hit([HERE, THERE], 13.0), "another place is not"
    suspicion.shown()
    assert not suspicion.active
    assert suspicion.hit([THERE], 14.0)


def test_doubt_grows_to_its_most() -> None:
    """A lamp that never goes out costs less and less: a full look after 30 s, 60 s … 10 min; never not at all."""
    suspicion, begun, now_s = Suspicion(10.0), [], 0.0
    while now_s < 7200:
        if suspicion.hit([HERE], now_s):
            begun.append(now_s)
        assert suspicion.active or suspicion.wants_key_frames(now_s)
        now_s += 0.5
        suspicion.time_passes(now_s)
    steps = np.diff(begun)
    assert steps[0] == pytest.approx(FIRST_DOUBT_S + 10, abs=1)
    assert list(steps) == sorted(steps)
    assert steps[-1] == pytest.approx(LONGEST_DOUBT_S + 10, abs=1)
    suspicion.time_passes(now_s + 2 * LONGEST_DOUBT_S)
    assert suspicion.hit([HERE], now_s + 2 * LONGEST_DOUBT_S), "forgotten"


def test_a_second_look_follows_a_sighting() -> None:
    """From half of the threshold on, outside ignore zones, and only while nothing is open; an incident ends it without doubt."""
    wall = Zone("wall", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)), ("fire", "smoke"))
    look = SecondLook(replace(RULES, zones=(wall,)))
    for confidence, left, suspected, expected in (
        (0.19, 10, False, False),
        (0.21, 70, False, False),
        (0.21, 10, True, False),
        (0.21, 10, False, True),
    ):
        seen = Detection("fire", confidence, (left, 10.0, left + 10.0, 20.0))
        look.analysed([seen], (100, 100), 5.0, suspected=suspected)
        assert look.active is expected, (confidence, left, suspected)
    look.time_passes(6.0, suspected=True)
    assert not look.active
    look.analysed([seen], (100, 100), 7.0, suspected=False)
    assert look.active
    look.time_passes(7.0 + SECOND_LOOK_S, suspected=False)
    assert not look.active
    look.analysed([seen], (100, 100), 12.0, suspected=False)
    assert not look.active, "doubted"


def test_a_picture_full_of_lamps_is_bounded() -> None:
    """At eight doubted places a ninth gets key frames, not another full look."""
    suspicion, now_s = Suspicion(1.0), 0.0
    for place in range(8):
        assert suspicion.hit([(place / 4, 0.0, place / 4 + 0.05, 0.05)], now_s)
        now_s += 1.0
        suspicion.time_passes(now_s)
    assert not suspicion.hit([(0.0, 0.8, 0.05, 0.85)], now_s)
    assert suspicion.wants_key_frames(now_s)
    assert suspicion.hit([(0.0, 0.8, 0.05, 0.85)], now_s + FIRST_DOUBT_S), "only while they are doubted"


class SteppingClocks(HostClocks):
    """The host's, whose wall clock can be set."""

    step_ns = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.step_ns


def test_both_streams_hear_of_a_step_of_the_wall_clock(charts: tuple[Chart, Chart]) -> None:
    """What the sub-stream watched is told by its frames' times: with an old pair of clocks gaps would be false."""
    clocks, wake_fd = SteppingClocks(), os.eventfd(0)
    plan = msgspec.structs.replace(PLAN, url="rtsp://h/1", detect_url="rtsp://h/2")
    looking = Looking(plan, wake_fd, clocks, cast(Showing, None), Incidents(plan))
    assert looking.sub is not None
    for source, chart in ((looking.main, charts[0]), (looking.sub, charts[1])):
        clocks.step_ns = 0
        coming, time_base = packets(chart.path)
        source.frames.opened("h264", None, time_base)
        source.frames.add(coming[0])
        before = source.frames.run
        looking.check_clock()
        source.frames.add(coming[1])
        assert source.frames.run is before
        clocks.step_ns = 3600 * NS
        looking.check_clock()
        source.frames.add(coming[2])
        assert source.frames.run is not None
        assert source.frames.run.cause == "clock"
    os.close(wake_fd)
