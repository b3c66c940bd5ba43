# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training pictures by number: the same seed and number give the same picture, whoever draws it and in what order.

So a resumed training sees what an unbroken one would have seen, and the number of processes that draw changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from daemon.domain import LABELS
from training.arguments import Weighted
from training.augment import burning, light, weather
from training.augment.view import View, mirrored, mosaic, placed
from training.folders import FolderError, Sample, decoded, read_folder, written
from training.pasting import Cutout, cut_outs

FLAMES = 2500
NAMED = 3  # files of a sentence: of many more the first say where to look

Change = Callable[[View, np.random.Generator], View]
CHANGES: tuple[tuple[float, Change], ...] = (
    (0.08, light.bloomed),
    (0.05, light.glared),
    (0.12, light.streaked),
    (0.05, weather.rained),
    (0.10, weather.blurred),
    (0.15, weather.noisy),
    (0.25, weather.compressed),
)
"""What a camera does to what is there, in this order, and how often."""
MIRRORED, PASTED, SMOKED, MOSAIC, INFRARED = 0.5, 0.4, 0.05, 0.6, 0.07
TILED, TILE_SCALE = 0.3, (1.5, 3.0)
"""Of pictures outside mosaics, how many are seen as a tile of them is: so much larger than what fits (daemon/detect/tiling.py)."""
NIGHT, PASTED_AT_NIGHT = 0.4, 0.7
"""Of pictures that show nothing: labelled ones hardly have a fixed camera's night."""


class Pictures:
    """All pictures' coded bytes in memory (a few hundred MB for 17,000), to be drawn from.

    A folder's weight is how much more often than by its size its pictures are drawn.
    """

    def __init__(self, folders: Sequence[Weighted], seed: int) -> None:
        self._samples: list[Sample] = []
        weights: list[float] = []
        for each in folders:
            samples = read_folder(each.path, each.path.parent)
            self._samples += samples
            weights += [each.weight] * len(samples)
        self._coded = [sample.path.read_bytes() for sample in self._samples]
        _check_readable(self._samples, self._coded)
        self._weights = weights
        known = np.array([sample.smoke_known for sample in self._samples])
        self._chances = {wanted: _share(np.array(weights) * fit) for wanted, fit in _kinds(known)}
        self.flames: list[Cutout] = cut_outs(self._samples, np.random.default_rng(seed), FLAMES)

    def __len__(self) -> int:
        return len(self._samples)

    def sha256(self) -> str:
        """Of all that decides what is drawn: the pictures in their order, their labels, how often each is drawn."""
        found = hashlib.sha256()
        for sample, coded, weight in zip(self._samples, self._coded, self._weights, strict=True):
            found.update(f"{weight} {len(coded)} {sample.smoke_known}\n{written(sample.boxes)}".encode())
            found.update(coded)
        return found.hexdigest()

    def pick(self, rng: np.random.Generator, smoke_known: bool | None = None) -> View:
        """One of them, or of those in which smoke is (not) labelled."""
        at = int(rng.choice(len(self._samples), p=self._chances[smoke_known]))
        sample = self._samples[at]
        pixels = decoded(self._coded[at])
        assert pixels is not None  # looked at before anything is drawn
        height, width = pixels.shape[:2]
        rows = [
            (LABELS.index(each.label), x1 * width, y1 * height, x2 * width, y2 * height)
            for each in sample.boxes
            for x1, y1, x2, y2 in [each.box]
        ]
        boxes = np.array(rows, np.float32).reshape(-1, 5)
        return View(pixels, boxes, sample.smoke_known)


def _check_readable(samples: Sequence[Sample], coded: Sequence[bytes]) -> None:
    """Raises FolderError with those that are no pictures: drawn after hours, one would end a training that cannot go on without it."""
    with ThreadPoolExecutor() as threads:
        readable = list(threads.map(lambda each: decoded(each) is not None, coded))
    bad = [str(sample.path) for sample, good in zip(samples, readable, strict=True) if not good]
    if bad:
        named = ", ".join(bad[:NAMED]) + ", …" * (len(bad) > NAMED)
        raise FolderError(
            f"{len(bad)} of {len(samples)} files cannot be read as pictures: {named}; mend or remove them"
        )


def _kinds(known: NDArray[np.bool_]) -> tuple[tuple[bool | None, NDArray[np.bool_]], ...]:
    return (None, np.ones_like(known)), (True, known), (False, ~known)


def _share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights / (weights.sum() or 1.0)


def _alike_in_smoke(pictures: Pictures, rng: np.random.Generator) -> Iterator[View]:
    """A picture, then such as have smoke labelled as it has: one without in a mosaic would hide what the others teach."""
    first = pictures.pick(rng)
    yield first
    while True:
        yield pictures.pick(rng, first.smoke_known)


def drawn(pictures: Pictures, seed: int, number: int, side: int, *, mosaics: bool) -> View:
    """Training picture `number`."""
    rng = np.random.default_rng((seed, number))
    if mosaics and rng.random() < MOSAIC:
        parts = _alike_in_smoke(pictures, rng)
        view = mosaic(lambda: next(parts), side, rng)
    else:
        scales = np.log(TILE_SCALE) if rng.random() < TILED else (-0.51, 0.53)
        view = placed(pictures.pick(rng), side, float(np.exp(rng.uniform(*scales))), rng)
    view = _lit_and_burning(light.exposed(view, rng), pictures.flames, rng)
    if rng.random() < MIRRORED:
        view = mirrored(view)
    for chance, change in CHANGES:
        if rng.random() < chance:
            view = change(view, rng)
    return view


def _lit_and_burning(view: View, flames: Sequence[Cutout], rng: np.random.Generator) -> View:
    """In another light, then with what burns: a flame is as bright in the dark as it is by day."""
    infrared, night = rng.random() < INFRARED, not len(view.boxes) and rng.random() < NIGHT
    if infrared:
        view = light.infrared(view, rng)
    elif night:
        view = light.darkened(view, rng)
    elif view.smoke_known and rng.random() < SMOKED:
        view = burning.with_smoke(view, rng)
    if flames and rng.random() < (PASTED_AT_NIGHT if night else PASTED):
        view = burning.with_flames(view, flames, rng)
    if infrared:
        return light.without_colour(view)
    return light.bloomed(view, rng) if night else view
