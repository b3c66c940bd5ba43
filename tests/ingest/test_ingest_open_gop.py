# SPDX-License-Identifier: AGPL-3.0-or-later
"""Open GOPs: frames that are shown before their key frame, and need the one before it to be decoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from daemon.clips.decoding import decode
from daemon.clips.mp4 import Sample, fragment, header
from daemon.clock import NS, HostClocks
from daemon.domain import Clip, FrameTime
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet
from daemon.ingest.rewinding import Rewinding
from daemon.ingest.snapshot import Snapshot

SIZE = (160, 96)
FPS, GOP, COUNT = 25, 12, 48
TIME = FrameTime(0, 0.1, 0.1, True, False)
OPEN = f"keyint={GOP}:min-keyint={GOP}:bframes=2:b-adapt=0:open-gop=1:scenecut=0"
ENCODERS = {"h264": ("libx264", "x264-params", OPEN), "hevc": ("libx265", "x265-params", f"{OPEN}:log-level=none")}


class Coded(NamedTuple):
    """A stream as its encoder made it, in decoding order."""

    codec: str
    packets: list[av.Packet]
    sets: bytes


def picture(number: int) -> NDArray[np.uint8]:
    """Of each three the same, and of no other: (height, width) luma."""
    tiles = np.random.default_rng(number // 3).integers(30, 220, (6, 10), dtype=np.uint8)
    return np.asarray(cv2.resize(tiles, SIZE, interpolation=cv2.INTER_NEAREST), np.uint8)


@pytest.fixture(params=ENCODERS)
def coded(request: pytest.FixtureRequest) -> Coded:
    """48 pictures, a key frame every twelve, each but the first with two leading frames."""
    encoder, name, parameters = ENCODERS[request.param]
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = *SIZE, "yuv420p"
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    context.options = {"preset": "ultrafast", "crf": "12", name: parameters}
    packets = []
    for number in range(COUNT):
        frame = av.VideoFrame.from_ndarray(cv2.cvtColor(picture(number), cv2.COLOR_GRAY2RGB), "rgb24").reformat(
            format="yuv420p"
        )
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += context.encode(frame)
    packets += context.encode(None)
    keys = [each.pts for each in packets if each.is_keyframe]
    assert any(
        (each.pts or 0) < key < COUNT and packets.index(each) > place_of(packets, key)
        for key in keys[1:]
        for each in packets
    )
    return Coded(request.param, packets, context.extradata or b"")


def place_of(packets: list[av.Packet], pts: int | None) -> int:
    return next(place for place, each in enumerate(packets) if each.pts == pts)


def is_right(frame: av.VideoFrame, number: int) -> bool:
    shown = frame.to_ndarray(format="gray").astype(float)
    return bool(np.abs(shown - picture(number)).mean() < 8)


def test_every_frame_of_a_clip_can_be_looked_at(coded: Coded) -> None:
    """Each is the picture of its number."""
    clip = Clip(
        id="01", camera="hall", run="r", time_base=(1, FPS), codec=coded.codec, width_px=SIZE[0], height_px=SIZE[1],
        first_dts=coded.packets[0].dts or 0, cause="confirmed", version="0",
    )  # fmt: skip
    samples = [
        Sample(bytes(each), each.pts or 0, each.dts or 0, 1, bool(each.is_keyframe), False, (each.pts or 0) * NS // FPS)
        for each in coded.packets
    ]
    head = header(clip, (bytes(coded.packets[0]), coded.sets))
    file = io.BytesIO(fragment(clip, 1, samples, TIME, ["i"], head))
    assert [number for number in range(COUNT) if not is_right(decode(file, number), number)] == []


def test_going_back_looks_at_every_frame(coded: Coded) -> None:
    """None counts as one that could not be looked at, whether all are wanted or one alone."""
    coming = list(in_run(coded))
    snapshot = Snapshot.until(coming, coming[0].run.id, max(each.pts or 0 for each in coming))
    assert snapshot is not None
    assert len(snapshot.frames) == COUNT
    for wanted in (range(COUNT), *((place,) for place in range(COUNT))):
        rewinding, seen = Rewinding(snapshot), {}
        rewinding.want(wanted)
        while rewinding.busy:
            if (rewound := rewinding.step()) is not None:
                seen[rewound.place] = rewound.decoded
        assert sorted(seen) == list(wanted)
        assert [place for place, each in seen.items() if each is None or not is_right(each.frame, place)] == []


def in_run(coded: Coded) -> Iterator[Packet]:
    """As packets of one run that is on record."""
    run = LiveRun("connected", coded.codec, Fraction(1, FPS), HostClocks(), coded.sets)
    for place, each in enumerate(coded.packets):
        at_ns = place * NS // FPS
        packet = Packet(bytes(each), each.pts, each.dts, key=bool(each.is_keyframe), emitted_ns=at_ns, arrival_ns=at_ns)
        run.add(packet)
        if run.record is None:
            run.describe("hall", *SIZE)
        yield packet
