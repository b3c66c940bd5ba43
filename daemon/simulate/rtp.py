# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTP data packets and RTCP sender reports (RFC 3550), laid out once and stamped when they leave."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PAYLOAD_TYPE = 96  # the first dynamic one: RFC 3551, section 6
NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970
INTERLEAVED_BYTES = 4  # "$", channel, length: RFC 2326, section 10.12
HEADER_BYTES = 12
MARKER = 0x80

_LAYOUT = struct.Struct(">cBHBB10x")
_STAMP = struct.Struct(">HII")


@dataclass(slots=True)
class Burst:
    """The RTP packets of one access unit, one after another, each behind the four bytes of RTSP's interleaving."""

    wire: bytearray
    starts: list[int]  # where each packet begins in `wire`, in bytes

    def spans(self) -> Iterator[tuple[int, int]]:
        """Begin and end of each packet in `wire`, with its interleaving bytes."""
        return zip(self.starts, [*self.starts[1:], len(self.wire)], strict=True)

    def on_channel(self, channel: int) -> bytes:
        """The bytes for one interleaved channel."""
        wire = bytearray(self.wire)
        for start in self.starts:
            wire[start + 1] = channel
        return bytes(wire)


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture, already cut into RTP packets whose sequence number, timestamp and SSRC are still blank."""

    frame: int  # its place in display order
    key: bool
    decode_ticks: int
    display_ticks: int
    wire: bytes
    starts: tuple[int, ...]

    def stamped(self, sequence: int, timestamp: int, ssrc: int) -> Burst:
        """The packets as they leave, the first one with number `sequence`."""
        wire = bytearray(self.wire)
        for number, start in enumerate(self.starts, sequence):
            _STAMP.pack_into(wire, start + INTERLEAVED_BYTES + 2, number & 0xFFFF, timestamp, ssrc)
        return Burst(wire, list(self.starts))


def lay_out(payloads: Sequence[bytes]) -> tuple[bytes, tuple[int, ...]]:
    """The blank packets of one picture's payloads, the last with the marker bit, and where each begins."""
    starts, wire = [], bytearray()
    for place, payload in enumerate(payloads, 1):
        starts.append(len(wire))
        marker = MARKER if place == len(payloads) else 0
        wire += _LAYOUT.pack(b"$", 0, len(payload) + HEADER_BYTES, 0x80, marker | PAYLOAD_TYPE)
        wire += payload
    return bytes(wire), tuple(starts)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender report says of its stream."""

    ssrc: int
    packets: int
    payload_bytes: int


def sender_report(sent: Sent, utc_s: float, rtp_time: int, name: str) -> bytes:
    """A compound packet: sender report and CNAME (RFC 3550, sections 6.4.1 and 6.5)."""
    ntp = utc_s + NTP_EPOCH_S
    report = struct.pack(
        ">BBHIIIIII",
        *(0x80, 200, 6, sent.ssrc),
        *(int(ntp), int(ntp % 1 * 2**32), rtp_time & 0xFFFFFFFF),
        *(sent.packets & 0xFFFFFFFF, sent.payload_bytes & 0xFFFFFFFF),
    )
    text = name.encode()[:200]
    item = struct.pack(">IBB", sent.ssrc, 1, len(text)) + text
    item += bytes(4 - len(item) % 4)
    return report + struct.pack(">BBH", 0x81, 202, len(item) // 4) + item


def goodbye(ssrc: int) -> bytes:
    """The end of a stream (RFC 3550, section 6.6)."""
    return struct.pack(">BBHI", 0x81, 203, 1, ssrc)


def interleaved(channel: int, packet: bytes) -> bytes:
    """A packet behind the four bytes that RTSP puts before binary data."""
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet
