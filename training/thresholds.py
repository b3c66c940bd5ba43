# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chooses from which confidence fire and smoke count, on validation pictures that show neither.

Both together hit at most 1 % of the pictures of val_cctv_neg and 4 % of those of neg_hard. Fire comes first: its threshold is
the lowest at which fire alone still does, or up to 0.05 above it, where smoke gains more by that than fire loses: the pair with
the lowest sum. (Letting the best mean of both recalls decide gave the whole allowance to smoke, and flames on cameras were
no longer found; giving fire all that it can take left smoke, for one picture's sake, a threshold that hardly any smoke reaches.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.domain import LABELS
from training.folders import FolderError
from training.seen import Seen

LIMITS = {"val_cctv_neg": 0.01, "neg_hard": 0.04}
FIRE_GIVES = 0.05
GRID = tuple(round(0.05 + 0.01 * step, 2) for step in range(95))  # 0.05 to 0.99
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The working thresholds."""

    fire: float
    smoke: float

    def as_dict(self) -> dict[str, float]:
        """By label, as the daemon's settings have them."""
        return {"fire": self.fire, "smoke": self.smoke}


def chosen_of(path: Path, sha256: str | None = None, *, closer_look: bool = True) -> dict[str, float]:
    """The thresholds, by label, that an evaluation chose; `sha256`: of the weights that it has to be of.

    Raises FolderError where it chose none, is of others, looked another number of times, or is no evaluation.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        chosen = thresholds_of(found["chosen"])
        looked_twice: bool = found.get("closer_look", False)
        measured = str(found["weights"]["sha256"]) if sha256 is not None else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(
            f"{path}: not what evaluate wrote of weights for which it could choose thresholds, numbers from 0 to 1"
        ) from error
    if sha256 is not None and measured != sha256:
        raise FolderError(f"{path}: measured with other weights ({measured[:12]}…)")
    if looked_twice != closer_look:
        how, wanted = (
            ("with the closer look", "without") if looked_twice else ("with one look a picture", "with the closer look")
        )
        raise FolderError(f"{path}: measured {how}, and what is asked for is {wanted}: evaluate anew")
    return chosen


def thresholds_of(chosen: Any) -> dict[str, float]:
    """By label, as an evaluation has them; raises KeyError, TypeError or ValueError where they are none."""
    found = {label: chosen[label] for label in LABELS}
    if not all(0 <= each <= 1 for each in found.values()):  # NaN is not, either
        raise ValueError(f"{found}: not from 0 to 1")
    return {label: float(each) for label, each in found.items()}


def for_both(chosen: Chosen, other: Mapping[str, float]) -> Chosen:
    """Of two forms of the same weights, which share the daemon's thresholds: each label's higher one is admissible for both."""
    return Chosen(max(chosen.fire, other["fire"]), max(chosen.smoke, other["smoke"]))


def choose(negatives: Mapping[str, Sequence[Seen]]) -> Chosen | None:
    """None when there is no such pair on the grid of hundredths, or one of the splits has no pictures."""
    if any(not negatives.get(name) for name in LIMITS):
        return None
    scores = {name: _strongest(negatives[name]) for name in LIMITS}
    fire = next((each for each in GRID if _admissible(scores, each, np.inf)), None)
    if fire is None:
        return None
    pairs = [
        Chosen(each, smoke)
        for each in GRID
        if fire <= each <= fire + FIRE_GIVES + 1e-9
        for smoke in [next((one for one in GRID if _admissible(scores, each, one)), None)]
        if smoke is not None
    ]
    return min(pairs, key=lambda each: (round(each.fire + each.smoke, 2), each.fire), default=None)


def _strongest(seen: Sequence[Seen]) -> Scores:
    """Each picture's strongest false confidence of fire and of smoke (0: none, or not known to be false)."""
    rows = [
        [
            max((one.confidence for one in each.found(label) if each.sample.known(label)), default=0.0)
            for label in LABELS
        ]
        for each in seen
    ]
    return np.array(rows, np.float64).reshape(-1, len(LABELS))


def _admissible(scores: Mapping[str, Scores], fire: float, smoke: float) -> bool:
    return all(
        float(np.mean((each[:, 0] >= fire) | (each[:, 1] >= smoke))) <= LIMITS[name] for name, each in scores.items()
    )
