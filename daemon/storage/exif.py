# SPDX-License-Identifier: AGPL-3.0-or-later
"""The EXIF block of a still: what any photo program shows. The record itself is in the XMP.

Exif 2.32 (CIPA DC-008-2019): a TIFF 6.0 file of two directories, big-endian, behind "Exif" and two zero bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from daemon.clock import NS
from daemon.domain import Evidence

# Field types, TIFF 6.0 section 2
_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 2, 3, 4, 5, 7
_ITEM_BYTES = {_ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, _UNDEFINED: 1}

_HEADER = b"MM\x00\x2a" + struct.pack(">I", 8)
_EXIF_DIRECTORY = 0x8769
_UNCALIBRATED = 0xFFFF  # a camera's stream names no ICC colour space


class _Field(NamedTuple):
    tag: int
    type: int
    data: bytes


def block(evidence: Evidence) -> bytes:
    """The payload of the APP1 segment, the tags as docs/formats.md lists them and those that Exif demands."""
    picture = _picture(evidence)
    after = len(_HEADER) + len(_directory([*picture, _long(_EXIF_DIRECTORY, 0)], 0))
    main = _directory([*picture, _long(_EXIF_DIRECTORY, after)], len(_HEADER))
    return b"Exif\x00\x00" + _HEADER + main + _directory(_capture(evidence), after)


def _picture(evidence: Evidence) -> list[_Field]:
    """The 0th IFD (Exif 2.32, table 4), in a JPEG without ImageWidth and ImageLength: its frame header has them."""
    return [
        _Field(0x011A, _RATIONAL, struct.pack(">II", 72, 1)),  # XResolution
        _Field(0x011B, _RATIONAL, struct.pack(">II", 72, 1)),  # YResolution
        _short(0x0128, 2),  # ResolutionUnit: inches
        _ascii(0x0131, f"Firewitness {evidence.version}"),  # Software
        _short(0x0213, 1),  # YCbCrPositioning: centred, as JFIF has it
    ]


def _capture(evidence: Evidence) -> list[_Field]:
    """The Exif IFD (Exif 2.32, tables 7 and 8)."""
    seconds, rest_ns = divmod(evidence.time.captured_at_ns, NS)
    taken = datetime.fromtimestamp(seconds, UTC)
    return [
        _Field(0x9000, _UNDEFINED, b"0232"),  # ExifVersion
        _ascii(0x9003, f"{taken:%Y:%m:%d %H:%M:%S}"),  # DateTimeOriginal
        _ascii(0x9011, "+00:00"),  # OffsetTimeOriginal
        _Field(0x9101, _UNDEFINED, bytes((1, 2, 3, 0))),  # ComponentsConfiguration: YCbCr
        _ascii(0x9291, f"{rest_ns // 1_000_000:03d}"),  # SubSecTimeOriginal
        _Field(0xA000, _UNDEFINED, b"0100"),  # FlashpixVersion
        _short(0xA001, _UNCALIBRATED),  # ColorSpace
        _long(0xA002, evidence.width_px),  # PixelXDimension
        _long(0xA003, evidence.height_px),  # PixelYDimension
        _ascii(0xA420, evidence.id.replace("-", "")),  # ImageUniqueID
        _ascii(0xA431, evidence.camera),  # BodySerialNumber
    ]


def _directory(fields: Sequence[_Field], at: int) -> bytes:
    """An image file directory (TIFF 6.0, section 2) that lies at `at`: entries, then what is longer than four bytes."""
    entries, data = [], b""
    data_at = at + 2 + 12 * len(fields) + 4
    for tag, kind, content in sorted(fields):
        value = content.ljust(4, b"\x00")
        if len(content) > 4:
            value = struct.pack(">I", data_at + len(data))
            data += content + b"\x00" * (len(content) % 2)  # values begin on a word
        entries.append(struct.pack(">HHI4s", tag, kind, len(content) // _ITEM_BYTES[kind], value))
    return struct.pack(">H", len(entries)) + b"".join(entries) + struct.pack(">I", 0) + data


def _ascii(tag: int, text: str) -> _Field:
    return _Field(tag, _ASCII, text.encode("ascii", "replace").replace(b"\x00", b"?") + b"\x00")


def _short(tag: int, value: int) -> _Field:
    return _Field(tag, _SHORT, struct.pack(">H", value))


def _long(tag: int, value: int) -> _Field:
    return _Field(tag, _LONG, struct.pack(">I", value))
