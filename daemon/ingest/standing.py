# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the patrol sees round after round at the same place, unchanged: an exit sign, a lamp, a scrap of paper; pure.

In a picture's own resolution there is always something that looks like a small flame. A flame has not been there before,
or does not look as before; what does is standing, and marked as in an ignore zone. The first round only makes
acquaintance: what already burns then is seen in the next, since it moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.detect.boxes import centre, normalised
from daemon.detect.rules import Zone, same_place
from daemon.domain import Box, Detection
from daemon.ingest.likeness import around, looks_as_before

NAME = "(standing)"  # no ignore zone of the settings can be called so
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
        self._zones: tuple[Zone, ...] = ()

    def look(
        self, pixels: NDArray[np.uint8], detections: Sequence[Detection], *, whole: bool = True
    ) -> tuple[Zone, ...]:
        """Zones of what stands there: of those detections (boxes in the pixels of `pixels`, BGR) that looked so before.

        `whole`: whether all of the picture was searched, in one of the rounds after which places are forgotten. Else the
        zones of the round before still hold, but for those of places that have changed since.
        """
        first = self._round == 0
        self._round += whole
        places = [_place(each.box, pixels) for each in detections]
        stood = [first or self._stood(each.box, pixels) for each in detections]
        changed = [centre(place) for place, still in zip(places, stood, strict=True) if not still]
        before = () if whole else self._zones
        kept = tuple(zone for zone in before if not any(zone.holds(point) for point in changed))
        self._zones = kept + tuple(_zone(place) for place, still in zip(places, stood, strict=True) if still)
        self._remember(pixels, detections, whole)
        return self._zones

    def _remember(self, pixels: NDArray[np.uint8], detections: Sequence[Detection], whole: bool) -> None:
        seen = [_Known(_place(each.box, pixels), around(each.box, pixels), self._round) for each in detections]
        # by what passes a sign between two rounds the sign is not forgotten
        kept = [old for old in self._known if not (whole and any(same_place(old.place, new.place) for new in seen))]
        kept = [old for old in kept if self._round - old.round < FORGET_ROUNDS]
        self._known = (seen + sorted(kept, key=lambda each: -each.round))[:MOST_PLACES]

    def _stood(self, box: Box, pixels: NDArray[np.uint8]) -> bool:
        place = _place(box, pixels)
        return any(same_place(old.place, place) and looks_as_before(old.around, box, pixels) for old in self._known)


def _place(box: Box, pixels: NDArray[np.uint8]) -> Box:
    return normalised(box, (pixels.shape[1], pixels.shape[0]))


def _zone(place: Box) -> Zone:
    x1, y1, x2, y2 = place
    x, y = (x2 - x1) / 2, (y2 - y1) / 2  # a box of the same thing wanders by less than half its size
    left, top, right, bottom = x1 - x, y1 - y, x2 + x, y2 + y
    return Zone(NAME, ((left, top), (right, top), (right, bottom), (left, bottom)))
