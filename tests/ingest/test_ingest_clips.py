# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker's clips: the camera's own bitstream, from the ring's beginning to after the incident's end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import pytest
from av.bitstream import BitStreamFilterContext

from daemon.clips.nal import units
from daemon.clips.reading import Fragment, Head, fragments, read_head
from daemon.clock import NS
from daemon.domain import Detection
from daemon.messages import FrameWaiting
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.encoder import Encoding
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.library import prepare
from daemon.simulate.truth import read_truth
from tests.ingest.worker_under_test import FIRE, FPS, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
pytestmark = pytest.mark.timeout(180)
QUICK = {
    "ring_s": 3.0, "clip_after_s": 1.5, "ended_after_s": 1.5, "unconfirmed_after_s": 1.5, "reference_s": 0.0,
    "patrol_s": 0.0,
}  # fmt: skip
SENDING_S = 0.02


def parts_of(content: bytes) -> tuple[Head, list[Fragment]]:
    """A clip's head and its fragments, each compared with its hash; fails where there is anything else."""
    with io.BytesIO(content) as file:
        head = read_head(file)
        found = list(fragments(file, head, checked_from=0))
    assert found[-1].end == len(content)
    return head, found


def numbers_in(content: bytes) -> list[int]:
    """The chart's numbers in the pictures that any player would decode."""
    with av.open(io.BytesIO(content)) as container:
        return [Chart.read_frame_number(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


def pixels_of(container: Any) -> list[bytes]:
    return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def burns(worker: WorkerUnderTest) -> Callable[[bool], None]:
    """Lets the fake detector see fire, or not."""
    state = {"burning": False}

    def sees(message: FrameWaiting, number: int | None) -> Sequence[Detection]:
        return (FIRE,) if state["burning"] else ()

    worker.detector.sees = sees
    return lambda burning: state.update(burning=burning)


@pytest.fixture(params=[pytest.param("H.264", marks=pytest.mark.slow), "H.264 with B-frames", "H.265"])
def source(
    request: pytest.FixtureRequest, chart: Chart, with_b_frames: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the camera plays."""
    made = {"H.264": chart.path, "H.264 with B-frames": with_b_frames}
    return made.get(request.param) or prepare(chart.path, Encoding(codec="hevc", gop=FPS), tmp_path_factory.mktemp("h"))


def test_a_clip_is_what_the_camera_sent(start: Start, source: Path) -> None:
    """From the ring's beginning until after the incident's end; each NAL unit and each decoded pixel is the source's."""
    with FarmThread([Camera("hall", source)]) as farm:
        worker = start(farm.url("hall"), **QUICK)
        burn = burns(worker)
        worker.until(lambda: worker.beat and worker.beat.ring_s > 2.8, "a full ring", 60)
        burn(True)
        worker.until(lambda: worker.got.parts, "a clip")
        burn(False)
        worker.until(lambda: worker.got.clips_ended, "the end of the clip", 40)
    (ended,) = [each.incident for each in worker.got.incidents if each.incident.state == "ended"]
    (content,) = worker.got.clips.values()
    head, found = parts_of(content)
    (end,) = worker.got.clips_ended
    assert (end.clip, end.closed) == (head.clip.id, "ended")
    assert (head.clip.cause, head.clip.run) == ("confirmed", worker.got.runs[-1].id)
    assert {each.incidents for each in found} == {(ended.id,)}
    frames = [frame for each in found for frame in each.frames]
    assert frames[0].key
    shown = {frame.pts for frame in frames}
    stills = {evidence.pts for evidence, _ in worker.got.stills if min(shown) <= evidence.pts <= max(shown)}
    assert stills
    assert stills <= shown, "a still's run and PTS name its frame"
    assert (ended.first_confirmed_at_ns or 0) - frames[0].at_ns > 2 * NS, "from the ring's beginning"
    assert frames[-1].at_ns - (ended.ended_at_ns or 0) > 1.2 * NS, "until after the end"
    for each in found:
        times = [frame.at_ns for frame in each.frames]
        assert max(times) - min(times) < 1.3 * NS, "fragments of a second, and what B-frames are shown later"
    check_pictures(source, content)


def check_pictures(source: Path, content: bytes) -> None:
    """The clip's pictures are the source's in a row, pixel for pixel; its NAL units are the source's, byte for byte."""
    with av.open(str(source)) as container:
        truth = pixels_of(container)
    with av.open(io.BytesIO(content)) as container:
        shown = {
            frame.pts: frame.to_ndarray().tobytes() for frame in container.decode(video=0) if frame.pts is not None
        }
    head, found = parts_of(content)
    assert len(shown) == sum(len(each.frames) for each in found)
    begin = min(shown)
    first = truth.index(shown[begin])
    for pts, pixels in shown.items():  # by their times: what is shown before the last one coded may be cut off
        assert pixels == truth[(first + round((pts - begin) * FPS / 90_000)) % len(truth)]
    coded = {unit for data in pictures_of(source, head.clip.codec) for unit in units(data)}
    for frame in (frame for each in found for frame in each.frames):
        for unit in units_in(content[frame.offset : frame.offset + frame.bytes]):
            assert unit in coded, "a NAL unit that the camera did not send"


def pictures_of(source: Path, codec: str) -> list[bytes]:
    with av.open(str(source)) as container:
        annexb = BitStreamFilterContext(f"{codec}_mp4toannexb", container.streams.video[0])
        packets = (packet if packet.size else None for packet in container.demux(container.streams.video[0]))
        return [bytes(out) for packet in packets for out in annexb.filter(packet)]


def units_in(sample: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(sample):
        size = int.from_bytes(sample[at : at + 4], "big")
        yield sample[at + 4 : at + 4 + size]
        at += 4 + size


@pytest.mark.parametrize("length_s", [3, pytest.param(15, marks=pytest.mark.slow)])
def test_each_frame_has_the_time_at_which_it_was_sent(
    start: Start, chart: Chart, tmp_path: Path, length_s: int
) -> None:
    """In UTC, within its own uncertainty (of one host: the farm's clock is the worker's) and 20 ms, beside what the farm's
    log says it was late itself; while the run's clock settles, and after.
    """
    with FarmThread([Camera("hall", chart.path)], truth=tmp_path / "truth.jsonl") as farm:
        worker = start(farm.url("hall"), **QUICK)
        burns(worker)(True)
        worker.until(lambda: sum(part.frames for part in worker.got.parts) >= length_s * FPS, "a clip", 60)
    (content,) = worker.got.clips.values()
    frames = [(frame, part.relative_uncertainty_s) for part in parts_of(content)[1] for frame in part.frames]
    sent = {
        line["frame"]: line for line in read_truth(tmp_path / "truth.jsonl") if "frame" in line and not line["loop"]
    }
    late_s = lateness_of(list(sent.values()))
    for number, (frame, uncertainty_s) in zip(numbers_in(content), frames, strict=True):
        error_s = abs(frame.at_ns / NS - sent[number]["time"])
        assert 0 < uncertainty_s < 0.2
        assert error_s <= uncertainty_s + SENDING_S + late_s[number], number


def lateness_of(sent: list[dict[str, Any]]) -> dict[int, float]:
    """By how much later than its RTP time says each picture was sent, against the one that was sent the most in time."""
    ticks = {line["frame"]: (line["rtp"] - sent[0]["rtp"]) % 2**32 for line in sent}
    behind_s = {line["frame"]: line["monotonic_ns"] / NS - ticks[line["frame"]] / 90_000 for line in sent}
    return {number: each - min(behind_s.values()) for number, each in behind_s.items()}


def test_the_recorders_death_begins_another_clip_without_a_missing_picture(start: Start, chart: Chart) -> None:
    """What was not acknowledged comes again from its key frame on, in a clip that says why it began."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), **QUICK)
        burns(worker)(True)
        worker.until(lambda: len(worker.got.parts) > 4, "a clip")
        worker.recorder.acknowledges = False
        count = len(worker.got.parts)
        worker.until(lambda: len(worker.got.parts) > count + 1, "a part that is not acknowledged")
        worker.recorder.die()
        worker.recorder.acknowledges = True
        worker.until(lambda: len(worker.got.clips) == 2, "another clip")
        worker.until(lambda: worker.got.parts[-1].from_byte > 0, "more of it")
    first, second = worker.got.clips.values()
    assert parts_of(second)[0].clip.cause == "recorder"
    durable = [each.last_pts for each in worker.got.parts if each.clip.id == parts_of(first)[0].clip.id][count - 1]
    assert parts_of(second)[1][0].frames[0].pts <= durable + 3600
    numbers = numbers_in(second)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_other_parameters_begin_another_clip_of_the_same_incident(start: Start, chart: Chart, tmp_path: Path) -> None:
    """A clip is of one run: the next run's is another one, which serves the same incident."""
    other = make_chart(tmp_path / "other.mp4", size=(352, 288), fps=FPS, gop_s=1, seconds=20)
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), **QUICK)
        burns(worker)(True)
        worker.until(lambda: len(worker.got.parts) > 3, "a clip")
        farm.command("hall", "change", str(other.path))
        worker.until(lambda: len(worker.got.clips) == 2, "another clip", 40)
        worker.until(lambda: worker.got.parts[-1].from_byte > 0, "more of it")
    (first, _), (second, parts) = (parts_of(content) for content in worker.got.clips.values())
    assert [each.closed for each in worker.got.clips_ended] == ["run"]
    assert (second.clip.cause, second.clip.width_px, first.clip.width_px) == ("run", 352, 320)
    assert first.clip.run != second.clip.run
    assert parts[0].incidents == worker.got.parts[0].incidents
    assert numbers_in(worker.got.clips[second.clip.id])


@pytest.mark.slow
def test_after_clip_max_key_frames_only(start: Start, chart: Chart) -> None:
    """A long fire goes on in the same clip, with its key frames; their times stay right."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), clip_max_s=2.0, **QUICK)
        burns(worker)(True)
        worker.until(lambda: worker.got.parts and worker.got.parts[-1].frames == 1, "a part of a key frame", 40)
        count = len(worker.got.parts)
        worker.until(lambda: len(worker.got.parts) > count + 2, "more of them")
    (content,) = worker.got.clips.values()
    frames = [frame for each in parts_of(content)[1] for frame in each.frames]
    assert all(frame.key for frame in frames[-3:])
    assert [later.pts - earlier.pts for earlier, later in zip(frames[-3:], frames[-2:], strict=False)] == [90_000] * 2
    with av.open(io.BytesIO(content)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert len(times) == len(frames)
    assert times[-1] - times[-2] == 90_000


@pytest.mark.slow
def test_what_the_recorder_does_not_take_waits_in_the_ring(start: Start, chart: Chart) -> None:
    """No part of a clip is dropped at the cap of what is unacknowledged; what the ring lost ends a clip as a hole."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), unacked_bytes=400_000, **QUICK)
        burn = burns(worker)
        burn(True)
        worker.until(lambda: len(worker.got.parts) > 2, "a clip")
        worker.recorder.acknowledges = False
        worker.until(lambda: worker.beat and worker.beat.unacked_bytes > 200_000, "much unacknowledged", 60)
        count = len(worker.got.parts)
        worker.pump(6)  # longer than the ring is
        assert len(worker.got.parts) <= count + 1
        assert worker.beat is not None
        assert worker.beat.unacked_bytes < 600_000
        worker.recorder.acknowledges = True
        worker.recorder.die()
        worker.until(lambda: len(worker.got.clips) == 2, "another clip", 40)
    heads = [parts_of(content)[0] for content in worker.got.clips.values()]
    assert [each.clip.cause for each in heads] == ["confirmed", "hole"]


def test_a_stop_ends_the_clip(start: Start, chart: Chart) -> None:
    """At a stop what is in the ring is sent, and the clip's end is told before the worker is gone."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), **QUICK)
        burns(worker)(True)
        worker.until(lambda: len(worker.got.parts) > 2, "a clip")
        worker.stop()
        worker.until(lambda: worker.ended, "its end")
    assert [each.closed for each in worker.got.clips_ended] == ["stop"]
