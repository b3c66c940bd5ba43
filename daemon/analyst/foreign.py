# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recording from elsewhere as the packets of one run, whose times are those that somebody claims."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from daemon.analyst.recording import RecordedRun
from daemon.clips.ordering import is_untold, shown
from daemon.clips.recording import CONTAINER_OF, opened
from daemon.clips.turning import Mark, Turning, mark_of
from daemon.clock import Clocks
from daemon.domain import IMPORTED, FrameTime, Run
from daemon.errors import FirewitnessError
from daemon.ingest.packet import Packet
from daemon.storage.queries import Index


class Recording(NamedTuple):
    """What a file holds; packets in the order of decoding."""

    run: Run
    container: str
    packets: list[Packet]

    @property
    def times(self) -> list[tuple[int, int]]:
        """(UTC, PTS) of its frames, in order."""
        run = self.packets[0].run
        assert isinstance(run, RecordedRun)
        return sorted((time.captured_at_ns, pts) for pts, time in run.times.items())


def read_recording(file: BinaryIO, camera: str, run_id: str, start_ns: int, clocks: Clocks) -> Recording:
    """`start_ns`: when its first frame is claimed to have been seen. Raises ValueError with what is wrong."""
    mark = _mark_of(file)
    file.seek(0)
    with opened(file) as (container, stream):
        context, base = stream.codec_context, stream.time_base
        if context is None or base is None or not (context.width and context.height):
            raise ValueError("its video has no picture's size, or no times")
        live = RecordedRun(IMPORTED, context.codec.name, Fraction(base), clocks, context.extradata, run_id)
        live.turning = turning = Turning(mark)
        live.size_px = context.width, context.height
        sides = (context.height, context.width) if turning.swaps_sides else (context.width, context.height)
        live.record = run = Run(
            run_id, camera, start_ns, 0, (base.numerator, base.denominator), context.codec.name, *sides, IMPORTED
        )
        packets, unseen = [], set()
        for each in container.demux(stream):
            if not each.size:
                continue
            packet = Packet(
                bytes(each), each.pts, each.dts,
                key=each.is_keyframe, emitted_ns=start_ns, arrival_ns=None, corrupt=each.is_corrupt,
            )  # fmt: skip
            packets.append(packet)
            if each.is_discard:
                unseen.add(packet.pts)
        name, untold = CONTAINER_OF[container.format.name], is_untold(container, stream)
    if untold:
        _tell_order(packets, live)
    timed = [packet for packet in packets if packet.pts is not None]
    if not any(packet.key for packet in timed) or 2 * len(timed) < len(packets):
        raise ValueError("its video has no frames, or most of them have no times")
    for packet in packets:
        packet.run = live
    _check_order(timed)
    shown_pts = {packet.pts or 0 for packet in timed} - unseen
    if not shown_pts:
        raise ValueError("its edit list shows none of its frames")
    begin = min(shown_pts)
    live.offset_ns = start_ns - live.nanoseconds(begin)
    for packet in timed:
        assert packet.pts is not None
        packet.pts_ns = live.nanoseconds(packet.pts)
        if packet.pts in unseen:  # cut off by an edit list: only what is shown after it needs it
            continue
        live.times[packet.pts] = FrameTime(start_ns + live.nanoseconds(packet.pts - begin), 0.0, 0.0, False, False)
    return Recording(run, name, packets)


def _check_order(timed: Sequence[Packet]) -> None:
    """Key frames are shown in the order in which they are decoded, else there are several recordings in it. Raises ValueError."""
    keys = [packet.pts or 0 for packet in timed if packet.key]
    if any(later < one for one, later in pairwise(keys)):
        raise ValueError("its times begin again in the middle: it is several recordings in one, give each by itself")


def _tell_order(packets: Sequence[Packet], run: RecordedRun) -> None:
    """The n-th frame that is shown has the n-th of the times at which they are decoded."""
    numbered = ((place, each.data) for place, each in enumerate(packets))
    order = dict.fromkeys(place for place, _ in shown(run.codec, run.extradata, numbered, whole=False))
    times = sorted(dts for place in order if (dts := packets[place].dts) is not None)
    for packet in packets:
        packet.pts = None
    for place, time in zip(order, times, strict=False):
        packets[place].pts = time


def _mark_of(file: BinaryIO) -> Mark:
    """By the first frame that can be decoded: the file's mark comes with each; what cannot be opened is told elsewhere."""
    try:
        with opened(file) as (container, stream):
            return next((mark_of(frame) for packet in container.demux(stream) for frame in _frames(packet)), Mark())
    except ValueError:
        return Mark()


def _frames(packet: av.Packet[VideoStream]) -> list[VideoFrame]:
    try:
        return packet.decode()
    except av.error.FFmpegError:  # a damaged one; those behind it may be whole
        return []


def read_imported(index: Index, incident_id: str, clocks: Clocks) -> Recording:
    """The stored file of an imported incident. Raises FirewitnessError."""
    clips = index.clips_of(incident_id)
    clip = index.evidence_one(clips[0]["id"]) if clips else None
    if clip is None or clip["missing"]:
        raise FirewitnessError(f"the recording of the incident {incident_id} is gone")
    path = index.evidence_file(clip["id"]) or Path(clip["path"])
    try:
        with path.open("rb") as file:
            start_ns = int(clip["record"]["captured_at_ns"])
            return read_recording(file, clip["camera"], clip["run"], start_ns, clocks)
    except (OSError, ValueError) as error:
        raise FirewitnessError(f"{path} cannot be read: {error}") from error
