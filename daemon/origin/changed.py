# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which pixels changed against the last clean frames: beyond their noise, whatever the light as a whole does.

What moved within the clean frames (a fan, leaves, somebody in one of them) is allowed to move on; who comes only later
cannot be told from a fire by change alone, and is left to the detector's box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.origin.picture import Mask, Picture

LEAST_LEVELS = 9.0  # of 255: what compression alone does to a flat wall
NOISE_TIMES = 4.0  # a change is this many times the noise
MOVED_REACH_PX = 5  # what moved may be this far from where it moved before
EXPOSURE_STEP_PX = 8  # every how many pixels the light as a whole is compared
EXPOSURE_ROUNDS = 6
LEAST_GAIN, MOST_GAIN = 0.25, 4.0  # a camera's exposure; beyond it the picture is another one
MAD_TO_SIGMA = 1.4826

Bytes = NDArray[np.uint8]  # (height, width)


class Change(NamedTuple):
    """One frame against the clean ones."""

    mask: Mask
    """Changed beyond noise."""
    amount: Bytes
    """By how many levels of 255 the most changed colour differs, 0 outside the mask."""
    rise: Bytes
    """By how many levels red light grew, 0 outside the mask: flames give red light, whatever else they do."""


@dataclass(frozen=True, slots=True)
class CleanView:
    """What a camera showed before: the median of its clean frames, and how much each pixel moved among them."""

    median: Picture
    moved: Bytes
    """Largest less smallest level among the clean frames, in the neighbourhood, of the most moved colour."""

    @classmethod
    def of(cls, frames: Sequence[Picture]) -> CleanView:
        """At least one frame, all of one size; five, spread over some seconds, know a passer-by from a wall."""
        if len({frame.shape for frame in frames}) != 1:
            raise ValueError(f"clean frames must be of one size, at least one: {[frame.shape for frame in frames]}")
        low, median, high = _ordered([_smooth(frame) for frame in frames])
        moved = cv2.subtract(high, low).max(axis=2)
        reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MOVED_REACH_PX + 1,) * 2)
        return cls(median, np.asarray(cv2.dilate(moved, reach), np.uint8))

    def steady(self) -> CleanView:
        """As if nothing had moved among the clean frames: what then differs differs from what they mostly show."""
        return replace(self, moved=np.zeros_like(self.moved))

    def change(self, frame: Picture) -> Change:
        """What differs in a frame of the same size."""
        if frame.shape != self.median.shape:
            raise ValueError(f"a frame of {frame.shape} against clean ones of {self.median.shape}")
        now = _smooth(frame)
        expected = _as_exposed(self.median, now)
        amount: Bytes = np.asarray(cv2.absdiff(now, expected).max(axis=2), np.uint8)
        allowed = self._allowed(amount)
        over = (amount > allowed).astype(np.uint8)
        mask: Bytes = np.asarray(cv2.morphologyEx(over, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
        # a camera sends colour in coarser blocks than light: where only the colour rose, it is a neighbour's
        light = cv2.subtract(_light(now), _light(expected))
        rise: Bytes = np.asarray(cv2.min(cv2.subtract(now[..., 2], expected[..., 2]), cv2.add(light, light)), np.uint8)
        return Change(mask.astype(bool), amount * mask, rise * mask)

    def _allowed(self, amount: Bytes) -> NDArray[np.float32]:
        """Levels that a pixel may differ by: the picture's noise now, and what moved there before."""
        sample = amount[::EXPOSURE_STEP_PX, ::EXPOSURE_STEP_PX]
        noise = float(np.median(sample)) * MAD_TO_SIGMA / 1.5  # the largest of three colours is about 1.5 of one
        least = max(LEAST_LEVELS, NOISE_TIMES * noise)
        return np.asarray(np.maximum(self.moved.astype(np.float32) * 1.5, least), np.float32)


def _smooth(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0), np.uint8)


def _light(picture: Picture) -> Bytes:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _ordered(frames: Sequence[Picture]) -> tuple[Picture, Picture, Picture]:
    """Smallest, median and largest of each pixel's levels: a sorting network of whole pictures, since each step is fast."""
    layers = list(frames)
    for end in range(len(layers) - 1, 0, -1):
        for place in range(end):
            one, other = layers[place], layers[place + 1]
            layers[place] = np.asarray(cv2.min(one, other), np.uint8)
            layers[place + 1] = np.asarray(cv2.max(one, other), np.uint8)
    return layers[0], layers[len(layers) // 2], layers[-1]


def _as_exposed(clean: Picture, now: Picture) -> Picture:
    """The clean picture in the light of now: per colour a gain and an offset that fit most of the picture."""
    table = np.empty((256, 1, 3), np.uint8)
    step = slice(None, None, EXPOSURE_STEP_PX)
    for colour in range(3):
        gain, offset = _line(clean[step, step, colour].ravel(), now[step, step, colour].ravel())
        table[:, 0, colour] = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255)
    return np.asarray(cv2.LUT(clean, table), np.uint8)


def _line(before: NDArray[np.uint8], after: Bytes) -> tuple[float, float]:
    """Gain and offset from most of the levels; those that are far off, or at an end of the scale, have no say."""
    x, y = before.astype(np.float64), after.astype(np.float64)
    usable = (y > 2) & (y < 250) & (x > 2) & (x < 250)
    if usable.sum() < 50:
        return 1.0, 0.0
    x, y = x[usable], y[usable]
    gain, offset = 1.0, float(np.median(y - x))
    for _ in range(EXPOSURE_ROUNDS):
        off = np.abs(y - gain * x - offset)
        near = off <= max(3.0, 2.5 * MAD_TO_SIGMA * float(np.median(off)))
        spread = float(np.var(x[near]))
        if spread < 4:  # one flat grey: a gain cannot be told from an offset
            gain, offset = 1.0, float(np.median(y - x))
            break
        gain = float(np.mean((x[near] - x[near].mean()) * (y[near] - y[near].mean())) / spread)
        gain = min(max(gain, LEAST_GAIN), MOST_GAIN)
        offset = float(np.median(y[near] - gain * x[near]))
    return gain, offset
