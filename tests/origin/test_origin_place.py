# SPDX-License-Identifier: AGPL-3.0-or-later
"""The place of the first visible fire or smoke: a box and a foot, refined where there are clean frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain import Detection
from daemon.origin.changed import CleanView
from daemon.origin.place import place_of
from tests.origin.drawn import SIZE_PX, as_sent, burning, clean, smoking, wall

VIEW = CleanView.of(clean())


def seen(foot: tuple[int, int], height_px: int, label: str = "fire") -> Detection:
    """A detector's box that is somewhat off: too large to the left and below."""
    x, y = foot
    half = 0.5 * height_px
    return Detection(label, 0.4, (x - 1.2 * half, y - 0.9 * height_px, x + half, y + 0.25 * height_px))


def test_the_flames_foot_is_found() -> None:
    """Wherever and however a flame burns, its foot is found to a fifth of its height, not its light on the wall.

    Of sixty all but three, and those nearly: where the light on a thing behind is brighter than the flame, it counts too.
    """
    chance = np.random.default_rng(5)
    away = []
    for _ in range(60):
        foot = int(chance.integers(150, SIZE_PX[0] - 150)), int(chance.integers(150, SIZE_PX[1] - 60))
        height_px = int(chance.integers(14, 121))
        change = VIEW.change(as_sent(burning(foot, height_px, float(chance.uniform(0, 5))), 7))
        place = place_of(seen(foot, height_px), change)
        assert place.refined
        reach = max(
            8, 0.2 * height_px
        )  # a camera sends colour in blocks of two pixels, and compresses it in blocks of 16
        off = max(abs(place.point_px[0] - foot[0]), abs(place.point_px[1] - foot[1])) / reach
        away.append(max(off, (place.box[3] - foot[1]) / 8))
    assert sum(each > 1 for each in away) <= 3, away
    assert max(away) <= 2


@pytest.mark.parametrize("height_px", [60, 150, 250])
def test_the_plumes_foot_is_its_narrow_end(height_px: int) -> None:
    """Smoke is traced to where it is narrow and low, not to the middle of its cloud."""
    foot = (500, 480)
    change = VIEW.change(as_sent(smoking(foot, height_px), 7))
    box = (500 - 0.4 * height_px, 480 - height_px, 500 + 0.4 * height_px, 490.0)
    place = place_of(Detection("smoke", 0.5, box), change)
    assert place.refined
    assert abs(place.point_px[0] - 500) <= max(4, 0.06 * height_px)
    assert -0.15 * height_px <= place.point_px[1] - 480 <= 3


def test_without_clean_frames_it_is_the_detectors_box() -> None:
    """Where it was burning when the record begins, box and bottom centre are the detector's, and that is said."""
    place = place_of(Detection("fire", 0.5, (100.0, 50.0, 140.0, 110.0)), None)
    assert place.box == (100.0, 50.0, 140.0, 110.0)
    assert place.point_px == (120.0, 110.0)
    assert not place.refined


def test_where_nothing_changed_it_is_the_detectors_box() -> None:
    """A detection on pixels that are as before is not refined by noise."""
    place = place_of(seen((500, 300), 40), VIEW.change(as_sent(wall(), 8)))
    assert not place.refined


def test_what_is_not_refined_is_less_certain() -> None:
    """A refined foot has smaller standard deviations than the detector's box alone."""
    foot = (500, 300)
    detection = seen(foot, 60)
    refined = place_of(detection, VIEW.change(as_sent(burning(foot, 60), 7)))
    rough = place_of(detection, None)
    assert refined.sigma_px[0] < rough.sigma_px[0]
    assert refined.sigma_px[1] < rough.sigma_px[1]


@settings(max_examples=30, deadline=None)
@given(st.tuples(*(st.floats(-50, 1100),) * 4), st.sampled_from(["fire", "smoke"]))
def test_any_box_has_a_place(corners: tuple[float, float, float, float], label: str) -> None:
    """Boxes at or beyond the picture's edge, thin or empty, never break it; a refined box lies in the picture."""
    x1, x2 = sorted((corners[0], corners[2]))
    y1, y2 = sorted((corners[1], corners[3]))
    place = place_of(Detection(label, 0.4, (x1, y1, x2, y2)), BURNING)
    if place.refined:
        assert 0 <= place.box[0] < place.box[2] <= SIZE_PX[0]
        assert 0 <= place.box[1] < place.box[3] <= SIZE_PX[1]
        assert place.box[0] <= place.point_px[0] <= place.box[2]


BURNING = VIEW.change(as_sent(burning((500, 300), 100), 7))
