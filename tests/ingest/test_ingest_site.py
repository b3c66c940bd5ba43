# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker keeps while an incident runs on another camera of its site: a clip, and stills where that is not enough."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.clock import NS
from daemon.ids import new_id
from daemon.messages import SiteBurns
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.truth import read_truth
from tests.ingest.test_ingest_clips import QUICK, burns, check_pictures, numbers_in, parts_of
from tests.ingest.worker_under_test import FPS, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
pytestmark = pytest.mark.timeout(180)


def site_burns(worker: WorkerUnderTest, *incidents: str) -> None:
    """What the supervisor says of the site's other cameras."""
    worker.control.send(SiteBurns(incidents=incidents))


def full_ring(worker: WorkerUnderTest) -> None:
    worker.until(lambda: worker.beat and worker.beat.ring_s > 2.8, "a full ring", 60)


def test_ring_and_what_follows_become_a_clip_of_the_other_s_incident(start: Start, chart: Chart) -> None:
    """From the ring's beginning, as the camera sent it; whole for its time after, then key frames until it is over there."""
    fire = new_id()
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), sibling_s=1.5, **QUICK)
        full_ring(worker)
        site_burns(worker, fire)
        began_ns = time.time_ns()
        worker.until(lambda: worker.got.stills, "a still")
        worker.until(lambda: [part.frames for part in worker.got.parts[-2:]] == [1, 1], "key frames only", 40)
        site_burns(worker)
        worker.until(lambda: worker.got.clips_ended, "the end of the clip", 40)
    evidence, _ = worker.got.stills[0]
    assert (evidence.kind, evidence.incident, evidence.model) == ("sibling", fire, None)
    assert worker.got.incidents == [], "nothing burns here"
    (content,) = worker.got.clips.values()
    head, found = parts_of(content)
    assert (head.clip.cause, worker.got.clips_ended[0].closed) == ("sibling", "ended")
    assert {(each.incidents, each.sibling_of) for each in found} == {((), (fire,))}
    assert {part.sibling_of for part in worker.got.parts} == {(fire,)}
    frames = [frame for each in found for frame in each.frames]
    assert began_ns - frames[0].at_ns > 2 * NS, "from the ring's beginning"
    follows = [frame for frame in frames if frame.at_ns > began_ns + 0.3 * NS]
    whole = [frame for frame in follows if frame.at_ns < began_ns + 1.4 * NS]
    assert len(whole) >= FPS, "whole for its time"
    assert all(frame.key for frame in follows if frame.at_ns > began_ns + 2 * NS)
    assert evidence.pts in {frame.pts for frame in frames}
    check_pictures(chart.path, content)


@pytest.mark.slow
def test_one_clip_serves_all_that_burns_here_and_elsewhere(start: Start, chart: Chart) -> None:
    """Several incidents of the site, and one of its own meanwhile: no frame twice, and each fragment says for whom."""
    first, second = new_id(), new_id()
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), **QUICK)
        burn = burns(worker)
        full_ring(worker)
        site_burns(worker, first)
        worker.until(lambda: worker.got.parts, "a clip")
        burn(True)
        worker.until(lambda: worker.beat and worker.beat.confirmed, "an incident of its own")
        site_burns(worker, first, second)
        worker.until(lambda: worker.got.parts[-1].sibling_of == (first, second), "the clip serves the second too")
        burn(False)
        site_burns(worker)
        worker.pump(2)
        assert not worker.got.clips_ended, "60 s after the first"
        worker.stop()
        worker.until(lambda: worker.ended, "its end")
    (own,) = {each.incident.id for each in worker.got.incidents if each.incident.state == "confirmed"}
    (content,) = worker.got.clips.values()
    _, found = parts_of(content)
    assert (found[0].incidents, found[0].sibling_of) == ((), (first,))
    assert (found[-1].incidents, found[-1].sibling_of) == ((own,), (first, second))
    numbers = numbers_in(content)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_with_key_frames_only_the_last_pictures_of_a_loss_are_kept(start: Start, chart: Chart, tmp_path: Path) -> None:
    """The frames since its last key frame are in the ring when a camera falls silent: they may show what took it."""
    with FarmThread([Camera("hall", chart.path)], truth=tmp_path / "truth.jsonl") as farm:
        worker = start(farm.url("hall"), sibling_s=0.5, **QUICK)
        full_ring(worker)
        site_burns(worker, new_id())
        worker.until(lambda: [part.frames for part in worker.got.parts[-2:]] == [1, 1], "key frames only", 40)
        farm.command("hall", "refuse")
        worker.until(lambda: worker.got.clips_ended, "the end of the clip", 40)
    sent = [line["frame"] for line in read_truth(tmp_path / "truth.jsonl") if "frame" in line]
    (content,) = worker.got.clips.values()
    numbers = numbers_in(content)
    assert numbers[-1] >= sent[-1] - 1, "what FFmpeg had of the last picture"
    from_key = [number for number in numbers if number >= numbers[-1] // FPS * FPS]
    assert from_key == list(range(from_key[0], numbers[-1] + 1))


def kept(worker: WorkerUnderTest) -> list[int]:
    """Moments of what is kept, in order: frames of clips, and stills."""
    filmed = [
        frame.at_ns for content in worker.got.clips.values() for each in parts_of(content)[1] for frame in each.frames
    ]
    return sorted([*filmed, *(evidence.time.captured_at_ns for evidence, _ in worker.got.stills)])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_between_key_frames_that_are_far_from_one_another(start: Start, tmp_path: Path, where: str) -> None:
    """A key frame every 5 s, and a clip with key frames only: stills see to it that the last good frame is at most 2 s old."""
    long_gops = make_chart(tmp_path / "long.mp4", size=(320, 240), fps=10, gop_s=5, seconds=10)
    with FarmThread([Camera("hall", long_gops.path)]) as farm:
        plan = QUICK | {"ring_s": 6.0, "clip_max_s": 0.5, "sibling_s": 0.5, "thinning": (), "max_interval_s": 2.0}
        worker = start(farm.url("hall"), **plan)
        worker.until(lambda: worker.beat and worker.beat.ring_s > 5.5, "a full ring", 60)
        if where == "here":
            burns(worker)(True)
        else:
            site_burns(worker, new_id())
        worker.until(lambda: worker.got.parts, "a clip", 40)
        began_ns = time.time_ns()
        worker.until(lambda: len(worker.got.parts) > 1 and time.time_ns() > began_ns + 8 * NS, "8 s of it", 40)
    late = [at_ns for at_ns in kept(worker) if at_ns > began_ns + NS]
    assert max(after - before for before, after in itertools.pairwise(late)) <= 2.1 * NS
    assert late[-1] - late[0] > 4 * NS


@pytest.mark.slow
def test_while_the_recorder_is_slow_there_are_stills(start: Start, chart: Chart) -> None:
    """What of the clip is not durable in time is kept as stills beside it; they stop once it has caught up."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), **QUICK)
        full_ring(worker)
        site_burns(worker, new_id())
        worker.until(lambda: len(worker.got.parts) > 4, "a clip")
        worker.recorder.acknowledges = False
        begun = len(worker.got.stills)
        worker.until(lambda: len(worker.got.stills) >= begun + 3, "stills", 40)
        worker.recorder.acknowledges = True
        worker.recorder.die()  # it comes again, and takes what it was not asked about
        count = len(worker.got.parts)
        worker.until(lambda: len(worker.got.parts) > count + 3, "another clip", 40)
        worker.pump(2)
        caught_up = len(worker.got.stills)
        worker.pump(4)
    assert len(worker.got.stills) == caught_up


@pytest.mark.slow
def test_without_a_usable_ring_there_are_stills(start: Start, chart: Chart) -> None:
    """A GOP beyond the ring's cap: what is decoded for the detector is kept, at least every 2 s."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), **QUICK | {"ring_bytes": 1000, "max_interval_s": 0.5})
        worker.until(lambda: worker.beat and not worker.beat.ring_available, "a ring that cannot hold a GOP")
        site_burns(worker, new_id())
        worker.until(lambda: len(worker.got.stills) >= 4, "stills")
    at_ns = [evidence.time.captured_at_ns for evidence, _ in worker.got.stills]
    apart = [after - before for before, after in itertools.pairwise(at_ns)]
    assert all(0.9 * NS <= each <= 2.1 * NS for each in apart), apart
    assert worker.got.parts == []
