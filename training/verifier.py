# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training verifier`: a small classifier that looks at the detector's boxes once more (detect.verify); needs torch.

Minutes on one core; the same seed, pictures and number of threads give the same weights. `evaluate --verify` says what it is
worth.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from daemon import shipped
from daemon.detect.detector import FireDetector
from daemon.domain import LABELS
from daemon.settings import DetectSettings
from training.cutouts import CutOuts, cut_out_all
from training.folders import FolderError, Sample, check_out, read_folder
from training.loop import has_bf16
from training.seen import Seen, look

BATCH = 128
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
CLOSE = 1e-4  # of the answers of torch and ONNX Runtime


def run(options: argparse.Namespace) -> int:
    """0 when it is written."""
    check_out(options.out, ".onnx", [options.weights or shipped.WEIGHTS])
    cv2.setNumThreads(0)
    torch.set_num_threads(1)  # it is small: on a busy host several threads wait for each other five times as long
    torch.use_deterministic_algorithms(True, warn_only=True)
    samples = [each for folder in options.folders for each in read_folder(folder, folder.parent)]
    cut = cut_out_all(samples, false_alarms(samples, options), options.side_px, options.seed)
    right = int(cut.targets.max(axis=1).sum())
    print(f"{len(cut)} cut-outs, {right} of fire or smoke, {len(cut) - right} of neither", file=sys.stderr)
    network = trained(cut, options.epochs, options.seed)
    write(network, options.out)
    size = sum(each.numel() for each in network.parameters())
    print(f"{options.out}: {size} parameters, cut-outs of {options.side_px} px; next: evaluate --verify {options.out}")
    return 0


def false_alarms(samples: list[Sample], options: argparse.Namespace) -> list[Seen]:
    """What the detector sees in the empty pictures from its floor on."""
    detector = FireDetector(options.weights, input_px=options.input_px, device="auto", batch=1)
    floor = DetectSettings().floor
    empty = [each for each in samples if not each.boxes and each.smoke_known]
    told = lambda done: print(f"empty pictures: {done} of {len(empty)}", file=sys.stderr, flush=True)  # noqa: E731
    return [each.above(floor) for each in look(detector, empty, told)]


class Network(nn.Module):  # type: ignore[misc]
    """RGB 0..1, (n, 3, height, width), of any size from 32 px; answers (n, 2) before the sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 40, 64, 96, 128)
        layers: list[nn.Module] = [_step(3, widths[0], 2)]
        for inside, outside in itertools.pairwise(widths):
            layers += [_step(inside, outside, 2 if outside < widths[-1] else 1)]
        self.seen = nn.Sequential(*layers)
        self.said = nn.Linear(widths[-1], len(LABELS))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.said(self.seen((pictures - 0.45) / 0.25).mean((2, 3)))


class _Sure(nn.Module):  # type: ignore[misc]
    """As the daemon wants it: confidences."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.network(pictures).sigmoid()


def trained(cut: CutOuts, epochs: float, seed: int) -> nn.Module:
    """From nothing, by half a cosine."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network: nn.Module = Network()
    network = network.to(memory_format=torch.channels_last).train()
    steps = max(1, round(epochs * len(cut) / BATCH))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.1)
    bf16, began_s, losses = has_bf16("cpu"), time.monotonic(), list[float]()
    for step in range(steps):
        chosen = rng.integers(0, len(cut), BATCH)
        pictures, targets = _augmented(cut.pixels[chosen], rng), torch.from_numpy(cut.targets[chosen])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            said = network(pictures)
        each = nn.functional.binary_cross_entropy_with_logits(said.float(), targets, reduction="none")
        known = torch.from_numpy(cut.known[chosen])
        loss = (each * known).sum() / known.sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 100 == 99 or step == steps - 1:
            left_s = (time.monotonic() - began_s) / (step + 1) * (steps - step - 1)
            print(
                f"step {step + 1} of {steps}, loss {np.mean(losses[-100:]):.3f}, {left_s / 60:.1f} min left",
                file=sys.stderr,
                flush=True,
            )
    if not math.isfinite(losses[-1]):
        raise FolderError("the training has come apart; another seed may do")
    network.eval()
    return network


def write(network: nn.Module, out: Path) -> None:
    """As ONNX, with its classes' names; raises FolderError when ONNX Runtime does not give what torch gives."""
    model: nn.Module = _Sure(network)
    model = model.float().eval()
    blank = torch.zeros(1, 3, 64, 64)
    torch.onnx.export(
        model, (blank,), str(out), input_names=["images"], output_names=["sure"], opset_version=17, dynamo=False,
        dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}, "sure": {0: "batch"}},
    )  # fmt: skip
    written = onnx.load(str(out))
    written.metadata_props.add(key="names", value=str(dict(enumerate(LABELS))))
    onnx.save(written, str(out))
    picture = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(picture).numpy()
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    apart = np.abs(session.run(None, {"images": picture.numpy()})[0] - expected).max()
    if not apart <= CLOSE:  # also where it is no number
        out.unlink()
        raise FolderError(f"{out}: ONNX Runtime gives something else than torch; nothing to be used")


def _step(inside: int, outside: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


def _augmented(pixels: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """BGR bytes as RGB 0..1: mirrored, brighter or darker, of other contrast, grey, noisy, as cameras differ."""
    values = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1])).permute(0, 3, 1, 2).float() / 255
    mirrored, grey = (_one_each(len(pixels), 0, 1, rng) < share for share in (0.5, 0.08))
    values = torch.where(mirrored, values.flip(3), values)
    values = torch.where(grey, values.mean(1, keepdim=True), values)
    values = (values - 0.5) * _one_each(len(pixels), 0.75, 1.25, rng) + 0.5 + _one_each(len(pixels), -0.12, 0.12, rng)
    noise = torch.from_numpy(rng.standard_normal(values.shape, np.float32))
    return (
        (values + noise * _one_each(len(pixels), 0, 0.04, rng))
        .clamp(0, 1)
        .contiguous(memory_format=torch.channels_last)
    )


def _one_each(count: int, low: float, high: float, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32))
