# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training export`: averaged weights, of several checkpoints their mean, as ONNX for the daemon, and their card; needs torch."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from daemon.detect.exporting import write_onnx
from training.card import card, measured
from training.folders import FolderError, check_out
from training.loop import Training
from training.network import Source, mean
from training.sources import read_sources


def run(options: argparse.Namespace) -> int:
    """0 when both are written."""
    card_file = options.out.with_suffix(".md")
    read = [*options.checkpoints, options.evaluated, options.sources]
    check_out(options.out, ".onnx", read)
    check_out(card_file, read=read)
    found = _evaluated(options.evaluated) if options.evaluated is not None else None
    sources = read_sources(options.sources) if options.sources is not None else []
    trainings = [Training.resumed(each, None, "cpu") for each in options.checkpoints]
    training = trainings[0]
    if len({(replace(each.settings, seed=0), each.step) for each in trainings}) > 1:
        raise FolderError(
            "a mean can be taken of trainings of the same steps and settings only; their seeds may differ"
        )
    model = training.average.float()
    model.load_state_dict(mean([Source(each.plan, each.average.state_dict()) for each in trainings]).tensors)
    steps = (
        f"{training.step} steps"
        if len(trainings) == 1
        else f"{training.step} steps each: the mean of {len(trainings)} trainings"
    )
    seeds = " and ".join(dict.fromkeys(str(each.settings.seed) for each in trainings))
    # neither takes its place before both are whole: whatever fails, what was there stays, weights and card of each other
    with tempfile.TemporaryDirectory(prefix=f".{options.out.name}-", dir=options.out.parent) as private:
        made = Path(private) / options.out.name
        write_onnx(model.eval().fuse(), made)
        text = card(
            made,
            steps,
            asdict(training.settings) | {"seed": seeds},
            options.trained_with,
            sources,
            found,
            options.weak,
            [each.made_of for each in trainings],
        )
        made.with_suffix(".md").write_text(text, encoding="utf-8")
        made.replace(options.out)
        made.with_suffix(".md").replace(card_file)
    print(f"{options.out} and its card {card_file}")
    return 0


def _evaluated(path: Path) -> dict[str, Any]:
    """What evaluate wrote; whether the card can be made of it shows here, and not when the weights are written."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = found["weights"]["sha256"], measured(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FolderError(f"{path}: not what evaluate wrote of weights") from error
    return found
