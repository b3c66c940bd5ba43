# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scales a picture to the network's input and maps boxes back: pure geometry, no model.

The picture keeps its aspect, fits input_px × input_px, and is padded evenly with grey 114 to multiples of 32, not to a
square, as Ultralytics' rectangular inference does: 16:9 becomes 640×384 and costs 60 % of 640×640.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Box

STRIDE = 32  # of YOLO's coarsest grid
GREY = 114  # the networks were trained with this padding


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How one picture size lies in the network's input; all sizes in pixels."""

    width: int
    height: int
    inner_width: int
    """Of the scaled picture inside the padding."""
    inner_height: int
    padded_width: int
    padded_height: int

    @property
    def left(self) -> int:
        return (self.padded_width - self.inner_width) // 2

    @property
    def top(self) -> int:
        return (self.padded_height - self.inner_height) // 2

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of the network's input: pictures that share it can share a batch."""
        return self.padded_height, self.padded_width

    def to_picture(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps boxes (n, 4) x1, y1, x2, y2 from pixels of the input to pixels of the picture, clipped to it."""
        x_scale, y_scale = self.width / self.inner_width, self.height / self.inner_height
        moved = boxes - np.array([self.left, self.top, self.left, self.top], np.float32)
        scaled = moved * np.array([x_scale, y_scale, x_scale, y_scale], np.float32)
        limits = np.array([self.width, self.height, self.width, self.height], np.float32)
        return np.clip(scaled, 0, limits).astype(np.float32)

    def to_input(self, box: Box) -> Box:
        """Maps a box in pixels of the picture to pixels of the input."""
        x_scale, y_scale = self.inner_width / self.width, self.inner_height / self.height
        x1, y1, x2, y2 = box
        return (
            x1 * x_scale + self.left,
            y1 * y_scale + self.top,
            x2 * x_scale + self.left,
            y2 * y_scale + self.top,
        )


def letterbox(size_px: tuple[int, int], input_px: int) -> Letterbox:
    """The layout for a picture of `size_px` (width, height), enlarged or reduced to fit input_px × input_px."""
    width, height = size_px
    scale = min(input_px / width, input_px / height)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Letterbox(width, height, inner_width, inner_height, _up(inner_width), _up(inner_height))


def draw(picture: NDArray[np.uint8], layout: Letterbox, onto: NDArray[np.uint8]) -> None:
    """Writes a BGR picture (height, width, 3) into `onto` (padded_height, padded_width, 3), with its grey border.

    Reduced by area means, which keep thin flames (design, Scaling); enlarged bilinearly.
    """
    onto[:] = GREY
    inside = onto[layout.top : layout.top + layout.inner_height, layout.left : layout.left + layout.inner_width]
    if picture.shape[:2] == inside.shape[:2]:
        inside[:] = picture
        return
    smaller = picture.shape[0] > inside.shape[0] or picture.shape[1] > inside.shape[1]
    inside[:] = cv2.resize(
        picture,
        (layout.inner_width, layout.inner_height),
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )


def reduced_px(size_px: tuple[int, int], input_px: int) -> tuple[int, int]:
    """The size (width, height) at which a worker sends a frame of `size_px`: fits input_px × input_px, aspect kept, never enlarged."""
    if max(size_px) <= input_px:
        return size_px
    layout = letterbox(size_px, input_px)
    return layout.inner_width, layout.inner_height


def reduced(picture: NDArray[np.uint8], input_px: int) -> NDArray[np.uint8]:
    """A BGR picture at that size, by area means."""
    height, width = picture.shape[:2]
    size_px = reduced_px((width, height), input_px)
    if size_px == (width, height):
        return picture
    return np.asarray(cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def _up(size_px: int) -> int:
    return -(-size_px // STRIDE) * STRIDE
