# SPDX-License-Identifier: AGPL-3.0-or-later
"""Growth and the arrival map, from boxes and changed pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain import Box, Detection
from daemon.origin.arrival import COLUMNS, ROWS, ArrivalMap, overlay
from daemon.origin.growth import covered_px, extent
from daemon.origin.record import Arrival, Extent

SIZE_PX = (640, 360)
THRESHOLDS = {"fire": 0.3, "smoke": 0.35}


def fire(x1: float, y1: float, x2: float, y2: float, confidence: float = 0.5) -> Detection:
    return Detection("fire", confidence, (x1, y1, x2, y2))


def test_growth_counts_what_is_covered_once() -> None:
    """Overlapping boxes of one fire are one area; smoke is counted apart, and weak detections not at all."""
    found = [
        fire(0, 0, 64, 36), fire(32, 0, 96, 36), fire(300, 300, 400, 350, 0.2), Detection("smoke", 0.4, (0, 0, 640, 36)),
    ]  # fmt: skip
    assert extent(5, found, SIZE_PX, THRESHOLDS) == Extent(5, pytest.approx(0.015), pytest.approx(0.1))
    assert extent(6, [], SIZE_PX, THRESHOLDS) == Extent(6, 0.0, 0.0)


sides = st.tuples(*(st.integers(0, 20),) * 4).map(
    lambda each: (min(each[0], each[2]), min(each[1], each[3]), max(each[0], each[2]), max(each[1], each[3]))
)


@given(st.lists(sides, max_size=8))
def test_covered_is_what_painting_covers(boxes: list[Box]) -> None:
    """The covered area is that of the boxes painted on one canvas."""
    canvas = np.zeros((20, 20), bool)
    for x1, y1, x2, y2 in boxes:
        canvas[int(y1) : int(y2), int(x1) : int(x2)] = True
    assert covered_px(boxes) == pytest.approx(canvas.sum())


def changed(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((SIZE_PX[1], SIZE_PX[0]), np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


def test_a_cell_keeps_when_it_first_burned() -> None:
    """A cell's time is that of the first frame in which it burned, and later ones do not change it."""
    arrival = ArrivalMap()
    arrival.told(0.0, [fire(100, 100, 110, 110)], SIZE_PX, THRESHOLDS, None)
    arrival.told(2.0, [fire(100, 100, 130, 110)], SIZE_PX, THRESHOLDS, None)
    assert arrival.cells == (Arrival(10, 10, "fire", 0.0), Arrival(11, 10, "fire", 2.0), Arrival(12, 10, "fire", 2.0))


def test_only_changed_pixels_in_a_box_count() -> None:
    """A loose box does not burn down the wall: cells whose pixels are as before have not burned."""
    arrival = ArrivalMap()
    arrival.told(1.0, [fire(100, 100, 200, 200)], SIZE_PX, THRESHOLDS, changed(120, 120, 140, 130))
    assert {(each.column, each.row) for each in arrival.cells} == {(12, 12), (13, 12)}


def test_changes_outside_boxes_do_not_count() -> None:
    """Somebody who walks past a fire does not burn."""
    arrival = ArrivalMap()
    arrival.told(1.0, [fire(100, 100, 110, 110)], SIZE_PX, THRESHOLDS, changed(300, 0, 400, 360))
    assert arrival.cells == ()


def test_a_small_flame_reaches_its_cell() -> None:
    """A flame of a third of a cell's sides is not lost in it."""
    arrival = ArrivalMap()
    arrival.told(1.0, [fire(103, 103, 107, 107)], SIZE_PX, THRESHOLDS, changed(103, 103, 107, 107))
    assert [(each.column, each.row) for each in arrival.cells] == [(10, 10)]


def test_the_overlay_is_transparent_where_nothing_came() -> None:
    """PNG with alpha, of the wanted size: early bright, late dark, nothing elsewhere, and a legend."""
    cells = [Arrival(10, 10, "fire", 0.0), Arrival(11, 10, "fire", 12.0), Arrival(30, 5, "smoke", 6.0)]
    picture = cv2.imdecode(np.frombuffer(overlay(cells, SIZE_PX), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (360, 640, 4)
    assert picture[0, 0, 3] == 0
    early, late = picture[105, 105], picture[105, 115]
    assert early[3] == late[3] == 190
    assert int(early[:3].sum()) > int(late[:3].sum()) + 150
    assert picture[55, 305, 3] == 150
    assert (picture[260:, 400:, 3] > 200).any()  # the legend


def test_an_empty_map_is_an_empty_overlay() -> None:
    """Where nothing burned there is nothing to see, not even a legend."""
    picture = cv2.imdecode(np.frombuffer(overlay([], SIZE_PX), np.uint8), cv2.IMREAD_UNCHANGED)
    assert not picture.any()


@given(st.lists(st.tuples(st.integers(0, COLUMNS - 1), st.integers(0, ROWS - 1), st.floats(0, 1e6)), max_size=20))
def test_any_cells_can_be_drawn(found: list[tuple[int, int, float]]) -> None:
    """Every cell is drawn inside the picture, whatever its time."""
    png = overlay([Arrival(x, y, "fire", after_s) for x, y, after_s in found], (320, 180))
    assert png.startswith(b"\x89PNG")
