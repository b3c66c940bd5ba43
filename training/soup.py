# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training soup`: the weighted mean of trainings that descend from the same weights, fit to be used; needs torch.

Such a mean is often better than each of them (Wortsman et al., Model soups, 2022). But what several networks make of a picture
varies less in their mean than in each of them, and its batch norms, whose means and variances were theirs, make too little of
it: confidences fall (Jordan et al., REPAIR, 2022). So these are measured anew, on pictures as a training draws them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import cv2
import torch

from training import checkpoint
from training.arguments import Weighted
from training.card import history
from training.data import Pictures
from training.folders import check_out
from training.loop import Settings, Training, has_bf16
from training.network import Source, mean, network
from training.train import sha256_of

BATCH = 16


def run(options: argparse.Namespace) -> int:
    """0 when it is written."""
    cv2.setNumThreads(0)
    check_out(options.out, ".pt", [each.path for each in options.checkpoints])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source, told = _mixed(options.checkpoints)
    pictures = Pictures(options.pictures, options.seed)
    print(f"{told['soup']}; {len(pictures)} pictures, {device}", file=sys.stderr)
    # nothing is learned: these settings draw the pictures that the batch norms are measured with
    settings = Settings(options.batches, BATCH, options.side_px, options.side_px, 0.0, options.seed)
    soup = Training(network(source.plan), source.plan, settings, device)
    soup.average.load_state_dict(source.tensors)
    measured_anew(soup.average, (soup.images(batch) for batch in soup.batches(pictures)), device)
    soup.model.load_state_dict(soup.average.state_dict())
    soup.step = settings.steps
    measured = f"{options.batches * BATCH} drawn pictures of {options.side_px} px, seed {options.seed}"
    soup.made_of = told | {
        "soup": f"{told['soup']}, batch norms measured anew on {measured}",
        "folders": " ".join(map(str, options.pictures)),
        "pictures": pictures.sha256(),
    }
    soup.save(options.out)
    print(f"done: {options.out}; next: python -m training export {options.out} --out FILE.onnx")
    return 0


def measured_anew(model: torch.nn.Module, batches: Iterable[torch.Tensor], device: str) -> None:
    """Gives every batch norm the mean of what it sees in all batches, each layer behind those measured before it.

    Batches are (N, 3, H, W), RGB from 0 to 1. Unlike `with_statistics` it changes what the model answers.
    """
    for each in model.eval().modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            each.train().reset_running_stats()
            each.momentum = None  # a plain mean: each batch counts as much as the others
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=has_bf16(device)):
        for batch in batches:
            model(batch)
    model.eval()


def _mixed(parts: Sequence[Weighted]) -> tuple[Source, dict[str, str]]:
    """The mean of the averaged weights, and in words which share of it each has and how each was made; raises FolderError."""
    contents = [checkpoint.load(each.path) for each in parts]
    source = mean([Source(each["plan"], each["average"]) for each in contents], [each.weight for each in parts])
    whole = sum(each.weight for each in parts)
    shares = [f"{each.weight / whole:.3g} of {each.path.name}, SHA-256 `{sha256_of(each.path)}`" for each in parts]
    made = [
        history(each.path.name, content["step"], content["settings"], content.get("made_of", {}))
        for each, content in zip(parts, contents, strict=True)
    ]
    return source, {
        "soup": f"a weighted mean of {len(parts)} training{'s' * (len(parts) > 1)} ({'; '.join(shares)})",
        "trainings": "\n\n".join(dict.fromkeys(made)),
    }
