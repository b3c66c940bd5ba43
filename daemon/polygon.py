# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is wrong with a polygon that a person wrote down: pure functions over its corners, in any one unit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

Corner = tuple[float, float]
Side = tuple[Corner, Corner]
LEAST_AREA = 1e-6  # of a picture in shares: two pixels of 1080p


def area(corners: Sequence[Corner]) -> float:
    """By the shoelace formula; of a polygon that crosses itself it says nothing."""
    return abs(sum(_cross((0.0, 0.0), *side) for side in _sides(corners))) / 2


def crossing(corners: Sequence[Corner]) -> tuple[int, int] | None:
    """The first two sides that cross, counted from 1; side n leads from corner n to the next. Touching is no crossing."""
    numbered = enumerate(_sides(corners), 1)
    return next(((one, other) for (one, a), (other, b) in combinations(numbered, 2) if _crosses(a, b)), None)


def _sides(corners: Sequence[Corner]) -> list[Side]:
    return list(zip(corners, (*corners[1:], corners[0]), strict=True))


def _crosses(one: Side, other: Side) -> bool:
    """Whether the ends of each lie on either side of the other."""
    return _cross(*one, other[0]) * _cross(*one, other[1]) < 0 and _cross(*other, one[0]) * _cross(*other, one[1]) < 0


def _cross(origin: Corner, one: Corner, other: Corner) -> float:
    return (one[0] - origin[0]) * (other[1] - origin[1]) - (one[1] - origin[1]) * (other[0] - origin[0])
