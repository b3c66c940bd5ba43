# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers among a command's words, refused where they cannot be: argparse names the option and says why."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MOST = 10_000
"""Of epochs, hours and weights: more would take years, and at some point no number holds it."""
MOST_WHOLE = 2**31 - 1
"""What every library takes as a seed."""


class Weighted(NamedTuple):
    """A file or a folder, and how much it counts."""

    path: Path
    weight: float = 1.0

    def __str__(self) -> str:
        """As `weighted` reads it."""
        return str(self.path) if self.weight == 1 else f"{self.path}={self.weight:g}"


def at_least(least: int) -> Callable[[str], int]:
    """A whole number from there on."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        if value > MOST_WHOLE:
            raise argparse.ArgumentTypeError(f"{text} is more than {MOST_WHOLE}")
        return value

    return number


def positive(text: str) -> float:
    """A number more than 0."""
    value = float(text)
    if not 0 < value <= MOST:
        raise argparse.ArgumentTypeError(f"{text} is not a number more than 0 and at most {MOST}")
    return value


def confidence(text: str) -> float:
    """From 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def weighted(text: str) -> Weighted:
    """PATH or PATH=WEIGHT."""
    path, _, weight = text.partition("=")
    try:
        return Weighted(Path(path), positive(weight or "1"))
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text}: after = stands how much it counts, more than 0 and at most {MOST}, such as 2 or 0.5"
        ) from error


def share(text: str) -> float:
    """More than 0, less than 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def side_px(text: str) -> int:
    """Of a picture to train with."""
    value = int(text)
    if value < 32 or value % 32:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of 32, as the network's strides need it")
    return value


def input_px(text: str) -> int:
    """Of the detector's input."""
    value = side_px(text)
    if not 128 <= value <= 1920:
        raise argparse.ArgumentTypeError(f"{text} is not from 128 to 1920, as detect.input_px has to be")
    return value


def cut_out_px(text: str) -> int:
    """Of the verifier's input."""
    value = int(text)
    if not 32 <= value <= 256 or value % 16:
        raise argparse.ArgumentTypeError(
            f"{text} is not a multiple of 16 from 32 to 256, as detect.verify.input_px has to be"
        )
    return value
