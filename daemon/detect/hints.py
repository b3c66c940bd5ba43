# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a live frame shows fire too weakly to report it: a reason to look there in native resolution, never a record; pure.

The detector names such places with each live frame; the worker follows some between the patrol's rounds (docs/ingest.md).
From where on, how many, and how large was measured: docs/accuracy.md, Hints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from daemon.detect.boxes import holds_centre, longer_side, normalised
from daemon.detect.tiling import LARGE, Found, Tile, is_cut, small_ones, tile_around
from daemon.domain import Box, Detection

HINT_FROM = 0.02
MOST_TOLD = 16  # of one picture: most of them stand there, which only the worker can know
MOST_FOLLOWED = 4  # of one picture
SMALL_PX = 32  # at the detector's input: of pasted flames below 16 px hints were 28 px large at most
ASTRAY = 0.5  # of a hint's size: how far beside it the flame may lie, as of a few pixels no more can be told


def fires(found: Iterable[Detection]) -> tuple[Box, ...]:
    """Of detections, the strongest first, those places where fire may be; of smoke a tile shows no more than the whole."""
    return tuple(each.box for each in found if _may_burn(each))[:MOST_TOLD]


def is_small(hint: Box, size_px: tuple[int, int], input_px: int) -> bool:
    """Whether a tile shows so much more of it than the whole picture of that size does; boxes in its pixels."""
    return longer_side(hint) <= min(SMALL_PX * max(size_px) / input_px, LARGE * input_px)


def tiles_at(hints: Sequence[Box], size_px: tuple[int, int], input_px: int) -> list[Tile]:
    """The tile round each, in a picture of that size; of those that one tile shows together one."""
    tiles: list[Tile] = []
    for hint in hints:
        if not any(_shows(each, _where(hint), size_px) for each in tiles):
            tiles.append(tile_around(normalised(hint, size_px), size_px, input_px))
    return tiles


def at_hints(found: Sequence[Found], hints: Sequence[Box], size_px: tuple[int, int]) -> list[Found]:
    """Of what tiles at hints showed: fire at one of these, whole.

    Whatever else they show was no reason to look: a scrap on the floor, cut by the border of a tile that is where it is
    because of something else, is taken for a flame that no round of the patrol ever sees there.
    """
    return [
        (tile, each)
        for tile, each in small_ones(found)
        if each.label == "fire"
        and not is_cut(tile, each, size_px)
        and any(holds_centre(_where(hint), each.box) for hint in hints)
    ]


def _may_burn(detection: Detection) -> bool:
    return detection.label == "fire" and detection.confidence >= HINT_FROM and not detection.rejected


def _where(hint: Box) -> Box:
    """Where that lies of which it is the hint."""
    astray_px = ASTRAY * longer_side(hint)
    return hint[0] - astray_px, hint[1] - astray_px, hint[2] + astray_px, hint[3] + astray_px


def _shows(tile: Tile, where: Box, size_px: tuple[int, int]) -> bool:
    """Whether all of it lies in it, as far as it lies in the picture."""
    left, top, right, bottom = max(0, where[0]), max(0, where[1]), min(size_px[0], where[2]), min(size_px[1], where[3])
    return (
        tile.left <= left and tile.top <= top and right <= tile.left + tile.width and bottom <= tile.top + tile.height
    )
