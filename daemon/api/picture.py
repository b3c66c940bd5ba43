# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bytes of a strange picture → upright pixels for the detector; nothing is decoded before its header was judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from daemon.api import bombs, codes, headers
from daemon.api.codes import Refusal
from daemon.api.headers import Header
from daemon.api.orientation import Picture, upright

# Rotated by us, so that we know which way boxes have to go back; grey, CMYK, alpha and 16 bits all become 8-bit BGR.
_HOW = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class PictureRefused(Refusal):
    """A picture that is not looked at (1005 to 1007)."""


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """`image` is upright, BGR uint8, height × width × 3; `header` tells of the picture as stored."""

    image: Picture
    header: Header


def read_picture(
    data: bytes, *, most_bytes: int, most_pixels: int, make_room: Callable[[int], None] = lambda pixels: None
) -> ReadPicture:
    """Checks, then decodes once `make_room` has returned for so many pixels; raises PictureRefused."""
    if len(data) > most_bytes:
        raise PictureRefused(codes.TOO_MANY_BYTES, f"a picture may have {most_bytes}")
    try:
        header = headers.read(data)
    except headers.BadPicture as error:
        raise PictureRefused(codes.NOT_AN_IMAGE, str(error)) from None
    if header.width_px * header.height_px > most_pixels:
        size = f"{header.width_px} × {header.height_px}"
        raise PictureRefused(codes.TOO_MANY_PIXELS, f"{size}; a picture may have {most_pixels} in all")
    try:
        bombs.refuse(data, header)
    except headers.BadPicture as error:
        raise PictureRefused(codes.NOT_AN_IMAGE, str(error)) from None
    make_room(header.width_px * header.height_px)
    return ReadPicture(upright(_decode(data, header), header.orientation), header)


def _decode(data: bytes, header: Header) -> Picture:
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), _HOW)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape != (header.height_px, header.width_px, 3):
        raise PictureRefused(codes.NOT_AN_IMAGE, f"the {header.kind} cannot be decoded")
    return cast(Picture, pixels)
