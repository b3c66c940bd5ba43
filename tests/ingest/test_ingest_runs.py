# SPDX-License-Identifier: AGPL-3.0-or-later
"""What breaks a run and what does not: parameters, codec, timestamps that wrap, jump, or are missing; B-frames."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from daemon.clock import HostClocks
from daemon.ingest.colour import Converter
from daemon.ingest.frames import Frames, Picture
from daemon.ingest.packet import Packet
from daemon.ingest.parameters import parameter_sets
from daemon.ingest.plan import WorkerPlan
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.encoder import Encoding
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.library import prepare
from tests.ingest.worker_under_test import FIRE, FPS, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
PLAN = WorkerPlan(
    camera="hall", url="rtsp://127.0.0.1/hall", version="0", recorder_socket="/none", thresholds={"fire": 0.5}
)
STEP_NS = 40_000_000
STEP = 3600
TICKS = Fraction(1, 90_000)
WRAP = 1 << 33


def coded(path: Path, codec: str = "h264") -> list[tuple[bytes, bool, int]]:
    """A file's pictures in the order of decoding, as a camera sends them: data, key, place in the order of display."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annexb = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
        tick = 1 / (FPS * Fraction(stream.time_base or 1))
        return [
            (bytes(out), out.is_keyframe, round((out.pts or 0) / tick))
            for packet in container.demux(stream)
            for out in annexb.filter(packet if packet.size else None)
        ]


def fed(
    pictures: list[tuple[bytes, bool, int]], pts: Callable[[int], int | None], dts: Callable[[int], int | None]
) -> tuple[list[str], list[tuple[Picture, int | None]]]:
    """Why runs began, and what came out of decoding all, with the chart's number, where packets had these times."""
    frames, causes, seen = Frames(PLAN, HostClocks()), [], []
    frames.opened("h264", None, TICKS)
    frames.eyes.active = True
    for place, (data, key, shown) in enumerate(pictures):
        at_ns = (place + 1) * STEP_NS
        before = frames.run
        frames.add(Packet(data, pts(shown), dts(place), key=key, emitted_ns=at_ns, arrival_ns=at_ns))
        if frames.run is not before and frames.run is not None:
            causes.append(frames.run.cause)
        while frames.waiting:
            if (picture := frames.step()) is not None:
                small = Converter().small(picture.frame, picture.colour, 320)
                seen.append((picture, Chart.read_frame_number(small)))
    return causes, seen


def test_a_wrap_of_the_timestamps_begins_a_run(chart: Chart) -> None:
    """33 bits at 90 kHz come round after a day; the frames before and after keep their time and their order."""
    pictures = coded(chart.path)[: 4 * FPS]
    causes, seen = fed(pictures, lambda n: (WRAP - 2 * FPS * STEP + n * STEP) % WRAP, lambda _: None)
    assert causes == ["connected", "pts"]
    numbers = [number for _, number in seen]
    assert numbers == sorted(numbers)
    assert len(seen) >= 4 * 5 - 2
    moments = [picture.mono_ns for picture, _ in seen]
    assert all(
        abs((later - first) / STEP_NS - (b - a)) < 0.01
        for first, later, a, b in zip(moments, moments[1:], numbers, numbers[1:], strict=False)
    )
    assert len({picture.run.id for picture, _ in seen}) == 2


@pytest.mark.parametrize("jump_s", [-30, -1.5, 1.5, 30])
def test_a_jump_of_the_timestamps_begins_a_run(chart: Chart, jump_s: float) -> None:
    """Either way, by more than a second."""
    jump = round(jump_s * 90_000)
    causes, _ = fed(coded(chart.path)[: 4 * FPS], lambda n: 10**7 + n * STEP + (jump if n >= 50 else 0), lambda n: n)
    assert causes == ["connected", "pts"]


def test_missing_dts_is_borne(chart: Chart) -> None:
    """Nothing goes by DTS: where it is missing, always or now and then, frames come as before and the run goes on."""
    pictures = coded(chart.path)[: 3 * FPS]
    every, seen = fed(pictures, lambda n: n * STEP, lambda n: n * STEP)
    for dts in (lambda _: None, lambda n: None if n % 3 else n * STEP):
        causes, found = fed(pictures, lambda n: n * STEP, dts)
        assert causes == every == ["connected"]
        assert [(picture.pts, number, picture.damage) for picture, number in found] == [
            (picture.pts, number, picture.damage) for picture, number in seen
        ]
    assert len(seen) >= 14


def test_a_missing_pts_costs_that_frame_alone(chart: Chart) -> None:
    """A frame without a time is not analysed; those that need it to be decoded are."""
    pictures = coded(chart.path)[: 3 * FPS]
    causes, seen = fed(pictures, lambda n: None if n % 10 == 5 else n * STEP, lambda _: None)
    assert causes == ["connected"]
    assert len(seen) >= 12
    assert all(number is not None and number * STEP == picture.pts for picture, number in seen)


def test_b_frames_keep_their_numbers(with_b_frames: Path) -> None:
    """Frames that are decoded in another order than they are shown have each their own time; no run breaks."""
    pictures = coded(with_b_frames)[: 4 * FPS]
    shown = [place for _, _, place in pictures]
    assert shown != sorted(shown), "there are B-frames in it"
    first = min(shown)
    causes, seen = fed(pictures, lambda n: n * STEP, lambda _: None)
    assert causes == ["connected"]
    assert len(seen) >= 17
    assert [picture.pts // STEP - first for picture, _ in seen] == [number for _, number in seen]


def test_a_camera_with_b_frames(with_b_frames: Path, chart: Chart, start: Start) -> None:
    """At the seam: quiet, its key frames; on fire, five a second in the order of their times; one run; none is damaged."""
    with FarmThread([Camera("hall", with_b_frames)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 3, "key frames")
        assert all(each.number is not None and each.number % FPS == 0 for each in worker.got.looked)
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 8, "stills")
        assert len(worker.got.runs) == 1
        looked = [each for each in worker.got.looked if each.number is not None]
        steps = np.diff([each.message.pts for each in looked]) / STEP
        numbers = np.diff([each.number or 0 for each in looked])
        assert list(np.rint(steps)) == [step % 500 for step in numbers]
        assert {evidence.damage for evidence, _ in worker.got.stills} == {"no"}


def test_other_parameter_sets_begin_a_run(chart: Chart, start: Start, tmp_path: Path) -> None:
    """Also where the picture keeps its size: here its range of levels changes, which goes into the record."""
    other = make_chart(tmp_path / "full.mp4", size=chart.size, fps=FPS, gop_s=1, seconds=6, range_="full")
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 2, "stills")
        farm.command("hall", "change", str(other.path))
        worker.until(lambda: any(run.cause == "parameters" for run in worker.got.runs), "another run")
        run = worker.got.runs[-1]
        assert (run.width_px, run.height_px) == chart.size
        worker.until(lambda: [e for e, _ in worker.got.stills if e.run == run.id][2:], "stills of it")
        ranges = {evidence.run: evidence.colour[1] for evidence, _ in worker.got.stills}
        assert ranges == {worker.got.runs[0].id: "limited", run.id: "full"}


def test_another_codec_begins_a_run(chart: Chart, start: Start, tmp_path: Path) -> None:
    """A camera that comes back with H.265 under the same address is another run, of that codec, and is decoded."""
    other = prepare(chart.path, Encoding(codec="hevc", gop=FPS), tmp_path)
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 2, "frames")
        farm.command("hall", "change", str(other))
        farm.command("hall", "drop")
        worker.until(lambda: worker.got.runs and worker.got.runs[-1].codec == "hevc", "a run of the other codec")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 2 and worker.condition == "ok", "its frames")
        assert all(each.number is not None for each in worker.got.looked[count:])


def test_parameter_sets_are_found(chart: Chart, tmp_path: Path) -> None:
    """Before the first slice of a key frame, in both codecs; a picture without them says nothing."""
    hevc = prepare(chart.path, Encoding(codec="hevc", gop=FPS), tmp_path)
    for codec, path in (("h264", chart.path), ("hevc", hevc)):
        pictures = coded(path, codec)
        sets = {parameter_sets(codec, data) for data, key, _ in pictures if key}
        assert len(sets) == 1
        assert None not in sets
        assert {parameter_sets(codec, data) for data, key, _ in pictures if not key} == {None}
    key = next(data for data, is_key, _ in coded(chart.path) if is_key)
    twice = b"".join(b"\0\0\0\1" + each for each in parameter_sets("h264", key).split(b"\0\0\1")) + key  # type: ignore[union-attr]
    assert parameter_sets("h264", twice) == parameter_sets("h264", key), "each counts once"
    for data in (b"", b"\x00\x00\x01", b"\x00" * 50, bytes(range(256))):
        assert parameter_sets("h264", data) is None
        assert parameter_sets("hevc", data) is None
