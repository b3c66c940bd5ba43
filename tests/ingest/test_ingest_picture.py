# SPDX-License-Identifier: AGPL-3.0-or-later
"""From packets to pictures without a network: decoding, damage, colours, what an intra-refresh stream needs."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

from daemon.clock import HostClocks
from daemon.ingest.colour import Colour, Converter, colour_of
from daemon.ingest.decode import Decoded, Decoder
from daemon.ingest.frame_num import FrameNum
from daemon.ingest.frames import Frames, Picture
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.simulate.chart import Chart, make_chart

PLAN = WorkerPlan(
    camera="hall", url="rtsp://127.0.0.1/hall", version="0", recorder_socket="/none", thresholds={"fire": 0.5}
)
STEP_NS = 40_000_000


def packets(path: Path) -> tuple[list[Packet], Fraction]:
    """A file's packets as if they had come from a camera, one every 40 ms."""
    made = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annexb = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for out in annexb.filter(packet if packet.size else None):
                at_ns = len(made) * STEP_NS
                made.append(
                    Packet(bytes(out), out.pts, out.dts, key=out.is_keyframe, emitted_ns=at_ns, arrival_ns=at_ns)
                )
        return made, Fraction(stream.time_base or 1)


def in_run(path: Path) -> list[Packet]:
    """The same, as packets of one run."""
    coming, time_base = packets(path)
    run = LiveRun("connected", "h264", time_base, HostClocks())
    for each in coming:
        run.add(each)
    return coming


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of the chart with a key frame every second."""
    return make_chart(tmp_path_factory.mktemp("clip") / "clip.mp4", size=(320, 240), gop_s=1, seconds=4).path


@pytest.fixture(scope="module")
def noisy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds like a camera's: noise, movement, CABAC, a key frame every second."""
    path = tmp_path_factory.mktemp("clip") / "noisy.mp4"
    chance = np.random.default_rng(1)
    scene = cv2.resize(chance.integers(0, 255, (30, 40, 3), dtype=np.uint8), (320, 240))
    write(
        path,
        (
            cv2.add(np.roll(scene, 3 * place, 1), chance.integers(0, 12, scene.shape, dtype=np.uint8))
            for place in range(100)
        ),
        "keyint=25:min-keyint=25:scenecut=0:bframes=0",
    )
    return path


def write(path: Path, scene: Iterable[NDArray[np.uint8]], x264: str) -> None:
    """An H.264 file of 320 × 240 pictures, 25 a second."""
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "x264-params": f"{x264}:sliced-threads=0:threads=1"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for picture in scene:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")))
        container.mux(stream.encode(None))


def number(picture: av.VideoFrame) -> int:
    return Chart.read_frame_number(picture.to_ndarray(format="bgr24", threads=1))


# ------------------------------------------------------------------ decoding


def test_a_key_frame_comes_out_at_once(clip: Path) -> None:
    """Decoded alone, one after the other, with its packet and undamaged."""
    decoder = Decoder("h264", None)
    for place, packet in enumerate(in_run(clip)):
        if packet.key:
            decoded = decoder.key_frame(packet)
            assert decoded is not None
            assert (number(decoded.frame), decoded.packet, decoded.damage) == (place, packet, "no")


def test_everything_comes_out_in_order(clip: Path) -> None:
    """Every picture once, undamaged."""
    decoder = Decoder("h264", None)
    seen = [each for packet in in_run(clip) for each in decoder.next(packet)]
    assert [number(each.frame) for each in seen] == list(range(len(seen)))
    assert len(seen) >= 95
    assert {each.damage for each in seen} == {"no"}


def test_the_same_packets_can_be_decoded_twice_at_once(tmp_path: Path) -> None:
    """As going back does while live frames are decoded: the one that ends takes nothing from the other, which holds frames back."""
    path = tmp_path / "b-frames.mp4"
    write(path, (np.full((240, 320, 3), place, np.uint8) for place in range(60)), "bframes=3:b-adapt=0:keyint=60")
    packets = list(in_run(path))
    ends, goes_on = Decoder("h264", None), Decoder("h264", None)
    seen = []
    for packet in packets[:20]:
        ends.next(packet)
        seen += goes_on.next(packet)
    del ends
    gc.collect()
    seen += [each for packet in packets[20:] for each in goes_on.next(packet)]
    seen += goes_on.rest()
    assert [each.packet.pts for each in seen] == sorted(packet.pts for packet in packets)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", ["lose", "corrupt", "flag"])
def test_whatever_is_wrong_is_marked(noisy_clip: Path, seed: int, how: str) -> None:
    """H.264: no picture that differs from the original is called undamaged, and the next key frame is clean again."""
    chance = random.Random(seed)
    clean = Decoder("h264", None)
    coming = in_run(noisy_clip)
    truth = {each.packet.pts: each.frame.to_ndarray() for packet in coming for each in clean.next(packet)}
    hit = chance.randrange(30, 45)
    decoder = Decoder("h264", None)
    seen = []
    for place, packet in enumerate(in_run(noisy_clip)):
        if place == hit:
            if how == "lose":
                continue
            packet.corrupt = how == "flag"
            if how == "corrupt":
                packet.data = damaged(packet.data, chance)
        seen += decoder.next(packet)
    wrong = [each for each in seen if not np.array_equal(each.frame.to_ndarray(), truth[each.packet.pts])]
    assert all(each.damage == "yes" for each in wrong)
    assert {each.damage for each in seen if (each.packet.pts or 0) < (coming[30].pts or 0)} == {"no"}
    assert {each.damage for each in seen if (each.packet.pts or 0) >= (coming[50].pts or 0)} == {"no"}
    assert how == "corrupt" or wrong or any(each.damage == "yes" for each in seen)


KINDS = {
    "references alone": "keyint=25:min-keyint=25:scenecut=0:bframes=0:ref=3",
    "pyramid": "keyint=25:min-keyint=25:scenecut=0:bframes=3:b-adapt=0:b-pyramid=normal:ref=4",
    "open GOP": "keyint=25:min-keyint=25:scenecut=0:bframes=2:b-adapt=0:open-gop=1:ref=3",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_picture_is_damage_where_others_are_predicted_from_it(tmp_path: Path, kind: str) -> None:
    """Every picture in turn is lost: none that differs is called undamaged; where none differs, none need be; H.264's numbers tell."""
    path = tmp_path / "clip.mp4"
    write(path, moving(75), KINDS[kind])
    coming = in_run(path)
    truth = {each.packet.pts: each.frame.to_ndarray() for each in all_of(Decoder("h264", None), coming)}
    harmless = 0
    for hit in range(26, 50):
        if coming[hit].key:
            continue
        seen = all_of(Decoder("h264", None), [packet for packet in coming if packet is not coming[hit]])
        wrong = [each for each in seen if not np.array_equal(each.frame.to_ndarray(), truth[each.packet.pts])]
        assert all(each.damage == "yes" for each in wrong), hit
        assert {each.damage for each in seen[:24] + seen[-20:]} == {"no"}, hit
        harmless += not wrong
    assert (harmless > 5) == (kind != "references alone")


def all_of(decoder: Decoder, coming: list[Packet]) -> list[Decoded]:
    return [*(each for packet in coming for each in decoder.next(packet)), *decoder.rest()]


def moving(count: int) -> Iterator[NDArray[np.uint8]]:
    """A scene that moves and has noise."""
    chance = np.random.default_rng(2)
    scene = cv2.resize(chance.integers(0, 255, (30, 40, 3), dtype=np.uint8), (320, 240))
    for place in range(count):
        noise = chance.integers(0, 12, scene.shape, dtype=np.uint8)
        yield np.asarray(cv2.add(np.roll(scene, 3 * place, 1), noise), np.uint8)


def test_a_rate_that_changes_is_no_damage(tmp_path: Path) -> None:
    """Night mode, and a rate that follows the scene: nothing is missing, however far two frames are apart; also of a file's avcC."""
    path = tmp_path / "clip.mp4"
    write(path, moving(75), KINDS["references alone"])
    coming = in_run(path)
    for place, packet in enumerate(coming):
        packet.pts_ns = place * STEP_NS * (1 if place < 40 else 6)
    assert {each.damage for each in all_of(Decoder("h264", None), coming)} == {"no"}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        sets, whole = stream.codec_context.extradata, [bytes(each) for each in container.demux(stream) if each.size]
    numbers = FrameNum(sets)
    assert sum(numbers.is_missing_before(data) for data in whole) == 0
    assert sum(numbers.is_missing_before(data) for place, data in enumerate(whole) if place != 30) == 1


def test_key_frames_of_an_open_gop_are_whole_alone(tmp_path: Path) -> None:
    """One after the other, without what lies between: they do not follow each other, and nothing is missing."""
    path = tmp_path / "clip.mp4"
    write(path, moving(100), KINDS["open GOP"])
    decoder = Decoder("h264", None)
    keys = [packet for packet in in_run(path) if packet.key]
    assert len(keys) >= 4
    found = [decoder.key_frame(packet) for packet in keys]
    assert [each and each.damage for each in found] == ["no"] * len(keys)


def test_damaged_key_frames_are_no_intra_refresh(clip: Path) -> None:
    """An uplink that loses everything for some seconds: afterwards key frames alone are decoded again."""
    frames = Frames(PLAN, HostClocks())
    coming, time_base = packets(clip)
    frames.opened("h264", None, time_base)
    for place, packet in enumerate(coming):
        if packet.key and place < 80:
            packet.data = packet.data[:60]
        frames.add(packet)
        while frames.waiting:
            frames.step()
    assert not frames.eyes.all


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few flipped bytes behind the slice's header."""
    changed = bytearray(data)
    for _ in range(max(3, len(data) // 20)):
        changed[chance.randrange(len(data) // 4 + 8, len(data))] ^= chance.randint(1, 255)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_garbage_never_raises(clip: Path, seed: int) -> None:
    """Random bytes, empty packets, cut packets: the decoder goes on, and works again from the next key frame."""
    chance = random.Random(seed)
    decoder = Decoder("h264", None)
    coming = in_run(clip)
    for packet in coming[:75]:
        match chance.randrange(4):
            case 0:
                packet.data = chance.randbytes(chance.randrange(1, 2000))
            case 1:
                packet.data = packet.data[: chance.randrange(1, len(packet.data))]
            case 2:
                packet.data = b"\0\0\1\x67" + chance.randbytes(30)
        decoder.next(packet)
        if packet.key:
            decoder.key_frame(packet)
            decoder.restart()
    found = decoder.key_frame(coming[75])
    assert found is not None
    assert (number(found.frame), found.damage) == (75, "no")


# ------------------------------------------------------------------ frames


def pictures(frames: Frames, coming: list[Packet]) -> Iterator[Picture]:
    """What is to be analysed of these packets."""
    for packet in coming:
        frames.add(packet)
        while frames.waiting:
            if (picture := frames.step()) is not None:
                yield picture


def test_intra_refresh_streams_are_seen(tmp_path: Path) -> None:
    """A stream without real key frames is decoded from where it can be, and its frames keep the interval."""
    path = tmp_path / "refresh.mp4"
    chance = np.random.default_rng(1)
    scene = cv2.resize(chance.integers(0, 255, (30, 40, 3), dtype=np.uint8), (320, 240))
    write(
        path, (np.roll(scene, 3 * place, 1) for place in range(1000)), "intra-refresh=1:keyint=50:scenecut=0:bframes=0"
    )
    coming, time_base = packets(path)
    frames = Frames(PLAN, HostClocks())
    parameter_sets = coming[0].data[: coming[0].data.rindex(b"\0\0\1\x65")]  # as the SDP has them
    frames.opened("h264", parameter_sets, time_base)
    seen = list(pictures(frames, coming[130:]))  # joined in the middle
    at_s = np.array([float(each.pts * time_base) for each in seen])
    assert at_s[0] - float((coming[130].pts or 0) * time_base) < 8
    assert np.diff(at_s).max() < 4.1
    assert np.diff(at_s)[-5:].max() <= 2.3


def test_a_detector_that_takes_nothing_cannot_make_it_hoard(clip: Path) -> None:
    """What waits to be decoded is let go at the next key frame once it is 5 s behind."""
    coming, time_base = packets(clip)
    frames = Frames(PLAN, HostClocks())
    frames.opened("h264", None, time_base)
    frames.eyes.active = True
    longest = 0
    for lap in range(20):
        for packet in coming:
            shift = lap * len(coming)
            again = Packet(
                packet.data,
                (packet.pts or 0) + lap * round(len(coming) * 0.04 / time_base),
                None,
                key=packet.key,
                emitted_ns=packet.emitted_ns + shift * STEP_NS,
                arrival_ns=packet.emitted_ns + shift * STEP_NS,
            )
            frames.add(again)
            longest = max(longest, len(frames._todo))
    assert 100 < longest <= 6.1 * 25
    assert frames.catching_up


# ------------------------------------------------------------------ colours


@pytest.mark.parametrize("size", [(1280, 720), (640, 480)])
@pytest.mark.parametrize("full", ["full", "limited"])
@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
@pytest.mark.parametrize("tagged", [True, False])
def test_colours_are_right(tmp_path: Path, size: tuple[int, int], full: str, matrix: str, tagged: bool) -> None:
    """With tags, and without where the settings say what they would: within 2 of 255, small and in full."""
    chart = make_chart(tmp_path / "c.mp4", size=size, seconds=0.2, matrix=matrix, range_=full, tagged=tagged)
    with av.open(str(chart.path)) as container:
        frame = next(container.decode(video=0))
    colour = colour_of(frame, "auto" if tagged else matrix, "auto" if tagged else full)
    assert colour == Colour(matrix, full)
    converter = Converter()
    whole, small = converter.full(frame, colour), converter.small(frame, colour, 320)
    assert whole.shape == (size[1], size[0], 3)
    assert max(small.shape[:2]) == 320
    scale = 320 / size[0]
    for x, y, bgr in chart.patches:
        assert np.abs(whole[y, x].astype(int) - bgr).max() <= 2
        assert np.abs(small[round(y * scale), round(x * scale)].astype(int) - bgr).max() <= 3


def test_untagged_streams_are_taken_as_usual() -> None:
    """BT.709 from 720 lines up, BT.601 below; limited unless the pixel format says full."""
    assert colour_of(av.VideoFrame(1280, 720, "yuv420p")) == Colour("bt709", "limited")
    assert colour_of(av.VideoFrame(704, 576, "yuv420p")) == Colour("bt601", "limited")
    assert colour_of(av.VideoFrame(1280, 720, "yuvj420p")) == Colour("bt709", "full")


def test_thin_flames_survive_scaling() -> None:
    """A line two pixels wide is reduced to its share of light, not aliased away."""
    picture = np.zeros((1080, 1920, 3), np.uint8)
    picture[:, 961:963] = 255
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p", threads=1)
    small = Converter().small(frame, colour_of(frame, "bt601", "limited"), 640)
    assert small.shape == (360, 640, 3)
    assert 120 < small[180].max() < 220
    assert abs(float(small[180].astype(float).sum(axis=0).mean()) - 2 * 255 / 3) < 30
