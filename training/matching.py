# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which detections are the labelled boxes: pure functions over one picture's boxes, in any one unit of length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.detect.boxes import centre
from daemon.domain import Box

Matrix = NDArray[np.float64]
FOUND_WITHIN = 1.5  # box sizes: a glow that the label includes or misses moves a centre, not the fire


def overlaps(found: Sequence[Box], labelled: Sequence[Box]) -> Matrix:
    """Intersection over union of each pair, (found, labelled)."""
    one = np.asarray(found, np.float64).reshape(-1, 4)[:, None]
    other = np.asarray(labelled, np.float64).reshape(-1, 4)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common: Matrix = np.prod(np.clip(sides, 0, None), axis=2)
    areas = np.prod(one[..., 2:] - one[..., :2], axis=2) + np.prod(other[..., 2:] - other[..., :2], axis=2) - common
    ratio: Matrix = np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)
    return ratio


def right(found: Sequence[Box], labelled: Sequence[Box], iou: float) -> list[bool]:
    """For each detection, the strongest first, whether it is a labelled box of its own: the best that none took before.

    A second detection of the same box is wrong, as in COCO.
    """
    overlap = overlaps(found, labelled)
    taken: set[int] = set()
    answers = []
    for row in overlap:
        free = [(value, at) for at, value in enumerate(row) if at not in taken and value >= iou]
        if free:
            taken.add(max(free, key=lambda each: each[0])[1])
        answers.append(bool(free))
    return answers


def right_of_size(
    found: Sequence[Box], labelled: Sequence[Box], fits: Callable[[Box], bool], iou: float
) -> list[bool | None]:
    """As `right`, of the labelled boxes that fit alone: None for each detection that says nothing of them.

    As in COCO's figures by area: a detection that is a box of another size, or is no box and of another size itself, is
    neither right nor wrong; and one that could be either is of the size that fits.
    """
    fitting = [each for each in labelled if fits(each)]
    rights = right(found, fitting, iou)
    rest = [each for each, good in zip(found, rights, strict=True) if not good]
    others = iter(right(rest, [each for each in labelled if not fits(each)], iou))
    return [
        True if good else None if next(others) or not fits(each) else False
        for each, good in zip(found, rights, strict=True)
    ]


def found_near(found: Sequence[Box], labelled: Box) -> bool:
    """Whether the centre of any detection lies within 1.5 sizes (the longer side) of the labelled box's centre."""
    reach = FOUND_WITHIN * max(labelled[2] - labelled[0], labelled[3] - labelled[1])
    x, y = centre(labelled)
    return any(math.hypot(cx - x, cy - y) <= reach for cx, cy in map(centre, found))
