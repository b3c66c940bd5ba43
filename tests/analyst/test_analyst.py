# SPDX-License-Identifier: AGPL-3.0-or-later
"""The analyst: a stored clip is searched as the ring is, and what it finds goes to the recorder, the only writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
import cv2
import msgspec
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

from daemon import wire
from daemon.analyst import incident as incident_module
from daemon.analyst import recording
from daemon.analyst.analysing import go_back
from daemon.analyst.handing import hand_over
from daemon.analyst.process import look_after
from daemon.analyst.recording import read_clip
from daemon.clips.mp4 import Sample, fragment, header
from daemon.clock import NS, host_clocks
from daemon.domain import Clip, Detection, Evidence, FrameTime, ModelInfo
from daemon.errors import FirewitnessError, PeerGone
from daemon.ids import new_id
from daemon.ingest.concluding import Outcome, Subject, subject_of
from daemon.ingest.plan import WorkerPlan
from daemon.memory import sealed
from daemon.messages import AnalystHello, IncidentChanged, Message, StillTaken, ToWorkerFromRecorder
from daemon.origin.outline import Outline
from daemon.simulate.chart import Chart, make_chart
from tests.storage.recorder_under_test import Host, Worker

FPS, SECONDS, ONSET = 25, 12, 137
BEGIN_NS = 1_795_449_909 * NS
INCIDENT = new_id()
MODEL = ModelInfo("cd" * 32, "another", "none", 320)
FIRE = Detection("fire", 0.6, (40.0, 40.0, 80.0, 80.0))
PLAN = WorkerPlan(
    camera="hall", url="", version="0.1.0", recorder_socket="", input_px=320, thresholds={"fire": 0.3, "smoke": 0.35}
)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Numbered pictures, a key frame every second."""
    path = tmp_path_factory.mktemp("chart") / "chart.mp4"
    return make_chart(path, size=(320, 240), fps=FPS, gop_s=1, seconds=SECONDS)


@pytest.fixture
def clip(chart: Chart, tmp_path: Path) -> tuple[Path, Clip]:
    """The chart as the recorder keeps a clip: a fragment a second, each with its frames' times."""
    return kept(chart, tmp_path, range(FPS * SECONDS), lambda number: BEGIN_NS + number * NS // FPS)


def kept(chart: Chart, folder: Path, numbers: range, at_ns: Callable[[int], int]) -> tuple[Path, Clip]:
    """Those pictures of the chart, from a key frame on, as a clip of a run; `at_ns` tells when each was seen."""
    clip = Clip(new_id(), "hall", new_id(), (1, 90_000), "h264", 320, 240, 0, "confirmed", "0.1.0")
    with av.open(str(chart.path)) as container:
        stream = container.streams.video[0]
        filters = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [out for each in container.demux(stream) for out in filters.filter(each if each.size else None)]
        assert stream.time_base is not None
        ticks = [round(Fraction(each.pts or 0) * stream.time_base * 90_000) for each in packets]
        samples = [
            Sample(
                bytes(packets[number]),
                ticks[number],
                ticks[number],
                3600,
                packets[number].is_keyframe,
                False,
                at_ns(number),
            )
            for number in numbers
        ]
    path = folder / f"{clip.id}.mp4"
    time = FrameTime(0, 0.05, 0.03, True, False)
    with path.open("wb") as file:
        head = header(clip, [samples[0].data])
        for number, begin in enumerate(range(0, len(samples), FPS)):
            file.write(fragment(clip, number + 1, samples[begin : begin + FPS], time, [], b"" if number else head))
    return path, clip


def subject(clip: Clip, number: int = FPS * SECONDS - 1) -> Subject:
    """Confirmed by that picture of the clip."""
    at_ns = BEGIN_NS + number * NS // FPS
    evidence = Evidence(
        new_id(), "hall", "first_confirmed", clip.run, number * 3600, (1, 90_000),
        FrameTime(at_ns, 0.05, 0.03, True, False), 320, 240, (FIRE,), INCIDENT, MODEL, {"fire": 0.3, "smoke": 0.35},
        "no", ("bt709", "limited"), "0.1.0",
    )  # fmt: skip
    return subject_of(evidence, (0.125, 0.16, 0.25, 0.33), ["fire"], source="clip")


def detect(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
    """Sees it from ONSET on."""
    return ((Detection("fire", 0.2, FIRE.box),) if Chart.read_frame_number(pixels) >= ONSET else ()), MODEL


def found(clip: tuple[Path, Clip]) -> Outcome:
    return go_back(subject(clip[1]), read_clip(clip[0], host_clocks()), PLAN, detect, host_clocks())


def test_a_stored_clip_is_searched_to_the_frame(clip: tuple[Path, Clip]) -> None:
    """The same search as in the worker: exact frame, its stored time, by the model that was asked."""
    analysis, stills = found(clip)
    first = analysis.first_visible
    assert (first.pts, first.run) == (ONSET * 3600, clip[1].run)
    assert first.at_ns == BEGIN_NS + ONSET * NS // FPS
    assert first.uncertainty_s == pytest.approx(0.05 + 1 / FPS, abs=1e-6)
    assert (analysis.source, analysis.model, analysis.ended) == ("clip", MODEL, "clean")
    shown = {
        evidence.kind: Chart.read_frame_number(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
        for evidence, jpeg in stills
    }
    assert shown == {"last_clean": ONSET - 1, "first_visible": ONSET}


@pytest.mark.parametrize("there", [True, False])
def test_the_record_says_what_the_components_were_drawn_on(
    clip: tuple[Path, Clip], chart: Chart, tmp_path: Path, there: bool
) -> None:
    """The hash of that picture's file, and how the view of now lay to it; without the file, that it cannot be told."""
    path = tmp_path / "view.jpg"
    if there:
        with av.open(str(chart.path)) as container:
            cv2.imwrite(str(path), next(container.decode(video=0)).to_ndarray(format="bgr24"))
    drawn = Outline("motor", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
    plan = msgspec.structs.replace(PLAN, components=(drawn,), components_view=str(path))
    outcome = go_back(subject(clip[1]), read_clip(clip[0], host_clocks()), plan, detect, host_clocks())
    view = outcome.analysis.component.view
    assert view is not None
    assert view.reference_sha256 == (hashlib.sha256(path.read_bytes()).hexdigest() if there else None)
    assert view.verdict == ("same" if there else "cannot_tell")


def test_frames_are_in_the_order_of_their_pts_whatever_their_times_say(chart: Chart, tmp_path: Path) -> None:
    """A clock that settles tells the times of earlier fragments later than they were: 0.5 s in those before 5 s."""

    def settling(number: int) -> int:
        return BEGIN_NS + number * NS // FPS + (NS // 2 if number < 5 * FPS else 0)

    path, told = kept(chart, tmp_path, range(FPS * SECONDS), settling)

    def burns(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
        seen = Chart.read_frame_number(pixels) >= 5 * FPS + 2
        return ((Detection("fire", 0.2, FIRE.box),) if seen else ()), MODEL

    analysis = go_back(subject(told), read_clip(path, host_clocks()), PLAN, burns, host_clocks()).analysis
    first, last = analysis.first_visible, analysis.last_clean
    assert last is not None
    assert (first.pts, last.pts) == ((5 * FPS + 2) * 3600, (5 * FPS + 1) * 3600)
    assert first.at_ns == settling(5 * FPS + 2)


def test_a_model_that_is_chosen_meanwhile_looks_at_everything(clip: tuple[Path, Clip]) -> None:
    """Else what the one saw would be on record as the other's."""
    packets, asked = read_clip(clip[0], host_clocks()), []

    def changing(pixels: NDArray[np.uint8], every: int) -> tuple[Sequence[Detection], ModelInfo]:
        asked.append(Chart.read_frame_number(pixels))
        number = min(len(asked), 12) // every
        return detect(pixels)[0], ModelInfo(f"{number:02x}" * 32, f"model {number}", "none", 320)

    outcome = go_back(subject(clip[1]), packets, PLAN, partial(changing, every=10), host_clocks())
    assert outcome.analysis.model.name == "model 1"
    assert outcome.analysis.first_visible.pts == ONSET * 3600
    assert {evidence.model.name for evidence, _ in outcome.stills if evidence.model} == {"model 1"}
    assert outcome.analysis.looks == len(asked) - 10 + 1, (
        "all again, and the confirming frame, which is not asked about"
    )


def test_a_clip_is_read_as_far_as_it_was_confirmed(clip: tuple[Path, Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fire of hours fills more than memory may hold; what is asked about is at its beginning."""
    path, told = clip
    until = told.run, 7 * 90_000
    packets = read_clip(path, host_clocks(), until=until)
    assert 7 <= max(each.pts or 0 for each in packets) / 90_000 < 10
    size_bytes = sum(len(each.data) for each in packets)
    monkeypatch.setattr(recording, "MOST_BYTES", size_bytes)
    assert len(read_clip(path, host_clocks(), until=until)) == len(packets)
    with pytest.raises(FirewitnessError, match="before the confirmation"):
        read_clip(path, host_clocks())
    chosen = subject(told, 7 * FPS)
    assert go_back(chosen, packets, PLAN, detect, host_clocks()).analysis.first_visible.pts == ONSET * 3600


def test_a_wall_clock_that_was_set_back_between_two_runs_mixes_nothing(chart: Chart, tmp_path: Path) -> None:
    """By three seconds at 5 s: the clean frames of before are before the fire, whatever UTC they have."""
    split, step_ns = 5 * FPS, -3 * NS
    before, _ = kept(chart, tmp_path, range(split), lambda number: BEGIN_NS + number * NS // FPS)
    after, told = kept(
        chart, tmp_path, range(split, FPS * SECONDS), lambda number: BEGIN_NS + step_ns + number * NS // FPS
    )
    packets = [*read_clip(before, host_clocks(), step_ns), *read_clip(after, host_clocks())]
    analysis = go_back(subject(told), packets, PLAN, detect, host_clocks()).analysis
    first, last = analysis.first_visible, analysis.last_clean
    assert last is not None
    assert (first.run, first.pts, last.pts) == (told.run, ONSET * 3600, (ONSET - 1) * 3600)
    assert (analysis.ended, analysis.doubt and "record_begins" in analysis.doubt.why) == ("clean", False)


def test_a_clip_that_was_cut_is_read_as_far_as_it_goes(clip: tuple[Path, Clip]) -> None:
    """A kill in the middle of a fragment: what is before it is searched."""
    path, told = clip
    path.write_bytes(path.read_bytes()[:-2000])
    outcome = go_back(
        subject(told, FPS * (SECONDS - 1) - 1), read_clip(path, host_clocks()), PLAN, detect, host_clocks()
    )
    assert outcome.analysis.first_visible.pts == ONSET * 3600


@pytest.mark.parametrize("seconds", [10, 8, 5])
def test_a_clip_that_a_kill_cut_before_the_confirming_frame(clip: tuple[Path, Clip], seconds: int) -> None:
    """The confirming still stands for what is lost: exact where the beginning is held, else between the last frame and it."""
    packets = [each for each in read_clip(clip[0], host_clocks()) if (each.pts or 0) < seconds * 90_000]
    analysis = go_back(subject(clip[1]), packets, PLAN, detect, host_clocks()).analysis
    first, last = analysis.first_visible, analysis.last_clean
    assert last is not None
    if seconds * FPS > ONSET:
        assert (first.pts, last.pts) == (ONSET * 3600, (ONSET - 1) * 3600)
        return
    assert first.pts == (FPS * SECONDS - 1) * 3600
    assert last.pts == (seconds * FPS - 1) * 3600
    assert first.uncertainty_s == pytest.approx(0.05 + (FPS * SECONDS - seconds * FPS) / FPS, abs=1e-3)


def test_what_is_no_clip_is_said_in_a_sentence(tmp_path: Path, clip: tuple[Path, Clip]) -> None:
    """Of somebody else's file, an absent one, and a clip that does not hold the frame."""
    other = tmp_path / "other.mp4"
    other.write_bytes(b"\0" * 100)
    for path in (other, tmp_path / "absent.mp4"):
        with pytest.raises(FirewitnessError, match="cannot be read"):
            read_clip(path, host_clocks())
    with pytest.raises(FirewitnessError, match="holds nothing of before"):
        go_back(subject(clip[1], -1), read_clip(clip[0], host_clocks()), PLAN, detect, host_clocks())


def test_an_incident_that_breaks_the_analyst_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest comes first at each start: behind one that always breaks, none would ever be gone back for."""
    begun = []

    def breaks(_settings: object, _index: object, incident: str) -> None:
        begun.append(incident)
        if incident == "newest":
            raise ValueError("a record that is none")

    monkeypatch.setattr(incident_module, "analyse_incident", breaks)
    look_after(cast("Any", None), cast("Any", None), ["newest", "older"])
    assert begun == ["newest", "older"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose recorder is running."""
    host = Host(tmp_path)
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    yield host
    host.close()


def test_the_recorder_stores_it_beside_the_camera_s_worker(host: Host, clip: tuple[Path, Clip]) -> None:
    """Durable when it returns; twice, the second names the first; the worker keeps its connection and its incident."""
    worker = Worker(host)
    worker.connect()
    worker.began()
    worker.incident("suspect")
    worker.settle()
    outcome, again = found(clip), found(clip)
    hand_over(host.runtime_dir / "recorder.sock", "hall", outcome)
    hand_over(host.runtime_dir / "recorder.sock", "hall", again)
    named = [(body["id"], body["previous"]) for body in host.bodies("analysis")]
    assert named == [(outcome.analysis.id, None), (again.analysis.id, outcome.analysis.id)]
    assert sorted(body["kind"] for body in host.bodies("stored")) == sorted(["last_clean", "first_visible"] * 2)
    worker.take()
    worker.settle()
    assert not worker.ended()
    assert host.bodies("incident")[-1]["state"] == "suspect"


def test_an_analyst_can_store_nothing_else(host: Host) -> None:
    """Neither an incident nor a hit: its connection ends."""
    recorder = host.runtime_dir / "recorder.sock"
    worker = Worker(host)  # only makes what is sent
    incident, hit = worker.incident("suspect"), worker.evidence()
    refused: list[tuple[Message, list[int]]] = [
        (IncidentChanged(id=new_id(), at_ns=1, incident=incident), []),
        (StillTaken(evidence=hit), [sealed("still", worker.jpeg(hit))]),
    ]
    for message, descriptors in refused:
        channel: wire.Channel[Any] = wire.Channel(wire.connect(recorder), ToWorkerFromRecorder)
        channel.settimeout(20)
        channel.send(AnalystHello(camera="hall"))
        assert channel.receive() is not None
        channel.send(message, descriptors)
        with pytest.raises(PeerGone):
            channel.receive()
        channel.close()
        for each in descriptors:
            os.close(each)
    assert host.bodies("incident") == host.bodies("stored") == []
