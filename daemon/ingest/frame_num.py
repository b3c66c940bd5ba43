# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a picture that others are predicted from is missing before this one: H.264 numbers them (ITU-T H.264, 7.4.3).

A camera's frames come as unevenly as it likes (night mode, a rate that follows the scene): the time between two of them
tells no loss. Of H.265 nothing is told: its numbers (POC) may leave any out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from daemon.clips.nal import SLICE_HEAD_BYTES, Bits, units, until_slice, without_escapes

_SLICE, _SLICE_A, _IDR, _SPS = 1, 2, 5, 7
_SLICES = (_SLICE, _SLICE_A, _IDR)
# Profiles whose SPS says more of chroma, depth and scaling (7.3.2.1.1)
_HIGH = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


class _Sps(NamedTuple):
    """What a sequence parameter set says of frame_num."""

    bits: int
    colour_planes: bool
    """Whether a slice tells of which colour plane it is."""
    may_skip: bool
    """gaps_in_frame_num_value_allowed_flag: the camera leaves numbers out (temporal layers)."""


class FrameNum:
    """One decoder's, fed as it is."""

    def __init__(self, extradata: bytes | None) -> None:
        self._sps: _Sps | None = None
        self._length_bytes = (extradata[4] & 3) + 1 if extradata and len(extradata) > 7 and extradata[0] == 1 else 0
        self._last: int | None = None
        if extradata:
            self._know(_sets_in(extradata) if self._length_bytes else units(extradata))

    def restart(self) -> None:
        """The next picture follows nothing."""
        self._last = None

    def is_missing_before(self, data: bytes) -> bool:
        """Whether one is that this coded picture may be predicted from; also takes the parameter sets that it brings."""
        try:
            first = self._first_slice(data)
            return first is not None and self._sps is not None and self._is_gap(first, self._sps)
        except (IndexError, ValueError):  # what is cut or corrupt the decoder tells of
            return False

    def _is_gap(self, slice_: bytes, sps: _Sps) -> bool:
        number, last = _number_of(slice_, sps), self._last
        is_reference = slice_[0] >> 5 & 3 > 0
        if slice_[0] & 0x1F == _IDR:
            last = None
        if is_reference:
            self._last = number
        return last is not None and not sps.may_skip and number not in (last, (last + 1) % (1 << sps.bits))

    def _first_slice(self, data: bytes) -> bytes | None:
        for unit in _with_length(data, self._length_bytes) if self._length_bytes else until_slice("h264", data):
            kind = unit[0] & 0x1F
            if kind in _SLICES:
                return unit
            if kind == _SPS:
                self._know([unit])
        return None

    def _know(self, found: Iterator[bytes] | list[bytes]) -> None:
        for unit in found:
            if unit and unit[0] & 0x1F == _SPS:
                try:
                    self._sps = _sps_of(unit)
                except ValueError:
                    continue


def is_idr(data: bytes) -> bool:
    """Whether an Annex B picture can be decoded without any other: only then is a key frame one for sure."""
    return any(unit[0] & 0x1F == _IDR for unit in until_slice("h264", data))


def _number_of(slice_: bytes, sps: _Sps) -> int:
    """7.3.3: first_mb_in_slice, slice_type, pic_parameter_set_id, colour_plane_id, frame_num."""
    bits = Bits(without_escapes(slice_[:SLICE_HEAD_BYTES])[1:])
    for _ in range(3):
        bits.exp_golomb()
    if sps.colour_planes:
        bits.take(2)
    return bits.take(sps.bits)


def _sps_of(unit: bytes) -> _Sps:
    """7.3.2.1.1, as far as it is needed."""
    payload = without_escapes(unit)
    bits = Bits(payload[4:])
    bits.exp_golomb()
    colour_planes = payload[1] in _HIGH and _pass_high(bits)
    number_bits = bits.exp_golomb() + 4
    if number_bits > 16:
        raise ValueError("log2_max_frame_num is at most 16")
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.take(1)
        bits.exp_golomb()
        bits.exp_golomb()
        for _ in range(bits.exp_golomb()):
            bits.exp_golomb()
    bits.exp_golomb()
    return _Sps(number_bits, colour_planes, bool(bits.take(1)))


def _pass_high(bits: Bits) -> bool:
    """Chroma, depth and scaling lists; whether colour planes are coded apart."""
    chroma = bits.exp_golomb()
    colour_planes = chroma == 3 and bool(bits.take(1))
    bits.exp_golomb()
    bits.exp_golomb()
    bits.take(1)
    if bits.take(1):
        for place in range(12 if chroma == 3 else 8):
            if bits.take(1):
                _pass_scaling_list(bits, 16 if place < 6 else 64)
    return colour_planes


def _pass_scaling_list(bits: Bits, size: int) -> None:
    """7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            coded = bits.exp_golomb()
            following = (last + (coded + 1) // 2 * (1 if coded % 2 else -1)) % 256
        last = following or last


def _with_length(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """The NAL units of a picture as an MP4 holds it: each after its length."""
    at = 0
    while at + length_bytes < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin], "big")
        if begin < at:
            yield data[begin:at]


def _sets_in(avcc: bytes) -> Iterator[bytes]:
    """The sequence parameter sets of an avcC record (ISO/IEC 14496-15, 5.3.3.1.2)."""
    at = 6
    for _ in range(avcc[5] & 0x1F):
        size = int.from_bytes(avcc[at : at + 2], "big")
        yield avcc[at + 2 : at + 2 + size]
        at += 2 + size
