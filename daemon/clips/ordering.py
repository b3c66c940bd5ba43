# SPDX-License-Identifier: AGPL-3.0-or-later
"""In which order the frames of an AVI are shown: it numbers them as they are decoded, and only decoding them tells more.

What FFmpeg gives as PTS of H.264 with B-frames in one is a guess, and wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from daemon.ingest.decode import MOST_PIXELS, Carried


def is_untold(container: InputContainer, stream: VideoStream) -> bool:
    """Whether its packets' PTS cannot be relied upon."""
    return container.format.name == "avi" and stream.codec_context.codec.reorder


def shown(
    codec: str, extradata: bytes | None, packets: Iterable[tuple[int, bytes]], *, whole: bool
) -> Iterator[tuple[int, VideoFrame]]:
    """Numbered packets, from a key frame on in the order of decoding → their frames, in the order they are shown.

    A packet that cannot be decoded has none. Not `whole`: for the order alone, with pixels that nobody may look at.
    """
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = extradata
    context.thread_count = 1
    context.copy_opaque = True
    context.options = {
        "max_pixels": str(MOST_PIXELS),
        "strict": "strict",  # holds back as many frames as the level allows, where the stream does not say how many
        "skip_loop_filter": "default" if whole else "all",
    }
    for number, data in packets:
        packet = av.Packet(data)
        packet.opaque = Carried(number)
        yield from _numbered(context, packet)
    yield from _numbered(context, None)


def _numbered(context: VideoCodecContext, packet: av.Packet[Stream] | None) -> list[tuple[int, VideoFrame]]:
    try:
        return [(carried.of, frame) for frame in context.decode(packet) if isinstance(carried := frame.opaque, Carried)]
    except av.error.FFmpegError:  # a damaged one; those behind it may be whole
        return []
