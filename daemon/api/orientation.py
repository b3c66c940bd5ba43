# SPDX-License-Identifier: AGPL-3.0-or-later
"""EXIF orientation: turns a stored picture upright for the detector, and its boxes back to the pixels as stored.

Values as in Exif 2.32, 4.6.4: 1 upright, 2 mirrored, 3 turned by 180°, 4 flipped, 5 transposed, 6 to be turned
90° clockwise, 7 transversed, 8 to be turned 90° anticlockwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from daemon.domain import Box

Picture = np.ndarray[Any, np.dtype[np.uint8]]
SIDEWAYS = (5, 6, 7, 8)


def upright(stored: Picture, orientation: int) -> Picture:
    """The picture as a viewer shows it; rows contiguous, height × width × 3, BGR."""
    turned = stored.transpose(1, 0, 2) if orientation in SIDEWAYS else stored
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)


def box_as_stored(box: Box, orientation: int, width_px: int, height_px: int) -> Box:
    """A box of the upright picture in pixels of the stored one, which is width_px × height_px."""
    x1, y1, x2, y2 = box
    upright_width, upright_height = (height_px, width_px) if orientation in SIDEWAYS else (width_px, height_px)
    if orientation in (3, 4, 7, 8):
        y1, y2 = upright_height - y2, upright_height - y1
    if orientation in (2, 3, 6, 7):
        x1, x2 = upright_width - x2, upright_width - x1
    if orientation in SIDEWAYS:
        x1, y1, x2, y2 = y1, x1, y2, x2
    return (x1, y1, x2, y2)
