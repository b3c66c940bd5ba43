# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a place of a picture looks as it did seconds before: what stands there does, what burns does not; pure.

Both the patrol's rounds (standing.py) and what lies between them (hinted.py) ask it. It was measured on pictures that are
2 s apart and more: a flame that is asked about sooner may look as before.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Box

APART_S = 1.9  # at least, between pictures that are compared: key frames every 2 s come a little unevenly
MARGIN_PX = 2.0  # round the box: what it stands on belongs to how it looks
WANDER_PX = 6.0  # boxes of the same thing differ by some pixels: the best match counts
LARGE_PX = 48.0  # what is larger is compared scaled down to this
ALIKE = 0.95  # correlation: signs and lamps 0.97 to 1.0, flames of the clips at most 0.91, 2 s later (docs/ingest.md)

Pixels = NDArray[np.uint8]
"""A picture, BGR or luma alone: these figures hold for both."""


def around(box: Box, pixels: Pixels) -> Pixels:
    """What to keep of a picture to know the place again: a copy of the box, and of as much round it as boxes wander."""
    return _part(box, pixels, MARGIN_PX + WANDER_PX / _scale(box))


def looks_as_before(before: Pixels, box: Box, pixels: Pixels) -> bool:
    """Whether the box looks now as that place, of which `around` was kept, did then."""
    return _correlation(before, _part(box, pixels, MARGIN_PX)) >= ALIKE


def _part(box: Box, pixels: Pixels, margin_px: float) -> Pixels:
    """A copy of the box and what is around it, at the size at which large things are compared."""
    height, width = pixels.shape[:2]
    left, top = max(0, math.floor(box[0] - margin_px)), max(0, math.floor(box[1] - margin_px))
    right, bottom = min(width, math.ceil(box[2] + margin_px)), min(height, math.ceil(box[3] + margin_px))
    part = pixels[top:bottom, left:right]
    scale = _scale(box)
    if scale == 1:
        return part.copy()
    return np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _scale(box: Box) -> float:
    return min(1.0, LARGE_PX / max(box[2] - box[0], box[3] - box[1], 1.0))


def _correlation(before: Pixels, now: Pixels) -> float:
    """Pearson's, where `now` fits best into `before`, -1 to 1: indifferent to brightness and contrast."""
    if now.shape[0] > before.shape[0] or now.shape[1] > before.shape[1]:
        return 0.0  # much larger than it was
    return float(cv2.matchTemplate(before, now, cv2.TM_CCOEFF_NORMED).max())
