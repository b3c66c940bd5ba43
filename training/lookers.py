# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ways in which the daemon shows a picture to its detector, beside whole as POST does: in tiles, and reduced as live frames are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daemon.detect.letterbox import reduced
from daemon.detect.model import Picture
from daemon.detect.tiling import in_picture, merged, small_ones, tiles_of
from daemon.domain import Detection
from training.seen import Looker


class InTiles:
    """Looks at a picture whole and in tiles of its own resolution, as the patrol does, and merges what they show."""

    def __init__(self, detector: Looker, input_px: int) -> None:
        self._detector, self._input_px = detector, input_px

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        answers = []
        for image in images:
            size_px = (image.shape[1], image.shape[0])
            tiles = tiles_of(size_px, self._input_px)
            found = self._detector.detect([tile.of(image) for tile in tiles], floor)
            placed = [(tile, one) for tile, part in zip(tiles, found, strict=True) for one in in_picture(tile, part)]
            answers.append(merged(small_ones(placed), size_px))
        return answers


class AsLive:
    """Looks at a picture reduced to the input, as a worker sends a live frame: the closer look has no more than that to cut out."""

    def __init__(self, detector: Looker, input_px: int) -> None:
        self._detector, self._input_px = detector, input_px

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        shown = [reduced(image, self._input_px) for image in images]
        answers = self._detector.detect(shown, floor, input_px)
        return [_enlarged(*each) for each in zip(answers, shown, images, strict=True)]


def _enlarged(found: tuple[Detection, ...], shown: Picture, image: Picture) -> tuple[Detection, ...]:
    """In pixels of the picture again."""
    x, y = image.shape[1] / shown.shape[1], image.shape[0] / shown.shape[0]
    return tuple(
        replace(each, box=(each.box[0] * x, each.box[1] * y, each.box[2] * x, each.box[3] * y)) for each in found
    )
