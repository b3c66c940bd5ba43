# SPDX-License-Identifier: AGPL-3.0-or-later
"""The verifier: a small classifier that looks at one box of the detector's at a time, cut out at the picture's own resolution.

It is given a square round the box, and says for each label how sure it is that what stands in the middle is that.
`python -m training verifier` trains it on the same cut-outs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.detect.letterbox import GREY
from daemon.detect.model import Picture, Runtime
from daemon.domain import Box

if TYPE_CHECKING:
    from daemon.settings import DetectSettings

CONTEXT = 2.0  # of the box's longer side: what is around a flame tells it from a lamp
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Verify:
    """Which weights verify (detect.verify), and from which confidence on a detection passes.

    Of less than `floor` nothing is judged: it is asked for only as a hint at where to look, and never told.
    """

    weights: Path
    sha256: str | None = None
    input_px: int = 64
    threshold: float = 0.5
    floor: float = 0.0


def verify_in(detect: DetectSettings) -> Verify | None:
    """What the settings say; None without weights."""
    block = detect.verify
    if block.weights is None:
        return None
    return Verify(block.weights, block.weights_sha256, block.input_px, block.threshold, detect.floor)


class Verifier:
    """Belongs to the thread that made it, as the detector does."""

    def __init__(self, runtime: Runtime, input_px: int) -> None:
        self._runtime = runtime
        self._input_px = input_px

    def judge(self, boxes: Sequence[tuple[Picture, Box]]) -> NDArray[np.float32]:
        """(n, 2): for each box of a picture (in its pixels) how surely it shows fire, and how surely smoke.

        Raises DetectorError when the computation fails.
        """
        judged = [np.zeros((0, 2), np.float32)]
        for at in range(0, len(boxes), AT_ONCE):
            part = boxes[at : at + AT_ONCE]
            judged.append(self._runtime.infer(np.stack([cut_out(each, box, self._input_px) for each, box in part])))
        return np.concatenate(judged)


def cut_out(picture: Picture, box: Box, side_px: int) -> Picture:
    """BGR (side_px, side_px, 3): the square round a box that is twice its longer side, and at least `side_px` large.

    So what is small is shown pixel by pixel and never enlarged, what is large reduced by area means. Outside the
    picture it is grey.
    """
    height, width = picture.shape[:2]
    size_px = max(side_px, round(CONTEXT * max(box[2] - box[0], box[3] - box[1])))
    left, top = (round((box[at] + box[at + 2]) / 2 - size_px / 2) for at in (0, 1))
    x1, y1, x2, y2 = max(0, left), max(0, top), min(width, left + size_px), min(height, top + size_px)
    scale = side_px / size_px
    onto: Picture = np.full((side_px, side_px, 3), GREY, np.uint8)
    column, row = round((x1 - left) * scale), round((y1 - top) * scale)
    columns, rows = round((x2 - left) * scale) - column, round((y2 - top) * scale) - row
    if columns > 0 and rows > 0:
        part = cv2.resize(picture[y1:y2, x1:x2], (columns, rows), interpolation=cv2.INTER_AREA)
        onto[row : row + rows, column : column + columns] = part
    return onto
