# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker keeps without the detector: reference stills, and captures of what is in the ring and still comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from daemon.clock import NS
from daemon.domain import Evidence
from daemon.ids import new_id
from daemon.ingest.ring import Ring
from daemon.messages import Capture
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.farm import Camera, FarmThread
from daemon.storage.still import read_record
from tests.ingest.test_ingest_parts import FRAME_NS, packet
from tests.ingest.worker_under_test import FIRE, FPS, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
MARGIN_NS = NS // 2  # by which a run's clock, still settling, can be off


def ask(worker: WorkerUnderTest, before_s: float, after_s: float, every_s: float = 0.2) -> tuple[str, int]:
    """Its incident, and when it was asked for."""
    asked = Capture(incident=new_id(), reason="panel 3", before_s=before_s, after_s=after_s, every_s=every_s)
    worker.control.send(asked)
    return asked.incident, time.time_ns()


def until_ended(worker: WorkerUnderTest, incident: str) -> list[tuple[Evidence, bytes]]:
    """The capture's stills."""
    worker.until(lambda: states(worker, incident)[-1:] == ["ended"], "the capture's end", 30)
    return [each for each in worker.got.stills if each[0].kind == "manual"]


def states(worker: WorkerUnderTest, incident: str) -> list[str]:
    return [each.incident.state for each in worker.got.incidents if each.incident.id == incident]


def number_in(jpeg: bytes) -> int:
    pixels: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return Chart.read_frame_number(pixels)


def test_a_capture_has_what_was_before_and_what_comes(chart: Chart, start: Start) -> None:
    """Five stills a second without a hole, of both sides of the moment; the detector is given what it would be given."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.beat and worker.beat.ring_s >= 2.5, "2.5 s in the ring")
        incident, asked_ns = ask(worker, 2, 1.2)
        worker.until(lambda: worker.beat and worker.beat.capture == incident, "the beat says so")
        stills = until_ended(worker, incident)
        numbers = [number_in(jpeg) for _, jpeg in stills]
        steps = np.diff(numbers) % (20 * FPS)
        assert set(steps) <= {FPS // 5 - 1, FPS // 5, FPS // 5 + 1}, "while the run settles, by a frame more or less"
        assert abs(steps.mean() - FPS / 5) < 0.5
        times_ns = [evidence.time.captured_at_ns for evidence, _ in stills]
        assert times_ns[0] <= asked_ns - 1.5 * NS
        assert times_ns[-1] >= asked_ns + 0.8 * NS
        assert 13 <= len(stills) <= 18
        for evidence, jpeg in stills:
            assert read_record(jpeg) == evidence
            assert (evidence.incident, evidence.model, evidence.detections) == (incident, None, ())
            assert (evidence.width_px, evidence.height_px, evidence.reduced_from_px) == (*chart.size, None)
        assert states(worker, incident) == ["confirmed", "ended"]
        [told, ended] = [each.incident for each in worker.got.incidents]
        assert (told.kind, told.reason, told.labels) == ("manual", "panel 3", ())
        assert ended.ended_at_ns is not None
        assert told.first_suspect_at_ns - MARGIN_NS <= times_ns[0]
        assert times_ns[-1] <= ended.ended_at_ns + MARGIN_NS
        assert all(each.number is not None and each.number % FPS == 0 for each in worker.got.looked)
        assert worker.condition == "ok"
        worker.until(lambda: worker.beat and worker.beat.capture == "", "the beat says that it is over")


def test_what_is_left_of_earlier_runs_keeps_its_own_times(chart: Chart, start: Start) -> None:
    """After a broken connection: each still has its run, which was told, and the PTS and moment that it had in it."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.beat and worker.beat.ring_s >= 1, "1 s in the ring")
        farm.command("hall", "drop")
        worker.until(lambda: len(worker.got.runs) >= 2 and worker.condition == "ok", "a second run")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) > count, "a key frame")
        incident, _ = ask(worker, 20, 0)
        stills = [evidence for evidence, _ in until_ended(worker, incident)]
        runs = list(dict.fromkeys(evidence.run for evidence in stills))
        assert runs == [run.id for run in worker.got.runs]
        times_ns = [evidence.time.captured_at_ns for evidence in stills]
        assert times_ns == sorted(times_ns)
        for run in worker.got.runs:
            own = [evidence for evidence in stills if evidence.run == run.id]
            since_ns = [evidence.time.captured_at_ns - evidence.pts * NS // 90_000 for evidence in own]
            assert max(since_ns) - min(since_ns) < NS // 10, "one clock a run"
            assert abs(own[0].time.captured_at_ns - run.started_at_ns) < 2 * NS


def test_without_a_ring_it_takes_what_comes(start: Start, tmp_path: Any) -> None:
    """A GOP that is larger than the ring: the frames that are decoded for the detector are kept until its end."""
    chart = make_chart(tmp_path / "long.mp4", size=(320, 240), fps=FPS, gop_s=10, seconds=20)
    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), max_interval_s=0.5, ring_bytes=20_000)
        worker.until(lambda: worker.beat and not worker.beat.ring_available, "a ring that cannot hold a GOP")
        incident, asked_ns = ask(worker, 1, 2)
        stills = until_ended(worker, incident)
        assert len(stills) >= 3
        assert all(asked_ns - NS - MARGIN_NS <= evidence.time.captured_at_ns for evidence, _ in stills)


def test_a_capture_waits_for_the_disk(chart: Chart, start: Start) -> None:
    """It fills half of what may wait and no more, so that the detector's finds have room; then it goes on."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), unacked_bytes=200_000)
        worker.until(lambda: worker.beat and worker.beat.ring_s >= 3, "3 s in the ring")
        worker.recorder.say("full")
        incident, _ = ask(worker, 3, 0, every_s=0.04)
        worker.until(lambda: worker.beat and worker.beat.unacked_bytes >= 100_000, "half of it")
        worker.pump(1.5)
        assert worker.beat is not None
        assert worker.beat.unacked_bytes < 150_000
        assert states(worker, incident) == []
        worker.recorder.say("ok")
        assert len(until_ended(worker, incident)) >= 50
        assert worker.got.dropped == []


def test_a_capture_beside_an_incident_outlives_the_recorder(chart: Chart, start: Start) -> None:
    """Another recorder is told first that both go on; what the detector sees is kept as without the capture."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.beat and worker.beat.ring_s >= 1, "a ring")
        worker.detector.sees = lambda *_: (FIRE,)
        incident, _ = ask(worker, 1, 2)
        worker.until(lambda: states(worker, incident) == ["confirmed"] and worker.got.stills, "its beginning")
        worker.recorder.die()
        manual = until_ended(worker, incident)
        assert states(worker, incident) == ["confirmed", "confirmed", "ended"]
        assert {evidence.incident for evidence, _ in manual} == {incident}
        firsts = [evidence for evidence, _ in worker.got.stills if evidence.kind == "first_confirmed"]
        assert len({evidence.id for evidence in firsts}) == 1
        assert firsts[0].incident != incident


def test_reference_stills_come_in_their_interval(start: Start, tmp_path: Any) -> None:
    """Small, of what is decoded anyway, whatever the detector sees or whether there is one; their records say so."""
    chart = make_chart(tmp_path / "large.mp4", size=(1280, 720), fps=FPS, gop_s=1, seconds=8)
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), reference_s=1.0)
        worker.detector.there = False
        worker.until(lambda: len(worker.got.stills) >= 4, "four stills")
        for evidence, jpeg in worker.got.stills:
            assert read_record(jpeg) == evidence
            assert (evidence.kind, evidence.incident, evidence.model) == ("reference", None, None)
            assert (evidence.width_px, evidence.height_px) == (960, 540)
            assert evidence.reduced_from_px == (1280, 720)
            assert number_in(jpeg) % FPS == 0, "a key frame"
        times_ns = [evidence.time.captured_at_ns for evidence, _ in worker.got.stills]
        steps_s = np.diff(times_ns) / NS
        assert steps_s.min() > 0.9
        assert steps_s.max() < 2.2, "due just after a key frame, it is the next"
        assert worker.got.incidents == []
        assert worker.got.runs[0].id == worker.got.stills[0][0].run
        assert worker.got.order[0] == worker.got.runs[0].id


def test_a_picture_that_is_small_already_is_not_reduced(chart: Chart, start: Start) -> None:
    """Nothing is enlarged, and nothing is said to be a copy of something else. 0 s: none."""
    with FarmThread([Camera("hall", chart.path), Camera("yard", chart.path)]) as farm:
        worker, other = start(farm.url("hall"), reference_s=1.0), start(farm.url("yard"), reference_s=0.0)
        worker.until(lambda: worker.got.stills, "a still")
        [(evidence, _), *_] = worker.got.stills
        assert (evidence.width_px, evidence.height_px, evidence.reduced_from_px) == (*chart.size, None)
        other.until(lambda: len(other.got.looked) >= 2, "frames")
        assert other.got.stills == []


def test_the_ring_s_packets_have_numbers() -> None:
    """They count on when old ones go; a moment's number is that of the key frame before it."""
    ring = Ring(4, 10**9)
    for place in range(1000):
        ring.add(packet(place, key=place % 25 == 0))
    assert ring.added == 1000
    first = ring.numbered_from(0)[0].pts
    assert ring.number_at(0) == first
    assert ring.number_at(960 * FRAME_NS) == 950
    assert [each.pts for each in ring.numbered_from(990)] == list(range(990, 1000))
    assert ring.numbered_from(1000) == []
