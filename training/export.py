# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training export`: a checkpoint's averaged weights as ONNX, as the daemon reads them, and their card; needs torch."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from daemon.domain import LABELS
from training.card import card
from training.folders import FolderError
from training.loop import Training
from training.sources import read_sources

CLOSE = 1e-3  # of an answer's largest value: between torch and ONNX Runtime, in f32


def run(options: argparse.Namespace) -> int:
    """0 when both are written."""
    training = Training.resumed(options.checkpoint, None, "cpu")
    write(training, options.out)
    found = json.loads(options.evaluated.read_text()) if options.evaluated is not None else None
    sources = read_sources(options.sources) if options.sources is not None else []
    text = card(options.out, training.step, asdict(training.settings), options.trained_with, sources, found)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"{options.out} and its card {options.out.with_suffix('.md')}")
    return 0


def write(training: Training, out: Path) -> None:
    """Raises FolderError when ONNX Runtime does not give what torch gives."""
    model = training.average.float().eval().fuse()
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", True
    blank = torch.zeros(1, 3, 256, 256)
    with torch.no_grad():
        model(blank)  # the head makes its grid at the first picture
        axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "places"}}
        torch.onnx.export(
            model, (blank,), str(out), input_names=["images"], output_names=["output0"], dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )  # fmt: skip
        picture = torch.rand(1, 3, 192, 320, generator=torch.Generator().manual_seed(0))
        expected = model(picture)
    _name_classes(out)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": picture.numpy()})[0]
    wanted = (expected[0] if isinstance(expected, tuple) else expected).numpy()
    if found.shape != wanted.shape or np.abs(found - wanted).max() > CLOSE * np.abs(wanted).max():
        raise FolderError(f"{out}: ONNX Runtime gives something else than torch; nothing to be used")


def _name_classes(path: Path) -> None:
    model = onnx.load(str(path))
    for key, value in (("names", str(dict(enumerate(LABELS)))), ("stride", "32"), ("task", "detect")):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
