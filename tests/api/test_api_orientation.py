# SPDX-License-Identifier: AGPL-3.0-or-later
"""Orientation: upright as viewers show it, and boxes back to the pixels as stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from daemon.api.orientation import box_as_stored, upright

WIDTH, HEIGHT = 30, 20


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_another_program_shows(orientation: int) -> None:
    """The same pixels as Pillow's exif_transpose, contiguous for the memory they are copied to."""
    stored = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    turned = upright(stored, orientation)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(picture)))
    assert turned.flags.c_contiguous


@given(
    st.integers(1, 8),
    st.tuples(st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2)),
    st.tuples(st.integers(1, WIDTH), st.integers(1, HEIGHT)),
)
def test_a_box_found_upright_covers_the_same_stored_pixels(
    orientation: int, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    """A patch marked as stored, found in the upright picture, comes back as the same box."""
    x1, y1 = corner
    x2, y2 = min(x1 + size[0], WIDTH), min(y1 + size[1], HEIGHT)
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[y1:y2, x1:x2] = 255
    rows, columns = np.nonzero(upright(stored, orientation)[:, :, 0])
    found = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    assert box_as_stored(found, orientation, WIDTH, HEIGHT) == (x1, y1, x2, y2)
