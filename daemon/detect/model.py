# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model layer: one network, from pictures to tensors to boxes; which runtime computes it is behind a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daemon.detect.letterbox import Letterbox, draw, letterbox
from daemon.detect.postprocess import detections
from daemon.domain import LABELS, Detection
from daemon.errors import DetectorError

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


def check_inputs(path: Path, inputs: Sequence[Sequence[int | str | None] | None]) -> None:
    """Raises DetectorError unless a network takes pictures and nothing else.

    `inputs`: the shape of each, a side that may have any length being no number; None: nothing is said of it.
    """
    if len(inputs) != 1 or not _takes_pictures(inputs[0]):
        shapes = " and ".join("anything" if each is None else _written(each) for each in inputs) or "nothing"
        raise DetectorError(f"{path}: a network that takes {shapes}; it must take (pictures, 3, height, width)")


def _takes_pictures(shape: Sequence[int | str | None] | None) -> bool:
    return shape is None or (len(shape) == 4 and (shape[1] == 3 or not isinstance(shape[1], int)))


def _written(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join(str(side) if isinstance(side, int) else 'any' for side in shape)})"


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
