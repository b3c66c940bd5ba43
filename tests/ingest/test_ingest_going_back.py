# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker goes back: a detector that, asked about the past, sees the fire from a known picture of the chart on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from daemon.clock import NS
from daemon.detect.rules import Zone
from daemon.domain import Detection, Evidence
from daemon.messages import FrameWaiting, WorkRequest
from daemon.origin.record import Analysis
from daemon.simulate.bitstream import CODECS
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.flame import Flame
from tests.ingest.work_under_test import FakeWork
from tests.ingest.worker_under_test import FIRE, FPS, INPUT_PX, WorkerUnderTest
from tests.origin.drawn import as_sent, wall

Start = Callable[..., WorkerUnderTest]
ONSET, SURE = 110, 145  # pictures of the chart: it burns from the one, and the live channel is sure from the other
WEAK = Detection("fire", 0.3, (44.0, 50.0, 60.0, 76.0))
PILOT = Detection("fire", 0.8, (64.0, 60.0, 76.0, 80.0), zone="pilot")  # beside it, and meant to burn
ZONE = Zone("pilot", ((0.2, 0.25), (0.25, 0.25), (0.25, 0.33), (0.2, 0.33)))


class Fire:
    """Live it is seen from SURE on, once the beginning of the chart has passed; in the past from ONSET on."""

    def __init__(self, worker: WorkerUnderTest, work: FakeWork) -> None:
        self._work, self._armed = work, False
        worker.detector.sees = self._live
        work.sees = self._past
        self.asked: list[int] = []

    def _live(self, _: FrameWaiting, number: int | None) -> Sequence[Detection]:
        if number is not None and number < ONSET // 2:
            self._armed = True
        return (FIRE,) if self._armed and number is not None and number >= SURE else ()

    def _past(self, request: WorkRequest) -> Sequence[Detection]:
        self.asked.append(Chart.read_frame_number(self._work.pixels[-1]))
        return (WEAK,) if self.asked[-1] >= ONSET else ()


def analysed(worker: WorkerUnderTest, seconds: float = 60) -> Analysis:
    """The first analysis that comes."""
    worker.until(lambda: worker.got.analyses, "an analysis", seconds)
    return worker.got.analyses[0]


def still(worker: WorkerUnderTest, kind: str) -> tuple[Evidence, int]:
    """The one still of that kind, and the number of the picture it shows."""
    ((evidence, jpeg),) = [each for each in worker.got.stills if each[0].kind == kind]
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return evidence, Chart.read_frame_number(picture)


def test_first_visible_is_exactly_the_frame_from_which_on_it_burns(chart: Chart, start: Start, work: FakeWork) -> None:
    """Its still, the last clean one before it, times, chain, and everything that the record promises.

    The detector takes its time for the past, and the camera is watched as before all the while. What burns in an ignore zone
    beside it does not count.
    """
    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0, ring_s=30.0, zones=(ZONE,))
        fire = Fire(worker, work)
        answer = work.sees

        def slowly(request: WorkRequest) -> Sequence[Detection]:
            time.sleep(0.03)
            return (replace(PILOT, zone=None), *answer(request))

        work.sees = slowly
        worker.until(lambda: fire.asked, "the first question", 60)
        began = len(worker.got.looked)
        analysis = analysed(worker)
        looked = [each.at_ns for each in worker.got.looked[began:]]
    assert max(later - earlier for earlier, later in itertools.pairwise(looked)) < NS, "live frames go on"
    assert worker.condition == "ok"
    first, shown = still(worker, "first_visible")
    last, before = still(worker, "last_clean")
    assert (shown, before) == (ONSET, ONSET - 1)
    assert (first.width_px, first.height_px) == chart.size
    assert analysis.first_visible.evidence == first.id
    assert analysis.first_visible.at_ns == first.time.captured_at_ns
    assert analysis.last_clean is not None
    assert analysis.last_clean.evidence == last.id
    assert (last.detections, first.detections) == ((PILOT,), (PILOT, WEAK))
    (confirmed,) = [each for each, _ in worker.got.stills if each.kind == "first_confirmed"]
    assert analysis.incident == first.incident == last.incident == confirmed.incident
    assert analysis.confirmed_at_ns == confirmed.time.captured_at_ns
    assert analysis.thresholds == {"fire": 0.25, "smoke": 0.25}
    assert analysis.ended == "clean"
    assert 3.0 <= analysis.clean_s < 4.0
    distance_s = analysis.first_visible.uncertainty_s - first.time.uncertainty_s
    assert distance_s == pytest.approx(1 / FPS, abs=0.005)
    assert [each.sighting for each in analysis.chain] == [False] + [True] * (len(analysis.chain) - 1)
    assert worker.got.order.index(first.id) < worker.got.order.index(analysis.id), "the stills come first"
    assert {each.kind for each in work.requests} == {"going_back"}
    assert {each.floor for each in work.requests} == {0.1}, "the plan's"
    assert len(fire.asked) == len(set(fire.asked)) <= 80


def test_the_past_is_searched_in_native_tiles_too(
    tmp_path_factory: pytest.TempPathFactory, start: Start, work: FakeWork
) -> None:
    """A picture larger than the detector's input: what only the tile round the place shows is found, to the frame."""
    path = tmp_path_factory.mktemp("wide") / "wide.mp4"
    wide = make_chart(path, size=(960, 640), fps=FPS, gop_s=1, seconds=16)
    live = Detection("fire", 0.9, (480.0, 300.0, 512.0, 340.0))
    numbers: list[int] = []

    def past(request: WorkRequest) -> Sequence[Detection]:
        if (request.width_px, request.height_px) != (INPUT_PX, INPUT_PX):  # the whole, which has the picture's number
            numbers.append(Chart.read_frame_number(work.pixels[-1]))
            return ()
        return (Detection("fire", 0.3, (154.0, 152.0, 166.0, 168.0)),) if numbers[-1] >= ONSET else ()

    with FarmThread([Camera("hall", wide.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0, ring_s=30.0)
        Fire(worker, work)
        alive = worker.detector.sees
        worker.detector.sees = lambda message, number: (live,) if alive(message, number) else ()
        work.sees = past
        analysis = analysed(worker)
    assert still(worker, "first_visible")[1] == ONSET
    x1, y1, x2, y2 = analysis.first_visible.box
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((496, 320), abs=8), (
        "in pixels of the picture, not of the tile"
    )


def test_burning_already_when_the_record_begins(chart: Chart, start: Start, work: FakeWork) -> None:
    """It burns since before the ring began: the first frame of the record, no last clean, and it says so."""
    asked: list[int] = []

    def past(_: WorkRequest) -> Sequence[Detection]:
        asked.append(Chart.read_frame_number(work.pixels[-1]))
        return (WEAK,)

    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0)
        worker.detector.sees, work.sees = lambda *_: (FIRE,), past
        analysis = analysed(worker)
    assert analysis.last_clean is None
    assert (analysis.ended, analysis.clean_s) == ("record_begins", 0.0)
    assert still(worker, "first_visible")[1] == min(asked)
    assert not [each for each, _ in worker.got.stills if each.kind == "last_clean"]


def test_a_detector_that_has_no_time_or_dies_is_asked_again(chart: Chart, start: Start, work: FakeWork) -> None:
    """Refused for a while, then gone in the middle: the same frames are asked about again, and the result is the same."""
    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0, ring_s=30.0)
        Fire(worker, work)
        work.outcome = lambda _: "overloaded"
        worker.until(lambda: len(work.requests) >= 2, "a refused question", 60)
        work.outcome = lambda _: "analysed"
        before = len(work.requests)
        worker.until(lambda: len(work.requests) >= before + 3, "questions that are answered", 60)
        for channel in work.channels:
            channel.close()
        analysis = analysed(worker)
    assert still(worker, "first_visible")[1] == ONSET
    assert analysis.ended == "clean"


def test_another_model_that_is_chosen_meanwhile_looks_at_everything(chart: Chart, start: Start, work: FakeWork) -> None:
    """What two models saw is never on record as what one did."""
    other = replace(work.model, name="other", sha256="ab" * 32)
    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0, ring_s=30.0)
        fire = Fire(worker, work)
        answer = work.sees

        def changing(request: WorkRequest) -> Sequence[Detection]:
            if len(fire.asked) == 3:
                work.model = other
            return answer(request)

        work.sees = changing
        analysis = analysed(worker)
    first, shown = still(worker, "first_visible")
    assert (shown, analysis.model, first.model) == (ONSET, other, other)
    assert analysis.looks == len(set(fire.asked)) + 1, "the confirming frame is not asked about"
    assert len(fire.asked) > len(set(fire.asked)), "what the first had seen was asked about again"


def test_what_stood_there_before_is_not_the_first_flame(tmp_path: Path, start: Start, work: FakeWork) -> None:
    """Something that the detector takes for smoke stands at the place all along; the flame itself is found, by what changed."""
    onset, foot = 4 * FPS, (160, 150)
    flame, standing = Detection("fire", 0.6, (140.0, 110.0, 180.0, 152.0)), Detection("smoke", 0.3, (150, 60, 185, 140))
    room = np.asarray(cv2.resize(wall(), (320, 240)), np.uint8)
    with Encoder(tmp_path / "c.mp4", Target(CODECS["h264"], (320, 240), Fraction(FPS), FPS, 2_000_000)) as encoder:
        for number in range(7 * FPS):
            picture = as_sent(room, number, quality=95)
            if number >= onset:
                Flame(1).draw(picture, foot, 40, number / FPS)
            encoder.add(av.VideoFrame.from_ndarray(picture, format="bgr24"))
    began: list[int] = []

    def live(message: FrameWaiting, _: int | None) -> Sequence[Detection]:
        began.append(message.pts)
        return (flame,) if message.pts - began[0] > 90_000 * 5.5 else ()

    def past(_: WorkRequest) -> Sequence[Detection]:
        burns = int(work.pixels[-1][foot[1] - 20 : foot[1] - 4, foot[0] - 6 : foot[0] + 6, 2].max()) > 200
        return (flame,) if burns else (standing,)

    with FarmThread([Camera("hall", tmp_path / "c.mp4", wait_for_viewer=True, at_end="hold")]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0, ring_s=30.0)
        worker.detector.sees, work.sees = live, past
        analysis = analysed(worker)
    first = analysis.first_visible
    assert first.label == "fire"
    assert (first.pts - began[0]) / 90_000 * FPS == pytest.approx(onset, abs=1.1)
    assert first.point == pytest.approx(foot, abs=6)
    assert analysis.last_clean is not None
