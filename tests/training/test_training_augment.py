# SPDX-License-Identifier: AGPL-3.0-or-later
"""Augmentations keep boxes true, change nothing they were not given, and are decided by their seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.conftest import boxes_inside, flame, put
from training.arguments import Weighted
from training.augment import burning, light, weather
from training.augment.view import View, clipped, mirrored, mosaic, placed
from training.data import Pictures, drawn
from training.pasting import Cutout

SEEDS = st.integers(0, 2**32 - 1)
CUT = Cutout(flame(), np.ones((60, 60), np.float32), "made")


def scene(seed: int, width: int = 90, height: int = 60, *, smoke_known: bool = True) -> View:
    """Dark, with one bright red rectangle that is labelled as fire."""
    rng = np.random.default_rng(seed)
    x1, y1 = int(rng.integers(0, width - 12)), int(rng.integers(0, height - 12))
    x2, y2 = int(rng.integers(x1 + 10, width)), int(rng.integers(y1 + 10, height))
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[y1:y2, x1:x2] = (0, 0, 255)
    return View(pixels, np.array([[0, x1, y1, x2, y2]], np.float32), smoke_known)


def red_box(view: View) -> tuple[int, int, int, int]:
    """Where the rectangle is in the pixels."""
    rows, columns = np.nonzero(view.pixels[..., 2] > view.pixels[..., 1].astype(int) + 100)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@given(SEEDS, st.floats(0.5, 1.8), st.booleans())
def test_a_moved_box_lies_where_its_pixels_lie(seed: int, scale: float, mirror: bool) -> None:
    """Scaled, cropped and mirrored: box and pixels agree to within a pixel of interpolation."""
    view = placed(scene(seed), 64, scale, np.random.default_rng(seed))
    if mirror:
        view = mirrored(view)
    assert view.pixels.shape == (64, 64, 3)
    for box in view.boxes:
        assert np.abs(np.array(red_box(view)) - box[1:]).max() <= 2.0


@given(SEEDS)
def test_a_mosaic_keeps_boxes_inside_and_knows_smoke_only_where_all_four_do(seed: int) -> None:
    """One picture of unknown smoke makes the whole unknown."""
    rng = np.random.default_rng(seed)
    known = [bool(each) for each in rng.integers(0, 2, 4)]
    views = iter([scene(seed + at, smoke_known=each) for at, each in enumerate(known)])
    view = mosaic(lambda: next(views), 96, rng)
    assert view.pixels.shape == (96, 96, 3)
    assert boxes_inside([tuple(box[1:]) for box in view.boxes], 96, 96)
    assert view.smoke_known is all(known)


@given(SEEDS)
@settings(max_examples=25)
def test_what_a_camera_does_moves_no_box(seed: int) -> None:
    """Light, weather and compression change pixels only, and never the given array."""
    before = scene(seed, 64, 64)
    kept = before.pixels.copy()
    changes = [
        light.exposed,
        light.infrared,
        light.darkened,
        light.bloomed,
        light.glared,
        light.streaked,
        weather.rained,
        weather.blurred,
        weather.noisy,
        weather.compressed,
    ]
    for change in changes:
        after = change(before, np.random.default_rng(seed))
        assert after.pixels.shape == kept.shape
        assert after.pixels.dtype == np.uint8
        assert np.array_equal(after.boxes, before.boxes)
        assert np.array_equal(before.pixels, kept)
    grey = light.infrared(before, np.random.default_rng(seed)).pixels
    assert (grey[..., 0] == grey[..., 2]).all()
    hot = light.without_colour(before).pixels
    assert (hot == before.pixels.max(axis=2, keepdims=True)).all(), "a red flame is white in infrared"


@given(SEEDS)
@settings(max_examples=25)
def test_night_leaves_lamps_and_they_bloom(seed: int) -> None:
    """What is half as bright as a lamp sinks far below half; round the lamp it becomes brighter, further away hardly."""
    pixels = np.full((128, 128, 3), 110, np.uint8)
    pixels[48:80, 48:80] = 255
    rng = np.random.default_rng(seed)
    dark = light.darkened(View(pixels, np.zeros((0, 5), np.float32)), rng)
    lamp, room = dark.pixels[64, 64].max(), dark.pixels[10, 10].max()
    assert lamp >= 60
    assert room <= 0.3 * lamp
    lit = light.bloomed(View(np.where(pixels == 255, pixels, 0).astype(np.uint8), dark.boxes), rng).pixels
    assert lit[64, 64].min() == 255
    assert (lit[64, 82] > 0).all()
    assert lit[64, 82].max() > lit[64, 126].max()


@given(SEEDS)
@settings(max_examples=25)
def test_flames_and_smoke_are_labelled_where_they_are(seed: int) -> None:
    """New boxes lie in the picture, hold changed pixels, cross no old one; what was there stays labelled."""
    before = scene(seed, 128, 128)
    burning_view = burning.with_flames(before, [CUT], np.random.default_rng(seed))
    assert np.array_equal(burning_view.boxes[:1], before.boxes)
    for box in burning_view.boxes[1:]:
        x1, y1, x2, y2 = (int(value) for value in box[1:])
        assert box[0] == 0
        assert (burning_view.pixels[y1:y2, x1:x2] != before.pixels[y1:y2, x1:x2]).any()
    smoky = burning.with_smoke(before, np.random.default_rng(seed))
    assert {int(box[0]) for box in smoky.boxes[1:]} <= {1}
    assert boxes_inside([tuple(box[1:]) for box in (*smoky.boxes, *burning_view.boxes)], 128, 128)


@given(SEEDS)
@settings(max_examples=25)
def test_a_flame_that_cannot_be_seen_is_not_labelled(seed: int) -> None:
    """Before a sky that is brighter than it: nothing is labelled, and nothing changed."""
    bright = View(np.full((128, 128, 3), 250, np.uint8), np.zeros((0, 5), np.float32))
    after = burning.with_flames(bright, [CUT], np.random.default_rng(seed))
    assert len(after.boxes) == 0
    assert np.array_equal(after.pixels, bright.pixels)
    dark = View(np.full((128, 128, 3), 20, np.uint8), bright.boxes)
    assert len(burning.with_flames(dark, [CUT], np.random.default_rng(seed)).boxes) >= 1


def test_a_rest_too_small_to_tell_is_no_box() -> None:
    """Less than a fifth of its area, or thinner than two pixels."""
    boxes = np.array([[0, 0, 0, 100, 10], [0, 90, 0, 200, 10], [0, 99, 0, 100, 10]], np.float32)
    assert clipped(boxes, 0, 0, 100, 100).tolist() == [[0, 0, 0, 100, 10]]


def test_a_picture_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    """Whatever was drawn before; another number or seed gives another picture."""
    for number in range(3):
        view = scene(number)
        put(tmp_path / "fire", f"a{number}", view.pixels, "0 0.5 0.5 0.2 0.2\n")
    one, other = (Pictures([Weighted(tmp_path / "fire")], 7) for _ in range(2))
    drawn(other, 7, 3, 64, mosaics=True)
    first = drawn(one, 7, 4, 64, mosaics=True)
    again = drawn(other, 7, 4, 64, mosaics=True)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.pixels, drawn(one, 7, 5, 64, mosaics=True).pixels)
    assert not np.array_equal(first.pixels, drawn(one, 8, 4, 64, mosaics=True).pixels)
