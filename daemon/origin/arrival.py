# SPDX-License-Identifier: AGPL-3.0-or-later
"""When each part of the picture first burned or smoked: a grid, filled from boxes ∩ changed pixels, and drawn as an overlay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Detection
from daemon.origin.picture import Mask
from daemon.origin.record import GRID, Arrival

COLUMNS, ROWS = GRID
LEAST_CHANGED = 0.10  # of the part of a cell that lies in boxes must have changed
LEAST_COVERED = 0.05  # of a cell must lie in boxes
OPACITY = {"fire": 190, "smoke": 150}  # of 255
SCALES = {"fire": cv2.COLORMAP_HOT, "smoke": cv2.COLORMAP_OCEAN}
FROM, TO = 0.85, 0.30  # of a colour scale: the first cell bright, the last dark, neither white nor black
LEGEND_SHARE = 0.32  # of the picture's width


class ArrivalMap:
    """Told of frames in the order of their time."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int, str], float] = {}

    def told(
        self,
        after_s: float,
        detections: Iterable[Detection],
        size_px: tuple[int, int],
        thresholds: Mapping[str, float],
        changed: Mask | None,
    ) -> None:
        """One analysed frame of that size (width, height); without clean frames (`changed` None) boxes alone count."""
        for label, threshold in thresholds.items():
            boxes = [each.box for each in detections if each.label == label and each.confidence >= threshold]
            if not boxes:
                continue
            inside = np.zeros((size_px[1], size_px[0]), np.uint8)
            for x1, y1, x2, y2 in boxes:
                inside[max(0, round(y1)) : round(y2), max(0, round(x1)) : round(x2)] = 1
            covered = _by_cell(inside)
            reached = covered >= LEAST_COVERED
            if changed is not None:
                reached &= _by_cell(inside & changed) >= LEAST_CHANGED * covered
            for row, column in zip(*np.nonzero(reached), strict=True):
                self._first.setdefault((int(column), int(row), label), after_s)

    @property
    def cells(self) -> tuple[Arrival, ...]:
        """In the order of their arrival."""
        return tuple(
            Arrival(*key, after_s) for key, after_s in sorted(self._first.items(), key=lambda each: (each[1], each[0]))
        )


def _by_cell(marked: NDArray[np.uint8]) -> NDArray[np.float32]:
    """For each cell the share of it that is marked."""
    share = cv2.resize(marked.astype(np.float32), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return np.asarray(share, np.float32)


def overlay(cells: Iterable[Arrival], size_px: tuple[int, int], columns: int = COLUMNS, rows: int = ROWS) -> bytes:
    """PNG of that size (width, height), transparent where nothing came, to be laid on a picture of the camera.

    Fire lies over smoke. The scales at the lower right say which colour came when.
    """
    known = list(cells)
    last_s = max((each.after_s for each in known), default=0.0)
    grid = np.zeros((rows, columns, 4), np.uint8)
    for label in ("smoke", "fire"):
        for each in known:
            if each.label == label:
                grid[each.row, each.column] = (*_colour(label, each.after_s, last_s), OPACITY[label])
    picture = np.asarray(cv2.resize(grid, size_px, interpolation=cv2.INTER_NEAREST), np.uint8)
    _draw_legend(picture, [label for label in SCALES if any(each.label == label for each in known)], last_s)
    done, png = cv2.imencode(".png", picture)
    assert done, "a PNG can always be made of pixels"
    return png.tobytes()


def _colour(label: str, after_s: float, last_s: float) -> tuple[int, int, int]:
    place = FROM + (TO - FROM) * (min(1.0, max(0.0, after_s / last_s)) if last_s > 0 else 0.0)
    blue, green, red = cv2.applyColorMap(np.full((1, 1), round(place * 255), np.uint8), SCALES[label])[0, 0]
    return int(blue), int(green), int(red)


def _draw_legend(picture: NDArray[np.uint8], labels: list[str], last_s: float) -> None:
    """A bar for each label, with its name, 0 s and the last second, on a dark ground."""
    if not labels:
        return
    height, width = picture.shape[:2]
    unit = max(8, round(height / 36))
    left, right, foot = round(width * (1 - LEGEND_SHARE)), width - unit, height - unit
    top = foot - round(unit * 1.8) * len(labels) - unit
    cv2.rectangle(picture, (left - unit, top), (right, foot), (20, 20, 20, 225), -1)
    bar_left, bar_right = left + 4 * unit, right - unit
    for place, label in enumerate(labels):
        y = top + unit // 2 + round(unit * 1.8) * place
        for x in range(bar_left, bar_right):
            picture[y : y + unit, x] = (*_colour(label, x - bar_left, bar_right - bar_left), 255)
        _write(picture, label, (left - unit // 2, y + unit), unit)
    _write(picture, "0 s", (bar_left, foot - unit // 4), unit)
    last = f"{last_s:.1f} s" if last_s < 100 else f"{last_s:.0f} s"
    _write(picture, last, (bar_right - unit * len(last) * 6 // 10, foot - unit // 4), unit)


def _write(picture: NDArray[np.uint8], text: str, at: tuple[int, int], unit: int) -> None:
    cv2.putText(
        picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, unit / 32, (240, 240, 240, 255), max(1, unit // 16), cv2.LINE_AA
    )
