# SPDX-License-Identifier: AGPL-3.0-or-later
"""Flames too small for the labelled pictures to have them: a seeded set, pasted into empty scenes of real cameras.

Scenes are those of val_cctv_neg, flames those of val; both of a picture are of the same fold (`folds`, two of them), so that
weights which do not know the scene do not know the flame either. Each picture is enlarged to 1920×1080, as a camera
would send it (square ones are wide ones that were squeezed), and the flame is as large there as it has to be to have
its longer side at the detector's input. Where it would not stand out from what is behind it, another place is taken:
an invisible flame is no miss.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from daemon.domain import Box
from training.folders import FolderError, Labelled, Pixels, Sample, check_new, put, read_split, written
from training.folds import dealt
from training.pasting import Cutout, cut_outs, set_alight, stands_out
from training.scenes import scene_of

COUNT = 500
SEED = 10
FOLDS = 2
SIZE = (1920, 1080)
INPUT_PX = 640
KINDS = {"flames_8_16": (8.0, 16.0), "flames_under_8": (4.0, 8.0)}
"""Folder, and from which to below which longer side at the detector's input."""
_TRIES = 200


def make(data: Path, out: Path, count: int = COUNT, seed: int = SEED) -> None:
    """Writes `count` pictures of each kind with their labels; the same seed and data give the same pictures.

    Raises FolderError.
    """
    for name in KINDS:
        check_new(out / name)
    scenes, burning = read_split(data, "val_cctv_neg"), read_split(data, "val")
    if not scenes or not burning:
        raise FolderError(f"{data}: needs the folders val (flames to cut out) and val_cctv_neg (empty scenes)")
    flames = cut_outs(burning, np.random.default_rng(seed), most=COUNT)
    if not flames:
        raise FolderError(f"{data}/val: no flame in it can be cut out")
    folds = dealt(data, FOLDS)
    of_fold = [[each for each in flames if folds[each.scene.rpartition("/")[2]] == fold] for fold in range(FOLDS)]
    own = {scene.path: of_fold[folds[scene_of(scene.path.stem)]] or flames for scene in scenes}
    for place, (name, sides) in enumerate(KINDS.items()):
        for number, (stem, picture, box) in enumerate(_drawn(scenes, own, sides, (seed, place), count)):
            named = f"{stem}+{number:03d}"
            coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
            put(out / name, f"{named}.jpg", coded, written((Labelled("fire", box),)))


def _drawn(
    scenes: Sequence[Sample],
    flames: Mapping[Path, Sequence[Cutout]],
    sides: tuple[float, float],
    seed: tuple[int, int],
    count: int,
) -> Iterator[tuple[str, Pixels, Box]]:
    rng = np.random.default_rng(seed)
    order = [int(at) for _ in range(-(-count // len(scenes))) for at in rng.permutation(len(scenes))]
    for at in order[:count]:
        scene, own = scenes[at], flames[scenes[at].path]
        empty: Pixels = np.asarray(cv2.resize(scene.pixels(), SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
        for _ in range(_TRIES):
            flame = own[int(rng.integers(len(own)))]
            if (made := with_flame(empty, flame, sides, rng)) is not None:
                picture, (x1, y1, x2, y2) = made
                yield scene.path.stem, picture, (x1 / SIZE[0], y1 / SIZE[1], x2 / SIZE[0], y2 / SIZE[1])
                break
        else:
            raise FolderError(f"{scene.path}: no flame stands out anywhere in it")


def with_flame(
    empty: Pixels, flame: Cutout, sides: tuple[float, float], rng: np.random.Generator
) -> tuple[Pixels, Box] | None:
    """A copy with the flame at a random place, and its box in pixels; None where it has another size or does not stand out."""
    height, width = empty.shape[:2]
    scale = max(width, height) / INPUT_PX
    longer_px = float(np.exp(rng.uniform(np.log(sides[0]), np.log(sides[1] * 1.3)))) * scale
    shrink = longer_px / max(flame.pixels.shape[:2])
    size = (max(2, round(flame.pixels.shape[1] * shrink)), max(2, round(flame.pixels.shape[0] * shrink)))
    corner = (int(rng.integers(0, width - size[0])), int(rng.integers(0, height - size[1])))
    picture = empty.copy()
    box = set_alight(picture, flame, corner, size, longer_px, rng)
    if box is None or not sides[0] <= max(box[2] - box[0], box[3] - box[1]) / scale < sides[1]:
        return None
    return (picture, box) if stands_out(picture, empty, box) else None


def run(options: argparse.Namespace) -> int:
    """0 when they are made."""
    make(options.data, options.out, options.count, options.seed)
    print(f"{options.count} pictures each in {', '.join(str(options.out / name) for name in KINDS)}")
    return 0
