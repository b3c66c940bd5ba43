# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one tiling: parts of a picture in its own resolution, for what is too small once the whole is scaled; pure geometry.

The patrol, live frames round a suspect, going back and `python -m training` all cut, map back and merge here. How large
tiles are and how far they overlap was measured: docs/accuracy.md, Tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.detect.boxes import centre, covered, longer_side, normalised
from daemon.domain import Box, Detection

SIZE = 1.1  # a tile's side, in detector's inputs: finds as much as 1.0, with a quarter fewer of them
OVERLAP = 0.1  # of a tile's side, at least: a small flame on a border is whole in one of the two
SAME = 0.5  # of the smaller box's area: two tiles have seen the same thing
LARGE = 0.5  # of a tile's side: what is larger, the scaled whole shows well enough
SURER = 2.0  # times as sure as what fills a tile: no piece of that, but something before it
FITS = 0.8  # of a tile's side: a place that leaves no margin is cut by the next movement
MOST_TILES = 4  # over a place that fits into no single one


class Tile(NamedTuple):
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Its pixels, without a copy."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


Found = tuple[Tile, Detection]
"""What a tile showed, the box in pixels of the picture."""


def is_larger(size_px: tuple[int, int], input_px: int) -> bool:
    """Whether a picture loses anything by being scaled to fit input_px × input_px."""
    return max(size_px) > input_px


def tiles_of(size_px: tuple[int, int], input_px: int, size: float = SIZE, overlap: float = OVERLAP) -> list[Tile]:
    """As few tiles as cover the picture, evenly spread, row by row; at the edges they are clamped to it.

    `input_px`: the detector's longer side; `size`: a tile's side in such.
    """
    width, height = size_px
    side_px = tile_side_px(input_px, size)
    return [
        Tile(left, top, min(side_px, width), min(side_px, height))
        for top in _starts(height, side_px, overlap)
        for left in _starts(width, side_px, overlap)
    ]


def patrol_tiles(patrol_s: float, input_px: int) -> list[Tile]:
    """Of a 1080p picture, to reckon with; none where the patrol is off, or one tile would be the scaled whole again."""
    tiles = tiles_of((1920, 1080), input_px) if patrol_s else []
    return tiles if len(tiles) > 1 else []


def tile_side_px(input_px: int, size: float = SIZE) -> int:
    """Of the largest tile."""
    return round(size * input_px)


def tile_around(place: Box, size_px: tuple[int, int], input_px: int) -> Tile:
    """The tile whose middle is the middle of a normalised place, as far as the picture's edges let it.

    It is as large as the input, so that it is shown pixel by pixel, and fits the live channel's buffer.
    """
    width, height = (min(input_px, side) for side in size_px)
    x, y = centre(place)
    left = min(max(0, round(x * size_px[0] - width / 2)), size_px[0] - width)
    top = min(max(0, round(y * size_px[1] - height / 2)), size_px[1] - height)
    return Tile(left, top, width, height)


def whole_and_place(place: Box, size_px: tuple[int, int], input_px: int) -> tuple[Tile, ...]:
    """The whole picture, and where scaling loses anything its own resolution round a place (pixels).

    A place that fits into no single tile gets several; one that needs more than four is large enough in the whole.
    """
    whole = Tile(0, 0, *size_px)
    if not is_larger(size_px, input_px):
        return (whole,)
    x1, y1, x2, y2 = place
    width, height = size_px
    if max(x2 - x1, y2 - y1) <= FITS * input_px:
        return whole, tile_around(normalised(place, size_px), size_px, input_px)
    left, top = min(max(0, round(x1)), width - 1), min(max(0, round(y1)), height - 1)
    box_px = max(1, min(width, round(x2)) - left), max(1, min(height, round(y2)) - top)
    tiles = [each._replace(left=left + each.left, top=top + each.top) for each in tiles_of(box_px, input_px)]
    return (whole, *tiles) if len(tiles) <= MOST_TILES else (whole,)


def in_picture(
    tile: Tile, detections: Iterable[Detection], shown_px: tuple[int, int] | None = None
) -> tuple[Detection, ...]:
    """Boxes in pixels of what was shown of a tile, `shown_px` large (None: as it is), as boxes in pixels of the picture."""
    across, down = (1.0, 1.0) if shown_px is None else (tile.width / shown_px[0], tile.height / shown_px[1])
    moved = []
    for each in detections:
        x1, y1, x2, y2 = each.box
        box = (x1 * across + tile.left, y1 * down + tile.top, x2 * across + tile.left, y2 * down + tile.top)
        moved.append(replace(each, box=box))
    return tuple(moved)


def merged(found: Sequence[Found], size_px: tuple[int, int]) -> tuple[Detection, ...]:
    """What the tiles of one picture showed, in its pixels, each thing once, the strongest first.

    Of two that show the same thing the box of the one that no inner border cuts is taken, then of the stronger, and as sure
    as the surest of them: a spark that is whole in its tile must not hide the flame round it, which is cut in all.
    """
    order = sorted(found, key=lambda each: (is_cut(each[0], each[1], size_px), -each[1].confidence))
    kept: list[Detection] = []
    for _, detection in order:
        at = next((at for at, other in enumerate(kept) if _same(detection, other)), None)
        if at is None:
            kept.append(detection)
        elif _sureness(detection) > _sureness(kept[at]):
            kept[at] = replace(
                kept[at], confidence=detection.confidence, verdict=detection.verdict, looks=detection.looks
            )
    return tuple(sorted(kept, key=lambda each: -each.confidence))


def is_cut(tile: Tile, detection: Detection, size_px: tuple[int, int]) -> bool:
    """Whether a tile's border that is not the picture's goes through it."""
    x1, y1, x2, y2 = detection.box
    right, bottom = tile.left + tile.width, tile.top + tile.height
    return (
        (tile.left > 0 and x1 <= tile.left + 1)
        or (tile.top > 0 and y1 <= tile.top + 1)
        or (right < size_px[0] and x2 >= right - 1)
        or (bottom < size_px[1] and y2 >= bottom - 1)
    )


def small_ones(found: Sequence[Found]) -> list[Found]:
    """What tiles are for: without what is larger than half a tile, and without the pieces of such that other tiles show.

    A floor without borders, cut out of its surroundings, looks like smoke; if it were, the scaled whole would show it. What
    is far surer than the large one that it lies in is no piece of it: a flame before a wall that is hardly taken for fire.
    """
    large = [each for tile, each in found if longer_side(each.box) > LARGE * max(tile.width, tile.height)]
    return [(tile, each) for tile, each in found if not any(each is one or _is_piece(each, one) for one in large)]


def _starts(side: int, tile_px: int, overlap: float) -> list[int]:
    if side <= tile_px:
        return [0]
    count = max(2, math.ceil((side - tile_px) / (tile_px * (1 - overlap))) + 1)
    return [round(place * (side - tile_px) / (count - 1)) for place in range(count)]


def _is_piece(detection: Detection, large: Detection) -> bool:
    return _same(detection, large) and detection.confidence < SURER * large.confidence


def _same(one: Detection, other: Detection) -> bool:
    return one.label == other.label and covered(one.box, other.box) >= SAME


def _sureness(detection: Detection) -> tuple[bool, float]:
    """What a verifier has rejected does not count, however sure the detector is."""
    return not detection.rejected, detection.confidence
