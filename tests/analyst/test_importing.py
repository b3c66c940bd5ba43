# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recording from elsewhere: kept byte for byte, its times claimed, looked through and gone back over."""

from __future__ import annotations

import gc
import hashlib
import json
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import jsonschema
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import PictureType
from numpy.typing import NDArray

from daemon.analyst import incident as incident_module
from daemon.analyst.confirming import Confirmed, Nothing, confirm
from daemon.analyst.foreign import read_recording
from daemon.analyst.handing import Recorder, connected
from daemon.analyst.importing import import_recording
from daemon.analyst.incident import analyse_incident
from daemon.cli import main
from daemon.clips.decoding import NoSuchFrame, decode
from daemon.clips.ordering import shown
from daemon.clock import NS, host_clocks
from daemon.control import Control
from daemon.domain import Clip, Detection, ModelInfo, Run
from daemon.errors import FirewitnessError
from daemon.ids import new_id
from daemon.ingest.colour import Converter, colour_of
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.rewinding import Rewinding
from daemon.ingest.snapshot import Snapshot
from daemon.messages import ClipFragment, ImporterHello
from daemon.settings import Settings
from daemon.simulate.chart import Chart, make_chart
from daemon.storage.queries import Index
from daemon.storage.schemas import LINES
from daemon.storage.verify import verify
from tests.storage.analysis_kit import analysis_of
from tests.storage.recorder_under_test import Host, wait_for

FPS, SECONDS, ONSET = 10, 9, 52
START_NS = 1_795_449_909 * NS
MODEL = ModelInfo("cd" * 32, "another", "none", 320)
PLAN = WorkerPlan(
    camera="hall", url="", version="0.1.0", recorder_socket="", input_px=320, thresholds={"fire": 0.3, "smoke": 0.35}
)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered pictures, a key frame every second."""
    path = tmp_path_factory.mktemp("chart") / "chart.mp4"
    return make_chart(path, size=(320, 240), fps=FPS, gop_s=1, seconds=SECONDS).path


@pytest.fixture(scope="module")
def mkv(chart: Path) -> Path:
    """The same in another container."""
    path = chart.with_suffix(".mkv")
    with av.open(str(chart)) as source, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    return path.rename(path.with_suffix(".phone"))  # what it is called says nothing


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host whose recorder is running."""
    host = Host(tmp_path_factory.mktemp("host"))
    host.storage = {"runtime_dir": str(host.runtime_dir)}
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    yield host
    host.close()


def detect(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
    """Sees it from ONSET on."""
    burns = Chart.read_frame_number(pixels) >= ONSET
    return ((Detection("fire", 0.6, (40.0, 40.0, 80.0, 80.0)),) if burns else ()), MODEL


def nothing(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
    return (), MODEL


def index_of(settings: Settings) -> Index:
    return Index(Path(settings.storage.root), host_clocks())


def kept(host: Host) -> list[Path]:
    return sorted(path for path in (host.root / "evidence").rglob("*") if path.is_file())


def test_a_recording_is_stored_and_gone_back_over(host: Host, mkv: Path) -> None:
    """Byte for byte with its claimed times; exact first visible frame; again says that it is there; all is verified."""
    settings = host.settings()
    index = index_of(settings)
    done = import_recording(settings, index, mkv, START_NS, "imported", detect)
    (body,) = [body for body in host.bodies("stored") if body["kind"] == "clip"]
    assert (host.root / body["path"]).read_bytes() == mkv.read_bytes()
    assert body["sha256"] == hashlib.sha256(mkv.read_bytes()).hexdigest()
    assert (body["path"].endswith(".mkv"), body["camera"], body["captured_at_ns"]) == (True, "imported", str(START_NS))
    assert (body["clip"]["times"], body["clip"]["cause"], body["clip"]["frames"]) == (
        "claimed",
        "imported",
        FPS * SECONDS,
    )
    assert done.analysis is not None
    assert done.analysis.times == "claimed"
    assert abs(done.analysis.first_visible.at_ns - START_NS - ONSET * NS // FPS) <= 1_000_000
    incident = index.incident_one(done.incident)
    assert incident is not None
    assert (incident["kind"], incident["state"], incident["reason"]) == ("imported", "ended", mkv.name)
    assert index.clips_of(done.incident)[0]["times"] == "claimed"
    stills = index.evidence_page(incident=done.incident)["items"]
    told = {(each["kind"], each["times"]) for each in stills}
    assert told == {(kind, "claimed") for kind in ("first_confirmed", "first_visible", "last_clean")}
    again = import_recording(settings, index, mkv, START_NS + NS, "imported", detect)
    assert (again.known, again.clip, again.incident, again.start_ns) == (True, done.clip, done.incident, START_NS)
    third = analyse_incident(settings, index, done.incident, detect)
    assert third.times == "claimed"
    assert [each["previous"] for each in index.analyses(done.incident)][-1] is None
    assert len(index.analyses(done.incident)) == 3
    assert index.unanalysed() == []
    assert verify(host.root).findings == ()
    for path in (host.root / "ledger").iterdir():
        for line in map(json.loads, path.read_text().splitlines()):
            jsonschema.validate(line, LINES[line["kind"]])


def test_what_nothing_burns_in_is_kept_and_looked_at_again(host: Host, chart: Path) -> None:
    """As not confirmed; other weights can confirm it later."""
    settings = host.settings()
    index = index_of(settings)
    done = import_recording(settings, index, chart, START_NS, "neighbour", nothing)
    incident = index.incident_one(done.incident)
    assert incident is not None
    assert (done.analysis, incident["state"], incident["camera"]) == (None, "unconfirmed", "neighbour")
    again = import_recording(settings, index, chart, START_NS, "neighbour", detect)
    incident = index.incident_one(done.incident)
    assert incident is not None
    assert (again.incident, incident["state"]) == (done.incident, "ended")
    assert again.analysis is not None
    assert verify(host.root).findings == ()


def test_each_mistake_is_a_sentence_and_leaves_nothing(host: Host, chart: Path, tmp_path: Path) -> None:
    """Of what is no video, absent, empty, in the future, or under a camera's name."""
    before = kept(host)
    settings, now_ns = host.settings(), time.time_ns()
    index = index_of(settings)
    text, empty, playlist = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "list.m3u8"
    text.write_bytes(b"no video" * 1000)
    empty.touch()
    other = tmp_path / "other.mp4"
    other.write_bytes(chart.read_bytes() + b"\0\0\0\x08free")  # another file, and none that is there already
    far = tmp_path / "far.mkv"
    with av.open(str(chart)) as source, av.open(str(far), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.pts = packet.dts = (packet.pts or 0) * 10**12  # as damage has it
                packet.stream = video
                target.mux(packet)
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{chart}\n#EXT-X-ENDLIST\n")
    for path, start_ns, camera, said in (
        (text, START_NS, "imported", "no video that can be read"),
        (playlist, START_NS, "imported", "no video that can be read"),
        (empty, START_NS, "imported", "is empty"),
        (tmp_path, START_NS, "imported", "is no file"),
        (tmp_path / "absent.mp4", START_NS, "imported", "cannot be read"),
        (other, now_ns + 60 * NS, "imported", "lies in the future"),
        (other, 10**21, "imported", "a moment after the year 9998 lies in the future"),
        (other, now_ns - NS, "imported", "would end at"),
        (far, START_NS, "imported", "would end at a moment after the year 9998"),
        (other, START_NS, "hall", "is, or was, a camera"),
        (other, START_NS, "../up", "a name has"),
    ):
        with pytest.raises(FirewitnessError, match=said):
            import_recording(settings, index, path, start_ns, camera, detect)
    full = settings.model_copy(update={"storage": settings.storage.model_copy(update={"reserve": 10**16})})
    with pytest.raises(FirewitnessError, match=r"less than storage\.reserve"):
        import_recording(full, index, other, START_NS, "imported", detect)
    assert kept(host) == before


def test_an_import_that_is_broken_off_leaves_nothing(host: Host, chart: Path) -> None:
    """The command ends: half a file is no evidence."""
    before = kept(host)
    run = Run(new_id(), "imported", START_NS, 0, (1, 90_000), "vp9", 320, 240, "imported")
    clip = Clip(new_id(), "imported", run.id, (1, 90_000), "vp9", 320, 240, 0, "imported", "0.1.0", container="mkv")
    part = ClipFragment(
        id=new_id(), clip=clip, from_byte=0, incidents=(new_id(),), frames=20 * FPS, first_pts=0, last_pts=20 * 90_000,
        first_at_ns=START_NS, last_at_ns=START_NS + 20 * NS,
    )  # fmt: skip
    with connected(host.runtime_dir / "recorder.sock", ImporterHello(camera="imported")) as to:
        to.give_run(run)
        to._send(part, part.id, chart.read_bytes()[:50_000])
        assert ".open" in [path.suffix for path in kept(host)]
    wait_for(lambda: kept(host) == before, "the half to go")
    assert host.bodies("segment") == []
    assert verify(host.root).findings == ()


def test_an_import_that_a_kill_ended_before_its_still_is_made_good_by_the_next(
    host: Host, chart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident was stored as confirmed, what confirmed it was not: the same bytes again bring it."""
    settings = host.settings()
    index, path = index_of(settings), tmp_path / "killed.mp4"
    path.write_bytes(chart.read_bytes() + b"\0\0\0\x0cfree4444")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "_give_stills", killed)
    with pytest.raises(KeyboardInterrupt):
        import_recording(settings, index, path, START_NS, "killed", detect)
    monkeypatch.undo()
    done = import_recording(settings, index, path, START_NS, "killed", detect)
    assert done.known
    assert done.analysis is not None
    kinds = [each["kind"] for each in index.evidence_page(incident=done.incident)["items"]]
    assert sorted(kinds) == ["first_confirmed", "first_visible", "last_clean"]
    assert verify(host.root).findings == ()


def test_two_imports_of_one_file_at_once_are_one(host: Host, chart: Path, tmp_path: Path) -> None:
    """Looking through takes minutes, in which somebody can lose patience and begin again."""
    settings = host.settings()
    index, path = index_of(settings), tmp_path / "twice.mp4"
    path.write_bytes(chart.read_bytes() + b"\0\0\0\x0cfree7777")
    others = []

    def meanwhile(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
        if not others:
            others.append(import_recording(settings, index, path, START_NS, "twice", nothing))
        return detect(pixels)

    with pytest.raises(FirewitnessError, match="by another command meanwhile"):
        import_recording(settings, index, path, START_NS, "twice", meanwhile)
    (clip,) = index.evidence_page(camera="twice", kind="clip")["items"]
    assert clip["id"] == others[0].clip


def test_nobody_else_can_say_that_it_is_imported(host: Host) -> None:
    """The recorder takes no recording from elsewhere under a camera's name."""
    with (
        pytest.raises(FirewitnessError, match="did not take"),
        connected(host.runtime_dir / "recorder.sock", ImporterHello(camera="hall")),
    ):
        pass
    assert "hall" not in {body["camera"] for body in host.bodies("run")}


@pytest.mark.parametrize("number", [0, 37, FPS * SECONDS - 1])
def test_its_frames_can_be_stepped_through(mkv: Path, number: int) -> None:
    """As those of any clip; behind the last there is none."""
    with mkv.open("rb") as file:
        frame = decode(file, number)
        assert Chart.read_frame_number(Converter().full(frame, colour_of(frame))) == number
        with pytest.raises(NoSuchFrame):
            decode(file, FPS * SECONDS)


B_FRAMES = {
    "pyramid": ("libx264", {"bf": "3", "b-adapt": "0"}),
    "open-gop": ("libx264", {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"}),
    "none": ("libx264", {"bf": "0"}),
    "mpeg4": ("mpeg4", {"bf": "2", "qscale": "2"}),
}


def coded(chart: Path, ending: str, how: str) -> Path:
    """The chart coded again, frames that are decoded out of their order, except with `none`."""
    path = chart.with_name(f"{how}.{ending}")
    codec, options = B_FRAMES[how]
    with av.open(str(chart)) as source, av.open(str(path), "w") as target:
        video = target.add_stream(codec, rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for picture in source.decode(video=0):
            picture.pict_type = PictureType.NONE
            target.mux(video.encode(picture))
        target.mux(video.encode(None))
    return path


def test_frames_keep_their_numbers_while_others_are_decoded(chart: Path) -> None:
    """Two look at the same file at once, as two requests do; one of them ends before the other."""
    with av.open(str(coded(chart, "avi", "pyramid"))) as container:
        stream = container.streams.video[0]
        codec, extradata = stream.codec_context.name, stream.codec_context.extradata
        packets = [
            (place, bytes(each)) for place, each in enumerate(each for each in container.demux(stream) if each.size)
        ]
    alone = [place for place, _ in shown(codec, extradata, packets, whole=True)]
    assert sorted(alone) == list(range(FPS * SECONDS))
    first, second = (shown(codec, extradata, packets, whole=True) for _ in range(2))
    ended = [next(first) for _ in range(10)]
    begun = [next(second)[0] for _ in range(10)]
    first.close()
    del first, ended
    gc.collect()
    assert begun + [place for place, _ in second] == alone


@pytest.mark.parametrize(
    ("ending", "how"), [("ts", "pyramid"), ("avi", "pyramid"), ("avi", "open-gop"), ("avi", "none"), ("avi", "mpeg4")]
)
def test_frames_are_found_where_they_are_decoded_out_of_their_order(chart: Path, ending: str, how: str) -> None:
    """By their own time, up to the confirming one, and by their number: in a transport stream, which has no index, and in an AVI,
    which says nothing of when a frame is shown.
    """
    with coded(chart, ending, how).open("rb") as file:
        recording = read_recording(file, "imported", new_id(), START_NS, host_clocks())
        for number in (0, 1, 2, 9, 10, 11, 37, FPS * SECONDS - 1):
            frame = decode(file, number)
            assert Chart.read_frame_number(Converter().full(frame, colour_of(frame))) == number
        with pytest.raises(NoSuchFrame):
            decode(file, FPS * SECONDS)
    times = [at_ns for at_ns, _ in recording.times]
    assert times == pytest.approx([START_NS + number * NS // FPS for number in range(FPS * SECONDS)], abs=1_000_000)
    in_order = [packet.pts for packet in recording.packets]
    assert (in_order == sorted(pts for pts in in_order if pts is not None)) == (how == "none")
    for number in (43, 44, 45, 46):
        snapshot = Snapshot.until(recording.packets, recording.run.id, recording.times[number][1])
        assert snapshot is not None
        rewinding = Rewinding(snapshot)
        rewinding.want(range(len(snapshot.frames)))
        found = {}
        while rewinding.busy:
            if (rewound := rewinding.step()) is not None and rewound.decoded is not None:
                frame = rewound.decoded.frame
                found[rewound.place] = Chart.read_frame_number(Converter().full(frame, colour_of(frame)))
        alone = set() if how in ("pyramid", "none") else {frame for frame in range(number + 1) if frame not in found}
        assert found == {place: place for place in range(number + 1) if place not in alone}
        assert len(alone) <= number / 5, "more than an open GOP's first frames, which stand on the GOP before"


def test_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence each."""
    video = ["--video", "x.mp4"]
    for arguments, said in (
        ([], "name an incident, or a recording with --video and --start"),
        (video, "--video needs --start"),
        ([new_id(), *video, "--start", "2026-03-01T12:00:00Z"], "name an incident, or a recording"),
        ([*video, "--start", "2026-03-01T12:00:00"], "--start 2026-03-01T12:00:00 has no time zone"),
        ([*video, "--start", "1969-03-01T12:00:00Z"], "--start 1969-03-01T12:00:00Z lies before 1970"),
        ([*video, "--start", "noon"], "--start 'noon' is no time"),
        ([new_id(), "--start", "2026-03-01T12:00:00Z"], "--start and --camera belong to --video"),
    ):
        assert main(["analyse", *arguments]) == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith(f"firewitness analyse: {said}")


@pytest.mark.parametrize("times", ["claimed", "measured"])
def test_the_command_says_whose_times_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, times: str
) -> None:
    """Of an imported recording that is analysed again by its id, too: nobody has measured them."""
    config = tmp_path / "config.yaml"
    config.write_text(f"storage: {{root: {tmp_path / 'store'}}}\ncameras: {{hall: {{url: 'rtsp://hall/1'}}}}\n")
    told = analysis_of(new_id(), START_NS, times=times)
    monkeypatch.setattr(Control, "ask", lambda *_: {})
    monkeypatch.setattr(incident_module, "analyse_incident", lambda *_: told)
    assert main(["analyse", "--config", str(config), told.incident]) == 0
    said = capsys.readouterr().out
    assert ("not measured" in said) == (times == "claimed")
    assert "First visible to hall at" in said


ONE, OF_ALL = 1 << 16, 1 << 30
MARKS = {  # how the file holds the picture → a, b, x of `tkhd`'s matrix and c, d, y, which ask players to undo it
    "on its side": (lambda upright: np.rot90(upright), (0, ONE, 240), (-ONE, 0, 0)),
    "mirrored": (lambda upright: upright[:, ::-1], (-ONE, 0, 320), (0, ONE, 0)),
    "upside down, mirrored": (lambda upright: upright[::-1], (ONE, 0, 0), (0, -ONE, 240)),
    "on its side, mirrored": (lambda upright: np.rot90(upright)[::-1], (0, ONE, 0), (ONE, 0, 0)),
    "on its other side, mirrored": (lambda upright: np.rot90(upright)[:, ::-1], (0, -ONE, 320), (-ONE, 0, 240)),
    "upside down": (lambda upright: upright[::-1, ::-1], (-ONE, 0, 320), (0, -ONE, 240)),
}


def marked(chart: Path, path: Path, how: str) -> Path:
    """The chart turned or mirrored, with the mark that asks players to show it as it was."""
    held, (a, b, x), (c, d, y) = MARKS[how]
    with av.open(str(chart)) as source, av.open(str(path), "w") as target:
        video = None
        for frame in source.decode(video=0):
            picture = np.ascontiguousarray(held(frame.to_ndarray(format="bgr24")))
            if video is None:
                video = target.add_stream("libx264", FPS, {"preset": "ultrafast", "crf": "15", "g": f"{FPS}"})
                video.width, video.height, video.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
            target.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        assert video is not None
        target.mux(video.encode(None))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # ISO/IEC 14496-12, version 0
    struct.pack_into(">9i", content, matrix, a, b, 0, c, d, 0, x << 16, y << 16, OF_ALL)
    path.write_bytes(content)
    return path


def copied(chart: Path, path: Path, shift_s: float = 0.0) -> Path:
    """Its packets in another container, so much later; what comes before 0 s an MP4 cuts off with an edit list."""
    with av.open(str(chart)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = source.streams.video[0]
        video = target.add_stream_from_template(stream)
        assert stream.time_base is not None
        shift = round(shift_s / stream.time_base)
        for packet in source.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, video
                target.mux(packet)
    return path


def test_a_trimmed_video_begins_where_its_players_begin(host: Host, chart: Path, tmp_path: Path) -> None:
    """A phone that cuts the beginning off leaves what leads up to it, from the key frame on, in the file: nobody is shown it."""
    settings, cut_off = host.settings(), 16
    index = index_of(settings)
    path = copied(chart, tmp_path / "trimmed.mp4", (0.5 - cut_off) / FPS)
    done = import_recording(settings, index, path, START_NS, "imported", detect)
    assert done.analysis is not None
    assert abs(done.analysis.first_visible.at_ns - START_NS - (ONSET - cut_off) * NS // FPS) <= 1_000_000
    (clip,) = index.clips_of(done.incident)
    assert clip["frames"] == FPS * SECONDS - cut_off
    with path.open("rb") as file:
        numbers = [Chart.read_frame_number(decode(file, place).to_ndarray(format="bgr24")) for place in (0, 20)]
        with pytest.raises(NoSuchFrame):
            decode(file, clip["frames"])
    assert numbers == [cut_off, cut_off + 20]


def test_several_recordings_in_one_are_refused(host: Host, chart: Path, tmp_path: Path) -> None:
    """As recorders export them: all would lie on each other, and what comes later would never be looked at."""
    before = kept(host)
    part, whole = copied(chart, tmp_path / "part.ts"), tmp_path / "whole.ts"
    whole.write_bytes(2 * part.read_bytes())
    settings = host.settings()
    with pytest.raises(FirewitnessError, match="times begin again in the middle"):
        import_recording(settings, index_of(settings), whole, START_NS, "imported", detect)
    assert kept(host) == before


def with_another(chart: Path, path: Path, *, cover: bool) -> Path:
    """The chart behind another video, or behind a cover's picture."""
    with av.open(str(chart)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        other = target.add_stream("mjpeg" if cover else "libx264", FPS)
        other.width, other.height, other.pix_fmt = 320, 240, "yuvj420p" if cover else "yuv420p"
        if cover:
            other.disposition = Disposition.attached_pic
        video = target.add_stream_from_template(stream)
        for number in range(1 if cover else FPS):
            picture = av.VideoFrame.from_ndarray(np.full((240, 320, 3), number, np.uint8), format="bgr24")
            target.mux(other.encode(picture))
        target.mux(other.encode(None))
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    return path


def test_a_second_video_is_not_passed_over_in_silence(host: Host, chart: Path, tmp_path: Path) -> None:
    """As of a car's two cameras: that nothing was confirmed would be told of both. A cover's picture is no video."""
    before, settings = kept(host), host.settings()
    two = with_another(chart, tmp_path / "two.mp4", cover=False)
    with pytest.raises(FirewitnessError, match="there are 2 videos in it"):
        import_recording(settings, index_of(settings), two, START_NS, "imported", detect)
    assert kept(host) == before
    one = with_another(chart, tmp_path / "cover.mp4", cover=True)
    assert import_recording(settings, index_of(settings), one, START_NS, "imported", detect).analysis is not None


@pytest.mark.parametrize("how", MARKS)
def test_a_phone_s_video_is_looked_at_upright(host: Host, chart: Path, tmp_path: Path, how: str) -> None:
    """As its players show it: by the detector, in the stills, frame by frame, and in its sizes; the file stays as it is."""
    settings = host.settings()
    index = index_of(settings)
    path = marked(chart, tmp_path / "phone.mp4", how)
    done = import_recording(settings, index, path, START_NS, "phone", detect)
    assert done.analysis is not None
    assert abs(done.analysis.first_visible.at_ns - START_NS - ONSET * NS // FPS) <= 1_000_000
    (clip,) = index.clips_of(done.incident)
    assert (clip["width"], clip["height"]) == (320, 240)
    assert {(each["width"], each["height"]) for each in index.evidence_page(incident=done.incident)["items"]} == {
        (320, 240)
    }
    still = index.evidence_file(done.analysis.first_visible.evidence or "")
    assert still is not None
    assert Chart.read_frame_number(cv2.imread(str(still))) == ONSET
    with path.open("rb") as file:
        assert Chart.read_frame_number(decode(file, 17).to_ndarray(format="bgr24")) == 17
    assert verify(host.root).findings == ()


def test_a_damaged_first_frame_does_not_lay_a_phone_s_video_on_its_side(chart: Path, tmp_path: Path) -> None:
    """The next that can be decoded says how it is to be shown."""
    path = marked(chart, tmp_path / "phone.mp4", "on its side")
    with av.open(str(path)) as container:
        first = next(container.demux(video=0))
    content = bytearray(path.read_bytes())
    assert first.pos is not None
    content[first.pos : first.pos + first.size] = b"\xff" * first.size
    path.write_bytes(content)
    with path.open("rb") as file:
        run = read_recording(file, "phone", new_id(), START_NS, host_clocks()).run
    assert (run.width_px, run.height_px) == (320, 240)


@pytest.mark.parametrize(
    ("codec", "pixels", "ending"),
    [("ffv1", "yuv444p", "mkv"), ("ffv1", "gray10le", "mkv"), ("huffyuv", "yuv422p", "avi"), ("png", "rgb24", "mov"),
     ("wmv2", "yuv420p", "avi"), ("prores_ks", "yuv422p10le", "mov")],
)  # fmt: skip
def test_what_archives_and_old_recorders_write_is_looked_at(
    chart: Path, tmp_path: Path, codec: str, pixels: str, ending: str
) -> None:
    """Some codecs leave a picture's size to the container, or ask it which pictures are whole."""
    path = tmp_path / f"old.{ending}"
    with av.open(str(chart)) as source, av.open(str(path), "w") as target:
        video = target.add_stream(codec, FPS)
        video.width, video.height, video.pix_fmt = 320, 240, pixels
        video.bit_rate = 8_000_000
        for frame in source.decode(video=0):
            frame.pict_type = PictureType.NONE
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
    with path.open("rb") as file:
        packets = read_recording(file, "hall", new_id(), START_NS, host_clocks()).packets
    found = confirm(packets, PLAN, new_id(), detect)
    assert isinstance(found, Confirmed)
    at_s = (found.evidence.time.captured_at_ns - START_NS) / NS
    assert ONSET / FPS <= at_s <= ONSET / FPS + 3
    assert Chart.read_frame_number(cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)) == at_s * FPS


def test_damaged_frames_are_counted_where_nothing_was_confirmed(chart: Path) -> None:
    """That nothing was confirmed is no more than what was looked at bears; a suspicion begins with its frame, to the nanosecond."""
    with chart.open("rb") as file:
        packets = read_recording(file, "hall", new_id(), START_NS, host_clocks()).packets
    assert confirm(packets, PLAN, new_id(), nothing) == Nothing(0)
    found = confirm(packets, PLAN, new_id(), detect)
    assert isinstance(found, Confirmed)
    assert found.first_suspect_at_ns in {each.run.time_of(each).captured_at_ns for each in packets}
    for packet in packets[3 * FPS : 5 * FPS]:
        packet.corrupt = True
    assert confirm(packets, PLAN, new_id(), nothing) == Nothing(2 * FPS)
