# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hints: which places of a live frame they are, the tiles at them, and what of that is looked for."""

from __future__ import annotations

import pytest

from daemon.detect.hints import HINT_FROM, MOST_TOLD, at_hints, fires, is_small, tiles_at
from daemon.domain import Box, Detection, Verdict

SIZE = (1920, 1080)
INPUT_PX = 640
FLAME: Box = (900.0, 500.0, 920.0, 530.0)
(TILE,) = tiles_at([FLAME], SIZE, INPUT_PX)
BOTTOM = TILE.top + TILE.height


def fire(box: Box, confidence: float = 0.4) -> Detection:
    return Detection("fire", confidence, box)


def test_fire_alone_hints() -> None:
    """Neither smoke, nor what a verifier rejected, nor, where the floor is lower, what is weaker than a hint."""
    rejected = Detection("fire", 0.3, FLAME, verdict=Verdict(0.1, False))
    weak = fire(FLAME, HINT_FROM - 0.001)
    assert fires([Detection("smoke", 0.5, FLAME), rejected, fire(FLAME, HINT_FROM), weak]) == (FLAME,)
    assert len(fires([fire(FLAME)] * 20)) == MOST_TOLD


@pytest.mark.parametrize(
    ("size_px", "side_px", "small"),
    [(SIZE, 96, True), (SIZE, 97, False), ((3840, 2160), 192, True), ((15360, 8640), 321, False)],
)
def test_small_is_what_the_whole_shows_as_a_few_pixels(size_px: tuple[int, int], side_px: float, small: bool) -> None:
    """32 px at the input; and never more than half a tile."""
    assert is_small((100.0, 100.0, 110.0, 100 + side_px), size_px, INPUT_PX) == small


def test_tiles_are_shared_by_what_they_show_with_room_around() -> None:
    """A flame that may lie a little beside its hint must not be cut by the border of another's tile."""
    beside: Box = (FLAME[0] + 200, FLAME[1], FLAME[2] + 200, FLAME[3])
    at_border: Box = (TILE.left + TILE.width - 25.0, 500.0, TILE.left + TILE.width - 5.0, 520.0)
    assert tiles_at([FLAME, beside], SIZE, INPUT_PX) == [TILE]
    assert len(tiles_at([FLAME, at_border], SIZE, INPUT_PX)) == 2
    corner: Box = (0.0, 0.0, 10.0, 10.0)
    assert len(tiles_at([corner, corner], SIZE, INPUT_PX)) == 1, "at the picture's own border nothing is cut"


@pytest.mark.parametrize(
    ("box", "label", "counts"),
    [
        (FLAME, "fire", True),
        (FLAME, "smoke", False),
        ((910.0, 490.0, 935.0, 520.0), "fire", True),  # a little beside it
        ((940.0, 500.0, 960.0, 530.0), "fire", False),  # its size away
        ((900.0, BOTTOM - 30.0, 920.0, BOTTOM), "fire", False),  # the scrap on the warehouse's floor
    ],
)
def test_of_a_tile_fire_at_its_hint_counts(box: Box, label: str, counts: bool) -> None:
    """Nothing else that it shows."""
    found = [(TILE, Detection(label, 0.4, box))]
    assert at_hints(found, [FLAME], SIZE) == (found if counts else [])


def test_what_the_border_of_a_tile_cuts_does_not_count() -> None:
    """Not even at a hint: what is cut is a flame at one scale and a scrap at another; the picture's border cuts nothing."""
    hint: Box = (900.0, BOTTOM - 30.0, 920.0, BOTTOM - 5.0)
    cut: Box = (900.0, BOTTOM - 30.0, 920.0, float(BOTTOM))
    assert at_hints([(TILE, fire(hint)), (TILE, fire(cut))], [hint], SIZE) == [(TILE, fire(hint))]
    corner: Box = (0.0, 0.0, 10.0, 10.0)
    (tile,) = tiles_at([corner], SIZE, INPUT_PX)
    assert at_hints([(tile, fire(corner))], [corner], SIZE) == [(tile, fire(corner))]


def test_a_piece_of_something_large_does_not_count() -> None:
    """As in a round: the scaled whole shows it well enough."""
    floor: Box = (700.0, 300.0, 1100.0, 800.0)
    assert at_hints([(TILE, fire(floor, 0.5)), (TILE, fire(FLAME))], [FLAME], SIZE) == []
