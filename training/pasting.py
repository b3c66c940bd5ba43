# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real flames, cut out by their own brightness and warmth, put small into other pictures, with light on what is around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Box
from training.folders import Pixels, Sample

SIDES_PX = (14, 420)  # of a cut-out: below it is too coarse, above it fills a picture
OPAQUE = 0.3  # alpha from which a pixel belongs to the flame
STANDS_OUT = 25.0  # mean difference of the flame's box from what was there, in levels
_COVERED = (0.12, 0.75)  # mean alpha of a good cut-out: less is no flame, more is no outline
_CUT_BORDER = 0.25  # mean alpha along its border: more was cut through
_WARM = np.array((0.25, 0.6, 1.0), np.float32)  # BGR of a flame's light

Alpha = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cutout:
    """A flame without its surroundings."""

    pixels: Pixels
    alpha: Alpha
    scene: str


def cut_outs(samples: Sequence[Sample], rng: np.random.Generator, most: int) -> list[Cutout]:
    """The largest flame of each picture, where it can be told from what is behind it; at most `most`, in random order."""
    burning = [each for each in samples if any(box.label == "fire" for box in each.boxes)]
    found: list[Cutout] = []
    for at in rng.permutation(len(burning)):
        if len(found) == most:
            break
        if (cut := _cut(burning[int(at)])) is not None:
            found.append(cut)
    return found


def paste(picture: Pixels, flame: Cutout, corner: tuple[int, int], size: tuple[int, int], gain: float) -> Box | None:
    """Puts the flame into the picture, (width, height) large, its upper left corner there; returns what it covers.

    The flame only adds light. None, and nothing is changed, where nothing of it would be opaque.
    """
    (x, y), (width, height) = corner, size
    colours = cv2.resize(flame.pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(flame.alpha, size, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(alpha > OPAQUE)
    if not len(rows):
        return None
    under = picture[y : y + height, x : x + width]
    behind = under.astype(np.float32)
    mixed = behind * (1 - alpha[..., None]) + np.clip(colours * gain, 0, 255) * alpha[..., None]
    under[:] = np.clip(np.maximum(behind, mixed), 0, 255).astype(np.uint8)
    left, top = x + int(columns.min()), y + int(rows.min())
    return left, top, x + int(columns.max()) + 1, y + int(rows.max()) + 1


def set_alight(
    picture: Pixels,
    flame: Cutout,
    corner: tuple[int, int],
    size: tuple[int, int],
    reach_px: float,
    rng: np.random.Generator,
) -> Box | None:
    """See paste; somewhat brighter or darker, and every other one with its light on what is around, by the flame's `reach_px`."""
    if rng.random() < 0.5:
        centre = (corner[0] + size[0] // 2, corner[1] + size[1] // 2)
        shine(picture, centre, round(reach_px * rng.uniform(1.5, 4)), rng.uniform(5, 45))
    return paste(picture, flame, corner, size, rng.uniform(0.9, 1.25))


def stands_out(picture: Pixels, empty: Pixels, box: Box) -> bool:
    """Whether what was pasted can be told from what was there; a flame before white sky cannot."""
    x1, y1, x2, y2 = (int(value) for value in box)
    changed = np.abs(picture[y1:y2, x1:x2].astype(np.float32) - empty[y1:y2, x1:x2])
    return float(changed.max(axis=2).mean()) >= STANDS_OUT


def shine(picture: Pixels, centre: tuple[int, int], radius: int, strength: float) -> None:
    """Warm light on the surroundings, falling to nothing at `radius`; `strength` in levels at the centre."""
    height, width = picture.shape[:2]
    x1, y1 = max(0, centre[0] - radius), max(0, centre[1] - radius)
    x2, y2 = min(width, centre[0] + radius + 1), min(height, centre[1] + radius + 1)
    rows, columns = np.ogrid[y1:y2, x1:x2]
    near = np.clip(1 - np.hypot(columns - centre[0], rows - centre[1]) / radius, 0, 1).astype(np.float32) ** 2
    lit = picture[y1:y2, x1:x2].astype(np.float32) + near[..., None] * strength * _WARM
    picture[y1:y2, x1:x2] = np.clip(lit, 0, 255).astype(np.uint8)


def _cut(sample: Sample) -> Cutout | None:
    picture = sample.pixels()
    height, width = picture.shape[:2]
    boxes = [each.box for each in sample.boxes if each.label == "fire"]
    x1, y1, x2, y2 = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    cut = picture[round(y1 * height) : round(y2 * height), round(x1 * width) : round(x2 * width)]
    if min(cut.shape[:2]) < SIDES_PX[0] or max(cut.shape[:2]) > SIDES_PX[1]:
        return None
    alpha = _alpha(cut)
    border = np.concatenate((alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
    if not _COVERED[0] < alpha.mean() < _COVERED[1] or border.mean() > _CUT_BORDER:
        return None
    return Cutout(cut.copy(), alpha, sample.scene)


def _alpha(cut: Pixels) -> Alpha:
    """How much of each pixel is flame: red, and either warm or overexposed."""
    colours = cut.astype(np.float32)
    red, warmth, light = colours[..., 2], (colours[..., 2] - colours[..., 0]) / 60, colours.mean(axis=2)
    alpha = np.clip((red - 120) / 90, 0, 1) * np.maximum(np.clip(warmth, 0, 1), np.clip((light - 215) / 30, 0, 1))
    soft: Alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), max(0.6, max(cut.shape[:2]) / 60)), np.float32)
    return soft
