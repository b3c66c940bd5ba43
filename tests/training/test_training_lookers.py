# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures as live frames and the patrol's tiles show them: what is seen lies where it is in the picture that was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from daemon.detect.hints import HINT_FROM
from daemon.domain import Detection
from training.lookers import AsLive, AtHints, InTiles
from training.seen import FLOOR

FLAME_PX = 30
AT = (1500, 600)


def _picture(width: int = 1920, height: int = 1080) -> np.ndarray:
    """Grey, with one white square."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[AT[1] : AT[1] + FLAME_PX, AT[0] : AT[0] + FLAME_PX] = 255
    return picture


class SeesWhite:
    """A detector that takes what is white for a fire."""

    def __init__(self) -> None:
        self.shown = list[tuple[int, ...]]()

    def detect(
        self, images: Sequence[np.ndarray], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        self.shown += [each.shape for each in images]
        return [self._seen(each) for each in images]

    @staticmethod
    def _seen(image: np.ndarray) -> tuple[Detection, ...]:
        ys, xs = np.nonzero(image[:, :, 0] > 240)
        if not len(xs):
            return ()
        return (Detection("fire", 0.9, (float(xs.min()), float(ys.min()), xs.max() + 1.0, ys.max() + 1.0)),)


def test_a_live_frame_is_reduced_and_its_boxes_are_the_pictures() -> None:
    """Of one picture larger than the input, and one that is not."""
    sees = SeesWhite()
    large, small = _picture(), _picture()[400:800, 1400:1900]
    (found,), (as_it_was,) = AsLive(sees, 640).detect([large, small], 0.1)
    assert sees.shown == [(360, 640, 3), (400, 500, 3)]
    assert found.box == pytest.approx((AT[0], AT[1], AT[0] + FLAME_PX, AT[1] + FLAME_PX), abs=3)
    assert as_it_was.box == (100, 200, 100 + FLAME_PX, 200 + FLAME_PX)


def test_tiles_show_the_pictures_own_pixels_and_tell_one_thing_once() -> None:
    """However many tiles it lies in; of the size the patrol's have."""
    sees = SeesWhite()
    ((found,),) = InTiles(sees, 640).detect([_picture()], 0.1)
    assert len(sees.shown) > 1
    assert set(sees.shown) == {(704, 704, 3)}
    assert found.box == pytest.approx((AT[0], AT[1], AT[0] + FLAME_PX, AT[1] + FLAME_PX), abs=1)


class HintsAtWhite(SeesWhite):
    """As sure as what is white is large: a hint where a picture is reduced, fire in its own resolution."""

    def detect(
        self, images: Sequence[np.ndarray], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        found = super().detect(images, floor, input_px)
        sure = [0.9 if image.shape[:2] == (640, 640) else 0.03 for image in images]
        return [
            tuple(replace(one, confidence=at) for one in of if at >= floor) for of, at in zip(found, sure, strict=True)
        ]


def test_a_hint_is_looked_at_in_the_pictures_own_pixels() -> None:
    """One tile, round it, and the live frame not once more; where that shows nothing at all, none is."""
    hints = HintsAtWhite()
    (live,) = AsLive(hints, 640).detect([_picture()], HINT_FROM)
    (found,) = AtHints(hints, 640).followed(_picture(), live, 0.1)
    assert hints.shown == [(360, 640, 3), (640, 640, 3)]
    assert found.confidence == 0.9
    assert found.box == pytest.approx((AT[0], AT[1], AT[0] + FLAME_PX, AT[1] + FLAME_PX), abs=1)
    hints.shown.clear()
    assert AtHints(hints, 640).followed(np.zeros((1080, 1920, 3), np.uint8), (), 0.1) == ()
    assert hints.shown == []
    assert FLOOR <= HINT_FROM, "else evaluate, which looks from FLOOR on, would miss hints"


class HintsAt:
    """In a live frame hints at what it is told to, boxes in its pixels; in a tile fire in its middle, and at its edge."""

    def __init__(self, *hints: tuple[float, float, float, float]) -> None:
        self.hints = hints
        self.tiles = 0

    def detect(
        self, images: Sequence[np.ndarray], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        if images[0].shape[:2] != (640, 640):
            return [tuple(Detection("fire", 0.03, box) for box in self.hints)]
        self.tiles += len(images)
        seen = (310.0, 310.0, 330.0, 330.0), (20.0, 20.0, 40.0, 40.0)
        return [tuple(Detection("fire", 0.9, box) for box in seen) for _ in images]


def test_the_first_four_small_ones_are_followed_and_what_is_at_them_counts() -> None:
    """As in a worker: large ones take no place, and what a tile shows elsewhere was no reason to look."""
    large = [(100.0, 100.0, 140.0, 140.0 + at) for at in range(4)]
    small = [(110.0 + 105 * at, 160.0 + 10 * (at % 2), 116.0 + 105 * at, 166.0 + 10 * (at % 2)) for at in range(5)]
    detector = HintsAt(*large, *small)
    picture = np.zeros((1080, 1920, 3), np.uint8)
    (live,) = AsLive(detector, 640).detect([picture], HINT_FROM)
    found = AtHints(detector, 640).followed(picture, live, 0.1)
    assert detector.tiles == 4
    middles = sorted((each.box[0] + 10) / 3 for each in found)
    assert middles == pytest.approx([113 + 105 * at for at in range(4)], abs=1)
