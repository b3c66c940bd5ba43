# SPDX-License-Identifier: AGPL-3.0-or-later
"""Picture headers: dimensions before pixels, wholeness, and no surprise from any bytes."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.api import codes, headers
from daemon.api.headers import BadPicture, Header
from daemon.api.picture import PictureRefused, read_picture

KINDS = ["jpeg", "png", "bmp", "webp"]
LIMITS = {"most_bytes": 1_000_000, "most_pixels": 100_000}


def encoded(kind: str, size: tuple[int, int] = (61, 40), mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    picture.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def with_orientation(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", KINDS)
@given(size=st.tuples(st.integers(1, 300), st.integers(1, 300)))
@settings(max_examples=20, deadline=None)
def test_dimensions_are_those_that_another_program_wrote(kind: str, size: tuple[int, int]) -> None:
    """For every kind and size the header says what Pillow encoded."""
    assert headers.read(encoded(kind, size)) == Header(kind, *size)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("jpeg", {"progressive": True}),
        ("jpeg", {"quality": 95, "comment": b"\xff\xd9 an end that is none \xff\xda"}),
        ("webp", {"lossless": True}),
        ("webp", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("png", {"pnginfo": None, "compress_level": 0}),
    ],
)
def test_variants_of_a_kind_are_read(kind: str, options: dict[str, object]) -> None:
    """Progressive, lossless, extended and commented files give their dimensions and decode."""
    data = encoded(kind, **options)
    assert headers.read(data) == Header(kind, 61, 40)
    assert read_picture(data, **LIMITS).image.shape == (40, 61, 3)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_from_exif(kind: str, orientation: int) -> None:
    """All eight values, in every kind that can hold EXIF."""
    assert headers.read(with_orientation(kind, orientation)).orientation == orientation


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_upright(value: int) -> None:
    """As viewers take it."""
    assert headers.read(with_orientation("jpeg", value)).orientation == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_never_a_picture(kind: str) -> None:
    """Wherever a file ends early, it is refused: nobody gets an answer about half a picture."""
    data = encoded(kind)
    for length in range(len(data) - 1):
        with pytest.raises(PictureRefused) as refused:
            read_picture(data[:length], **LIMITS)
        assert refused.value.code is codes.NOT_AN_IMAGE


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_decoded_or_refused(kind: str, data: st.DataObject) -> None:
    """Any bytes flipped anywhere: an image of the header's size or PictureRefused, and no other exception."""
    damaged = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = read_picture(bytes(damaged), **LIMITS)
    except PictureRefused:
        return
    stored = (read.header.height_px, read.header.width_px)
    assert read.image.shape[:2] == (stored if read.header.orientation < 5 else stored[::-1])


@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"BM", b"RIFF\x40\0\0\0WEBPVP8X"]),
    rest=st.binary(max_size=200),
)
@settings(max_examples=300, deadline=None)
def test_strange_bytes_are_refused_or_read(start: bytes, rest: bytes) -> None:
    """No bytes make the reader raise anything but BadPicture, or run without end."""
    try:
        header = headers.read(start + rest)
    except BadPicture:
        return
    assert header.width_px > 0
    assert header.height_px > 0


def test_a_bomb_is_refused_by_its_header() -> None:
    """A PNG of a few bytes that claims a gigapixel never reaches the decoder."""
    data = bytearray(encoded("png"))
    data[16:24] = struct.pack(">II", 40_000, 40_000)
    with pytest.raises(PictureRefused) as refused:
        read_picture(bytes(data), **LIMITS)
    assert refused.value.code is codes.TOO_MANY_PIXELS


def test_a_small_canvas_cannot_hide_a_large_webp() -> None:
    """The extended header and the frame must agree, or the limit of pixels could be passed."""
    data = bytearray(encoded("webp", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    assert data[12:16] == b"VP8X"
    data[24:30] = b"\0\0\0\0\0\0"
    with pytest.raises(BadPicture):
        headers.read(bytes(data))


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a" + bytes(50), b"%PDF-1.7", b"<svg xmlns=''/>", b"\0\0\0\x18ftypheic"]
)
def test_other_kinds_are_refused(content: bytes) -> None:
    """The list of kinds is an allow-list."""
    with pytest.raises(BadPicture):
        headers.read(content)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("jpeg", "L"), ("jpeg", "CMYK"), ("png", "L"), ("png", "LA"), ("png", "RGBA"), ("png", "P"), ("png", "I;16"),
     ("png", "1"), ("webp", "RGBA"), ("bmp", "L"), ("bmp", "1"), ("bmp", "P")],
)  # fmt: skip
def test_every_pixel_format_becomes_bgr(kind: str, mode: str) -> None:
    """Grey, palette, alpha, CMYK and 16 bits all reach the detector as 8-bit BGR."""
    picture = Image.new("RGB", (20, 10), (200, 200, 200))
    if mode == "I;16":
        picture = Image.fromarray(np.full((10, 20), 200 * 257, np.uint16))
    else:
        picture = picture.convert(mode, dither=Image.Dither.NONE)
    file = io.BytesIO()
    picture.save(file, kind)
    image = read_picture(file.getvalue(), **LIMITS).image
    assert image.shape == (10, 20, 3)
    assert image.dtype == np.uint8
    expected = 255 if mode == "1" else 200  # a palette rounds to its nearest colour
    assert np.abs(image.astype(int) - expected).max() <= 12


def test_colours_are_blue_green_red() -> None:
    """The order of all arrays of the project."""
    image = read_picture(cv2.imencode(".png", np.full((4, 4, 3), (1, 2, 3), np.uint8))[1].tobytes(), **LIMITS).image
    assert image[0, 0].tolist() == [1, 2, 3]
