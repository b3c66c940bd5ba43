# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a verifier changes at equal recall: with it the detector's threshold may be lower; are there then fewer false hits?

One look at the pictures serves all lines: what the verifier rejects is marked, not hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.domain import LABELS
from training.matching import found_near
from training.picture_tables import Points, Splits
from training.seen import Seen, hit_rate
from training.tables import Cell, Table

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
GRID = tuple(round(0.99 - 0.01 * step, 2) for step in range(98))  # 0.99 to 0.02
NONE = 2.0  # no confidence reaches it
Strongest = list[NDArray[np.float64]]
"""Of each split: for each flame, or picture with smoke, the strongest confidence with which it is detected; 0 where it is not."""


def verifier_table(splits: Splits, points: Points, own: float) -> Table:
    """For each working point and label: false hits without a verifier, and with it at its thresholds, at no less recall."""
    false = [name for name in splits if not any(each.sample.boxes for each in splits[name])]
    table = Table(
        "With and without the verifier, at equal recall",
        ["label", "thresholds", "verifier from", "detector from", "recall", *(f"false positives, {name}" for name in false)],
        "Recall, mean of the splits' shares: of fire flames found, of smoke pictures in which it is detected. With the verifier the "
        "detector's threshold is the highest that gives at least the recall without. False positives: pictures that show neither, "
        "hit by that label.",
    )  # fmt: skip
    for label in LABELS:
        strongest = {each: _strongest(splits, label, each) for each in (0.0, *sorted({*THRESHOLDS, own}))}
        for point, at in points.items():
            wanted = _recall(strongest[0.0], at[label])
            for verified, confidences in strongest.items():
                least = at[label] if not verified else _least(confidences, wanted)
                cells: list[Cell] = [None] * (2 + len(false))
                if least is not None:
                    hit = [_false(splits[name], label, verified, least) for name in false]
                    cells = [least, round(_recall(confidences, least), 3), *hit]
                table.rows.append([label, point, verified or "none", *cells])
    return table


def _strongest(splits: Splits, label: str, verified: float) -> Strongest:
    made = []
    for seen in splits.values():
        judged = [each.verified_from(verified) for each in seen if each.labelled(label)]
        values = [
            value for each in judged for value in (_of_flames(each) if label == "fire" else _of_picture(each, label))
        ]
        if values:
            made.append(np.array(values))
    return made


def _of_flames(seen: Seen) -> list[float]:
    found = seen.found("fire")
    return [
        max((each.confidence for each in found if found_near([each.box], box)), default=0.0)
        for box in seen.labelled("fire")
    ]


def _of_picture(seen: Seen, label: str) -> list[float]:
    return [max((each.confidence for each in seen.found(label)), default=0.0)]


def _recall(strongest: Strongest, threshold: float) -> float:
    return float(np.mean([np.mean(each >= threshold) for each in strongest])) if strongest else 0.0


def _least(strongest: Strongest, wanted: float) -> float | None:
    return next((each for each in GRID if _recall(strongest, each) >= wanted), None)


def _false(seen: Sequence[Seen], label: str, verified: float, threshold: float) -> Cell:
    return hit_rate([each.verified_from(verified) for each in seen], {"fire": NONE, "smoke": NONE} | {label: threshold})
