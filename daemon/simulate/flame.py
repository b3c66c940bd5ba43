# SPDX-License-Identifier: AGPL-3.0-or-later
"""A drawn flame: noise that rises through an envelope of tongues, coloured like soot at falling temperatures.

Drawn small and enlarged, since a flame has no sharp edges; pure functions of size and time.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = (96, 72)  # height, width in which the flame is computed
TILE = 256  # of the noise, which repeats without a seam
OCTAVES = 5
WIDTH_OF_HEIGHT = 0.86  # of the drawn box; the flame fills about its middle half

Array = NDArray[np.float32]
# each tongue: place across, width, height, all as shares; phase of its sway
TONGUES = ((0.02, 0.36, 1.0, 0.0), (-0.25, 0.25, 0.62, 1.7), (0.27, 0.25, 0.72, 3.1))


def tiling_noise(chance: np.random.Generator) -> Array:
    """Noise in 0..1 (TILE, TILE) with detail of every size, which can be wrapped round."""
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(OCTAVES):
        cells = 6 << octave
        grid = np.pad(chance.random((cells, cells), dtype=np.float32), 3, mode="wrap")
        step = TILE / cells
        scaled = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        edge = round(3 * step)
        total += 0.6**octave * scaled[edge : edge + TILE, edge : edge + TILE]
    low, high = np.percentile(total, (1, 99))
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), np.float32)


def _ramp() -> tuple[NDArray[np.uint8], Array]:
    """For each of 256 heats the colour (256, 3) BGR and how much of what is behind it hides (256,)."""
    heat = np.linspace(0, 1, 256)
    red = np.clip(heat * 3.0, 0, 1)
    green = np.clip(heat * 1.75 - 0.22, 0, 1) ** 1.1
    blue = np.clip(heat * 2.2 - 1.30, 0, 1)
    colour = np.stack((blue, green * 0.96, red), -1) * 255
    return colour.astype(np.uint8), (np.clip(heat * 2.2, 0, 1) ** 1.25).astype(np.float32)


class Flame:
    """A flame of one shape; `seed` decides its flicker."""

    def __init__(self, seed: int) -> None:
        self._noise = tiling_noise(np.random.default_rng(seed))
        self._colours, self._covers = _ramp()
        rows, columns = GRID
        y, x = np.mgrid[1 : 0 : rows * 1j, -1 : 1 : columns * 1j]
        self._up: Array = y.astype(np.float32)  # 0 at the foot, 1 at the tip
        self._across: Array = x.astype(np.float32)

    def _sample(self, x: Array, y: Array) -> Array:
        turned = cv2.remap(
            self._noise, x * TILE % (TILE - 1), y * TILE % (TILE - 1), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        return np.asarray(turned, np.float32)

    def heat(self, at_s: float) -> Array:
        """The heat field at a time, 0..1, of shape GRID."""
        up, x = self._up, self._across
        rise = np.float32(at_s)
        coarse = self._sample(x * 0.22 + 0.5, up * 0.24 + 0.45 - rise * 0.42) - 0.5
        fine = self._sample(x * 0.55 + 0.1, up * 0.42 - rise * 0.95) - 0.5
        bent = x + coarse * (0.15 + 0.9 * up) * 0.85
        body = np.full(GRID, -1.0, np.float32)
        for place, wide, tall, phase in TONGUES:
            reach = tall * (0.84 + 0.12 * np.sin(at_s * 5.1 + phase * 2.3))
            height = np.clip(up / reach, 0, 1.2)
            middle = place * (1 - 0.5 * height) + 0.10 * np.sin(at_s * 3.7 + phase + 4 * up) * up
            belly = 0.72 + 0.9 * np.sqrt(np.clip(height, 0, 0.35))
            half = wide * belly * np.clip(1.02 - height, 0, 1) ** 0.75 + 0.015
            body = np.maximum(body, (1 - np.abs(bent - middle) / half) - 0.25 * height)
        edge = np.clip(up / 0.05, 0, 1) * np.clip((1 - up) / 0.2, 0, 1)  # nothing is cut off, neither foot nor tip
        return np.asarray(np.clip((0.82 * body + 0.10 + fine * (0.75 + 0.9 * up)) * edge, 0, 1), np.float32)

    def draw(self, picture: NDArray[np.uint8], foot: tuple[int, int], height_px: float, at_s: float) -> None:
        """Draws into a picture (H, W, 3) uint8 BGR a flame of that height that stands on `foot` (x, y)."""
        tall, wide = max(8, round(height_px)), max(6, round(height_px * WIDTH_OF_HEIGHT))
        top, left = foot[1] - tall, foot[0] - wide // 2
        heat = cv2.resize((self.heat(at_s) * 255).astype(np.uint8), (wide, tall), interpolation=cv2.INTER_LINEAR)
        heat = cv2.GaussianBlur(heat, (0, 0), max(0.6, tall / 130))
        colour = self._colours[heat].astype(np.float32)
        hidden = self._covers[heat][..., None]
        region = picture[top : foot[1], left : left + wide]
        region[:] = np.clip(region * (1 - hidden) + colour * (hidden * 1.05), 0, 255).astype(np.uint8)
