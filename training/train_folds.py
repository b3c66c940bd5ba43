# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training train-folds`: the final weights, and those without each fold, side by side; needs torch.

On a GPU it takes longer to draw a picture than to learn from it: one stream of pictures is drawn, and each training learns
from those of a step that it may see: each from the common pictures, `without-N` besides from those that `training
folds` wrote for it, `all` from those of every fold. Nothing of a fold's own pictures is drawn into others, neither pasted
nor in a mosaic, so that `without-N` knows nothing of the scenes that it is measured with.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path

import cv2
import torch

from training import checkpoint
from training.arguments import Weighted
from training.data import Pictures
from training.folders import FolderError, check_out
from training.loop import Settings, Stream, Training, learn_together
from training.network import Source
from training.seen import SPLITS
from training.train import begins_from, begun, begun_with, check_same

COMMON_FLAMES = 600  # pasted into a fold's own pictures, too; with all of them its own flames would hardly be


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures of a step, and the words that name their folders."""

    words: str
    pictures: Pictures
    rows: range
    """Where they stand in a step's batch."""


def run(options: argparse.Namespace) -> int:
    """0 when all are done."""
    cv2.setNumThreads(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.use_deterministic_algorithms(device == "cpu", warn_only=True)  # of a GPU no last bits are promised
    folders = _folders_of_groups(options)
    sizes = _sizes(options, len(folders) - 1)
    files = _files(options.out, len(folders) - 1)
    step = _step_of(files)
    source = begins_from(options) if step is None else None
    groups = _groups(folders, sizes, options.seed)
    settings = _settings(options, groups[0])
    stream = Stream([each.pictures for each in groups], sizes, settings)
    batches = stream.batches(step or 0, options.workers)  # the processes are forked before there is anything on a GPU
    seen = dict(zip(files, _seen(groups), strict=True))
    if source is None:
        trainings = {path: _resumed(path, parts, settings, device, options) for path, parts in seen.items()}
        print(f"going on from step {step} of {settings.steps}", file=sys.stderr)
    else:
        trainings = _begun(source, seen, settings, device, options.weights)
    found = ", ".join(f"{len(each.pictures)} pictures ({len(each.rows)} a step)" for each in groups)
    print(f"{found}, {device}", file=sys.stderr)
    learn_together(
        [(training, _rows(seen[path])) for path, training in trainings.items()],
        batches,
        lambda progress: print(progress, file=sys.stderr, flush=True),
        lambda: checkpoint.save_all({path: training.content() for path, training in trainings.items()}),
    )
    print(f"done: {', '.join(map(str, files))}; next: python -m training export FILE.pt --out FILE.onnx, each")
    return 0


def _folders_of_groups(options: argparse.Namespace) -> list[list[Weighted]]:
    """Of the common group, then of each fold's own; raises FolderError."""
    folds: Path = options.folds
    there = list(takewhile(Path.is_dir, (folds / f"without-{fold}" for fold in count())))
    if len(there) < 2:
        raise FolderError(
            f"{folds}: no folders without-0 and without-1 in it, as `python -m training folds` writes them"
        )
    for each in options.own:
        if each.path.as_posix() not in SPLITS:
            raise FolderError(f"--own {each}: none of {', '.join(SPLITS)}, which `python -m training folds` deals out")
    return [options.folders, *(_own(each, options.own) for each in there)]


def _own(fold: Path, splits: Sequence[Weighted]) -> list[Weighted]:
    """Those of its splits that are there."""
    found = [Weighted(fold / each.path, each.weight) for each in splits if (fold / each.path).is_dir()]
    if not found:
        raise FolderError(f"{fold}: none of the folders of --own is in it ({' '.join(map(str, splits))})")
    return found


def _sizes(options: argparse.Namespace, folds: int) -> list[int]:
    """How many of a step's pictures are of each group."""
    own = max(1, round(options.batch * options.own_share))
    if own >= options.batch:
        raise FolderError(
            f"--own-share {options.own_share:g}: of {options.batch} pictures a step all would be of a fold's own, and none common"
        )
    return [options.batch - own] + [own] * folds


def _groups(folders: Sequence[Sequence[Weighted]], sizes: Sequence[int], seed: int) -> list[Group]:
    """Read; the common pictures' flames are pasted into the others, too, and none of these into the common ones."""
    ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
    groups = [
        Group(" ".join(map(str, each)), Pictures(each, seed), range(end - size, end))
        for each, size, end in zip(folders, sizes, ends, strict=True)
    ]
    common, *own = groups
    for each in own:
        each.pictures.flames += common.pictures.flames[:COMMON_FLAMES]
    return groups


def _settings(options: argparse.Namespace, common: Group) -> Settings:
    """Of a training without a fold; an epoch is over when as many common pictures were drawn as there are."""
    steps = max(1, round(options.epochs * len(common.pictures) / len(common.rows)))
    return Settings(steps, options.batch, options.side_px, options.last_side_px, options.learning_rate, options.seed)


def _files(out: Path, folds: int) -> list[Path]:
    """What each training writes, the last one that knows all; raises FolderError."""
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise FolderError(f"{out}: a folder cannot be made there ({error.strerror})") from error
    files = [out / f"without-{fold}.pt" for fold in range(folds)] + [out / "all.pt"]
    for each in files:
        check_out(each)
    return files


def _step_of(files: Sequence[Path]) -> int | None:
    """At which all of them are; None where none is there yet. Raises FolderError."""
    steps = {each.name: int(checkpoint.load(each)["step"]) if each.exists() else None for each in files}
    if len(set(steps.values())) > 1:
        said = ", ".join(f"{name} {'missing' if step is None else f'at step {step}'}" for name, step in steps.items())
        raise FolderError(
            f"{files[0].parent}: they go on only together, all from the same step ({said}); name another --out"
        )
    return next(iter(steps.values()))


def _seen(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Which groups each training learns from, in the order of its files."""
    common, *own = groups
    yield from ([common, each] for each in own)
    yield list(groups)


def _rows(seen: Sequence[Group]) -> list[int]:
    """Of each batch."""
    return [row for group in seen for row in group.rows]


def _made_of(seen: Sequence[Group]) -> dict[str, str]:
    """As train's checkpoints say it, and how many pictures of a step are of which folders."""
    whole = len(_rows(seen))
    shares = [f"{len(each.rows)} {each.pictures.sha256()}" for each in seen]
    return {
        "command": "train-folds",
        "pictures": hashlib.sha256("\n".join(shares).encode()).hexdigest(),
        "folders": "; ".join(f"{len(each.rows)} of {whole} from {each.words}" for each in seen),
    }


def _resumed(
    path: Path, seen: Sequence[Group], settings: Settings, device: str, options: argparse.Namespace
) -> Training:
    training = Training.resumed(path, replace(settings, batch=len(_rows(seen))), device)
    check_same(training, path, _made_of(seen), options.weights)
    return training


def _begun(
    source: Source, seen: Mapping[Path, Sequence[Group]], settings: Settings, device: str, weights: Sequence[Path]
) -> dict[Path, Training]:
    """All from the same weights: what is measured or drawn by lot for the first is the others', too."""
    trainings = dict[Path, Training]()
    for path, groups in seen.items():
        training = begun(source, replace(settings, batch=len(_rows(groups))), device)
        if source.fused:
            training.measure(groups[0].pictures)
            source = Source(training.plan, training.model.state_dict())
        training.made_of = _made_of(groups) | begun_with(weights)
        trainings[path] = training
    return trainings
