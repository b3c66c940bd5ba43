# SPDX-License-Identifier: AGPL-3.0-or-later
"""Between the camera and the fire, and after the lens: rain, blur, sensor noise, compression."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from training.augment.view import View


def rained(view: View, rng: np.random.Generator) -> View:
    """Streaks of one slant."""
    side = view.pixels.shape[0]
    streaks = np.zeros(view.pixels.shape[:2], np.uint8)
    slant, length = rng.uniform(-0.3, 0.3), rng.uniform(0.02, 0.07) * side
    for x, y in rng.uniform(-0.1, 1.1, (int(rng.integers(60, 300)), 2)) * side:
        end = (round(x + slant * length), round(y + length))
        cv2.line(streaks, (round(x), round(y)), end, int(rng.integers(60, 160)), 1, cv2.LINE_AA)
    veil = cv2.GaussianBlur(streaks, (0, 0), 0.7)[..., None].astype(np.float32)
    return replace(view, pixels=np.clip(view.pixels + veil, 0, 255).astype(np.uint8))


def blurred(view: View, rng: np.random.Generator) -> View:
    """Out of focus, a little."""
    return replace(view, pixels=np.asarray(cv2.GaussianBlur(view.pixels, (0, 0), rng.uniform(0.4, 1.4)), np.uint8))


def noisy(view: View, rng: np.random.Generator) -> View:
    """A sensor with its gain up."""
    grain = rng.normal(0, rng.uniform(2, 9), view.pixels.shape)
    return replace(view, pixels=np.clip(view.pixels + grain, 0, 255).astype(np.uint8))


def compressed(view: View, rng: np.random.Generator) -> View:
    """Few bits: blocks and smeared colour."""
    coded = cv2.imencode(".jpg", view.pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 85))])[1]
    return replace(view, pixels=np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8))
