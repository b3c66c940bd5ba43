# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a picture's header says, read before any pixel is decoded: kind, dimensions, EXIF orientation, wholeness.

A decoder allocates width × height × 3 bytes before anyone can object, so dimensions are read here first. Kinds
are an allow-list told by signature: JPEG (ITU T.81), PNG (W3C), BMP, WebP (RFC 9649). No pixel is judged here.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

UPRIGHT = 1
_TIFF_ORIENTATION = 0x0112  # Exif 2.32, 4.6.4
_TIFF_SHORT = 3
_SOI_LENGTH = 2
_FILL = re.compile(b"\xff*")  # any number of fill bytes may precede a marker (T.81, B.1.1.2)
_MOST_PARTS = 20_000  # a PNG of 20 MB in chunks of 8 kB has 2,500
_JPEG_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; C4 is DHT, C8 reserved, CC DAC
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_BMP_UNCOMPRESSED = (0, 3, 6)  # BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS


class BadPicture(Exception):
    """Not a whole picture of an allowed kind."""


@dataclass(frozen=True, slots=True)
class Header:
    """A picture as stored: before its orientation (Exif 2.32, values 1 to 8) is applied."""

    kind: str
    width_px: int
    height_px: int
    orientation: int = UPRIGHT


def read(data: bytes) -> Header:
    """The header of a whole JPEG, PNG, BMP or WebP; raises BadPicture for anything else, cut ones included."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif data.startswith(b"BM"):
            header = _bmp(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            header = _webp(data)
        else:
            raise BadPicture("neither JPEG, PNG, BMP nor WebP")
    except (struct.error, IndexError) as error:
        raise BadPicture("the file is cut") from error
    if header.width_px < 1 or header.height_px < 1:
        raise BadPicture("a picture without pixels")
    return header


def _another(steps: int) -> int:
    """Counts the parts of a file; raises BadPicture where only an attacker would have so many."""
    if steps >= _MOST_PARTS:
        raise BadPicture("a file of too many parts")
    return steps + 1


def _jpeg(data: bytes) -> Header:
    at = _SOI_LENGTH
    steps = 0
    size: tuple[int, int] | None = None
    orientation: int | None = None
    while True:
        if data[at] != 0xFF:
            raise BadPicture("broken JPEG")
        steps = _another(steps)
        at = _FILL.match(data, at).end()  # type: ignore[union-attr]
        marker, at = data[at], at + 1
        if marker in _JPEG_NO_LENGTH:
            continue
        if marker == _EOI:
            raise BadPicture("a JPEG without picture")
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = (width, height)
        elif marker == _APP1 and orientation is None and data[at + 2 : at + 8] == b"Exif\0\0":
            orientation = _orientation(data[at + 8 : at + length])
        at += length
        if marker == _SOS:
            break
    # Inside coded data 0xFF is followed by 0x00 or a restart marker, so the first FF D9 is the end.
    if size is None or data.find(b"\xff\xd9", at) < 0:
        raise BadPicture("the JPEG is cut")
    return Header("jpeg", *size, orientation or UPRIGHT)


def _png(data: bytes) -> Header:
    if data[8:16] != b"\0\0\0\rIHDR":
        raise BadPicture("broken PNG")
    width, height = struct.unpack_from(">II", data, 16)
    orientation = UPRIGHT
    at = 8
    steps = 0
    while True:
        steps = _another(steps)
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise BadPicture("the PNG is cut")
        if name == b"eXIf":
            orientation = _orientation(data[at + 8 : at + 8 + length])
        elif name == b"IEND":
            return Header("png", width, height, orientation)
        at += 12 + length


def _bmp(data: bytes) -> Header:
    pixels_at, header_size = struct.unpack_from("<II", data, 10)
    if header_size == 12:  # OS/2 1.x
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    elif header_size >= 40:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    else:
        raise BadPicture("broken BMP")
    height = abs(height)  # negative: stored from the top down
    row_bytes = (width * bits + 31) // 32 * 4
    if compression in _BMP_UNCOMPRESSED and pixels_at + row_bytes * height > len(data):
        raise BadPicture("the BMP is cut")
    return Header("bmp", width, height)


def _webp(data: bytes) -> Header:
    (riff_size,) = struct.unpack_from("<I", data, 4)
    end = 8 + riff_size
    if end > len(data):
        raise BadPicture("the WebP is cut")
    at = 12
    sizes: set[tuple[int, int]] = set()
    orientation = UPRIGHT
    steps = 0
    while at + 8 <= end:
        steps = _another(steps)
        name, length = struct.unpack_from("<4sI", data, at)
        if name in _WEBP_SIZES:
            sizes.add(_WEBP_SIZES[name](data, at + 8))
        elif name == b"EXIF":
            orientation = _orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    if len(sizes) != 1:  # none; or a small canvas around a large frame, which would pass the limit of pixels
        raise BadPicture("broken WebP")
    return Header("webp", *sizes.pop(), orientation)


def _webp_lossy(data: bytes, at: int) -> tuple[int, int]:
    if data[at + 3 : at + 6] != b"\x9d\x01\x2a":
        raise BadPicture("broken WebP")
    width, height = struct.unpack_from("<HH", data, at + 6)
    return width & 0x3FFF, height & 0x3FFF


def _webp_lossless(data: bytes, at: int) -> tuple[int, int]:
    signature, bits = struct.unpack_from("<BI", data, at)
    if signature != 0x2F:
        raise BadPicture("broken WebP")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_canvas(data: bytes, at: int) -> tuple[int, int]:
    canvas = data[at + 4 : at + 10]
    if len(canvas) < 6:
        raise BadPicture("the WebP is cut")
    return int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1


_WEBP_SIZES = {b"VP8 ": _webp_lossy, b"VP8L": _webp_lossless, b"VP8X": _webp_canvas}


def _orientation(tiff: bytes) -> int:
    """Of an EXIF block (TIFF 6.0): 1 to 8, and 1 where it says nothing or nonsense, as viewers do."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            if tag == _TIFF_ORIENTATION and kind == _TIFF_SHORT:
                return int(value) if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
