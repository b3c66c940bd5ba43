# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parameter sets that a key frame brings with it: other ones begin a run, also where the picture keeps its size."""

from __future__ import annotations

from daemon.clips.nal import kind_of, until_slice

# ITU-T H.264 table 7-1 (SPS 7, PPS 8); H.265 table 7-1 (VPS 32, SPS 33, PPS 34)
_H264_SETS, _H265_SETS = (7, 8), (32, 33, 34)
_START = b"\x00\x00\x01"


def parameter_sets(codec: str, data: bytes) -> bytes | None:
    """All parameter sets before the first slice of a coded picture (Annex B), or None where it brings none.

    Each once: what FFmpeg has kept of the connection's description may come before what the camera sends.
    """
    sets = _H265_SETS if codec == "hevc" else _H264_SETS
    found = dict.fromkeys(unit for unit in until_slice(codec, data) if kind_of(codec, unit[0]) in sets)
    return _START.join(found) if found else None
