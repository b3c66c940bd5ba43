# SPDX-License-Identifier: AGPL-3.0-or-later
"""Light and sensor: exposure and colour, the night with and without infrared, glare and overexposed lights."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.view import View
from training.folders import Pixels

Levels = NDArray[np.float64]
_COARSE = 4  # halos are soft: a quarter of the picture's size is enough for them


def exposed(view: View, rng: np.random.Generator) -> View:
    """Another white balance, saturation and exposure."""
    hue, saturation, value = cv2.split(cv2.cvtColor(view.pixels, cv2.COLOR_BGR2HSV))
    gains = rng.uniform(-1, 1, 3) * (0.015, 0.6, 0.45) + 1
    levels = np.arange(256)
    turned = cv2.LUT(hue, ((levels * gains[0]) % 180).astype(np.uint8))
    stretched = [
        cv2.LUT(plane, np.clip(levels * gain, 0, 255).astype(np.uint8))
        for plane, gain in ((saturation, gains[1]), (value, gains[2]))
    ]
    return replace(view, pixels=_bgr(cv2.cvtColor(cv2.merge((turned, *stretched)), cv2.COLOR_HSV2BGR)))


def infrared(view: View, rng: np.random.Generator) -> View:
    """Night, seen by the camera's own lamps: grey, dark, brighter in the middle. What burns there keeps its brightness.

    Grey by day is left out: taught that a flame may lack colour there too, a detector takes white streaks of glare for fire.
    """
    grey = without_colour(view).pixels[..., 0].astype(np.float32) / 255
    height, width = grey.shape
    rows, columns = np.ogrid[:height, :width]
    far = np.hypot((columns - width / 2) / width, (rows - height / 2) / height)
    dark = grey ** rng.uniform(1.2, 2.5)
    if not len(view.boxes):
        dark *= rng.uniform(0.35, 1.0)
    lit = dark * (1.15 - rng.uniform(0, 1.2) * far)
    return replace(view, pixels=_grey(np.clip(255 * lit, 0, 255).astype(np.uint8)))


def without_colour(view: View) -> View:
    """What burns in an infrared picture, in its grey: a flame is as bright there as in its brightest colour."""
    return replace(view, pixels=_grey(view.pixels.max(axis=2)))


def darkened(view: View, rng: np.random.Generator) -> View:
    """By night without infrared: what is not bright sinks into the dark, under the yellow of lamps or as it was."""
    levels = 255 * (np.arange(256) / 255) ** rng.uniform(1.8, 4.5) * rng.uniform(0.25, 1.0)
    tint = (1.0, 1.0, 1.0) if rng.random() < 0.5 else (rng.uniform(0.35, 0.9), rng.uniform(0.7, 1.0), 1.0)
    planes = [
        cv2.LUT(plane, (levels * part).astype(np.uint8))
        for plane, part in zip(cv2.split(view.pixels), tint, strict=True)
    ]
    return replace(view, pixels=_bgr(cv2.merge(planes)))


def bloomed(view: View, rng: np.random.Generator) -> View:
    """What is bright overflows into what is around: a wide halo, and a narrow one that hides its outline."""
    height, width = view.pixels.shape[:2]
    small = cv2.resize(view.pixels, (max(1, width // _COARSE), max(1, height // _COARSE)), interpolation=cv2.INTER_AREA)
    bright = np.clip(small.astype(np.float32) - 150, 0, None)
    halo = cv2.GaussianBlur(bright, (0, 0), rng.uniform(4, 14)) * rng.uniform(0.5, 3)
    halo += cv2.GaussianBlur(bright, (0, 0), rng.uniform(0.6, 2)) * rng.uniform(0, 1.5)
    wide = cv2.resize(halo, (width, height), interpolation=cv2.INTER_LINEAR)
    return replace(view, pixels=_bgr(np.clip(view.pixels + wide, 0, 255).astype(np.uint8)))


def glared(view: View, rng: np.random.Generator) -> View:
    """A lamp or the low sun in the picture: overexposed, with a veil around, often with beams; not fire, and it may hide some."""
    height, width = view.pixels.shape[:2]
    x, y, radius = rng.uniform(0, width), rng.uniform(0, height * 0.6), rng.uniform(0.02, 0.12) * max(height, width)
    across, down = _away(width, height, x, y, 1)
    distance = np.hypot(across, down) / radius
    veil = (255 * np.clip(1.6 - distance, 0, 1) + rng.uniform(30, 110) * np.exp(-distance / 3))[..., None]
    if rng.random() < 0.6:
        veil = veil + _beams(across, down, max(height, width), rng)
    tint = np.array((rng.uniform(0.7, 1.0), rng.uniform(0.85, 1.0), 1.0))
    return replace(view, pixels=_bgr(np.clip(view.pixels + veil * tint, 0, 255).astype(np.uint8)))


def streaked(view: View, rng: np.random.Generator) -> View:
    """The low sun on a dirty dome: bundles of nearly white streaks, the lamp or the sun itself out of sight; not fire."""
    height, width = view.pixels.shape[:2]
    levels = np.zeros((-(-height // 2), -(-width // 2), 3))  # of every other pixel: a quarter of the time
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, width), rng.uniform(-0.1, 0.8) * height
        levels += _beams(*_away(width, height, x, y, 2), max(height, width), rng)
    levels = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)
    tint = np.array((rng.uniform(0.85, 1.0), rng.uniform(0.9, 1.0), 1.0))
    return replace(view, pixels=_bgr(np.clip(view.pixels + levels * tint, 0, 255).astype(np.uint8)))


def _away(width: int, height: int, x: float, y: float, step: int) -> tuple[Levels, Levels]:
    """How far each pixel, or one in `step`, lies from a point, across and down."""
    across, down = np.meshgrid(np.arange(0, width, step) - x, np.arange(0, height, step) - y)
    return across, down


def _beams(across: Levels, down: Levels, side: int, rng: np.random.Generator) -> Levels:
    """BGR of dirt and scratches on the dome, and of a lens' rays: fibrous, blotched, often with fringes of colour; some
    through the light, some beside it.
    """
    levels = np.zeros((*across.shape, 3))
    spread, slant, fringes = rng.uniform(0.02, 0.25) * side, rng.normal(np.pi / 2, 0.25), rng.uniform(0, 0.6)
    for _ in range(int(rng.integers(1, 5))):
        angle, beside = rng.normal(slant, 0.1), rng.normal(0, spread)
        along = across * np.cos(angle) + down * np.sin(angle) - rng.uniform(-0.1, 0.4) * side
        aside = across * np.sin(angle) - down * np.cos(angle) - beside
        wide, long = rng.uniform(0.003, 0.025) * side, rng.uniform(0.08, 0.5) * side
        fading = np.exp(-((aside / wide) ** 2) / 2 - np.abs(along / long) ** rng.uniform(2, 8))  # some end at a ridge
        fibres, blotches = _uneven(aside, 3 * wide, 0.3, fringes, rng), _uneven(along, long, 0.5, fringes, rng)
        levels += rng.uniform(60, 230) * fading[..., None] * fibres * blotches
    return levels


def _uneven(over: Levels, reach: float, least: float, fringes: float, rng: np.random.Generator) -> Levels:
    """Shares of light per channel that change at random over `over`, -reach to reach, each channel's a little for itself."""
    shares = rng.uniform(least, 1.0, (20, 1)) * rng.uniform(1 - fringes, 1.0, (20, 3))
    places = np.linspace(-reach, reach, len(shares))
    return np.stack([np.interp(over, places, each) for each in shares.T], axis=-1)


def _grey(levels: NDArray[np.uint8]) -> Pixels:
    return np.repeat(levels[..., None], 3, axis=2)


def _bgr(pixels: object) -> Pixels:
    return np.asarray(pixels, np.uint8)
