# SPDX-License-Identifier: AGPL-3.0-or-later
"""A colour test chart as a clip: patches of known colours, and in every picture its own number to be read back.

For tests of the way from camera to evidence: whether colours survive it, and which picture a still shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target

COLUMNS, ROWS = 6, 4
PATCHES_HEIGHT = 0.80  # shares of the picture's height, from the top
BAR = (0.82, 0.86)  # where a bar moves
DIGITS = (0.87, 0.93)  # the picture's number in binary, highest digit left
COMPLEMENT = (0.93, 0.99)  # the same inverted, so that a damaged picture cannot be misread
BITS = 16
QUALITY = 4  # the rate factor at which flat patches keep their level

# red and blue weights of luma: ITU-R BT.709-6 section 3.2, BT.601-7 section 2.5.1
WEIGHTS = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}

# BGR: primaries, their mixtures, greys, and the colours of skin, foliage, sky, wood, fire and rust
COLOURS = (
    *((60, 60, 200), (60, 190, 60), (200, 60, 60), (40, 200, 220), (190, 60, 180), (200, 180, 40)),
    *((10, 10, 10), (50, 50, 50), (90, 90, 90), (140, 140, 140), (190, 190, 190), (240, 240, 240)),
    *((130, 150, 195), (70, 112, 92), (155, 120, 95), (60, 100, 150), (30, 120, 240), (40, 60, 130)),
    *((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (90, 210, 250), (20, 40, 60)),
)

Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Inset:
    """Something to see in the middle of the chart, such as a fire."""

    size: tuple[int, int]  # width, height in pixels, multiples of 4
    picture: Callable[[int], Plane]  # of a picture's number: BGR uint8 (height, width, 3)


@dataclass(frozen=True, slots=True)
class Chart:
    """A clip of the chart; x and y are the centres of the patches in pixels."""

    path: Path
    size: tuple[int, int]  # width, height in pixels
    patches: list[tuple[int, int, tuple[int, int, int]]]  # x, y, BGR: what the coded colour stands for

    @staticmethod
    def read_frame_number(picture: NDArray[np.uint8]) -> int:
        """The number of a picture (height, width, 3) uint8 at any scale, from 0; ValueError where it cannot be read."""
        digits, inverted = (_read_row(picture, row) for row in (DIGITS, COMPLEMENT))
        if any(digit == other for digit, other in zip(digits, inverted, strict=True)):
            raise ValueError("the picture's number is damaged, or this is no picture of the chart")
        return sum(digit << BITS - 1 - place for place, digit in enumerate(digits))


def _read_row(picture: NDArray[np.uint8], row: tuple[float, float]) -> list[bool]:
    height, width = picture.shape[:2]
    y, cell = round(height * sum(row) / 2), width / BITS
    reach = max(1, int(min(cell, height * (row[1] - row[0])) / 6))
    centres = (round((place + 0.5) * cell) for place in range(BITS))
    return [bool(picture[y - reach : y + reach, x - reach : x + reach].mean() > 127.5) for x in centres]


def _coded(bgr: tuple[int, int, int], matrix: str, full: bool) -> NDArray[np.float64]:
    """Y, Cb, Cr of a colour on the 8-bit scale, unrounded (BT.601 and BT.709, section "quantisation")."""
    kr, kb = WEIGHTS[matrix]
    b, g, r = (level / 255 for level in bgr)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    chroma = (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)
    scale = (255, 255, 255) if full else (219, 224, 224)
    offset = (0, 128, 128) if full else (16, 128, 128)
    return np.array((luma, *chroma)) * scale + offset


def _decoded(ycc: NDArray[np.float64], matrix: str, full: bool) -> tuple[int, int, int]:
    """BGR of Y, Cb, Cr on the 8-bit scale: the inverse of `_coded`."""
    kr, kb = WEIGHTS[matrix]
    scale = (255, 255, 255) if full else (219, 224, 224)
    offset = (0, 128, 128) if full else (16, 128, 128)
    luma, cb, cr = (ycc - offset) / scale
    b, r = luma + (2 - 2 * kb) * cb, luma + (2 - 2 * kr) * cr
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    blue, green, red = (int(np.clip(round(level * 255), 0, 255)) for level in (b, g, r))
    return blue, green, red


def _blank(size: tuple[int, int], matrix: str, full: bool) -> tuple[Plane, Plane, Plane, Any]:
    """The chart without number and bar as Y, Cb and Cr planes, and its patches."""
    width, height = size
    luma = np.full((height, width), round(_coded((110, 110, 110), matrix, full)[0]), np.uint8)
    chroma = [np.full((height // 2, width // 2), 128, np.uint8) for _ in range(2)]
    patches = []
    cell_w, cell_h = width / COLUMNS, height * PATCHES_HEIGHT / ROWS
    for place, colour in enumerate(COLOURS):
        ycc = np.clip(np.rint(_coded(colour, matrix, full)), 0, 255)
        x, y = (place % COLUMNS + 0.5) * cell_w, (place // COLUMNS + 0.5) * cell_h
        left, right, top, bottom = (round(at / 2) for at in _around(x, y, 0.4 * cell_w, 0.4 * cell_h))
        luma[2 * top : 2 * bottom, 2 * left : 2 * right] = ycc[0]
        for plane, level in zip(chroma, ycc[1:], strict=True):
            plane[top:bottom, left:right] = level
        patches.append((round(x), round(y), _decoded(ycc, matrix, full)))
    return luma, chroma[0], chroma[1], patches


def _around(x: float, y: float, half_w: float, half_h: float) -> tuple[float, float, float, float]:
    return x - half_w, x + half_w, y - half_h, y + half_h


def _number_drawer(size: tuple[int, int], full: bool) -> Callable[[Plane, int], None]:
    """Draws a picture's number and bar into a luma plane; grey needs no chroma."""
    width, height = size
    black, white = (0, 255) if full else (16, 235)
    edges = [round(place * width / BITS) for place in range(BITS + 1)]
    rows = [slice(round(height * row[0]), round(height * row[1])) for row in (BAR, DIGITS, COMPLEMENT)]

    def draw(luma: Plane, number: int) -> None:
        bar = slice(begin := number * 8 % (width - 32), begin + 32)
        luma[rows[0]] = black
        luma[rows[0], bar] = white
        for place in range(BITS):
            digit = number >> BITS - 1 - place & 1
            cell = slice(edges[place], edges[place + 1])
            luma[rows[1], cell] = white if digit else black
            luma[rows[2], cell] = black if digit else white

    return draw


def _corner(inset: Inset, size: tuple[int, int]) -> tuple[int, int]:
    middle = size[0] // 2, round(size[1] * PATCHES_HEIGHT / 2)
    left, top = middle[0] - inset.size[0] // 2, middle[1] - inset.size[1] // 2
    return left & ~1, top & ~1


def _covers(inset: Inset, size: tuple[int, int], x: int, y: int) -> bool:
    left, top = _corner(inset, size)
    margin = 16  # of the inset's own blocks, whose coding touches its neighbours
    return left - margin <= x < left + inset.size[0] + margin and top - margin <= y < top + inset.size[1] + margin


def _paste(
    inset: Inset, size: tuple[int, int], planes: tuple[Plane, Plane, Plane], picture: Plane, matrix: str, full: bool
) -> None:
    left, top = _corner(inset, size)
    width, height = inset.size
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709 if matrix == "bt709" else Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        threads=1,
    )
    rows = np.asarray(frame.to_ndarray(), np.uint8)
    planes[0][top : top + height, left : left + width] = rows[:height]
    small = rows[height:].reshape(2, height // 2, width // 2)
    for plane, part in zip(planes[1:], (small[0], small[1]), strict=True):
        plane[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2] = part


def _tag(frame: av.VideoFrame, matrix: str, full: bool) -> None:
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    if matrix == "bt709":
        frame.colorspace = Colorspace.ITU709
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    else:
        frame.colorspace = Colorspace.SMPTE170M
        frame.color_primaries, frame.color_trc = ColorPrimaries.SMPTE170M, ColorTrc.SMPTE170M


def make_chart(
    path: Path,
    size: tuple[int, int] = (1920, 1080),
    fps: int = 25,
    gop_s: float = 2,
    seconds: float = 10,
    matrix: str = "bt709",
    range_: str = "limited",
    tagged: bool = True,
    inset: Inset | None = None,
) -> Chart:
    """Makes an H.264 clip of the chart; `size` is width, height in even pixels, picture n carries the number n.

    `matrix` is bt709 or bt601, `range_` limited or full; with `tagged` false the stream does not say which it is.
    `inset` covers the middle of the patches with a picture of its own; patches below it are left out of the list.
    """
    full = range_ == "full"
    luma, cb, cr, patches = _blank(size, matrix, full)
    if inset is not None:
        patches = [patch for patch in patches if not _covers(inset, size, patch[0], patch[1])]
    draw = _number_drawer(size, full)
    target = Target(CODECS["h264"], size, Fraction(fps), round(gop_s * fps), quality=QUALITY, preset="ultrafast")
    with Encoder(path, target) as encoder:
        for number in range(round(seconds * fps)):
            draw(luma, number)
            if inset is not None:
                _paste(inset, size, (luma, cb, cr), inset.picture(number), matrix, full)
            planes = np.concatenate([plane.ravel() for plane in (luma, cb, cr)]).reshape(-1, size[0])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            if tagged:
                _tag(frame, matrix, full)
            encoder.add(frame)
    return Chart(path, size, patches)
