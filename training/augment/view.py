# SPDX-License-Identifier: AGPL-3.0-or-later
"""A training picture with its boxes, and how it is scaled, moved, mirrored and put together with others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.detect.letterbox import GREY
from training.folders import Pixels

Boxes = NDArray[np.float32]
"""(n, 5): class, x1, y1, x2, y2 in pixels of the view."""
LEAST_PX = 2.0
LEAST_LEFT = 0.2  # of a box's area: of a smaller rest nobody can say what it is
WIDER = (0.8, 1.6)  # as wide, for its height, as the source has it


@dataclass(frozen=True, slots=True)
class View:
    """Square, as the network is to see it; `smoke_known`: whether the absence of smoke boxes says anything."""

    pixels: Pixels
    boxes: Boxes
    smoke_known: bool = True


def clipped(boxes: Boxes, left: float, top: float, right: float, bottom: float) -> Boxes:
    """What of the boxes lies in the rectangle, without those of which too little does."""
    cut = boxes.copy()
    cut[:, [1, 3]] = cut[:, [1, 3]].clip(left, right)
    cut[:, [2, 4]] = cut[:, [2, 4]].clip(top, bottom)
    sides, whole = cut[:, 3:] - cut[:, 1:3], boxes[:, 3:] - boxes[:, 1:3]
    kept = (sides >= LEAST_PX).all(axis=1) & (sides.prod(axis=1) >= LEAST_LEFT * whole.prod(axis=1))
    left_over: Boxes = cut[kept]
    return left_over


def placed(view: View, side: int, scale: float, rng: np.random.Generator) -> View:
    """On a grey square of `side`, about `scale` times as large as just fits, somewhere; made wider or narrower.

    Many public sets were squeezed to squares, so that what they show is too narrow by an unknown factor.
    """
    height, width = view.pixels.shape[:2]
    factor = side / max(height, width) * scale
    wider = float(np.exp(rng.uniform(*np.log(WIDER)) / 2))
    size = (max(8, round(width * factor * wider)), max(8, round(height * factor / wider)))
    shrunk = cv2.resize(view.pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    dx, dy = (int(rng.integers(min(0, side - each), max(0, side - each) + 1)) for each in size)
    canvas = np.full((side, side, 3), GREY, np.uint8)
    left, top, right, bottom = max(0, dx), max(0, dy), min(side, dx + size[0]), min(side, dy + size[1])
    canvas[top:bottom, left:right] = shrunk[top - dy : bottom - dy, left - dx : right - dx]
    boxes = view.boxes.copy()
    boxes[:, [1, 3]] = boxes[:, [1, 3]] * (size[0] / width) + dx
    boxes[:, [2, 4]] = boxes[:, [2, 4]] * (size[1] / height) + dy
    return replace(view, pixels=canvas, boxes=clipped(boxes, 0, 0, side, side))


def mirrored(view: View) -> View:
    """Left and right exchanged."""
    width = view.pixels.shape[1]
    boxes = view.boxes.copy()
    boxes[:, [1, 3]] = width - boxes[:, [3, 1]]
    return replace(view, pixels=np.ascontiguousarray(view.pixels[:, ::-1]), boxes=boxes)


def mosaic(pick: Callable[[], View], side: int, rng: np.random.Generator) -> View:
    """Four pictures that meet at a point; smoke is known only where it is in all four."""
    x, y = (int(rng.uniform(0.3, 0.7) * side) for _ in range(2))
    canvas, boxes, known = np.full((side, side, 3), GREY, np.uint8), [], True
    for left, top, right, bottom in ((0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)):
        part = placed(pick(), max(right - left, bottom - top), float(np.exp(rng.uniform(-0.22, 0.47))), rng)
        canvas[top:bottom, left:right] = part.pixels[: bottom - top, : right - left]
        moved = part.boxes.copy()
        moved[:, [1, 3]] += left
        moved[:, [2, 4]] += top
        boxes.append(clipped(moved, left, top, right, bottom))
        known = known and part.smoke_known
    return View(canvas, np.concatenate(boxes), known)
