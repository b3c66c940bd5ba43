# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ways in which the daemon shows a picture to its detector, beside whole as POST does.

In tiles, reduced as live frames are, and where these have hints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.detect.function import each_once
from daemon.detect.hints import MOST_FOLLOWED, at_hints, fires, is_small, tiles_at
from daemon.detect.letterbox import reduced
from daemon.detect.model import Picture
from daemon.detect.tiling import Found, Tile, in_picture, merged, small_ones, tiles_of
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
        return [self._merged(each, floor) for each in images]

    def _merged(self, image: Picture, floor: float) -> tuple[Detection, ...]:
        size_px = _size_px(image)
        found = _shown_by(self.detector, image, tiles_of(size_px, self.input_px), floor)
        return merged(small_ones(found), size_px)


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


@dataclass(frozen=True, slots=True)
class AtHints:
    """Looks at tiles where a live frame has hints, as a worker does between the patrol's rounds.

    As if all of them had changed since the picture before, which there is none of here.
    """

    detector: Looker
    input_px: int

    def followed(self, image: Picture, live: Sequence[Detection], floor: float) -> tuple[Detection, ...]:
        """What a live frame and the tiles at its hints show together.

        `live` is what AsLive has seen of the image, from `HINT_FROM` on at least: it is not looked at once more.
        """
        size_px = _size_px(image)
        whole = [each for each in live if each.confidence >= floor]
        small = [each for each in fires(live) if is_small(each, size_px, self.input_px)][:MOST_FOLLOWED]
        if not small or len(tiles_of(size_px, self.input_px)) == 1:
            return tuple(whole)
        found = _shown_by(self.detector, image, tiles_at(small, size_px, self.input_px), floor)
        return each_once([*whole, *merged(at_hints(found, small, size_px), size_px)])


def _shown_by(detector: Looker, image: Picture, tiles: Sequence[Tile], floor: float) -> list[Found]:
    found = detector.detect([tile.of(image) for tile in tiles], floor)
    return [(tile, one) for tile, part in zip(tiles, found, strict=True) for one in in_picture(tile, part)]


def _size_px(picture: Picture) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
