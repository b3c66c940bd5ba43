# SPDX-License-Identifier: AGPL-3.0-or-later
"""Encodes pictures as cameras do: no B-frames, no look-ahead, a key frame at a fixed distance, one thread."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.video.frame import PictureType

from daemon.simulate.bitstream import CODECS, Codec


@dataclass(frozen=True, slots=True)
class Encoding:
    """What to make of a source; an empty field means "as the source is"."""

    size: tuple[int, int] | None = None  # width, height in pixels, even
    fps: Fraction | int | None = None
    gop: int | None = None  # frames from key frame to key frame
    bitrate: int | None = None  # bits a second
    codec: str | None = None  # h264 or hevc

    def asks_for_anything(self) -> bool:
        """Whether a source that could be sent as it is has to be encoded anew."""
        return any((self.size, self.fps, self.gop, self.bitrate, self.codec))


@dataclass(frozen=True, slots=True)
class Target:
    """Everything an encoder has to know before its first picture."""

    codec: Codec
    size: tuple[int, int]  # width, height in pixels, even
    rate: Fraction
    gop_frames: int
    bitrate: int | None = None  # bits a second; without one, `quality` rules
    quality: int = 23  # x264's constant rate factor, or x265's
    preset: str = "veryfast"

    def options(self) -> dict[str, str]:
        """FFmpeg's options for this target."""
        keys = f"keyint={self.gop_frames}:min-keyint={self.gop_frames}:scenecut=0:bframes=0"
        options = {"preset": self.preset, "tune": "zerolatency"}
        if self.bitrate is None:
            options["crf"] = str(self.quality)
        if self.codec.name == "h264":
            options["x264-params"] = f"{keys}:sliced-threads=0"
        else:
            options["x265-params"] = f"{keys}:log-level=error:repeat-headers=1"
        return options


class Encoder:
    """A context in which pictures become a file, which appears under its name only once it is whole.

    Colour tags are those of the first picture: what it does not say, the file does not say either.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self._path, self._target = path, target
        self._part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        self._count = 0
        self._marked: list[tuple[bytes, bool]] | None = None  # the coded pictures since `mark`

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._part), "w", format="mp4")
        target = self._target
        stream = self._container.add_stream(target.codec.encoder, rate=target.rate, options=target.options())
        self._stream = cast("av.VideoStream", stream)
        self._stream.width, self._stream.height = target.size
        self._stream.pix_fmt = "yuv420p"
        if target.bitrate is not None:
            self._stream.bit_rate = target.bitrate
        self._stream.codec_context.thread_count = 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._mux(self._stream.encode(None))
        self._container.close()
        if error is not None:
            self._part.unlink(missing_ok=True)
            return
        with self._part.open("rb") as part:
            os.fsync(part.fileno())  # a torn clip would be served for ever after
        self._part.replace(self._path)

    @property
    def count(self) -> int:
        """Pictures added so far."""
        return self._count

    def add(self, picture: av.VideoFrame) -> None:
        """Appends one picture, scaled to the target's size."""
        width, height = self._target.size
        frame = picture.reformat(width=width, height=height, format="yuv420p", threads=1)
        if self._count == 0:
            context = self._stream.codec_context
            context.colorspace, context.color_range = frame.colorspace, frame.color_range
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        frame.pict_type = PictureType.NONE
        frame.pts, frame.time_base = self._count, 1 / self._target.rate
        self._count += 1
        self._mux(self._stream.encode(frame))

    def mark(self) -> None:
        """Remembers what is added from here on, for `repeat`; the next picture has to be a key frame.

        An even number of GOPs between here and `repeat` keeps the ids of neighbouring key frames apart, as H.264
        demands (section 7.4.3, idr_pic_id).
        """
        assert self._count % self._target.gop_frames == 0
        self._marked = []

    def repeat(self, times: int) -> None:
        """Appends what came since `mark` again, as it is coded: costs nothing."""
        block, self._marked = self._marked or [], None
        for _ in range(times):
            for coded, key in block:
                packet = av.Packet(coded)
                packet.stream, packet.is_keyframe = self._stream, key
                packet.pts = packet.dts = self._count
                packet.time_base = 1 / self._target.rate
                packet.duration = 1
                self._count += 1
                self._container.mux(packet)

    def _mux(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        if self._marked is not None:
            self._marked += [(bytes(packet), packet.is_keyframe) for packet in packets]
        self._container.mux(packets)


def target_for(stream: av.VideoStream, encoding: Encoding) -> Target:
    """The wanted encoding, completed from the source: its size, rate, a key frame every 2 s, 3 Mbit/s."""
    rate = Fraction(encoding.fps or stream.average_rate or 25).limit_denominator(1001)
    size = encoding.size or (stream.width & ~1, stream.height & ~1)
    return Target(
        CODECS[encoding.codec or "h264"], size, rate, encoding.gop or round(2 * rate), encoding.bitrate or 3_000_000
    )


def transcode(source: Path, target: Target, made: Path) -> None:
    """Encodes a whole file at the target's constant rate, holding or dropping pictures where the source's differs."""
    with av.open(str(source)) as container, Encoder(made, target) as encoder:
        held, begin = None, None
        for picture in container.decode(container.streams.video[0]):
            at_s = picture.time or 0.0
            begin = at_s if begin is None else begin
            while held is not None and encoder.count / target.rate + begin < at_s - 1e-6:
                encoder.add(held)
            held = picture
        if held is None:
            raise ValueError(f"{source} has no picture in it")
        encoder.add(held)
