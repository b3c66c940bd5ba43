# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables of what is seen in labelled pictures, by split, source and size, at the working thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from training.measures import Estimate
from training.seen import SIZES, Seen, Thresholds, ap, flames_found, hit_rate, image_recall
from training.tables import Cell, Table

Splits = Mapping[str, Sequence[Seen]]
Points = Mapping[str, Thresholds]
"""Working thresholds by what they are called."""


def precision_table(splits: Splits) -> Table:
    """Average precision by split and source."""
    table = Table(
        "Average precision",
        ["split", "source", "pictures", "fire, IoU 0.5", "smoke, IoU 0.5", "fire, IoU 0.3", "smoke, IoU 0.3"],
    )
    for split, source, seen in _groups(splits):
        if any(each.sample.boxes for each in seen):
            figures = [ap(seen, label, iou) for iou in (0.5, 0.3) for label in ("fire", "smoke")]
            table.rows.append([split, source, len(seen), *figures])
    return table


def picture_table(splits: Splits, points: Points) -> Table:
    """Whether a picture is hit at all, where it should be and where it should not."""
    table = Table(
        "Pictures",
        ["split", "source", "thresholds", "recall of fire", "recall of smoke", "false positives"],
        "Recall: of the pictures that show it, in how many it is detected, anywhere. False positives: of the pictures that show "
        "neither, in how many anything is.",
    )
    for split, source, seen in _groups(splits):
        for name, at in points.items():
            recalls = [image_recall(seen, label, at[label]) for label in ("fire", "smoke")]
            table.rows.append([split, source, name, *recalls, hit_rate(seen, at)])
    return table


def flame_table(splits: Splits, points: Points, input_px: int) -> Table:
    """Flames found, all and by size."""
    names = [f"{low:.0f}–{high:.0f} px" if high < 1e6 else f"from {low:.0f} px" for low, high in SIZES]
    table = Table(
        "Flames found",
        ["split", "thresholds", "all", *names],
        "A flame is found when a detection of fire has its centre within 1.5 box sizes (the longer side) of the label's centre. "
        "Sizes: the label's longer side at the detector's input; in brackets after the interval how many.",
    )
    for split, seen in splits.items():
        if any(each.labelled("fire") for each in seen):
            for name, at in points.items():
                sized = [flames_found(seen, at["fire"], input_px, size) for size in SIZES]
                cells: list[Cell] = [_counted(each) for each in sized]
                table.rows.append([split, name, flames_found(seen, at["fire"], input_px), *cells])
    return table


def _counted(figure: Estimate) -> str:
    return f"{figure} [{figure.count}]" if figure.count else "–"


def _groups(splits: Splits) -> Iterator[tuple[str, str, Sequence[Seen]]]:
    """Each split whole, then by source where there are several."""
    for split, seen in splits.items():
        yield split, "all", seen
        sources = sorted({each.sample.source for each in seen})
        if len(sources) > 1:
            for source in sources:
                yield split, source, [each for each in seen if each.sample.source == source]
