# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changed pixels: what a fire changes, and what changes without one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from daemon.origin.changed import CleanView
from daemon.origin.picture import Picture
from tests.origin.drawn import SIZE_PX, as_sent, burning, clean, wall

FOOT = (600, 300)
WALKER = (200, 150, 240, 330)  # far from FOOT


def walked(picture: Picture, shift_px: int) -> Picture:
    """Somebody in a light coat stands in it."""
    picture = picture.copy()
    cv2.rectangle(picture, (WALKER[0] + shift_px, WALKER[1]), (WALKER[2] + shift_px, WALKER[3]), (190, 190, 190), -1)
    return picture


def test_a_flame_changes_its_pixels_and_no_far_ones() -> None:
    """A flame of 20 px is found, with nothing else beyond the reach of its light."""
    change = CleanView.of(clean()).change(as_sent(burning(FOOT, 20), 7))
    assert change.mask[285:298, 596:604].mean() > 0.8
    assert not change.mask[:, :450].any()
    assert change.rise[290, 600] > 40


@pytest.mark.parametrize(
    ("gain", "offset"), [(1.0, 0), (1.35, 10), (0.55, 0), (0.3, 12)], ids=["as before", "brighter", "darker", "dusk"]
)
def test_light_as_a_whole_is_no_change(gain: float, offset: float) -> None:
    """Noise, compression and a camera's new exposure change less than one pixel in a thousand."""
    dimmed = np.clip(wall().astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)
    change = CleanView.of(clean()).change(as_sent(dimmed, 8))
    assert change.mask.mean() < 0.001


def test_a_flame_is_found_through_a_new_exposure() -> None:
    """A camera that closes its iris because of the fire still shows where the fire is."""
    darker = np.clip(burning(FOOT, 40).astype(np.float32) * 0.7, 0, 255).astype(np.uint8)
    mask = CleanView.of(clean()).change(as_sent(darker, 9)).mask
    assert mask[270:295, 594:606].mean() > 0.8
    assert not mask[:, :400].any()


def test_a_passer_by_in_one_clean_frame_leaves_no_hole() -> None:
    """Who stood in one of the clean frames is not in their median; the place where they stood may change."""
    frames = clean()
    frames[2] = as_sent(walked(wall(), 0), 102)
    view = CleanView.of(frames)
    assert not view.change(as_sent(wall(), 10)).mask.any()


def test_what_moved_before_may_move_on() -> None:
    """A fan that turns in the clean frames is not taken for a fire when it turns on."""

    def fan(turn: int) -> Picture:
        picture = wall()
        cv2.ellipse(picture, (300, 200), (50, 50), turn, 0, 60, (150, 150, 150), -1)
        return picture

    view = CleanView.of([as_sent(fan(turn), turn) for turn in (0, 72, 144, 216, 288)])
    assert view.change(as_sent(fan(30), 11)).mask.mean() < 0.0005
    assert view.steady().change(as_sent(fan(30), 11)).mask[150:250, 250:350].mean() > 0.05, "but it did not stand still"


def test_one_clean_frame_is_enough() -> None:
    """With a single clean frame the noise is judged by most of the picture."""
    view = CleanView.of(clean(count=1))
    assert view.change(as_sent(wall(), 12)).mask.mean() < 0.001
    assert view.change(as_sent(burning(FOOT, 30), 12)).mask[280:296, 595:605].mean() > 0.8


def test_frames_of_other_sizes_are_refused() -> None:
    """Frames of another size cannot be compared, and none makes no view."""
    with pytest.raises(ValueError, match="one size"):
        CleanView.of([])
    with pytest.raises(ValueError, match="against clean ones"):
        CleanView.of(clean(count=1)).change(np.zeros((SIZE_PX[1] // 2, SIZE_PX[0] // 2, 3), np.uint8))
