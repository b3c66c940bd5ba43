# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training quantise`: the network in int8 as OpenVINO's .xml and .bin, by calibration on pictures; needs nncf, no torch.

Then measures both on one core, in turns, in one process. Whether it still sees as well, `training evaluate` says.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from daemon.detect.letterbox import draw, letterbox
from daemon.detect.model import YoloModel
from daemon.detect.runtimes import Choice, load
from daemon.detect.weights import Weights, read_weights
from daemon.domain import Detection
from daemon.settings import DetectSettings
from training.card import with_int8
from training.folders import FolderError, Pixels, Sample, check_out, pictures_in, pixels_of, read_splits
from training.in_turns import in_turns
from training.measures import Estimate
from training.seen import Seen, Thresholds, ap, found_share, look

# It would report to Google Analytics, and write to the home folder (daemon/detect/runtimes.py).
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

NOT_QUANTISED = (
    r"/model\.\d+/[^/]+$",  # joining and decoding: pixels and probabilities in one range would leave nothing of the latter
    r"/model\.\d+/dfl/.*",
    r"/model\.\d+/cv3\..*",  # what gives the class scores
    r"/model\.(4|16)/.*",  # the finest features, where small flames are
    r"/model\.\d+/m/m\.\d+/attn/(MatMul.*|Softmax|Mul)",
)
"""Of YOLO11: what loses much by it or gains no time (docs/detector.md, INT8)."""
MEASURED_ON = ("val", "val_cctv")


def run(options: argparse.Namespace) -> int:
    """0 when it is written."""
    weights = read_weights(options.weights)
    if weights.format != "onnx" or weights.quantised or options.out.suffix != ".xml":
        raise FolderError("what is quantised is an .onnx in full precision, and what is written an .xml with its .bin")
    for each in (options.out, options.out.with_suffix(".bin"), options.out.with_suffix(".md")):
        check_out(each)
    # what is no detector, and what cannot be compared, is said before hundreds of pictures are calibrated with
    load(Choice("openvino", "it is to be quantised"), weights)
    measured_on = _measured_on(options.data) if options.data is not None else []
    importlib.import_module("nncf")  # where it is missing, that is said before hundreds of pictures are read
    pictures = calibration_pictures(options.folders, options.pictures, options.seed, options.input_px)
    write(options.weights, pictures, options.out)
    made = read_weights(options.out)
    _write_card(weights.path, made)
    print(f"{options.out}, SHA-256 {made.sha256} (of .xml and .bin), calibrated with {len(pictures)} pictures")
    before_ms, after_ms = in_turns(weights, made, (384, 640))
    print(
        f"one core, 640×384: {before_ms:.1f} ms CPU a picture before, {after_ms:.1f} ms in int8: {after_ms / before_ms:.2f}"
    )
    for samples in measured_on:
        _compare(samples, options.input_px, weights.path, made.path)
    return 0


def _write_card(before: Path, made: Weights) -> None:
    """That of the weights it is made of, where there is one, with a line about this form."""
    card = before.with_suffix(".md")
    if card.is_file():
        text = with_int8(card.read_text(encoding="utf-8"), made.path, made.sha256)
        made.path.with_suffix(".md").write_text(text, encoding="utf-8")


def _measured_on(data: Path) -> list[list[Sample]]:
    """The labelled pictures of each folder that both are asked about; raises FolderError where there is none."""
    folders = read_splits(data, MEASURED_ON)
    if not folders:
        raise FolderError(f"{data}: none of the folders {', '.join(MEASURED_ON)} is there")
    return folders


def _compare(samples: Sequence[Sample], input_px: int, before: Path, after: Path) -> None:
    """Average precision and flames found of both, through the daemon's own detector."""
    # the runtime is named: of the shipped weights the detector would take the quantised form by itself
    seen = [look(_Alone(each, input_px), samples) for each in (before, after)]
    for label, measure in _measures(DetectSettings().thresholds.as_dict()):
        values = [measure(each).value for each in seen]
        if all(value is not None for value in values):
            print(f"{samples[0].split:40} {label:22} {values[0]:.3f} before, {values[1]:.3f} in int8")


def _measures(thresholds: Thresholds) -> list[tuple[str, Callable[[Sequence[Seen]], Estimate]]]:
    return [
        ("AP50 of fire", lambda seen: ap(seen, "fire", 0.5)),
        ("AP50 of smoke", lambda seen: ap(seen, "smoke", 0.5)),
        (f"flames found at {thresholds['fire']:.2f}", lambda seen: found_share(seen, "fire", thresholds["fire"])),
    ]


class _Alone:
    """One weights file in OpenVINO, as it is."""

    def __init__(self, weights: Path, input_px: int) -> None:
        self._model = YoloModel(load(Choice("openvino", "to be compared"), read_weights(weights)), 1)
        self._input_px = input_px

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        return self._model.find(images, floor, [self._input_px] * len(images))


def write(weights: Path, pictures: Sequence[Any], out: Path) -> None:
    """Quantises an ONNX file; `pictures` are tensors (1, 3, height, width), f32, RGB 0..1."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)  # it names each of some hundred nodes that it leaves as they are
    # convert_model and not read_model: it joins x·sigmoid(x), which else stays apart in int8 and is slower than bf16
    model = openvino.convert_model(str(weights))
    quantised = nncf.quantize(
        model,
        nncf.Dataset(list(pictures)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(patterns=list(NOT_QUANTISED), validate=False),
    )
    openvino.save_model(quantised, str(out), compress_to_fp16=False)


def calibration_pictures(folders: Sequence[Path], count: int, seed: int, input_px: int) -> list[Any]:
    """So many of all, drawn with that seed, as the network is given them."""
    found = sorted(path for folder in folders for path in pictures_in(folder))
    if not found:
        raise FolderError(f"no pictures in {', '.join(map(str, folders))}")
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return [_tensor(found[at], input_px) for at in order]


def _tensor(path: Path, input_px: int) -> Any:
    picture = pixels_of(path)
    layout = letterbox((picture.shape[1], picture.shape[0]), input_px)
    onto: Pixels = np.empty((*layout.padded, 3), np.uint8)
    draw(picture, layout, onto)
    return onto[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
