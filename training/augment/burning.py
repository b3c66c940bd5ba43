# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fire where there was none: flames with their light on the surroundings, and plumes of smoke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from daemon.domain import Box
from training.augment.view import LEAST_PX, Boxes, View
from training.folders import Pixels
from training.pasting import Cutout, set_alight, stands_out

SIDES_PX = (6.0, 200.0)  # of a pasted flame: what pictures of fixed cameras lack, the smaller the more often
MOST_OF_VIEW = 0.5
PLACES = 4  # that are tried for it


def with_flames(view: View, flames: Sequence[Cutout], rng: np.random.Generator) -> View:
    """One or two flames at free places where they can be seen: a label on what cannot would teach doubt."""
    pixels, boxes = view.pixels.copy(), view.boxes
    for _ in range(int(rng.integers(1, 3))):
        for _ in range(PLACES):
            before = pixels.copy()
            box = _burning(pixels, boxes, flames[int(rng.integers(len(flames)))], rng)
            if box is not None and stands_out(pixels, before, box):
                boxes = np.concatenate((boxes, np.array([[0, *box]], np.float32)))
                break
            pixels = before
    return replace(view, pixels=pixels, boxes=boxes)


def _burning(pixels: Pixels, boxes: Boxes, flame: Cutout, rng: np.random.Generator) -> Box | None:
    """The flame and its light, put into the picture at random; None where it meets a box, or too little of it is seen."""
    least, most = SIDES_PX[0], min(SIDES_PX[1], MOST_OF_VIEW * min(pixels.shape[:2]))
    shrink = float(np.exp(rng.uniform(np.log(least), np.log(most)))) / max(flame.pixels.shape[:2])
    size = (max(3, round(flame.pixels.shape[1] * shrink)), max(3, round(flame.pixels.shape[0] * shrink)))
    x, y = (int(rng.integers(0, each - part)) for each, part in zip(pixels.shape[1::-1], size, strict=True))
    crossing = (boxes[:, 1] < x + size[0]) & (boxes[:, 3] > x) & (boxes[:, 2] < y + size[1]) & (boxes[:, 4] > y)
    if crossing.any():
        return None
    box = set_alight(pixels, flame, (x, y), size, max(size), rng)
    return None if box is None or min(box[2] - box[0], box[3] - box[1]) < LEAST_PX else box


def with_smoke(view: View, rng: np.random.Generator) -> View:
    """A plume of soft puffs that rises and widens, grey to nearly black, labelled as smoke."""
    side = view.pixels.shape[0]
    alpha = np.zeros(view.pixels.shape[:2], np.float32)
    x, y, radius = rng.uniform(0.2, 0.8) * side, rng.uniform(0.4, 0.95) * side, rng.uniform(0.012, 0.03) * side
    drift, rows, columns = rng.uniform(-0.6, 0.6), *np.ogrid[:side, :side]
    for _ in range(int(rng.integers(8, 22))):
        puff = np.exp(-(((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))) * rng.uniform(0.25, 0.6)
        alpha = 1 - (1 - alpha) * (1 - puff.astype(np.float32))
        y -= radius * rng.uniform(0.5, 1.0)
        x += radius * (drift + rng.uniform(-0.5, 0.5))
        radius *= rng.uniform(1.0, 1.15)
    alpha = np.clip(alpha * rng.uniform(0.7, 1.0), 0, 0.95)
    texture = cv2.resize(rng.normal(0, 12, (side // 16, side // 16)).astype(np.float32), (side, side))
    grey = np.clip(rng.uniform(40, 215) + texture, 0, 255)[..., None]
    mixed = view.pixels * (1 - alpha[..., None]) + grey * alpha[..., None]
    seen = np.nonzero(alpha > 0.2)
    if len(seen[0]) == 0:
        return view
    box = [1, seen[1].min(), seen[0].min(), seen[1].max() + 1, seen[0].max() + 1]
    boxes = np.concatenate((view.boxes, np.array([box], np.float32)))
    return replace(view, pixels=mixed.astype(np.uint8), boxes=boxes)
