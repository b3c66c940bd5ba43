# SPDX-License-Identifier: AGPL-3.0-or-later
"""Small files that would keep a decoder busy: told by what they hold, after the header's dimensions were found allowed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from daemon.api.headers import BadPicture, Header

_MOST_PX_A_BYTE = 1024  # of a JPEG: a block of 64 takes at least a bit in one scan; less is a bomb, or was cut
_MOST_SCANS = 32  # encoders make about ten; a decoder goes over the whole picture for each
_WINDOW_BYTES = 1_000_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type


def refuse(data: bytes, header: Header) -> None:
    """Raises BadPicture; `data` has that header, and its pixels are within the limit."""
    if header.kind == "jpeg":
        _jpeg(data, header)
    elif header.kind == "png":
        _png(data, header)


def _jpeg(data: bytes, header: Header) -> None:
    if len(data) * _MOST_PX_A_BYTE < header.width_px * header.height_px:
        raise BadPicture("the JPEG is too short for its dimensions")
    if data.count(b"\xff\xda") > _MOST_SCANS:  # inside coded data 0xFF is followed by 0x00 or a restart marker
        raise BadPicture("a JPEG of too many scans")


def _png(data: bytes, header: Header) -> None:
    """The decoder (libpng) inflates what follows the last row too: a thousand times the file."""
    depth, colour = data[24], data[25]
    row_bytes = 1 + (header.width_px * depth * _CHANNELS.get(colour, 4) + 7) // 8
    most = 2 * row_bytes * header.height_px + _WINDOW_BYTES  # interlaced, it has up to twice the rows
    inflate = zlib.decompressobj()
    found = 0
    try:
        for coded in _idat(data):
            while coded and not inflate.eof:
                found += len(inflate.decompress(coded, _WINDOW_BYTES))
                if found > most:
                    raise BadPicture("the PNG holds more than its dimensions say")
                coded = inflate.unconsumed_tail
    except zlib.error:
        return  # the decoder says what it thinks of it


def _idat(data: bytes) -> Iterator[bytes]:
    at = 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        elif name == b"IEND":
            return
        at += 12 + length
