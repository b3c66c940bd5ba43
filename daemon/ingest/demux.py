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
    clock = _CameraClock(Fraction(stream.video.time_base or Fraction(1, 90_000)))
    held: list[Packet] = []
    before_ns = now_ns()
    arrival_ns: int | None = None
    for packet in stream.container.demux(stream.video):
        now = now_ns()
        if not packet.size:  # the end of the stream
            continue
        copy = _copy(packet, now, arrival_ns, clock.of(packet))
        arrival_ns, before_ns = (now if now - before_ns < stall_ns else None), now
        if copy.pts is not None and not held:
            yield copy
            continue
        held.append(copy)
        if (copy.pts is not None and copy.dts is not None) or len(held) > MOST_HELD:
            yield from _timed(held, packet.duration or _usual_step(stream))
            held = []


class _CameraClock:
    """The camera's own clock of each packet, from its sender reports; read once a second, since reading costs.

    Between two reports FFmpeg goes on from the last one by the timestamps; so does this, between two readings.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._numerator_ns, self._denominator = time_base.numerator * NS, time_base.denominator
        self._second = self._denominator // time_base.numerator
        self._read: tuple[int, int] | None = None
        """PTS, and the camera's clock."""

    def of(self, packet: av.Packet[VideoStream]) -> int | None:
        """UTC in nanoseconds, as the camera has it; None where it does not say."""
        pts = packet.pts
        if self._read is not None and pts is not None:
            since = pts - self._read[0]
            if -self._second < since < self._second:
                return self._read[1] + since * self._numerator_ns // self._denominator
        if not packet.has_sidedata("prft"):
            self._read = None
            return None
        clock_ns: int = _PRFT.unpack_from(bytes(packet.get_sidedata("prft")))[0] * 1000
        self._read = (pts, clock_ns) if pts is not None else None
        return clock_ns


def _copy(packet: av.Packet[VideoStream], now_ns: int, arrival_ns: int | None, camera_clock_ns: int | None) -> Packet:
    return Packet(
        bytes(packet),
        packet.pts,
        packet.dts,
        key=packet.is_keyframe,
        emitted_ns=now_ns,
        arrival_ns=arrival_ns,
        corrupt=packet.is_corrupt,
        camera_clock_ns=camera_clock_ns,
    )


def _timed(held: list[Packet], step: int) -> Iterator[Packet]:
    """Packets of which the first came without times, with those that they must have had before the rest.

    The first packet of a stream has none, and the camera clock it comes with is its successor's. It is mostly a key
    frame, and without it a camera would not be watched until the next. Where there are B-frames the one sent next is
    not the one shown next; FFmpeg knows DTS only once it has seen one, so that until then they are held too.
    """
    untimed = next((place for place, packet in enumerate(held) if packet.pts is not None), len(held))
    first_pts = min((packet.pts for packet in held if packet.pts is not None), default=None)
    for place, packet in enumerate(held):
        if place < untimed:
            packet.camera_clock_ns = None
            packet.pts = None if first_pts is None else first_pts - step * (untimed - place)
        yield packet


def _usual_step(stream: Stream) -> int:
    rate = stream.video.average_rate or USUAL_RATE
    return round(1 / (rate * Fraction(stream.video.time_base or Fraction(1, 90_000))))
