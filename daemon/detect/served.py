# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras a detector serves while nothing burns: each looked at in time, and searched in tiles by the patrol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from daemon.detect.detector import reference_picture
from daemon.detect.model import Picture
from daemon.detect.tiling import patrol_tiles

if TYPE_CHECKING:
    from daemon.settings import DetectSettings


def tile_picture(detect: DetectSettings) -> Picture | None:
    """A picture of a tile's size: a square takes longer than 16:9. None without patrol."""
    tiles = patrol_tiles(detect.patrol, detect.input_px)
    return np.asarray(cv2.resize(reference_picture(), (tiles[0].width, tiles[0].height)), np.uint8) if tiles else None


def cameras(picture_s: float, tile_s: float, detect: DetectSettings) -> int:
    """Of a detector that takes so long for a scaled picture, and for a tile."""
    busy = picture_s / detect.max_interval
    if tiles := patrol_tiles(detect.patrol, detect.input_px):
        busy += len(tiles) * tile_s / detect.patrol
    return int(1 / busy)


def in_words(detect: DetectSettings) -> str:
    """What is done for each of those cameras."""
    looked = f"each looked at every {detect.max_interval:g} s (detect.max_interval)"
    if tiles := patrol_tiles(detect.patrol, detect.input_px):
        looked += f" and, 1080p, searched in {len(tiles)} tiles every {detect.patrol:g} s (detect.patrol)"
    return looked
