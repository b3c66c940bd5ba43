# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a verifier changes at equal recall: with it the detector's threshold may be lower; are there then fewer false hits?

One look at the pictures serves all lines: what the verifier rejects is marked, not hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from training.picture_tables import Points, Splits
from training.seen import Seen, flames_found, hit_rate, image_recall
from training.tables import Cell, Table

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
GRID = tuple(round(0.99 - 0.01 * step, 2) for step in range(98))  # 0.99 to 0.02
NONE = 2.0  # no confidence reaches it
Recall = Callable[[Splits, float], float]


def verifier_table(splits: Splits, points: Points, own: float) -> Table:
    """For each working point and label: false hits without a verifier, and with it at its thresholds, at no less recall."""
    false = [name for name in splits if not any(each.sample.boxes for each in splits[name])]
    table = Table(
        "With and without the verifier, at equal recall",
        ["label", "thresholds", "verifier from", "detector from", "recall", *(f"false positives, {name}" for name in false)],
        "Recall of fire: flames found, mean of the splits' shares; of smoke: pictures in which it is detected. With the verifier "
        "the detector's threshold is the highest that gives at least the recall without. False positives: pictures that show "
        "neither, hit by that label.",
    )  # fmt: skip
    for label, recall in RECALLS.items():
        for point, at in points.items():
            wanted = recall(_with(splits, 0.0), at[label])
            table.rows.append([label, point, "–", at[label], wanted, *_false(splits, false, label, 0.0, at[label])])
            for threshold in sorted({*THRESHOLDS, own}):
                judged = _with(splits, threshold)
                least = next((each for each in GRID if recall(judged, each) >= wanted), None)
                cells: list[Cell] = [None] * (2 + len(false))
                if least is not None:
                    cells = [least, recall(judged, least), *_false(splits, false, label, threshold, least)]
                table.rows.append([label, point, threshold, *cells])
    return table


def _fire(splits: Splits, threshold: float) -> float:
    shares = [flames_found(seen, threshold, 640).value for seen in splits.values()]
    return round(float(np.mean([each for each in shares if each is not None])), 4)


def _smoke(splits: Splits, threshold: float) -> float:
    return round(image_recall([each for seen in splits.values() for each in seen], "smoke", threshold).value or 0.0, 4)


RECALLS: Mapping[str, Recall] = {"fire": _fire, "smoke": _smoke}


def _false(splits: Splits, names: Sequence[str], label: str, verified: float, threshold: float) -> list[Cell]:
    at = {"fire": NONE, "smoke": NONE} | {label: threshold}
    return [hit_rate([each.verified_from(verified) for each in splits[name]], at) for name in names]


def _with(splits: Splits, threshold: float) -> dict[str, list[Seen]]:
    return {name: [each.verified_from(threshold) for each in seen] for name, seen in splits.items()}
