# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras a detector serves while nothing burns: each looked at in time, and searched in tiles by the patrol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from daemon.detect.detector import reference_picture
from daemon.detect.model import Picture
from daemon.detect.tiling import Tile, tiles_of

if TYPE_CHECKING:
    from daemon.settings import DetectSettings

_USUAL_PX = (1920, 1080)


def patrol_tiles(detect: DetectSettings) -> list[Tile]:
    """Of a 1080p picture; none where the patrol is off, or one tile would be the scaled whole again."""
    tiles = tiles_of(_USUAL_PX, detect.input_px) if detect.patrol else []
    return tiles if len(tiles) > 1 else []


def tile_picture(detect: DetectSettings) -> Picture | None:
    """A picture of a tile's size: a square takes longer than 16:9. None without patrol."""
    tiles = patrol_tiles(detect)
    return np.asarray(cv2.resize(reference_picture(), (tiles[0].width, tiles[0].height)), np.uint8) if tiles else None


def cameras(picture_s: float, tile_s: float, detect: DetectSettings) -> int:
    """Of a detector that takes so long for a scaled picture, and for a tile."""
    busy = picture_s / detect.max_interval
    if tiles := patrol_tiles(detect):
        busy += len(tiles) * tile_s / detect.patrol
    return int(1 / busy)


def in_words(detect: DetectSettings) -> str:
    """What is done for each of those cameras."""
    looked = f"each looked at every {detect.max_interval:g} s (detect.max_interval)"
    if tiles := patrol_tiles(detect):
        looked += f" and, 1080p, searched in {len(tiles)} tiles every {detect.patrol:g} s (detect.patrol)"
    return looked
