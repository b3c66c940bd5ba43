# SPDX-License-Identifier: AGPL-3.0-or-later
"""Letterbox and suppression: pure geometry, on random sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.detect.letterbox import GREY, draw, letterbox
from daemon.detect.postprocess import NMS_IOU, detections, suppress
from daemon.domain import LABELS, MAX_DETECTIONS

sides = st.integers(1, 5000)
inputs = st.integers(4, 40).map(lambda n: n * 32)


@given(sides, sides, inputs)
def test_the_letterbox_fits_and_keeps_the_aspect(width: int, height: int, input_px: int) -> None:
    """The longer side fills the input, the padding is less than a stride, and the aspect is right within a pixel."""
    layout = letterbox((width, height), input_px)
    assert max(layout.inner_width, layout.inner_height) == input_px
    for inner, padded in ((layout.inner_width, layout.padded_width), (layout.inner_height, layout.padded_height)):
        assert inner <= padded <= input_px
        assert padded % 32 == 0
        assert padded - inner < 32
    scale = min(input_px / width, input_px / height)
    assert abs(layout.inner_width - width * scale) <= 1
    assert abs(layout.inner_height - height * scale) <= 1


@given(sides, sides, inputs, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_boxes_come_back_where_they_were(
    width: int, height: int, input_px: int, a: float, b: float, c: float, d: float
) -> None:
    """Picture → input → picture moves no corner by more than float error allows."""
    layout = letterbox((width, height), input_px)
    box = (min(a, b) * width, min(c, d) * height, max(a, b) * width, max(c, d) * height)
    back = layout.to_picture(np.array([layout.to_input(box)], np.float32))[0]
    assert back == pytest.approx(
        box, abs=1e-3 * max(width, height) / min(layout.inner_width, layout.inner_height) + 0.01
    )


@given(sides, sides, inputs, st.lists(st.tuples(*[st.floats(-3000, 6000)] * 4), min_size=1))
def test_boxes_never_leave_the_picture(width: int, height: int, input_px: int, boxes: list) -> None:
    """Whatever the network says, corners are clipped to the picture."""
    found = letterbox((width, height), input_px).to_picture(np.array(boxes, np.float32))
    assert (found >= 0).all()
    assert (found[:, [0, 2]] <= width).all()
    assert (found[:, [1, 3]] <= height).all()


def test_16_to_9_costs_384_lines() -> None:
    """A camera's picture is padded to 640×384, not to a square."""
    assert letterbox((1920, 1080), 640).padded == (384, 640)


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (64, 36), (300, 900), (1, 1)])
def test_the_picture_is_drawn_in_the_middle_of_grey(size: tuple[int, int]) -> None:
    """Only the padding is grey 114, and the picture's colours are kept."""
    layout = letterbox(size, 640)
    onto = np.zeros((*layout.padded, 3), np.uint8)
    draw(np.full((size[1], size[0], 3), (10, 20, 250), np.uint8), layout, onto)
    inside = onto[layout.top : layout.top + layout.inner_height, layout.left : layout.left + layout.inner_width]
    assert (inside == (10, 20, 250)).all()
    assert (onto == GREY).sum() == onto.size - inside.size


def raw_of(places: list[tuple[float, float, float, float, float, float]]) -> np.ndarray:
    return np.array(places, np.float32).T


def test_doubles_are_suppressed_per_class() -> None:
    """Of two boxes on one flame the stronger stays; smoke at the same place is another thing."""
    layout = letterbox((640, 640), 640)
    raw = raw_of(
        [
            (100, 100, 40, 40, 0.5, 0),
            (102, 100, 40, 40, 0.8, 0),
            (101, 100, 40, 40, 0.1, 0.4),
            (300, 100, 40, 40, 0.3, 0),
        ]
    )
    found = detections(raw, layout, LABELS, 0.25)
    assert [(each.label, each.confidence) for each in found] == [
        ("fire", pytest.approx(0.8)),
        ("smoke", pytest.approx(0.4)),
        ("fire", pytest.approx(0.3)),
    ]
    assert found[0].box == (82, 80, 122, 120)


def test_nothing_below_the_floor_and_nothing_outside_the_picture() -> None:
    """Weak places and those that lie wholly in the padding are no detections."""
    layout = letterbox((640, 360), 640)
    raw = raw_of([(100, 100, 40, 40, 0.24, 0), (100, 4, 40, 6, 0.9, 0)])
    assert detections(raw, layout, LABELS, 0.25) == ()


def test_at_most_200() -> None:
    """A record has room for 200; the strongest are kept."""
    places = [(20.0 * (i % 30) + 10, 20.0 * (i // 30) + 10, 8.0, 8.0, 0.3 + i / 2000, 0.0) for i in range(600)]
    found = detections(raw_of(places), letterbox((640, 640), 640), LABELS, 0.1)
    assert len(found) == MAX_DETECTIONS
    assert min(each.confidence for each in found) > 0.3 + 398 / 2000
    assert [each.confidence for each in found] == sorted((each.confidence for each in found), reverse=True)


random_boxes = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(1, 60), st.floats(1, 60), st.integers(0, 1)), max_size=40
)


@settings(max_examples=60)
@given(random_boxes)
def test_suppression_keeps_no_two_doubles_and_drops_only_doubles(found: list) -> None:
    """Against the definition, box by box."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in found], np.float32).reshape(-1, 4)
    classes = np.array([c for *_, c in found], np.intp)

    def double(one: int, other: int) -> bool:
        left, top = np.maximum(boxes[one, :2], boxes[other, :2])
        right, bottom = np.minimum(boxes[one, 2:], boxes[other, 2:])
        common = max(0, right - left) * max(0, bottom - top)
        areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[one], boxes[other]))
        return bool(classes[one] == classes[other] and common > NMS_IOU * (areas - common) * 1.0001)

    kept = suppress(boxes, classes)
    assert kept == sorted(set(kept))
    assert not any(double(a, b) for a in kept for b in kept if a < b)
    if len(found):
        assert kept[0] == 0
