# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness model export --to onnx|openvino|engine FILE`: the one time that a .pt is opened."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from daemon.commands import settings as settings_of
from daemon.detect import exporting
from daemon.detect.runtimes import look
from daemon.detect.weights import card_of, read_weights
from daemon.errors import FirewitnessError

_SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "engine": ".engine"}


def run(options: argparse.Namespace) -> int:
    """0 when it is written; the card is copied beside it."""
    file: Path = options.file
    out: Path = options.out or file.with_suffix(_SUFFIX[options.to])
    _check(file, out, options.to)
    detect = settings_of.of_or_defaults(options.config).detect
    weights = read_weights(file, allow_pickle=True)
    with tempfile.TemporaryDirectory(prefix="firewitness-") as private:
        onnx = file
        if weights.format == "pt":
            onnx = out if options.to == "onnx" else Path(private) / f"{file.stem}.onnx"
            exporting.pickle_to_onnx(weights, onnx)
        if options.to == "openvino":
            exporting.onnx_to_openvino(onnx, out)
        elif options.to == "engine":
            exporting.onnx_to_engine(onnx, out, detect.input_px, detect.batch)
    card = card_of(file)
    if card.exists() and out.with_suffix(".md") != card:
        out.with_suffix(".md").write_bytes(card.read_bytes())
    print(f"{out}, SHA-256 {read_weights(out).sha256}")
    return 0


def _check(file: Path, out: Path, to: str) -> None:
    if file.suffix not in (".pt", ".onnx") or (file.suffix, to) == (".onnx", "onnx"):
        raise FirewitnessError(f"{file}: onnx is made of a .pt, openvino and engine of a .pt or an .onnx")
    if out.suffix != _SUFFIX[to]:
        raise FirewitnessError(f"{out}: what is exported to {to} ends in {_SUFFIX[to]}")
    for made in (out, out.with_suffix(".bin")) if to == "openvino" else (out,):
        if made.is_dir():
            raise FirewitnessError(f"{made}: a folder is there; name another file with --out")
    if out.parent != file.parent and not out.parent.is_dir():  # before a pickle is opened for nothing
        raise FirewitnessError(f"{out}: there is no folder {out.parent}; make it, or name another file with --out")
    if out.parent.is_dir() and not os.access(out.parent, os.W_OK):
        raise FirewitnessError(f"{out}: {out.parent} is closed to this user; name another file with --out")
    if (file.suffix == ".pt" or to == "engine") and not look().torch:
        raise FirewitnessError(
            "this needs torch and Ultralytics, which are not installed: make setup EXTRAS=train or gpu"
        )
