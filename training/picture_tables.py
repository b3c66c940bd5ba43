# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables of what is seen in labelled pictures, by split, source and size, at the working thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from daemon.domain import LABELS
from training.measures import Estimate
from training.seen import SIZES, Seen, Thresholds, ap, found_share, hit_rate, image_recall, of_size
from training.tables import Table

Splits = Mapping[str, Sequence[Seen]]
Points = Mapping[str, Thresholds]
"""Working thresholds by what they are called."""
_SIZES = [f"{low:.0f}–{high:.0f} px" if high < 1e6 else f"from {low:.0f} px" for low, high in SIZES]
_SIZE_NOTE = "Sizes: the label's longer side at the detector's input; in brackets after the interval how many."


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


def size_table(splits: Splits, input_px: int) -> Table:
    """Average precision by size."""
    table = Table(
        "Average precision by size",
        ["split", "label", *_SIZES],
        "At IoU 0.5, of the labels of that size alone, as COCO counts it: what is found of another size is neither right nor wrong. "
        f"{_SIZE_NOTE}",
    )
    for split, label, seen in _labelled(splits):
        figures = [ap(seen, label, 0.5, of_size(*size, input_px)) for size in SIZES]
        table.rows.append([split, label, *map(_counted, figures)])
    return table


def found_table(splits: Splits, points: Points, input_px: int) -> Table:
    """Flames and smoke found, all and by size."""
    table = Table(
        "Flames and smoke found",
        ["split", "label", "thresholds", "all", *_SIZES],
        "Found is what a detection of its label has its centre within 1.5 box sizes (the longer side) of the label's centre. "
        f"{_SIZE_NOTE}",
    )
    for split, label, seen in _labelled(splits):
        for name, at in points.items():
            sized = [found_share(seen, label, at[label], of_size(*size, input_px)) for size in SIZES]
            table.rows.append([split, label, name, found_share(seen, label, at[label]), *map(_counted, sized)])
    return table


def _counted(figure: Estimate) -> str:
    return f"{figure} [{figure.count}]" if figure.count else "–"


def _labelled(splits: Splits) -> Iterator[tuple[str, str, Sequence[Seen]]]:
    """Each split and label of which it has any."""
    for (split, seen), label in product(splits.items(), LABELS):
        if any(each.labelled(label) for each in seen):
            yield split, label, seen


def _groups(splits: Splits) -> Iterator[tuple[str, str, Sequence[Seen]]]:
    """Each split whole, then by source where there are several."""
    for split, seen in splits.items():
        yield split, "all", seen
        sources = sorted({each.sample.source for each in seen})
        if len(sources) > 1:
            for source in sources:
                yield split, source, [each for each in seen if each.sample.source == source]
