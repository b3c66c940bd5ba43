# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training ship`: makes measured weights those that Firewitness comes with: file, card, hash, thresholds, answer."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon import shipped
from daemon.detect.detector import (
    CONFIDENCE_TOLERANCE,
    REFERENCE_ANSWER,
    REFERENCE_PICTURE,
    STRONG,
    agrees,
    reference_answer,
    reference_picture,
)
from daemon.detect.runtimes import Choice, load
from daemon.detect.weights import read_weights
from training.card import with_int8, without_int8
from training.folders import FolderError
from training.thresholds import chosen_of

CONFIG = Path(__file__).parents[1] / "config.yaml"
SURE, UNSURE = STRONG + CONFIDENCE_TOLERANCE, STRONG - CONFIDENCE_TOLERANCE
"""Of the drawn fire in the reference picture, and of anything else there: warming up compares what is strong, which no
other precision may make weak, nor the reverse."""


def run(options: argparse.Namespace) -> int:
    """0 when all is in place."""
    weights = read_weights(options.weights)
    chosen = chosen_of(options.evaluated, weights.sha256)
    card = options.weights.with_suffix(".md")
    text = _text_of(card) if card.is_file() else ""
    if weights.sha256 not in text:
        raise FolderError(f"{card}: not the card of these weights; `training export --evaluated` writes it")
    config = _config_with(chosen)
    answer = _answer(options.weights, weights.sha256)
    int8 = _int8(options.int8, answer)
    text = with_int8(text, options.int8, int8["int8"]["sha256"]) if int8 else without_int8(text)
    _exchange((options.weights, card, *_both(options.int8)))
    (shipped.MODELS / card.name).write_text(text, encoding="utf-8")
    _write(REFERENCE_ANSWER, answer)
    _write(shipped.FACTS, {"weights": options.weights.name, "sha256": weights.sha256, **int8, "thresholds": chosen})
    CONFIG.write_text(config, encoding="utf-8")
    print(
        f"{options.weights.name} with fire {chosen['fire']:.2f}, smoke {chosen['smoke']:.2f}: look at git diff, run the tests"
    )
    return 0


def _answer(path: Path, sha256: str) -> dict[str, Any]:
    """What these weights see in the reference picture, by the runtime that computes in f32."""
    runtime = load(Choice("onnxruntime", "its f32 is what the others are compared with"), read_weights(path))
    seen = reference_answer(runtime)
    found = [each for each in seen if each.confidence >= UNSURE]
    if [each.label for each in found] != ["fire"] or found[0].confidence < SURE:
        raise FolderError(
            f"{path}: sees {seen} in {REFERENCE_PICTURE.name}; it should be sure ({SURE:.2f}) of the drawn fire and of nothing else"
        )
    detections = [
        {"label": each.label, "confidence": round(each.confidence, 4), "box": [round(edge, 2) for edge in each.box]}
        for each in found
    ]
    picture_is = "reference.jpg: the drawn scene of daemon/simulate at 25 s, 640x360"
    return {
        "picture": picture_is,
        "weights_sha256": sha256,
        "runtime": runtime.name,
        "input_px": max(reference_picture().shape[:2]),
        "detections": detections,
    }


def _int8(path: Path | None, answer: dict[str, Any]) -> dict[str, Any]:
    """What shipped.json says of the quantised form, which has to see in the reference picture what the other one sees."""
    if path is None:
        return {}
    weights = read_weights(path)
    found = reference_answer(load(Choice("openvino", "the one that reads it"), weights))
    if not weights.quantised or not agrees(found, answer["detections"]):
        raise FolderError(
            f"{path}: not the quantised form of these weights: it sees {found} in {REFERENCE_PICTURE.name}"
        )
    return {"int8": {"weights": path.name, "sha256": weights.sha256}}


def _exchange(files: Sequence[Path]) -> None:
    """Puts these in the place of what is shipped; copied first, since what is shipped may be among them."""
    parts = {shipped.MODELS / each.name: shipped.MODELS / f".{each.name}.part" for each in files}
    for file, part in zip(files, parts.values(), strict=True):
        shutil.copyfile(file, part)
    for old in {shipped.WEIGHTS, shipped.CARD, *_both(shipped.INT8)} - parts.keys():
        old.unlink(missing_ok=True)
    for place, part in parts.items():
        part.replace(place)


def _both(xml: Path | None) -> tuple[Path, ...]:
    return () if xml is None else (xml, xml.with_suffix(".bin"))


def _config_with(chosen: dict[str, float]) -> str:
    """The settings' file with these thresholds; raises FolderError where they have no line there."""
    line = f"  thresholds: {{fire: {chosen['fire']:.2f}, smoke: {chosen['smoke']:.2f}}}"
    text, count = re.subn(r"^  thresholds: \{fire: [\d.]+, smoke: [\d.]+\}", line, _text_of(CONFIG), flags=re.MULTILINE)
    if count != 1:
        raise FolderError(f"{CONFIG}: no line of detect.thresholds to be renewed; it has to be written as `{line}`")
    return text


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(f"{path}: not a text that can be read") from error


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
