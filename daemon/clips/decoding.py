# SPDX-License-Identifier: AGPL-3.0-or-later
"""One frame of a stored clip as a picture: decoded from its key frame on, in right colours."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from daemon.clips.ordering import is_untold, shown
from daemon.clips.reading import Frame, fragments, read_head
from daemon.clips.recording import opened
from daemon.clips.turning import Turning, mark_of


class NoSuchFrame(Exception):
    """The clip has fewer frames, or this one cannot be decoded."""


def decode(file: BinaryIO, number: int) -> VideoFrame:
    """The frame that is shown as the `number`th, counted from 0. Raises NoSuchFrame, ValueError for what is no clip."""
    try:
        head = read_head(file)
    except ValueError:
        return _of_elsewhere(file, number)
    frames = [frame for part in fragments(file, head) for frame in part.frames]
    in_order = sorted(frames, key=lambda frame: frame.pts)
    if not 0 <= number < len(in_order):
        raise NoSuchFrame
    wanted = in_order[number]
    context = av.CodecContext.create(head.clip.codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = head.configuration
    for decoded in _from_key_frame(file, context, frames, wanted):
        if decoded.pts == wanted.pts:
            return decoded
    raise NoSuchFrame


def _of_elsewhere(file: BinaryIO, number: int) -> VideoFrame:
    """From an imported file, which does not say where its frames are."""
    file.seek(0)
    with opened(file) as (container, stream):
        untold = is_untold(container, stream)
        packets = [(each.pts, each.is_keyframe, each.is_discard) for each in container.demux(stream) if each.size]
    moments = sorted({pts for pts, _, cut_off in packets if pts is not None and not cut_off})
    if not 0 <= number < len(moments):
        raise NoSuchFrame
    if untold:
        counted = _counted(file, number, [place for place, (_, is_key, _) in enumerate(packets) if is_key])
        return Turning(mark_of(counted)).upright(counted)
    for seeks in (True, False):  # where a container has no index, seeking can land behind the frame
        file.seek(0)
        with opened(file) as (container, stream):
            if seeks:
                container.seek(moments[number], stream=stream)
            for decoded in container.decode(stream):
                if decoded.pts == moments[number]:
                    return Turning(mark_of(decoded)).upright(decoded)
                if decoded.pts is not None and decoded.pts > moments[number]:
                    break
    raise NoSuchFrame


def _counted(file: BinaryIO, number: int, keys: list[int]) -> VideoFrame:
    """Where no packet tells when it is shown: what is decoded from a key frame on is not shown before what is before it.

    `keys`: which of its packets are key frames.
    """
    key = max((place for place in keys if place <= number), default=0)
    begin = max((place for place in keys if place < key), default=key)  # an open GOP's first frames need the one before
    file.seek(0)
    with opened(file) as (container, stream):
        context = stream.codec_context
        packets = enumerate(packet for packet in container.demux(stream) if packet.size)
        wanted = ((place, bytes(each)) for place, each in packets if place >= begin)
        frames = shown(context.codec.name, context.extradata, wanted, whole=True)
        found = next(islice((frame for place, frame in frames if place >= key), number - key, None), None)
    if found is None:
        raise NoSuchFrame
    return found


def _from_key_frame(
    file: BinaryIO, context: VideoCodecContext, frames: list[Frame], wanted: Frame
) -> Iterator[VideoFrame]:
    place = frames.index(wanted)
    own, before, *_ = *(at for at in range(place, -1, -1) if frames[at].key), 0, 0
    leads = wanted.pts < frames[own].pts  # an open GOP's first frames need the GOP before
    for frame in frames[before if leads else own :]:
        file.seek(frame.offset)
        packet = av.Packet(file.read(frame.bytes))
        packet.pts = frame.pts
        try:
            yield from context.decode(packet)
        except av.error.FFmpegError:  # a damaged one; those behind it may be whole
            continue
    yield from context.decode(None)
