# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training train`: folders in, a checkpoint out; run again with the same words it goes on; needs torch."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import torch

from training import checkpoint
from training.data import Pictures
from training.folders import FolderError, check_out
from training.loop import Settings, Training
from training.network import Source, begun_from, mean, of_ultralytics
from training.unfused import of_onnx


def run(options: argparse.Namespace) -> int:
    """0 when it is done."""
    cv2.setNumThreads(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out: Path = options.out
    check_out(out)
    source = None if out.exists() else begins_from(options)
    pictures = Pictures(options.folders, options.seed)
    steps = max(1, round(options.epochs * len(pictures) / options.batch))
    settings = Settings(
        steps, options.batch, options.side_px, options.last_side_px, options.learning_rate, options.seed
    )
    made_of = {"pictures": pictures.sha256(), "folders": " ".join(map(str, options.folders))}
    if source is None:
        training = Training.resumed(out, settings, device)
        check_same(training, out, made_of, options.weights)
        print(f"going on from step {training.step} of {steps}", file=sys.stderr)
    else:
        training = begun(source, settings, device)
        if source.fused:
            training.measure(pictures)
        training.made_of = made_of | begun_with(options.weights)
    print(f"{len(pictures)} pictures, {len(pictures.flames)} flames to paste, {device}", file=sys.stderr)
    training.run(
        pictures,
        lambda progress: print(progress, file=sys.stderr, flush=True),
        lambda: training.save(out),
        options.workers,
    )
    print(f"done: {out}; next: python -m training export {out} --out FILE.onnx")
    return 0


def begins_from(options: argparse.Namespace) -> Source:
    """What --weights name, of several the mean; raises FolderError."""
    if options.weights is None:
        raise FolderError("--weights: name the checkpoint or the ONNX file to begin from")
    return mean([_source(each, options.allow_pickle) for each in options.weights])


def begun_with(weights: Sequence[Path]) -> dict[str, str]:
    """What a checkpoint says of these files, in their order; raises FolderError."""
    hashes = [sha256_of(each) for each in weights]
    return {
        "weights": hashlib.sha256(b"".join(map(bytes.fromhex, hashes))).hexdigest(),
        "began_from": ", ".join(
            f"{each.name} (SHA-256 `{sha256}`)" for each, sha256 in zip(weights, hashes, strict=True)
        ),
    }


def begun(source: Source, settings: Settings, device: str) -> Training:
    """At step 0."""
    torch.manual_seed(settings.seed)  # what does not fit, such as another number of classes, begins at random
    model, plan, fitting = begun_from(source)
    print(f"begins with {fitting} tensors of --weights", file=sys.stderr)
    return Training(model, plan, settings, device)


def check_same(training: Training, path: Path, now: Mapping[str, str], weights: Sequence[Path] | None) -> None:
    """Raises FolderError where it would not go on with what it has been made of; older checkpoints do not say what that was.

    `now`: of what it would be made of, `pictures` and `folders`; `weights`: what it is said to have begun from, if anything is.
    """
    before = training.made_of
    if before.setdefault("pictures", now["pictures"]) != now["pictures"]:
        raise FolderError(
            f"{path}: was trained with other pictures, labels or weights of folders until now; give the same, or another --out"
        )
    before.setdefault("folders", now["folders"])
    if weights is not None and "weights" in before and before["weights"] != begun_with(weights)["weights"]:
        raise FolderError(f"{path}: began from other weights than --weights; leave them out, or give another --out")


def sha256_of(file: Path) -> str:
    """Raises FolderError."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise FolderError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _source(path: Path, allow_pickle: bool) -> Source:
    if path.suffix == ".onnx":
        return of_onnx(path)
    content = checkpoint.found(path)
    if content is not None:
        return Source(content["plan"], content["average"])
    if path.suffix != ".pt":
        raise FolderError(
            f"{path}: not what a training begins from: a checkpoint of `training train` or of Ultralytics (.pt), or .onnx"
        )
    if not allow_pickle:
        raise FolderError(f"{path}: a .pt file can execute code; for one that you trust, add --allow-pickle")
    return of_ultralytics(path)
