# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures as live frames and the patrol's tiles show them: what is seen lies where it is in the picture that was given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from daemon.domain import Detection
from training.lookers import AsLive, InTiles

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
