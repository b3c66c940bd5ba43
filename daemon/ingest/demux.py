# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gives a stream's packets as copies, with the times at which they really came.

FFmpeg's parser gives a picture out only when the next one's first byte has come (measured: 40 ms late at 25 a second,
to the millisecond; a second late at 1). So the moment at which a packet is given out is the *next* one's arrival. Not so
after a silence as long as the read time-out: then FFmpeg gave out what it held because of the time-out, and nothing
says when the next one came.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.video.stream import VideoStream

from daemon.clock import NS
from daemon.ingest.packet import Packet
from daemon.ingest.stream import Stream

STALL_SHARE = 0.9  # of the read time-out: such a silence may have ended in one
MOST_HELD = 8  # packets at the beginning that have no time of their own
USUAL_RATE = 25
_PRFT = struct.Struct("<q")  # AVProducerReferenceTime.wallclock, µs since 1970 (libavutil/defs.h)


def packets_of(
    stream: Stream, read_timeout_s: float, now_ns: Callable[[], int] = time.monotonic_ns
) -> Iterator[Packet]:
    """Copies of all packets; raises what FFmpeg raises. Ends when the camera closes the connection."""
    stall_ns = round(read_timeout_s * STALL_SHARE * NS)
    held: list[Packet] = []
    before_ns = now_ns()
    arrival_ns: int | None = None
    for packet in stream.container.demux(stream.video):
        now = now_ns()
        if not packet.size:  # the end of the stream
            continue
        copy = _copy(packet, now, arrival_ns)
        arrival_ns, before_ns = (now if now - before_ns < stall_ns else None), now
        if copy.pts is None and len(held) < MOST_HELD:
            held.append(copy)
            continue
        yield from _timed(held, copy.pts, packet.duration or _usual_step(stream))
        held = []
        yield copy


def _copy(packet: av.Packet[VideoStream], now_ns: int, arrival_ns: int | None) -> Packet:
    clock = packet.get_sidedata("prft") if packet.has_sidedata("prft") else None
    return Packet(
        bytes(packet),
        packet.pts,
        packet.dts,
        key=packet.is_keyframe,
        emitted_ns=now_ns,
        arrival_ns=arrival_ns,
        corrupt=packet.is_corrupt,
        camera_clock_ns=_PRFT.unpack_from(bytes(clock))[0] * 1000 if clock else None,
    )


def _timed(held: list[Packet], next_pts: int | None, step: int) -> Iterator[Packet]:
    """Packets that came without times, with those that they must have had before the one at `next_pts`.

    The first packet of a stream has none, and the camera clock it comes with is its successor's. It is mostly a key
    frame, and without it a camera would not be watched until the next.
    """
    for place, packet in enumerate(held):
        packet.camera_clock_ns = None
        packet.pts = None if next_pts is None else next_pts - step * (len(held) - place)
        yield packet


def _usual_step(stream: Stream) -> int:
    rate = stream.video.average_rate or USUAL_RATE
    return round(1 / (rate * Fraction(stream.video.time_base or Fraction(1, 90_000))))
