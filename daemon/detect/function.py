# SPDX-License-Identifier: AGPL-3.0-or-later
"""The function layer: how models combine to answer about a picture; its caller does not know how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from daemon.detect.model import Model, Picture
from daemon.domain import Detection


class Function(Protocol):
    """From pictures to detections, by one model or several in series or in parallel."""

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        """For each picture its detections of at least `floor`, in the pictures' order.

        `input_px` has for each the longer side at which it is to be looked at.
        """


class DetectorAlone:
    """One detector, nothing behind it."""

    def __init__(self, detector: Model) -> None:
        self._detector = detector

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        return self._detector.find(pictures, floor, input_px)
