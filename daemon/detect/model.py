# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model layer: one network, from pictures to tensors to boxes; which runtime computes it is behind a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.detect.letterbox import Letterbox, draw, letterbox
from daemon.detect.postprocess import detections
from daemon.domain import LABELS, Detection

Picture = NDArray[np.uint8]
"""BGR, (height, width, 3), uint8."""


class Runtime(Protocol):
    """Computes the network. Made and used by one thread; holds its own weights."""

    @property
    def name(self) -> str:
        """Library, version, device and precision, as it goes into every record."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """What the weights file calls its classes, in order; None where it does not say."""

    def prepare(self, size_px: tuple[int, int]) -> None:
        """Many pictures of this size (height, width; letterboxed) will come: what makes them faster is done now."""

    def infer(self, pictures: Picture) -> NDArray[np.float32]:
        """Raw answers (n, 4 + classes, places) to letterboxed BGR pictures (n, height, width, 3), uint8.

        Raises DetectorError when the computation fails; the runtime may be used again.
        """


class Model(Protocol):
    """One network that finds things in pictures."""

    def find(self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]) -> list[tuple[Detection, ...]]:
        """For each picture, of any size, its detections of at least `floor`, in the pictures' order.

        `input_px` has for each the longer side of the network's input.
        """


class YoloModel:
    """A YOLO network without suppression inside."""

    def __init__(self, runtime: Runtime, batch: int) -> None:
        self._runtime = runtime
        self._batch = batch

    def find(self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]) -> list[tuple[Detection, ...]]:
        """See Model; pictures whose letterboxes agree share a batch."""
        layouts = [
            letterbox((each.shape[1], each.shape[0]), side_px) for each, side_px in zip(pictures, input_px, strict=True)
        ]
        groups: dict[tuple[int, int], list[int]] = {}
        for place, layout in enumerate(layouts):
            groups.setdefault(layout.padded, []).append(place)
        found: dict[int, tuple[Detection, ...]] = {}
        for places in groups.values():
            for at in range(0, len(places), self._batch):
                part = places[at : at + self._batch]
                raw = self._infer([pictures[place] for place in part], [layouts[place] for place in part])
                for place, one in zip(part, raw, strict=True):
                    found[place] = detections(one, layouts[place], LABELS, floor)
        return [found[place] for place in range(len(pictures))]

    def _infer(self, pictures: Sequence[Picture], layouts: Sequence[Letterbox]) -> NDArray[np.float32]:
        tensor = np.empty((len(pictures), *layouts[0].padded, 3), np.uint8)
        for picture, layout, onto in zip(pictures, layouts, tensor, strict=True):
            draw(picture, layout, onto)
        return self._runtime.infer(tensor)
