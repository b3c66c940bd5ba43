# SPDX-License-Identifier: AGPL-3.0-or-later
"""NAL units of H.264 and H.265 as they came, and what an MP4 has to say of them in `avcC` and `hvcC` (ISO/IEC 14496-15).

No NAL unit is changed, added or left out: only the start codes between them become lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_START = b"\x00\x00\x01"
_H264_SPS, _H264_PPS = 7, 8
_H265_SETS = (32, 33, 34)
_H264_WITHOUT_CHROMA = (66, 77, 88)  # baseline, main, extended: always 4:2:0 with 8 bits
_LENGTH_SIZE = 4
_H264_LAST_SLICE, _H265_LAST_SLICE = 5, 31
SLICE_HEAD_BYTES = 24  # more than what comes up to frame_num


class _Depth(NamedTuple):
    chroma_format: int
    luma_bits: int
    chroma_bits: int


def units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B stream. One never ends in a zero byte, so what is there belongs to a start code."""
    at = data.find(_START)
    while at >= 0:
        begin = at + len(_START)
        at = data.find(_START, begin)
        unit = data[begin : at if at >= 0 else None].rstrip(b"\x00")
        if unit:
            yield unit


def until_slice(codec: str, data: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B picture up to its first slice, of that its beginning alone: what follows is not looked through."""
    at = data.find(_START)
    while 0 <= at < len(data) - len(_START):
        begin = at + len(_START)
        if is_slice(codec, data[begin]):
            yield data[begin : begin + SLICE_HEAD_BYTES]
            return
        at = data.find(_START, begin)
        if unit := data[begin : at if at >= 0 else None].rstrip(b"\x00"):
            yield unit


def kind_of(codec: str, first: int) -> int:
    """A NAL unit's type, by its first byte (ITU-T H.264, 7.3.1; H.265, 7.3.1.2)."""
    return first >> 1 & 0x3F if codec == "hevc" else first & 0x1F


def is_slice(codec: str, first: int) -> bool:
    """H.264 table 7-1: slices from 1 to 5; H.265 table 7-1: below 32."""
    kind = kind_of(codec, first)
    return kind <= _H265_LAST_SLICE if codec == "hevc" else 1 <= kind <= _H264_LAST_SLICE


def with_lengths(data: bytes) -> bytes:
    """The same NAL units, each after its length in four bytes, as samples of an MP4 have them."""
    parts: list[bytes] = []
    for unit in units(data):
        parts += (len(unit).to_bytes(_LENGTH_SIZE, "big"), unit)
    return b"".join(parts)


def configuration(codec: str, *sources: bytes) -> bytes:
    """`avcC` or `hvcC` from the parameter sets in the first of the Annex B sources that has them all.

    Raises ValueError where none has.
    """
    for source in sources:
        found = list(units(source))
        try:
            return _hvcc(found) if codec == "hevc" else _avcc(found)
        except (IndexError, ValueError):
            continue
    raise ValueError("the stream came without parameter sets")


def _avcc(found: Sequence[bytes]) -> bytes:
    sps = _distinct(unit for unit in found if unit[0] & 0x1F == _H264_SPS)
    pps = _distinct(unit for unit in found if unit[0] & 0x1F == _H264_PPS)
    if not sps or not pps:
        raise ValueError("no parameter sets")
    first = sps[0]
    record = bytes([1, *first[1:4], 0xFC | _LENGTH_SIZE - 1, 0xE0 | len(sps)])
    record += b"".join(_counted(unit) for unit in sps) + bytes([len(pps)]) + b"".join(_counted(unit) for unit in pps)
    if first[1] not in _H264_WITHOUT_CHROMA:
        depth = _h264_depth(first)
        record += bytes([0xFC | depth.chroma_format, 0xF8 | depth.luma_bits - 8, 0xF8 | depth.chroma_bits - 8, 0])
    return record


def _hvcc(found: Sequence[bytes]) -> bytes:
    sets = {kind: _distinct(unit for unit in found if unit[0] >> 1 & 0x3F == kind) for kind in _H265_SETS}
    if not all(sets.values()):
        raise ValueError("no parameter sets")
    sps = without_escapes(sets[33][0])[2:]
    sub_layers, nested = sps[0] >> 1 & 7, sps[0] & 1
    depth = _h265_depth(sps, sub_layers)
    record = b"\x01" + sps[1:13] + struct.pack(">HB", 0xF000, 0xFC)
    record += bytes([0xFC | depth.chroma_format, 0xF8 | depth.luma_bits - 8, 0xF8 | depth.chroma_bits - 8])
    record += struct.pack(">HBB", 0, sub_layers + 1 << 3 | nested << 2 | _LENGTH_SIZE - 1, len(sets))
    for kind, several in sets.items():
        record += struct.pack(">BH", kind, len(several)) + b"".join(_counted(unit) for unit in several)
    return record


def _h264_depth(sps: bytes) -> _Depth:
    """ITU-T H.264, 7.3.2.1.1."""
    bits = Bits(without_escapes(sps)[4:])
    bits.exp_golomb()
    chroma = bits.exp_golomb()
    if chroma == 3:
        bits.take(1)
    return _Depth(chroma, 8 + bits.exp_golomb(), 8 + bits.exp_golomb())


def _h265_depth(sps: bytes, sub_layers: int) -> _Depth:
    """ITU-T H.265, 7.3.2.2.1 and 7.3.3."""
    bits = Bits(sps[13:])
    present = [(bits.take(1), bits.take(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.take(2 * (8 - sub_layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.exp_golomb()
    chroma = bits.exp_golomb()
    if chroma == 3:
        bits.take(1)
    bits.exp_golomb()
    bits.exp_golomb()
    if bits.take(1):  # the conformance window
        for _ in range(4):
            bits.exp_golomb()
    return _Depth(chroma, 8 + bits.exp_golomb(), 8 + bits.exp_golomb())


class Bits:
    """Reads a payload bit by bit; ValueError beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        if count > self._left:
            raise ValueError("a parameter set that is cut")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def exp_golomb(self) -> int:
        """ue(v): ITU-T H.264, 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def without_escapes(unit: bytes) -> bytes:
    """The payload without emulation prevention bytes."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def _distinct(several: Iterator[bytes]) -> list[bytes]:
    return list(dict.fromkeys(several))


def _counted(unit: bytes) -> bytes:
    return struct.pack(">H", len(unit)) + unit
