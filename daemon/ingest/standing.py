# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the patrol sees round after round at the same place, unchanged: an exit sign, a lamp, a scrap of paper; pure.

In a picture's own resolution there is always something that looks like a small flame. A flame has not been there before,
or does not look as before; what does is standing, and marked as in an ignore zone. The first round only makes
acquaintance: what already burns then is seen in the next, since it moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.detect.rules import Zone, same_place
from daemon.domain import Box, Detection

NAME = "(standing)"  # no ignore zone of the settings can be called so
MARGIN_PX = 2.0  # round the box: what it stands on belongs to how it looks
WANDER_PX = 6.0  # boxes of the same thing differ by some pixels: the best match counts
LARGE_PX = 48.0  # what is larger is compared scaled down to this
ALIKE = 0.95  # correlation: signs and lamps 0.97 to 1.0, flames of the clips at most 0.91, 2 s later (docs/ingest.md)
MOST_PLACES = 64
FORGET_ROUNDS = 120  # an hour of rounds: a lamp that is off for longer is new again


@dataclass(slots=True)
class _Known:
    """A place where something was seen, as shares of the picture's sides, and how the picture looked around it then."""

    place: Box
    around: NDArray[np.uint8]
    round: int


class Standing:
    """One camera's, over all its runs."""

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._round = 0

    def look(self, pixels: NDArray[np.uint8], detections: Sequence[Detection]) -> tuple[Zone, ...]:
        """Zones of those detections of a round (boxes in the pixels of `pixels`, BGR) that stood there before."""
        first = self._round == 0
        self._round += 1
        zones = tuple(_zone(_place(each.box, pixels)) for each in detections if first or self._stood(each.box, pixels))
        seen = [_Known(_place(each.box, pixels), _around(each.box, pixels), self._round) for each in detections]
        kept = [old for old in self._known if not any(same_place(old.place, new.place) for new in seen)]
        kept = [old for old in kept if self._round - old.round < FORGET_ROUNDS]
        self._known = (seen + sorted(kept, key=lambda each: -each.round))[:MOST_PLACES]
        return zones

    def _stood(self, box: Box, pixels: NDArray[np.uint8]) -> bool:
        place, now = _place(box, pixels), _part(box, pixels, MARGIN_PX)
        return any(same_place(old.place, place) and _alike(old.around, now) >= ALIKE for old in self._known)


def _place(box: Box, pixels: NDArray[np.uint8]) -> Box:
    height, width = pixels.shape[:2]
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _zone(place: Box) -> Zone:
    x1, y1, x2, y2 = place
    x, y = (x2 - x1) / 2, (y2 - y1) / 2  # a box of the same thing wanders by less than half its size
    left, top, right, bottom = x1 - x, y1 - y, x2 + x, y2 + y
    return Zone(NAME, ((left, top), (right, top), (right, bottom), (left, bottom)))


def _around(box: Box, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _part(box, pixels, MARGIN_PX + WANDER_PX / _scale(box))


def _part(box: Box, pixels: NDArray[np.uint8], margin_px: float) -> NDArray[np.uint8]:
    """A copy of the box and what is around it, at the size at which large things are compared."""
    height, width = pixels.shape[:2]
    left, top = max(0, math.floor(box[0] - margin_px)), max(0, math.floor(box[1] - margin_px))
    right, bottom = min(width, math.ceil(box[2] + margin_px)), min(height, math.ceil(box[3] + margin_px))
    part = pixels[top:bottom, left:right]
    scale = _scale(box)
    if scale == 1:
        return part.copy()
    return np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _scale(box: Box) -> float:
    return min(1.0, LARGE_PX / max(box[2] - box[0], box[3] - box[1], 1.0))


def _alike(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> float:
    """Pearson's correlation where `now` fits best into `before`, -1 to 1: indifferent to brightness and contrast."""
    if now.shape[0] > before.shape[0] or now.shape[1] > before.shape[1]:
        return 0.0  # much larger than it was
    return float(cv2.matchTemplate(before, now, cv2.TM_CCOEFF_NORMED).max())
