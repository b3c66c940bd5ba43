# SPDX-License-Identifier: AGPL-3.0-or-later
"""How boxes lie to each other: pure geometry, x1, y1, x2, y2 in any one unit."""

from __future__ import annotations

from daemon.domain import Box


def iou(one: Box, other: Box) -> float:
    """Intersection over union; 0 for boxes without area."""
    common = _common(one, other)
    together = _area(one) + _area(other) - common
    return common / together if together > 0 else 0.0


def covered(one: Box, other: Box) -> float:
    """The share of the smaller box that the other covers."""
    common = _common(one, other)
    return common / min(_area(one), _area(other)) if common > 0 else 0.0


def longer_side(box: Box, aspect: float = 1.0) -> float:
    """`aspect` is the picture's width ÷ height when the box is normalised: then it is in shares of the picture's height."""
    return max((box[2] - box[0]) * aspect, box[3] - box[1])


def centre(box: Box) -> tuple[float, float]:
    """Its middle."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def holds_centre(place: Box, box: Box) -> bool:
    """Whether the middle of a box lies in a place, its borders included."""
    x, y = centre(box)
    return place[0] <= x <= place[2] and place[1] <= y <= place[3]


def normalised(box: Box, size_px: tuple[int, int]) -> Box:
    """A box in pixels as shares of the picture's sides."""
    width, height = size_px
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def as_share_of_height(box: Box, size_px: tuple[int, int]) -> Box:
    """A box in pixels on axes along which lengths compare: both in picture heights."""
    return normalised(box, (size_px[1], size_px[1]))


def _common(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
