# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training export`: a checkpoint's averaged weights as ONNX, as the daemon reads them, and their card; needs torch."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from daemon.detect.exporting import write_onnx
from training.card import card
from training.loop import Training
from training.sources import read_sources


def run(options: argparse.Namespace) -> int:
    """0 when both are written."""
    training = Training.resumed(options.checkpoint, None, "cpu")
    write_onnx(training.average.float().eval().fuse(), options.out)
    found = json.loads(options.evaluated.read_text()) if options.evaluated is not None else None
    sources = read_sources(options.sources) if options.sources is not None else []
    text = card(options.out, training.step, asdict(training.settings), options.trained_with, sources, found)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"{options.out} and its card {options.out.with_suffix('.md')}")
    return 0
