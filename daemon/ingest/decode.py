# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decodes what is wanted of one connection, and says of each frame whether it can be damaged.

Key frames alone (while all is quiet), or everything from a key frame on. FFmpeg conceals what is lost or corrupt.
H.264: frames near the damage are flagged, those predicted from them are not, so that everything from a flag, an error
or a missing reference to the next key frame counts as damaged. H.265 flags nothing: there it is not known (design,
Damage).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from daemon.ingest.frame_num import FrameNum
from daemon.ingest.packet import Packet

MOST_PIXELS = 8192 * 4352  # an 8K picture; a corrupt header must not make the decoder reserve the host's memory


class Carried(NamedTuple):
    """What a packet carries to its frame, a new one each time that it is decoded.

    PyAV finds it by its address, and forgets the address with the first frame that goes (av/opaque.py): were it the packet
    or a small number itself, whoever decodes the same at the same time would lose its frames.
    """

    of: Any


class Decoded(NamedTuple):
    """A frame, the packet it came in, and whether it is damaged: no, yes or not_known."""

    frame: VideoFrame
    packet: Packet
    damage: str


class Decoder:
    """One connection's decoder, with one thread: more buy nothing here and cost memory and delay."""

    def __init__(self, codec: str, extradata: bytes | None, size_px: tuple[int, int] | None = None) -> None:
        """`size_px` (width, height) for codecs that leave it to their container to tell; a camera's tell it themselves."""
        context = av.CodecContext.create(codec, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = extradata
        if size_px is not None:
            context.width, context.height = size_px
        context.thread_count = 1
        context.copy_opaque = True
        context.options = {"max_pixels": str(MOST_PIXELS)}
        self._context = context
        self._frame_num = FrameNum(extradata) if codec == "h264" else None
        self._flagged = True  # until a key frame comes out: what is before has nothing to stand on
        self._failed = False  # a packet since the last key frame could not be decoded, or never came
        self.errors = 0
        """In a row: packets that could not be decoded since the last frame."""

    @property
    def profile(self) -> str:
        """The codec's, as the stream says; empty before the first frame."""
        return self._context.profile or ""

    def key_frame(self, packet: Packet) -> Decoded | None:
        """Decodes a key frame alone, at once; None when it cannot be decoded."""
        found = self._judged(self._feed(packet))
        found += self._judged(self._drain())
        return found[0] if found else None

    def next(self, packet: Packet) -> list[Decoded]:
        """Decodes everything in order, beginning at a key frame."""
        return self._judged(self._feed(packet))

    def rest(self) -> list[Decoded]:
        """What it still holds back of what it was given; then it has to `restart`."""
        return self._judged(self._drain())

    def restart(self) -> None:
        """Forgets what it has seen: the next packet is a key frame again, or the beginning of what there is."""
        self._context.flush_buffers()
        self._flagged, self._failed = True, False
        if self._frame_num is not None:
            self._frame_num.restart()

    def _feed(self, packet: Packet) -> list[VideoFrame]:
        missing = self._frame_num is not None and self._frame_num.is_missing_before(packet.data)
        if packet.key:  # frames from before it may still come out, so what failed before is forgotten only with it
            self._flagged, self._failed = self._flagged or self._failed or missing, False
        elif missing:
            self._failed = True
        coded = av.Packet(packet.data)
        coded.pts, coded.dts, coded.opaque = packet.pts, packet.dts, Carried(packet)
        coded.time_base, coded.is_keyframe = packet.run.time_base, packet.key  # PNG's are else taken for differences
        try:
            found = self._context.decode(coded)
        except (av.error.FFmpegError, ValueError):
            self._failed = True
            self.errors += 1
            return []
        if found:
            self.errors = 0
        return found

    def _drain(self) -> list[VideoFrame]:
        try:
            found = self._context.decode(None)
        except av.error.FFmpegError:
            found = []
            self._failed = True
        self._context.flush_buffers()
        return found

    def _judged(self, frames: list[VideoFrame]) -> list[Decoded]:
        judged = []
        for frame in frames:
            carried = frame.opaque
            if isinstance(carried, Carried) and carried.of.pts is not None:  # else it is FFmpeg's filling
                packet: Packet = carried.of
                damage = self._damage(frame, packet)
                judged.append(Decoded(packet.run.upright(frame), packet, damage))
        return judged

    def _damage(self, frame: VideoFrame, packet: Packet) -> str:
        if packet.key:
            self._flagged = False
        self._flagged |= frame.is_corrupt or packet.corrupt
        if self._flagged or self._failed:
            return "yes"
        return "no" if self._frame_num is not None else "not_known"
