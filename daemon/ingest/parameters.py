# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parameter sets that a key frame brings with it: other ones begin a run, also where the picture keeps its size."""

from __future__ import annotations

# NAL unit types: ITU-T H.264 table 7-1 (SPS 7, PPS 8; slices up to 5); H.265 table 7-1 (VPS 32, SPS 33, PPS 34; slices below 32)
_H264_SETS, _H265_SETS = (7, 8), (32, 33, 34)
_H264_LAST_SLICE, _H265_LAST_SLICE = 5, 31
_START = b"\x00\x00\x01"


def parameter_sets(codec: str, data: bytes) -> bytes | None:
    """All parameter sets before the first slice of a coded picture (Annex B), or None where it brings none.

    Each once: what FFmpeg has kept of the connection's description may come before what the camera sends.
    """
    found: dict[bytes, None] = {}
    at = data.find(_START)
    while at >= 0:
        kind, is_slice = _kind(codec, data, at + len(_START))
        if is_slice:
            break
        end = data.find(_START, at + len(_START))
        if kind:
            found[data[at + len(_START) : end if end >= 0 else None].rstrip(b"\x00")] = None
        at = end
    return _START.join(found) if found else None


def _kind(codec: str, data: bytes, at: int) -> tuple[bool, bool]:
    """Whether the NAL unit that begins there is a parameter set, and whether it is a slice."""
    if at >= len(data):
        return False, True
    if codec == "hevc":
        number = data[at] >> 1 & 0x3F
        return number in _H265_SETS, number <= _H265_LAST_SLICE
    number = data[at] & 0x1F
    return number in _H264_SETS, 1 <= number <= _H264_LAST_SLICE
