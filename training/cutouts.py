# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a verifier is trained with: cut-outs as the daemon makes them, of labelled boxes and of what is taken for such.

Right are labelled boxes of fire and smoke, and small flames pasted into empty pictures; false is what the detector sees in empty
pictures from its floor on, and boxes anywhere in these. Each is drawn several times, at another scale and with its box
shifted a little, as detectors' boxes are. The same seed gives the same cut-outs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.detect.verifier import cut_out
from daemon.domain import LABELS, Box
from training.folders import FolderError, Pixels, Sample
from training.pasting import cut_outs
from training.seen import Seen
from training.small_flames import with_flame

TIMES = {"labelled": 4, "pasted": 3, "false": 8, "anywhere": 12}
"""How often each box is drawn; of `pasted` and `anywhere`: how many an empty picture has."""
SCALES = (0.35, 1.6)  # of the picture: flames are small for cameras, and pictures of the web are smaller than frames
SHIFTED = 0.15  # of the box's size, at most
RESIZED = (0.8, 1.25)
ANYWHERE_PX = (6.0, 200.0)
PASTED_PX = ((4.0, 12.0), (12.0, 40.0))  # at an input of 640 px
FLAMES = 800

Targets = NDArray[np.float32]
NEITHER, BOTH_KNOWN = (0.0, 0.0), (1.0, 1.0)


class CutOut(NamedTuple):
    """One example."""

    pixels: Pixels
    target: tuple[float, float]
    """Whether it shows fire, and smoke."""
    known: tuple[float, float]
    """Where 0, nothing is said of that label: beside a labelled flame there may be smoke."""


@dataclass(frozen=True, slots=True)
class CutOuts:
    """All examples: pixels (n, side, side, 3), BGR; targets and known (n, 2)."""

    pixels: Pixels
    targets: Targets
    known: Targets

    def __len__(self) -> int:
        return len(self.pixels)


def cut_out_all(samples: Sequence[Sample], false: Sequence[Seen], side_px: int, seed: int) -> CutOuts:
    """Of labelled samples, and of what a detector has seen in empty ones (`false`); raises FolderError.

    Pictures of `samples` without boxes are empty ones, too.
    """
    rngs = [np.random.default_rng((seed, number)) for number in range(len(TIMES))]
    empty = [each for each in samples if not each.boxes and each.smoke_known]
    if not empty or len(empty) == len(samples):
        raise FolderError("a verifier needs folders with labelled boxes and folders of empty pictures")
    made = [*_labelled(samples, side_px, rngs[0]), *_pasted(samples, empty, side_px, rngs[1])]
    made += [*_false(false, side_px, rngs[2]), *_anywhere(empty, side_px, rngs[3])]
    pixels = np.stack([each.pixels for each in made])
    targets, known = (
        np.array(values, np.float32) for values in zip(*((each.target, each.known) for each in made), strict=True)
    )
    return CutOuts(pixels, targets, known)


def _labelled(samples: Sequence[Sample], side_px: int, rng: np.random.Generator) -> Iterator[CutOut]:
    for sample in samples:
        if not sample.boxes:
            continue
        picture = sample.pixels()
        height, width = picture.shape[:2]
        for labelled in sample.boxes:
            x1, y1, x2, y2 = labelled.box
            box = (x1 * width, y1 * height, x2 * width, y2 * height)
            of = _one_hot(labelled.label)
            for _ in range(TIMES["labelled"]):
                yield CutOut(_drawn(picture, box, side_px, rng), of, of)


def _pasted(
    samples: Sequence[Sample], empty: Sequence[Sample], side_px: int, rng: np.random.Generator
) -> Iterator[CutOut]:
    flames = cut_outs([each for each in samples if each.boxes], rng, FLAMES)
    of = _one_hot("fire")
    for sample in empty if flames else ():
        picture = sample.pixels()
        for _ in range(TIMES["pasted"]):
            flame, sides = flames[int(rng.integers(len(flames)))], PASTED_PX[int(rng.integers(len(PASTED_PX)))]
            if max(flame.pixels.shape[:2]) <= min(picture.shape[:2]) and (
                made := with_flame(picture, flame, sides, rng)
            ):
                burning, box = made
                yield CutOut(cut_out(burning, _shifted(box, rng), side_px), of, of)


def _false(false: Sequence[Seen], side_px: int, rng: np.random.Generator) -> Iterator[CutOut]:
    for seen in false:
        picture = seen.sample.pixels() if seen.detections else None
        for detection in seen.detections:
            for _ in range(TIMES["false"]):
                assert picture is not None
                yield CutOut(_drawn(picture, detection.box, side_px, rng), NEITHER, BOTH_KNOWN)


def _anywhere(empty: Sequence[Sample], side_px: int, rng: np.random.Generator) -> Iterator[CutOut]:
    for sample in empty:
        picture = sample.pixels()
        height, width = picture.shape[:2]
        for _ in range(TIMES["anywhere"]):
            half = float(np.exp(rng.uniform(*np.log(ANYWHERE_PX)))) / 2
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            yield CutOut(cut_out(picture, (x - half, y - half, x + half, y + half), side_px), NEITHER, BOTH_KNOWN)


def _drawn(picture: Pixels, box: Box, side_px: int, rng: np.random.Generator) -> Pixels:
    """At another scale, the box shifted."""
    scale = max(float(np.exp(rng.uniform(*np.log(SCALES)))), 1 / min(picture.shape[:2]))  # a pixel of it is left
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled: Pixels = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method), np.uint8)
    x1, y1, x2, y2 = (value * scale for value in box)
    return cut_out(scaled, _shifted((x1, y1, x2, y2), rng), side_px)


def _shifted(box: Box, rng: np.random.Generator) -> Box:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    x = (x1 + x2) / 2 + rng.uniform(-SHIFTED, SHIFTED) * width
    y = (y1 + y2) / 2 + rng.uniform(-SHIFTED, SHIFTED) * height
    half = rng.uniform(*RESIZED) / 2
    return x - half * width, y - half * height, x + half * width, y + half * height


def _one_hot(label: str) -> tuple[float, float]:
    return (1.0, 0.0) if label == LABELS[0] else (0.0, 1.0)
