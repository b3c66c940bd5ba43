# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training COMMAND`: parses, and calls one module; what needs torch is imported only by its own command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from daemon.cli import status_of
from training.arguments import at_least, confidence, cut_out_px, input_px, positive, share, side_px, weighted

COMMANDS = {
    "assemble": "take the sources' pictures from copies of their repositories, without near-duplicates, apart from what is measured with",
    "evaluate": "how good a weights file is: tables by split, source, size and clip; chooses the thresholds",
    "train": "train on folders of labelled pictures; the same words again go on where it stopped (needs torch)",
    "train-folds": "the final weights and those without each fold side by side, over one stream of drawn pictures (needs torch)",
    "soup": "the weighted mean of trainings from the same weights, its batch norms measured anew (needs torch)",
    "export": "a checkpoint as ONNX for the daemon, with its card (needs torch)",
    "quantise": "a network in int8 by calibration on pictures, timed beside the one it is made of (needs nncf)",
    "ship": "make measured weights those that Firewitness comes with: file, card, hash, thresholds",
    "verifier": "train a small model that looks at the detector's boxes once more (needs torch)",
    "hours": "how often hours in which nothing burns would be confirmed: the clips of kind none through day and night",
    "folds": "deal what is measured with out to folds, so that the final weights may be trained with all of it",
    "mine": "pick the pictures without fire in which the detector sees some, to train with",
    "close-ups": "cut out what the detector sees in labelled pictures, as its closer look shows it, to train with",
    "small-flames": "make the seeded set of small flames, pasted into empty scenes",
    "tiling": "what tiles of which size and overlap find, what they see where nothing burns, and what they cost",
}


EXTRAS = ("torch", "ultralytics", "onnx", "nncf")
"""Packages of the extra `train`, which most commands do without."""


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(
        prog="python -m training", description="From pictures to weights, and how good they are."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {name: commands.add_parser(name, help=text, description=text + ".") for name, text in COMMANDS.items()}
    _evaluate(made["evaluate"])
    _train(made["train"])
    _train_folds(made["train-folds"])
    _soup(made["soup"])
    _export(made["export"])
    _mine(made["mine"])
    _close_ups(made["close-ups"])
    _hours(made["hours"])
    ship = made["ship"]
    ship.add_argument("weights", type=Path, metavar="ONNX", help="with its card beside it")
    ship.add_argument(
        "--evaluated", type=Path, required=True, metavar="JSON", help="what evaluate wrote of these weights"
    )
    ship.add_argument(
        "--int8", type=Path, metavar="XML", help="the same network as quantise wrote it, for CPUs with VNNI"
    )
    _quantise(made["quantise"])
    _assemble(made["assemble"])
    _verifier(made["verifier"])
    small = made["small-flames"]
    small.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with val and val_cctv_neg")
    small.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a folder in which they are not yet")
    small.add_argument("--count", type=at_least(1), default=500, metavar="N", help="of each size (default: 500)")
    small.add_argument("--seed", type=at_least(0), default=10, metavar="N")
    _tiling(made["tiling"])
    folds = made["folds"]
    folds.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with val, val_cctv, …")
    folds.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="one that is not there yet")
    folds.add_argument("--count", type=at_least(2), default=2, metavar="N", help="of folds (default: 2)")
    return top


def _evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="with val, val_cctv, … and clips.csv"
    )
    command.add_argument(
        "--folds", type=Path, nargs="+", default=[], metavar="FILE",
        help="weights trained without fold 0, 1, … (see folds): the pictures are measured with these",
    )  # fmt: skip
    command.add_argument(
        "--folds-knew",
        action="store_true",
        help="say that what the folds' trainings began from had been trained with all of it",
    )
    command.add_argument(
        "--trained", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="what the weights were trained with: clips that show the same as a picture of it are named",
    )  # fmt: skip
    command.add_argument(
        "--other-form", type=Path, metavar="JSON",
        help="what evaluate wrote of the same weights in int8: thresholds are chosen that are admissible for both",
    )  # fmt: skip
    command.add_argument("--out", type=Path, metavar="FILE.json", help="the tables go beside it as .md")
    command.add_argument("--page", type=Path, metavar="FILE", help="such as docs/accuracy.md: renews its section there")
    command.add_argument("--small", type=Path, metavar="FOLDER", help="what small-flames made")
    command.add_argument(
        "--tiles", type=at_least(0), default=0, metavar="N", help="look at N small flames of each size in tiles too"
    )
    command.add_argument(
        "--at", type=confidence, action="append", default=[], metavar="T", help="thresholds of both labels, too"
    )
    command.add_argument(
        "--no-closer-look",
        dest="closer_look",
        action="store_false",
        help="one look a picture, as with detect.closer_look: false",
    )
    command.add_argument(
        "--verify", type=Path, metavar="FILE", help="a verifier behind the detector, and what it changes"
    )
    command.add_argument(
        "--verify-px", type=cut_out_px, default=64, metavar="PX", help="side of its cut-outs (default: 64)"
    )
    command.add_argument(
        "--verify-from", type=confidence, default=0.5, metavar="T", help="its threshold (default: 0.5)"
    )
    command.add_argument("--no-clips", dest="clips", action="store_false", help="pictures only")
    _detector(command)


def _tiling(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="with val, val_cctv_neg and clips.csv"
    )
    command.add_argument("--small", type=Path, required=True, metavar="FOLDER", help="what small-flames made")
    command.add_argument(
        "--pictures",
        type=at_least(1),
        default=60,
        metavar="N",
        help="of each kind (default: 60, a quarter of an hour of a core)",
    )
    command.add_argument("--page", type=Path, metavar="FILE", help="such as docs/accuracy.md: renews its section there")
    _detector(command)


def _train(command: argparse.ArgumentParser) -> None:
    _training(command)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the checkpoint; where it exists, go on"
    )


def _train_folds(command: argparse.ArgumentParser) -> None:
    _training(command)
    command.add_argument(
        "--folds", type=Path, required=True, metavar="FOLDER", help="with without-0, without-1, … as folds wrote them"
    )
    command.add_argument(
        "--own", type=weighted, nargs="+", required=True, metavar="NAME[=WEIGHT]",
        help="what of each fold's folder to train with, such as val=2 val_cctv=6; what is not there is left out",
    )  # fmt: skip
    command.add_argument(
        "--own-share", type=share, default=0.09, metavar="S", help="of a batch's pictures (default: 0.09; at least one)"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="for without-0.pt, without-1.pt, … and all.pt; where they exist, go on",
    )  # fmt: skip


def _soup(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "checkpoints", type=weighted, nargs="+", metavar="CHECKPOINT[=WEIGHT]", help="and how much each counts"
    )
    command.add_argument(
        "--pictures", type=weighted, nargs="+", required=True, metavar="FOLDER[=WEIGHT]",
        help="labelled, to measure batch norms with",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="FILE.pt", help="a checkpoint, for export")
    command.add_argument("--batches", type=at_least(1), default=24, metavar="N", help="of 16 pictures (default: 24)")
    command.add_argument("--side-px", type=side_px, default=640, metavar="PX", help="of the pictures (default: 640)")
    command.add_argument("--seed", type=at_least(0), default=0, metavar="N")


def _training(command: argparse.ArgumentParser) -> None:
    command.add_argument("folders", type=weighted, nargs="+", metavar="FOLDER[=WEIGHT]", help="with images and labels")
    command.add_argument(
        "--weights",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="what to begin from: an Ultralytics checkpoint, such as yolo11n.pt, one that this command wrote, or what export wrote, "
        "such as the shipped ONNX file; of several their mean",
    )
    command.add_argument("--allow-pickle", action="store_true", help="a .pt file can execute code: this one is trusted")
    command.add_argument(
        "--epochs", type=positive, default=10, metavar="N", help="pictures seen ÷ pictures (default: 10)"
    )
    command.add_argument("--batch", type=at_least(1), default=16, metavar="N")
    command.add_argument("--side-px", type=side_px, default=448, metavar="PX", help="of the pictures (default: 448)")
    command.add_argument(
        "--last-side-px", type=side_px, default=640, metavar="PX", help="in the last tenth (default: 640)"
    )
    command.add_argument("--learning-rate", type=positive, default=1e-3, metavar="R")
    command.add_argument("--seed", type=at_least(0), default=0, metavar="N")
    command.add_argument(
        "--workers", type=at_least(0), default=0, metavar="N", help="processes that draw pictures (default: none)"
    )


def _export(command: argparse.ArgumentParser) -> None:
    command.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help="of several the mean")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the card goes beside it as .md")
    command.add_argument("--evaluated", type=Path, metavar="JSON", help="what evaluate wrote of these weights")
    command.add_argument("--trained-with", nargs="*", default=[], metavar="TEXT", help="data, for the card")
    command.add_argument(
        "--weak", default="", metavar="TEXT", help="what they see badly or take for fire, for the card"
    )
    command.add_argument(
        "--sources", type=Path, metavar="TOML", help="what assemble took the pictures from, for the card"
    )


def _assemble(command: argparse.ArgumentParser) -> None:
    command.add_argument("--repositories", type=Path, required=True, metavar="FOLDER", help="with OWNER/NAME below it")
    command.add_argument(
        "--sources", type=Path, default=Path(__file__).parent / "sources.toml", metavar="TOML", help="(default: ours)"
    )
    command.add_argument(
        "--apart",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="what is measured with: labelled folders, and one with clips.csv",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="one that is not there yet")


def _verifier(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="with images and labels; some of empty pictures"
    )
    command.add_argument("--weights", type=Path, metavar="FILE", help="the detector, ONNX (default: the shipped one)")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="for detect.verify.weights")
    command.add_argument("--side-px", type=cut_out_px, default=64, metavar="PX", help="of the cut-outs (default: 64)")
    command.add_argument(
        "--epochs", type=positive, default=12, metavar="N", help="cut-outs seen ÷ cut-outs (default: 12)"
    )
    command.add_argument("--input-px", type=input_px, default=640, metavar="PX", help="the detector's longer side")
    command.add_argument("--seed", type=at_least(0), default=0, metavar="N")


def _quantise(command: argparse.ArgumentParser) -> None:
    command.add_argument("weights", type=Path, metavar="ONNX")
    command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="calibration pictures, at any depth")
    command.add_argument("--out", type=Path, required=True, metavar="XML", help="OpenVINO's; its .bin goes beside it")
    command.add_argument("--data", type=Path, metavar="FOLDER", help="with val and val_cctv: measures both on them too")
    command.add_argument(
        "--pictures", type=at_least(1), default=300, metavar="N", help="to calibrate with (default: 300)"
    )
    command.add_argument("--seed", type=at_least(0), default=0, metavar="N")
    command.add_argument("--input-px", type=input_px, default=640, metavar="PX", help="longer side (default: 640)")


def _hours(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with clips.csv and clips")
    command.add_argument("--hours", type=positive, default=8, metavar="N", help="of all clips together (default: 8)")
    command.add_argument("--lookalikes", action="store_true", help="those clips too, which are neither right nor wrong")
    command.add_argument("--fire", type=confidence, metavar="T", help="threshold (default: the configured one)")
    command.add_argument("--smoke", type=confidence, metavar="T", help="threshold (default: the configured one)")
    command.add_argument(
        "--seed", type=at_least(0), default=8, metavar="N", help="of light, noise and cars (default: 8)"
    )
    _detector(command)


def _mine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="pictures that show neither, at any depth"
    )
    command.add_argument(
        "--store", dest="stores", type=Path, action="append", default=[], metavar="ROOT",
        help="and what people called a false alarm in this store of evidence; may be given several times",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="one that is not there yet")
    command.add_argument("--from-confidence", type=confidence, default=0.2, metavar="C", help="(default: 0.2)")
    command.add_argument(
        "--most", type=at_least(1), default=1000, metavar="N", help="pictures, the strongest first (default: 1000)"
    )
    command.add_argument(
        "--tiles", action="store_true", help="look at tiles of full resolution too, as the patrol does"
    )
    _detector(command)


def _close_ups(command: argparse.ArgumentParser) -> None:
    command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="with images and labels")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="one that is not there yet")
    command.add_argument(
        "--most", type=at_least(1), metavar="N", help="pictures of each folder, by chance (default: all)"
    )
    command.add_argument("--seed", type=at_least(0), default=0, metavar="N")
    _detector(command)


def _detector(command: argparse.ArgumentParser) -> None:
    """Which one is asked, and how."""
    command.add_argument("--weights", type=Path, metavar="FILE", help="ONNX, or .pt (default: the shipped ones)")
    command.add_argument("--input-px", type=input_px, default=640, metavar="PX", help="longer side (default: 640)")
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument("--allow-pickle", action="store_true", help="for a .pt file that you made yourself")


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 2 it could not be done."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return status_of(lambda: _run(options), f"training {options.command}")
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(
            f"training {options.command}: needs {error.name}: make setup EXTRAS=train VENV=.venv-train, then "
            f".venv-train/bin/python -m training {options.command} …",
            file=sys.stderr,
        )
        return 2


def _run(options: argparse.Namespace) -> int:
    module = importlib.import_module("training." + options.command.replace("-", "_"))
    status: int = module.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
