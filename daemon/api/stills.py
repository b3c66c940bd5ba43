# SPDX-License-Identifier: AGPL-3.0-or-later
"""Copies of a stored still for looking at: with its boxes drawn, or small. The stored bytes are never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import cv2
import numpy as np

from daemon.api.orientation import Picture
from daemon.errors import FirewitnessError

_QUALITY = 85
_COLOURS_BGR = {"fire": (60, 60, 255), "smoke": (255, 200, 80)}
_OTHER_BGR = (255, 255, 255)
_EDGE_BGR = (0, 0, 0)
_READABLE_PX = (
    480  # narrower copies get no text, which nobody could read, and no dark edge, which would drown the colour
)
# libjpeg decodes at an eighth, quarter or half of the size for a fraction of the cost.
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def copy_of(
    jpeg: bytes, stored_width_px: int, detections: Iterable[Mapping[str, Any]], boxes: bool, width_px: int | None
) -> bytes:
    """A JPEG with the boxes drawn where `boxes`, at most `width_px` wide; raises FirewitnessError when undecodable."""
    picture = _decode(jpeg, stored_width_px, width_px)
    if width_px is not None and picture.shape[1] > width_px:
        height_px = max(round(picture.shape[0] * width_px / picture.shape[1]), 1)
        picture = cast(Picture, cv2.resize(picture, (width_px, height_px), interpolation=cv2.INTER_AREA))
    if boxes:
        scale = picture.shape[1] / stored_width_px
        for detection in detections:
            _draw(picture, detection, scale)
    encoded, copy = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not encoded:
        raise FirewitnessError("the copy cannot be encoded")
    return bytes(copy)


def _decode(jpeg: bytes, stored_width_px: int, width_px: int | None) -> Picture:
    how = cv2.IMREAD_COLOR
    if width_px is not None:
        how = next((flag for part, flag in _REDUCED if stored_width_px // part >= width_px), how)
    picture: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise FirewitnessError("the stored picture cannot be decoded")
    return cast(Picture, picture)


def _draw(picture: Picture, detection: Mapping[str, Any], scale: float) -> None:
    x1, y1, x2, y2 = (round(float(value) * scale) for value in detection["box"])
    line_px = max(picture.shape[1] // 500, 2)
    colour = _COLOURS_BGR.get(str(detection["label"]), _OTHER_BGR)
    # Drawn around the box, not over it: what is small would otherwise vanish under its own frame.
    corners = (x1 - line_px - 1, y1 - line_px - 1), (x2 + line_px, y2 + line_px)
    if picture.shape[1] < _READABLE_PX:
        cv2.rectangle(picture, *corners, colour, line_px)
        return
    cv2.rectangle(picture, *corners, _EDGE_BGR, line_px + 2)
    cv2.rectangle(picture, *corners, colour, line_px)
    text = f"{detection['label']} {float(detection['confidence']):.2f}"
    size = picture.shape[1] / 1600
    (_, height_px), base_px = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, line_px)
    above = y1 - line_px - base_px - 2
    at = (max(x1, 2), above if above > height_px else y2 + height_px + 2 * line_px + 2)
    for ink, width_px in ((_EDGE_BGR, line_px + 3), (colour, line_px)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink, width_px, cv2.LINE_AA)
