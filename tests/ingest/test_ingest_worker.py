# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker at its seams: a real RTSP server before it, and supervisor, detector and recorder played by the test."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from daemon.ingest.plan import Credentials
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.farm import Camera, Encoding, FarmThread
from daemon.simulate.truth import read_truth
from daemon.storage.still import read_record
from tests.ingest.worker_under_test import FIRE, FPS, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]


def numbers(worker: WorkerUnderTest) -> list[int | None]:
    """Picture numbers of what the detector was given."""
    return [each.number for each in worker.got.looked]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Where the farm writes what it really sent."""
    return tmp_path / "truth.jsonl"


def test_a_quiet_camera_gives_its_key_frames(chart: Chart, start: Start) -> None:
    """While all is quiet exactly the key frames are analysed, and nothing is kept of them."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 4, "four key frames")
        seen = [number for number in numbers(worker) if number is not None]
        assert all(number % FPS == 0 for number in seen)
        assert seen == list(range(seen[0], seen[0] + FPS * len(seen), FPS))
        worker.until(lambda: worker.got.watermarks[-1:] and worker.got.watermarks[-1].frames_watched >= 4, "watermark")
        assert worker.got.watermarks[-1].condition == "ok"
        assert worker.got.watermarks[-1].in_row >= 3
        assert worker.got.runs[0].cause == "connected"
        assert (worker.got.runs[0].width_px, worker.got.runs[0].height_px) == chart.size
        assert worker.got.stills == []


def test_key_frames_too_far_apart_are_not_enough(long_gop_chart: Chart, start: Start) -> None:
    """With a key frame every 5 s, a frame is analysed every max_interval all the same."""
    with FarmThread([Camera("hall", long_gop_chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), max_interval_s=1.0)
        worker.until(lambda: len(worker.got.looked) >= 10, "ten frames")
        pts_s = [each.message.pts / 90_000 for each in worker.got.looked]
        steps = np.diff(pts_s)
        assert steps.max() <= 1.2
        assert steps[5:].min() > 0.5, "and no more often than needed"


def test_a_suspicion_makes_it_look_closely_and_back(chart: Chart, start: Start, truth: Path) -> None:
    """From the first suspicion on: the current GOP so far, then active_fps a second, until the incident is over."""
    burning = range(50, 150)
    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)], truth=truth) as farm:
        worker = start(farm.url("hall"), ended_after_s=2.0, unconfirmed_after_s=2.0)
        worker.detector.sees = lambda _, number: (FIRE,) if number in burning else ()
        worker.until(lambda: any(each.incident.state == "ended" for each in worker.got.incidents), "the incident's end")
        seen = [number for number in numbers(worker) if number is not None]
        assert seen[: seen.index(50) + 1] == [0, 25, 50]
        active = seen[seen.index(50) : seen.index(50) + 20]
        assert set(np.diff(active)) == {5}, "the GOP so far and what follows, five a second, none left out"
        states = [each.incident.state for each in worker.got.incidents]
        assert states == ["suspect", "confirmed", "ended"]
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 3, "quiet again")
        assert all(number is not None and number % FPS == 0 for number in numbers(worker)[count + 1 :])
        kinds = [evidence.kind for evidence, _ in worker.got.stills]
        assert kinds[0] == "first_suspect"
        assert kinds.count("first_confirmed") == 1
        assert kinds.count("hit") == len(range(50, 150, 5)) - 2
        assert "context" in kinds
        ids = {each.incident.id for each in worker.got.incidents}
        assert {evidence.incident for evidence, _ in worker.got.stills} == ids
        check_stills(worker, chart)
        check_times(worker, truth)


def test_a_sighting_makes_it_look_again(chart: Chart, start: Start) -> None:
    """What is weaker than what counts, in a key frame: the frames after it are looked at for three seconds, then key frames only.

    Nothing is suspected of it, nothing kept. At the same place it does so again only after half a minute.
    """
    weak = replace(FIRE, confidence=0.25)
    with FarmThread([Camera("hall", chart.path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), thresholds={"fire": 0.4, "smoke": 0.4})
        worker.detector.sees = lambda _, number: (weak,) if number is not None and number >= 50 else ()
        worker.until(lambda: FPS * 8 in numbers(worker), "eight seconds of film")
        seen = [number for number in numbers(worker) if number is not None]
        assert seen[: seen.index(50) + 1] == [0, 25, 50]
        closely = [number for number in seen if number % FPS]
        assert closely[0] <= 50 + 2 * FPS // 5
        assert 2.2 * FPS <= closely[-1] - closely[0] <= 3 * FPS + FPS, "until the GOP's end"
        assert set(np.diff([number for number in seen if closely[0] <= number <= closely[-1]])) == {5}
        assert worker.got.incidents == []
        assert worker.got.stills == []


def check_stills(worker: WorkerUnderTest, chart: Chart) -> None:
    """Each file holds its record, shows the picture that it says, in full size and with the chart's colours."""
    for evidence, jpeg in worker.got.stills:
        assert read_record(jpeg) == evidence
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (chart.size[1], chart.size[0], 3)
        assert evidence.damage == "no"
        looked = next(each for each in worker.got.looked if each.message.pts == evidence.pts)
        assert Chart.read_frame_number(np.asarray(pixels, np.uint8)) == looked.number
        for x, y, colour in chart.patches:
            worst = np.abs(pixels[y, x].astype(int) - colour).max()
            assert worst <= 3, (x, y, pixels[y, x], colour)


def check_times(worker: WorkerUnderTest, truth: Path) -> None:
    """Each still's time is that at which its picture left the camera."""
    sent = {line["frame"]: line for line in read_truth(truth) if line.get("loop") == 0 and "rtp" in line}
    for evidence, _ in worker.got.stills:
        looked = next(each for each in worker.got.looked if each.message.pts == evidence.pts)
        error_s = evidence.time.captured_at_ns / 1e9 - sent[looked.number]["time"]
        assert abs(error_s) < 0.2 + 1 / FPS
        assert abs(error_s) <= evidence.time.relative_uncertainty_s + 0.02
        assert evidence.time.camera_clock_ns is not None
        assert abs(evidence.time.camera_clock_ns / 1e9 - sent[looked.number]["time"]) < 0.2
        assert evidence.time.uncertainty_s >= evidence.time.relative_uncertainty_s


def test_a_cameras_clock_is_told(chart: Chart, start: Start) -> None:
    """By its sender reports, against this host's: an hour ahead; None of a camera that sends none."""
    ahead, silent = Camera("ahead", chart.path, clock_offset=3600.0), Camera("silent", chart.path, clock_offset=None)
    with FarmThread([ahead, silent]) as farm:
        workers = start(farm.url("ahead")), start(farm.url("silent"))
        for worker in workers:
            worker.until(lambda worker=worker: len(worker.got.looked) >= 3, "frames")  # type: ignore[misc]
        workers[0].until(lambda: workers[0].beat and workers[0].beat.camera_clock_offset_s is not None, "its clock")
        assert workers[0].beat is not None
        assert workers[0].beat.camera_clock_offset_s == pytest.approx(3600, abs=0.3)
        beats = len(workers[1].got.beats)
        workers[1].until(lambda: len(workers[1].got.beats) > beats, "a beat")
        assert {beat.camera_clock_offset_s for beat in workers[1].got.beats} == {None}


def test_a_stall_is_told_and_survived(chart: Chart, start: Start) -> None:
    """A camera that stays connected and sends nothing is `stalled` within the time-out, and watched again after it."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 2, "frames")
        farm.command("hall", "stall")
        began = time.monotonic()
        worker.until(lambda: worker.condition == "stalled", "stalled")
        assert time.monotonic() - began < 2 + 2.5
        worker.until(lambda: worker.beat and worker.beat.reconnects >= 1, "the end of the connection")
        assert worker.got.watermarks[-1].condition == "stalled"
        farm.command("hall", "resume")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 2 and worker.condition == "ok", "frames again", 30)
        assert [run.cause for run in worker.got.runs] == ["connected", "connected"]
        assert len({run.id for run in worker.got.runs}) == 2


def test_beats_go_on_during_a_stall(chart: Chart, start: Start) -> None:
    """The loop never waits for the camera: beats and watermarks come every second all the while."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 1, "a frame")
        farm.command("hall", "silent")
        beats, marks = len(worker.got.beats), len(worker.got.watermarks)
        worker.pump(3.5)
        assert len(worker.got.beats) - beats >= 3
        assert len(worker.got.watermarks) - marks >= 3
        worker.stop()
        began = time.monotonic()
        worker.until(lambda: worker.ended, "its end", 3)
        assert time.monotonic() - began < 1


def test_refused_credentials(chart: Chart, start: Start) -> None:
    """Wrong credentials are `refused` and not tried again soon; right ones are percent-encoded."""
    with FarmThread([Camera("hall", chart.path)], user="op@era/tor", password="p:w?#% ä") as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.condition == "refused", "refused")
        assert worker.beat is not None
        assert worker.beat.state == "waiting"
        worker.pump(2.5)
        assert worker.beat.reconnects == 1, "one try, then 60 s"
        right = start(farm.url("hall"), credentials=Credentials("op@era/tor", "p:w?#% ä"))
        right.until(lambda: right.got.looked, "a frame")


def test_a_closed_connection_is_a_new_run(chart: Chart, start: Start) -> None:
    """When the camera closes the connection the worker comes back, and what follows is another run."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 2, "frames")
        farm.command("hall", "drop")
        worker.until(lambda: len(worker.got.runs) >= 2, "a second run")
        worker.until(lambda: worker.condition == "ok", "ok")
        assert worker.beat is not None
        assert worker.beat.reconnects == 1


def test_a_camera_whose_password_cannot_be_read_is_not_asked(start: Start) -> None:
    """It is told as refused, with the reason: without its password it would refuse, and lock the account in the end."""
    worker = start("rtsp://127.0.0.1:9/hall", no_password="hall: password_file: hall.password cannot be read")
    worker.until(lambda: worker.beat and worker.beat.condition == "refused", "a beat that says so")
    assert worker.beat is not None
    assert worker.beat.detail == "hall: password_file: hall.password cannot be read"


def test_a_new_connection_has_no_packet_yet(chart: Chart, start: Start) -> None:
    """Who watches the worker is told of this connection's packets alone: of an older one it would look stuck."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.beat and worker.beat.packet_mono_ns, "a beat with a packet")
        farm.command("hall", "stall")
        worker.until(
            lambda: worker.got.beats[-1].reconnects >= 1 and worker.got.beats[-1].state == "streaming", "another"
        )
        farm.command("hall", "resume")
        worker.until(lambda: worker.condition == "ok", "ok", 30)
        on = [beat for beat in worker.got.beats if beat.state in ("connecting", "streaming")]
        assert all(beat.packet_mono_ns is None or beat.packet_mono_ns >= beat.since_mono_ns for beat in on)
        assert any(beat.packet_mono_ns is None for beat in on)


@pytest.mark.parametrize("fault", ["stall", "silent"])
def test_a_stall_does_not_last(chart: Chart, start: Start, fault: str) -> None:
    """It streams no longer than twice read_timeout without a packet, whatever open_timeout is."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), open_timeout_s=8.0, read_timeout_s=2.0)
        worker.until(lambda: len(worker.got.looked) >= 1, "a frame")
        farm.command("hall", fault)
        began = time.monotonic()
        worker.until(lambda: worker.beat and worker.beat.state != "streaming", "the end of the connection")
        assert time.monotonic() - began < 2 * 2 + 1.0 + 0.5, "and a second until it is told"


def test_a_refusing_camera_is_unreachable(chart: Chart, start: Start) -> None:
    """A camera that answers 503 is `unreachable`, for as long as it does."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.got.looked, "a frame")
        farm.command("hall", "refuse")
        worker.until(lambda: worker.condition == "unreachable" and worker.beat and worker.beat.reconnects >= 2, "it")
        farm.command("hall", "resume")
        worker.until(lambda: worker.condition == "ok", "ok", 30)


@pytest.mark.parametrize("fault", [("jump", 30), ("restart", None)])
def test_timestamps_that_break_begin_a_run(chart: Chart, start: Start, fault: tuple[str, Any]) -> None:
    """A jump of the timestamps, or a camera that starts them anew, begins a run; the connection stays."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 2, "frames")
        farm.command("hall", *fault)
        worker.until(lambda: len(worker.got.runs) >= 2, "a second run")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 3, "frames after it")
        assert worker.got.runs[1].cause in {"pts", "connected"}


def test_other_parameters_begin_a_run(chart: Chart, start: Start, tmp_path: Path) -> None:
    """A camera that comes back with another resolution is another run, with that size."""
    other = make_chart(tmp_path / "other.mp4", size=(640, 480), fps=FPS, gop_s=1, seconds=4)
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 2, "frames")
        farm.command("hall", "change", str(other.path))
        worker.until(
            lambda: any((run.width_px, run.height_px) == (640, 480) for run in worker.got.runs), "the other size"
        )
        assert not worker.ended


@pytest.mark.parametrize("fault", ["loss", "corrupt"])
def test_damage_is_marked_and_survived(chart: Chart, start: Start, fault: str) -> None:
    """Lost and corrupt packets never kill the worker; what may be damaged says so, and later frames are clean again."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 3, "stills")
        farm.command("hall", fault, 0.3)
        worker.until(lambda: any(evidence.damage == "yes" for evidence, _ in worker.got.stills), "damage", 30)
        worker.pump(3)
        farm.command("hall", "resume")
        count = len(worker.got.stills)
        worker.until(lambda: worker.got.stills[count:] and worker.got.stills[-1][0].damage == "no", "a clean still", 30)
        assert not worker.ended


def test_h265_never_says_undamaged(chart: Chart, start: Start, tmp_path: Path) -> None:
    """H.265 is decoded too; its damage is not known."""
    camera = Camera("hall", chart.path, Encoding(codec="hevc", gop=25))
    with FarmThread([camera], cache=tmp_path) as farm:
        worker = start(farm.url("hall"))
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 3, "stills", 30)
        assert {evidence.damage for evidence, _ in worker.got.stills} == {"not_known"}
        assert worker.got.runs[0].codec == "hevc"


def test_a_dead_recorder_gets_everything_again_in_order(chart: Chart, start: Start) -> None:
    """What was not acknowledged is sent again to the next recorder, in the old order; what was is not."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.incidents) >= 2 and len(worker.got.stills) >= 4, "what is acknowledged")
        confirmed = worker.got.incidents[-1].incident
        assert confirmed.state == "confirmed"
        acknowledged = set(worker.got.order)
        worker.recorder.acknowledges = False
        worker.until(lambda: len(worker.got.order) >= len(acknowledged) + 6, "records that are not")
        before = [each for each in worker.got.order if each not in acknowledged]
        worker.recorder.die()
        worker.got.order.clear()
        worker.recorder.acknowledges = True
        worker.until(lambda: len(worker.got.order) > len(before), "all of them again")
        assert worker.got.order[1 : len(before) + 1] == before
        assert acknowledged.isdisjoint(worker.got.order)
        assert len(worker.got.hellos) == 2
        again = worker.got.incidents[-1]
        assert again.id == worker.got.order[0], "the incident that is open, before all else"
        assert replace(again.incident, place=confirmed.place, max_confidence=confirmed.max_confidence) == confirmed
        worker.until(lambda: worker.beat and worker.beat.unacked_bytes < 200_000, "an empty outbox")


def test_at_most_32_are_in_flight(chart: Chart, start: Start) -> None:
    """A recorder that does not acknowledge is given 32 records and no more."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), active_fps=25)
        worker.recorder.acknowledges = False
        worker.detector.sees = lambda *_: (FIRE,)
        given = lambda: len(worker.got.order) + len(worker.got.parts)  # noqa: E731 — a clip's parts are records too
        worker.until(lambda: given() >= 32, "32 records")
        worker.pump(1.5)
        assert given() == 32
        assert worker.beat is not None
        assert worker.beat.unacked_bytes > 0


def test_a_full_disk_makes_it_keep_and_then_drop_the_least(chart: Chart, start: Start) -> None:
    """While the disk is full nothing is sent; at the cap hits go, firsts stay, and what went is told."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), active_fps=25, unacked_bytes=300_000)
        worker.recorder.disk = "full"
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: worker.condition == "disk", "the condition")
        worker.until(lambda: worker.beat and worker.beat.unacked_bytes > 250_000, "the cap")
        worker.pump(2)
        assert worker.beat is not None
        assert worker.beat.unacked_bytes <= 300_000
        assert worker.got.order == []
        assert worker.got.watermarks[-1].frames_watched == 0, "what cannot be stored was not watched"
        worker.recorder.say("ok")
        worker.until(lambda: worker.got.dropped and len(worker.got.stills) >= 3, "what was kept")
        kinds = [evidence.kind for evidence, _ in worker.got.stills]
        assert kinds[:2] == ["first_suspect", "first_confirmed"]
        assert worker.got.dropped[0].count > 0
        worker.until(lambda: worker.condition == "ok", "ok")


def test_without_a_detector_nothing_is_sent(chart: Chart, start: Start) -> None:
    """A worker without a detector says so, and goes on with the next one's hello."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.detector.there = False
        worker.until(lambda: worker.condition == "detector", "the condition")
        assert worker.got.looked == []
        worker.detector.there = True
        worker.detector.hello()
        worker.until(lambda: len(worker.got.looked) >= 2 and worker.condition == "ok", "frames")


def test_a_restarted_detector_is_given_frames_anew(chart: Chart, start: Start) -> None:
    """A detector that dies with all buffers in its hands takes none of them with it."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), max_interval_s=1.0)
        worker.detector.answers = False
        worker.until(lambda: len(worker.detector.held) >= 3, "three frames in its hands")
        worker.until(lambda: worker.condition == "detector", "the condition")
        assert len({each.buffer for each in worker.detector.held}) == 3
        worker.detector.name, worker.detector.answers = "detector-2", True
        worker.detector.hello()
        worker.until(lambda: worker.condition == "ok" and worker.got.watermarks[-1].frames_watched >= 2, "frames")


def test_a_slow_detector_is_an_overload(chart: Chart, start: Start) -> None:
    """A detector that answers too seldom is told as `overload`, with the measured interval."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), max_interval_s=0.5)
        worker.detector.answers = False
        worker.until(lambda: len(worker.detector.held) >= 1, "a frame")
        began = time.monotonic()

        def slowly() -> bool:
            if worker.detector.held and time.monotonic() - began > 2.5:
                worker.detector.answer(worker.detector.held.pop(0))
            return worker.condition == "overload"

        worker.until(slowly, "overload")


def test_frames_are_never_written_over(chart: Chart, start: Start) -> None:
    """A buffer in the detector's hands is never announced again before it was returned."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), active_fps=25)
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 3, "an active camera")
        worker.detector.answers = False
        worker.pump(1)
        buffers = [each.buffer for each in worker.detector.held]
        assert len(buffers) == len(set(buffers)) <= 3
