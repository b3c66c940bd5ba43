# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drawn pictures of one fixed camera, with flames and smoke of known place, for the tests of origin."""

from __future__ import annotations

import cv2
import numpy as np

from daemon.origin.picture import Picture
from daemon.simulate.flame import Flame

SIZE_PX = (960, 540)


def wall(seed: int = 3) -> Picture:
    """Something to look at: blurred patches with edges, at half brightness."""
    chance = np.random.default_rng(seed)
    picture = np.full((SIZE_PX[1], SIZE_PX[0], 3), 90, np.uint8)
    for _ in range(60):
        x, y = chance.integers(0, SIZE_PX[0]), chance.integers(0, SIZE_PX[1])
        w, h = chance.integers(20, 160, 2)
        colour = tuple(int(level) for level in chance.integers(40, 150, 3))
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0), np.uint8)


def as_sent(picture: Picture, seed: int, noise: float = 2.5, quality: int = 80) -> Picture:
    """With the sensor's noise, and compressed."""
    noisy = picture + np.random.default_rng(seed).normal(0, noise, picture.shape)
    _, jpeg = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def clean(seed: int = 3, count: int = 5) -> list[Picture]:
    """Clean frames of it."""
    return [as_sent(wall(seed), 100 + number) for number in range(count)]


def burning(foot: tuple[int, int], height_px: int, at_s: float = 1.0, seed: int = 3) -> Picture:
    """A flame that stands on `foot`, and its light on what is around it; uncompressed."""
    picture = wall(seed)
    y, x = np.mgrid[0 : SIZE_PX[1], 0 : SIZE_PX[0]]
    near = np.exp(-((np.hypot(x - foot[0], y - foot[1] + height_px / 2) / (2.2 * height_px)) ** 2))
    lit = picture * (1 + near[..., None] * np.array((0.1, 0.3, 0.6)))
    picture = np.clip(lit, 0, 255).astype(np.uint8)
    Flame(1).draw(picture, foot, height_px, at_s)
    return picture


def smoking(foot: tuple[int, int], height_px: int, seed: int = 3) -> Picture:
    """A grey plume that rises from `foot` and widens; uncompressed."""
    picture = wall(seed).astype(np.float32)
    y, x = np.mgrid[0 : SIZE_PX[1], 0 : SIZE_PX[0]].astype(np.float32)
    up = (foot[1] - y) / height_px
    half = 6 + 0.35 * height_px * np.clip(up, 0, 1)
    cover = 0.8 * np.exp(-(((x - foot[0]) / half) ** 2)) * ((up >= 0) & (up <= 1)) * np.clip(1.3 - up, 0, 1)
    return np.clip(picture * (1 - cover[..., None]) + 200 * cover[..., None], 0, 255).astype(np.uint8)
