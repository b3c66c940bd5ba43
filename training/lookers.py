# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ways in which the daemon shows a picture to its detector, beside whole as POST does: in tiles, and reduced as live frames are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.detect.letterbox import reduced
from daemon.detect.model import Picture
from daemon.detect.tiling import Tile, in_picture, merged, small_ones, tiles_of
from daemon.domain import Detection
from training.seen import Looker


@dataclass(frozen=True, slots=True)
class InTiles:
    """Looks at a picture in tiles of its own resolution, as the patrol does, and merges what they show."""

    detector: Looker
    input_px: int

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        answers = []
        for image in images:
            size_px = _size_px(image)
            tiles = tiles_of(size_px, self.input_px)
            found = self.detector.detect([tile.of(image) for tile in tiles], floor)
            placed = [(tile, one) for tile, part in zip(tiles, found, strict=True) for one in in_picture(tile, part)]
            answers.append(merged(small_ones(placed), size_px))
        return answers


@dataclass(frozen=True, slots=True)
class AsLive:
    """Looks at a picture reduced to the input, as a worker sends a live frame: the closer look has no more than that to cut out."""

    detector: Looker
    input_px: int

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        shown = [reduced(image, self.input_px) for image in images]
        answers = self.detector.detect(shown, floor, input_px)
        wholes = [Tile(0, 0, *_size_px(image)) for image in images]
        sizes_px = [_size_px(each) for each in shown]
        return [in_picture(*each) for each in zip(wholes, answers, sizes_px, strict=True)]


def _size_px(picture: Picture) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
