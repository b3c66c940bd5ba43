# SPDX-License-Identifier: AGPL-3.0-or-later
"""The area of boxes of fire and smoke against time. It is called that, since that is what it is: no heat, no square metres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from daemon.domain import Box, Detection
from daemon.origin.record import Extent


def extent(
    at_ns: int, detections: Iterable[Detection], size_px: tuple[int, int], thresholds: Mapping[str, float]
) -> Extent:
    """Of one frame of that size (width, height): boxes that overlap count once; a detection counts from its threshold on."""
    boxes: dict[str, list[Box]] = {"fire": [], "smoke": []}
    for each in detections:
        if each.label in boxes and each.confidence >= thresholds.get(each.label, 1.1):
            boxes[each.label].append(each.box)
    whole = float(size_px[0] * size_px[1])
    return Extent(at_ns, covered_px(boxes["fire"]) / whole, covered_px(boxes["smoke"]) / whole)


def covered_px(boxes: Sequence[Box]) -> float:
    """The area that boxes cover together."""
    if not boxes:
        return 0.0
    x = sorted({side for box in boxes for side in (box[0], box[2])})
    y = sorted({side for box in boxes for side in (box[1], box[3])})
    grid = np.zeros((len(y) - 1, len(x) - 1), np.bool_)
    for x1, y1, x2, y2 in boxes:
        grid[y.index(y1) : y.index(y2), x.index(x1) : x.index(x2)] = True
    return float(np.diff(y) @ grid.astype(np.float64) @ np.diff(x))
