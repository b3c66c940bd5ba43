# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one tiling: cutting, mapping back, merging."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.detect.tiling import (
    MOST_TILES,
    OVERLAP,
    SIZE,
    Tile,
    in_picture,
    merged,
    small_ones,
    tile_around,
    tiles_of,
    whole_and_place,
)
from daemon.domain import Detection, Verdict


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([320, 640, 1280]))
def test_tiles_cover_the_picture(width: int, height: int, input_px: int) -> None:
    """Every pixel lies in a tile, no tile leaves the picture, and neighbours overlap by a tenth at least."""
    tiles, tile_px = tiles_of((width, height), input_px), round(SIZE * input_px)
    for low, side, length in ((0, 2, width), (1, 3, height)):
        spans = sorted({(tile[low], tile[low] + tile[side]) for tile in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(0 < end - begin <= tile_px for begin, end in spans)
        for (_, end), (begin, _) in itertools.pairwise(spans):
            assert end - begin >= OVERLAP * tile_px - 1


@given(st.floats(0, 0.99), st.floats(0, 0.99), st.sampled_from([(1920, 1080), (704, 576), (300, 200)]))
def test_a_tile_around_a_place_holds_it(x: float, y: float, size: tuple[int, int]) -> None:
    """It lies in the picture, is as large as it can be, and the place is in it."""
    tile = tile_around((x, y, x + 0.01, y + 0.01), size, 640)
    assert (tile.width, tile.height) == (min(640, size[0]), min(640, size[1]))
    assert 0 <= tile.left <= size[0] - tile.width
    assert 0 <= tile.top <= size[1] - tile.height
    assert tile.left - 1 <= (x + 0.005) * size[0] <= tile.left + tile.width + 1
    assert tile.top - 1 <= (y + 0.005) * size[1] <= tile.top + tile.height + 1


def test_one_flame_in_two_tiles_is_one() -> None:
    """Its box is that of the tile in which it is whole, as sure as the surer one; another label or place stays."""
    left, right = Tile(0, 0, 640, 640), Tile(576, 0, 640, 640)
    cut = Detection("fire", 0.9, (600.0, 100.0, 640.0, 150.0))
    (whole,) = in_picture(right, [Detection("fire", 0.7, (24.0, 100.0, 94.0, 150.0))])
    smoke = Detection("smoke", 0.6, (600.0, 100.0, 640.0, 150.0))
    far = Detection("fire", 0.5, (10.0, 10.0, 20.0, 20.0))
    found = [(left, cut), (right, whole), (left, smoke), (left, far)]
    assert merged(found, (1216, 640)) == (replace(whole, confidence=0.9), smoke, far)


def test_a_spark_does_not_hide_the_flame_round_it() -> None:
    """A flame that borders cut in every tile is as sure as it was seen, whatever weak box inside it is whole."""
    left, right = Tile(0, 0, 640, 640), Tile(576, 0, 640, 640)
    sure = Detection("fire", 0.92, (300.0, 200.0, 640.0, 640.0))
    less = Detection("fire", 0.60, (576.0, 210.0, 900.0, 600.0))
    spark = Detection("fire", 0.11, (590.0, 400.0, 620.0, 430.0))
    (found,) = merged([(left, sure), (right, less), (left, spark)], (1216, 640))
    assert found == replace(spark, confidence=0.92)


def test_what_fills_a_tile_goes_with_its_pieces() -> None:
    """Smoke over most of one tile, and the part of it that the next shows; a flame in the midst of it is something else."""
    left, right = Tile(0, 0, 700, 700), Tile(600, 0, 700, 700)
    floor, piece = (
        Detection("smoke", 0.5, (200.0, 300.0, 700.0, 600.0)),
        Detection("smoke", 0.6, (600.0, 300.0, 720.0, 600.0)),
    )
    flame, elsewhere = (
        Detection("fire", 0.5, (300.0, 400.0, 320.0, 430.0)),
        Detection("smoke", 0.4, (1100.0, 10.0, 1200.0, 80.0)),
    )
    kept = small_ones([(left, floor), (left, flame), (right, piece), (right, elsewhere)])
    assert kept == [(left, flame), (right, elsewhere)]


def test_a_flame_before_what_is_hardly_taken_for_fire_is_no_piece_of_it() -> None:
    """A warm wall at the detector's floor fills the tile; a piece of the wall is about as sure as the wall."""
    tile = Tile(0, 0, 704, 704)
    wall = (tile, Detection("fire", 0.1, (0.0, 0.0, 700.0, 600.0)))
    flame = (tile, Detection("fire", 0.5, (300.0, 400.0, 320.0, 430.0)))
    piece = (tile, Detection("fire", 0.15, (500.0, 100.0, 600.0, 200.0)))
    assert small_ones([wall, flame, piece]) == [flame]
    surer = (tile, replace(wall[1], confidence=0.4))
    assert small_ones([surer, flame, piece]) == [], "a fire that fills the tile, and its tongues"


def test_what_a_verifier_rejected_makes_nothing_surer() -> None:
    """The verdict comes with the confidence that it was about; one that passed is not hidden by one that did not."""
    left, right = Tile(0, 0, 640, 640), Tile(576, 0, 640, 640)
    whole = Detection("fire", 0.4, (600.0, 100.0, 670.0, 150.0), verdict=Verdict(0.8, True))
    cut = Detection("fire", 0.9, (600.0, 100.0, 640.0, 150.0), verdict=Verdict(0.1, False))
    assert merged([(left, cut), (right, whole)], (1216, 640)) == (whole,)
    whole, cut = replace(whole, verdict=cut.verdict), replace(cut, verdict=whole.verdict)
    assert merged([(left, cut), (right, whole)], (1216, 640)) == (
        replace(whole, confidence=0.9, verdict=Verdict(0.8, True)),
    )


@pytest.mark.parametrize(
    ("place", "count"),
    [((100, 100, 140, 160), 2), ((0, 0, 900, 500), 3), ((0, 0, 1920, 1080), 1), ((1900, 1070, 1920, 1080), 2)],
)
def test_the_whole_and_a_place(place: tuple[float, float, float, float], count: int) -> None:
    """The whole; its own resolution round the place, within the picture; only the whole where that would be too much."""
    made = whole_and_place(place, (1920, 1080), 640)
    assert made[0] == Tile(0, 0, 1920, 1080)
    assert len(made) == count <= 1 + MOST_TILES
    for left, top, width, height in made:
        assert 0 <= left <= left + width <= 1920
        assert 0 <= top <= top + height <= 1080
    assert whole_and_place(place, (640, 360), 640) == (Tile(0, 0, 640, 360),)


def test_boxes_of_a_tile_that_was_shown_smaller() -> None:
    """A tile of 960 px that was shown at 640: its boxes come back in the picture's own pixels."""
    (found,) = in_picture(
        Tile(100, 50, 960, 480), [Detection("fire", 0.5, (10.0, 20.0, 30.0, 40.0), "zone")], (640, 320)
    )
    assert found == Detection("fire", 0.5, (115.0, 80.0, 145.0, 110.0), "zone")
