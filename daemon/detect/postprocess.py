# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the network's raw answer to detections: floor, suppression of doubles, order; pure functions.

Raw is YOLO's (4 + classes, places): centre x, centre y, width, height in pixels of the input, then one score a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.detect.letterbox import Letterbox
from daemon.domain import MAX_DETECTIONS, Detection

# Ultralytics' default is 0.7; fire and smoke have no firm borders, and 0.7 leaves the same flame twice or three times.
NMS_IOU = 0.5
_CANDIDATES = 1000  # strongest places that enter suppression, which is quadratic; a real picture has tens

Boxes = NDArray[np.float32]


def detections(
    raw: NDArray[np.float32], layout: Letterbox, labels: Sequence[str], floor: float
) -> tuple[Detection, ...]:
    """Detections of at least `floor`, strongest first, at most 200, boxes in pixels of the picture and inside it.

    Each place counts for its strongest class only, as in Ultralytics' prediction.
    """
    scores = raw[4:]
    classes = scores.argmax(axis=0)
    confidences = scores.max(axis=0)
    found = np.flatnonzero(confidences >= floor)
    # stable, so that equal confidences keep the network's order and an answer can be repeated exactly
    found = found[np.argsort(-confidences[found], kind="stable")][:_CANDIDATES]
    boxes = layout.to_picture(_corners(raw[:4, found].T))
    visible = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    boxes, found = boxes[visible], found[visible]
    kept = suppress(boxes, classes[found])[:MAX_DETECTIONS]
    return tuple(
        Detection(
            labels[int(classes[found[each]])],
            round(float(confidences[found[each]]), 4),
            (
                round(float(boxes[each, 0]), 2),
                round(float(boxes[each, 1]), 2),
                round(float(boxes[each, 2]), 2),
                round(float(boxes[each, 3]), 2),
            ),
        )
        for each in kept
    )


def suppress(boxes: Boxes, classes: NDArray[np.intp], iou: float = NMS_IOU) -> list[int]:
    """Greedy non-maximum suppression per class.

    `boxes` (n, 4) are x1, y1, x2, y2, strongest first. Returns the indices of those that no stronger box of the
    same class covers with more than `iou`.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left):
        first, rest = left[0], left[1:]
        kept.append(int(first))
        corner1 = np.maximum(boxes[first, :2], boxes[rest, :2])
        corner2 = np.minimum(boxes[first, 2:], boxes[rest, 2:])
        common = np.prod(np.clip(corner2 - corner1, 0, None), axis=1)
        double = (common > iou * (areas[first] + areas[rest] - common)) & (classes[rest] == classes[first])
        left = rest[~double]
    return kept


def _corners(boxes: Boxes) -> Boxes:
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
