# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training folds`: what is measured with, in parts, so that the final weights may be trained with all of it.

The scenes of each split are dealt out to the folds, the largest first, each to the fold with the fewest pictures so far. Weights
trained with all folds but one are measured on that one (`evaluate --folds`): no picture is measured with weights that know its scene.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

from training.folders import FolderError, Sample, check_new, put, read_split
from training.scenes import scene_of
from training.seen import SPLITS, Looker, Seen, look


def run(options: argparse.Namespace) -> int:
    """0 when all folds are written."""
    check_new(options.out)
    folds = dealt(options.data, options.count)
    pictures = 0
    for name in SPLITS:
        samples = read_split(options.data, name)
        pictures += len(samples)
        for sample, fold in product(samples, range(options.count)):
            if folds[scene_of(sample.path.stem)] != fold:
                _copy(sample, options.out / f"without-{fold}" / name)
    print(f"{len(folds)} scenes of {pictures} pictures")
    for fold in range(options.count):
        print(f"{options.out / f'without-{fold}'}: train with it the weights that evaluate asks about fold {fold}")
    return 0


def dealt(data: Path, count: int) -> dict[str, int]:
    """The fold of every scene of the splits, by the scene's name; raises FolderError."""
    folds: dict[str, int] = {}
    for name in SPLITS:
        sizes = Counter(scene_of(sample.path.stem) for sample in read_split(data, name))
        filled = Counter(dict.fromkeys(range(count), 0))
        for scene in folds.keys() & sizes.keys():
            filled[folds[scene]] += sizes.pop(scene)
        for scene, pictures in sorted(sizes.items(), key=lambda each: (-each[1], each[0])):
            folds[scene] = min(filled, key=lambda fold: (filled[fold], fold))
            filled[folds[scene]] += pictures
    if not folds:
        raise FolderError(f"{data}: none of the folders {', '.join(SPLITS)} is there")
    return folds


def fold_of(sample: Sample, folds: Mapping[str, int]) -> int:
    """Of its scene. One that was not dealt out was trained with by none, and is the first's: so is every one where there are no folds."""
    return folds.get(scene_of(sample.path.stem), 0)


def look_apart(
    detectors: Sequence[Looker], folds: Mapping[str, int], samples: Sequence[Sample], told: Callable[[int], None]
) -> list[Seen]:
    """Looks at each picture with the detector of its fold, in the order of the samples; `told` hears how many are done."""
    found: dict[Sample, Seen] = {}
    for fold, detector in enumerate(detectors):
        mine = [each for each in samples if fold_of(each, folds) == fold]
        done = len(found)
        found |= zip(mine, look(detector, mine, lambda more, done=done: told(done + more)), strict=True)  # type: ignore[misc]
    return [found[each] for each in samples]


def _copy(sample: Sample, out: Path) -> None:
    labels = sample.path.parents[1] / "labels" / f"{sample.path.stem}.txt"
    put(out, sample.path.name, sample.path.read_bytes(), labels.read_text())
    if not sample.smoke_known:
        (out / "PARTIAL").touch()
