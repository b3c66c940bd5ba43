# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where in the picture the first visible fire or smoke is: its box, and its foot, refined by the pixels that changed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Box, Detection
from daemon.origin.changed import Change
from daemon.origin.picture import Mask, Point

NEAR = 0.25  # of the box's size on each side: the detector's box is not exact
LEAST_NEAR_PX = 8
CORE = {"fire": 0.65, "smoke": 0.30}  # of the strongest change in the box: a flame, not its light on the wall
PART = 0.15  # of the largest part's area: smaller ones are sparks, reflections, a passer-by's edge
LEAST_SHARE = 0.03  # of the box must have changed; else there is nothing to refine it by
STRAY = 0.02  # of the region's area may lie below its foot
SOLE = 0.10  # of the region's height, from its foot up: where the foot is across
LEAST_SIGMA_PX = 3.0
NARROW = 1.25  # times the plume's least width in its lower half is still its neck


@dataclass(frozen=True, slots=True)
class Place:
    """Where it first appeared, in pixels of the picture."""

    label: str
    box: Box
    point_px: Point
    """The flame's foot; the plume's foot for smoke."""
    sigma_px: Point
    """Standard deviations of the point, across and down."""
    refined: bool
    """False: the detector's own box and the middle of its lower edge; no clean frames, or nothing changed there."""


def place_of(detection: Detection, change: Change | None) -> Place:
    """Of one detection, by what changed against the clean frames, where there are any."""
    region = _region(detection, change) if change is not None else None
    if region is None:
        x1, y1, x2, y2 = detection.box
        sigma = max(LEAST_SIGMA_PX, (x2 - x1) / 4), max(LEAST_SIGMA_PX, (y2 - y1) / 6)
        return Place(detection.label, detection.box, ((x1 + x2) / 2, y2), sigma, refined=False)
    left, top, mask = region
    x, y, sole = _neck(mask) if detection.label == "smoke" else _foot(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x1, y1 = float(left + columns[0]), float(top + rows[0])
    x2, y2 = float(left + columns[-1] + 1), float(top + rows[-1] + 1)
    sigma = max(LEAST_SIGMA_PX, sole / 4), max(LEAST_SIGMA_PX, SOLE * (y2 - y1))
    return Place(detection.label, (x1, y1, x2, y2), (left + x, top + y), sigma, refined=True)


def _region(detection: Detection, change: Change) -> tuple[int, int, Mask] | None:
    """The part of the picture near the box that changed as this label does: its left, its top, and its mask."""
    left, top, right, bottom = _near(detection.box, change.mask.shape)
    strength = (change.rise if detection.label == "fire" else change.amount)[top:bottom, left:right]
    inside = _inside(detection.box, left, top, strength.shape)
    seen = strength[inside]
    if not seen.size or np.count_nonzero(seen) < max(4, LEAST_SHARE * seen.size):
        return None
    strongest = float(np.percentile(seen[seen > 0], 95))
    core = (strength >= max(1.0, CORE.get(detection.label, 0.5) * strongest)).astype(np.uint8)
    closed = cv2.morphologyEx(core, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    touching = [part for part in range(1, count) if (parts[inside] == part).any()]
    if not touching:
        return None
    areas = stats[:, cv2.CC_STAT_AREA]
    largest = max(areas[part] for part in touching)
    return left, top, np.isin(parts, [part for part in touching if areas[part] >= PART * largest])


def _near(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    across, down = max(LEAST_NEAR_PX, NEAR * (x2 - x1)), max(LEAST_NEAR_PX, NEAR * (y2 - y1))
    left, top = max(0, round(x1 - across)), max(0, round(y1 - down))
    return left, top, min(shape[1], round(x2 + across)), min(shape[0], round(y2 + down))


def _inside(box: Box, left: int, top: int, shape: tuple[int, ...]) -> Mask:
    inside = np.zeros(shape, np.bool_)
    x1, y1, x2, y2 = (round(side) for side in box)
    inside[max(0, y1 - top) : y2 - top, max(0, x1 - left) : x2 - left] = True
    return inside


def _foot(mask: Mask) -> tuple[float, float, float]:
    """The middle of a flame's lowest part (x, y), and how wide that is; strays below it are passed over."""
    widths = mask.sum(axis=1)
    from_below = np.cumsum(widths[::-1])[::-1]
    bottom = int(np.flatnonzero(from_below > STRAY * from_below[0])[-1])
    top = int(np.flatnonzero(widths)[0])
    sole = mask[max(top, bottom - max(1, round(SOLE * (bottom - top)))) : bottom + 1]
    return _across(sole), float(bottom + 1), float(sole.any(axis=0).sum())


def _neck(mask: Mask) -> tuple[float, float, float]:
    """The lowest place (x, y) at which a plume is about as narrow as anywhere in its lower half, and how wide it is there."""
    rows = np.flatnonzero(mask.any(axis=1))
    lower = np.arange(rows[-1] - (rows[-1] - rows[0]) // 2, rows[-1] + 1)
    widths = _smoothed(mask.sum(axis=1).astype(np.float64), max(3, len(lower) // 4))[lower]
    narrow = lower[widths <= NARROW * max(1.0, float(widths.min()))]
    y = int(narrow[-1])
    reach = max(1, len(rows) // 10)
    sole = mask[max(rows[0], y - reach) : y + 1]
    return _across(sole), float(y + 1), float(sole.any(axis=0).sum())


def _across(sole: Mask) -> float:
    columns = sole.sum(axis=0).astype(np.float64)
    return float((columns * (np.arange(len(columns)) + 0.5)).sum() / max(1.0, columns.sum()))


def _smoothed(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Means over `span` values; the ends are held, so that a plume does not seem to end in a point."""
    padded = np.pad(values, (span // 2, span - 1 - span // 2), mode="edge")
    return np.convolve(padded, np.full(span, 1 / span), mode="valid")
