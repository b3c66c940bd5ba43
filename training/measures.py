# SPDX-License-Identifier: AGPL-3.0-or-later
"""Average precision and shares, each with a 95 % interval from resampled scenes: pure functions, no pictures.

Scenes are drawn with replacement, 1000 times, under a fixed seed, and all pictures of a scene go together: frames of
one scene tell little more than one of them. Of a single scene there is no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLED = 1000
SEED = 20_26
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured figure; `low` and `high` are None where there is no interval, `value` where there was nothing."""

    value: float | None
    low: float | None
    high: float | None
    count: int
    """What it was measured on: boxes or pictures."""
    scenes: int

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        interval = f" ({self.low:.3f}–{self.high:.3f})" if self.low is not None else ""
        return f"{self.value:.3f}{interval}"


@dataclass(frozen=True, slots=True)
class Ranked:
    """One picture's part in an average precision."""

    scene: str
    confidences: tuple[float, ...]
    right: tuple[bool, ...]
    """Of each detection, whether it is a labelled box."""
    boxes: int
    """Labelled boxes in the picture."""


def average_precision(pictures: Sequence[Ranked]) -> Estimate:
    """Area under the precision envelope over recall, at every recall (VOC since 2010), and its interval."""
    scenes, weights = _resampled([each.scene for each in pictures])
    boxes = np.array([each.boxes for each in pictures], np.float64)
    confidences = np.array([value for each in pictures for value in each.confidences])
    rights = np.array([value for each in pictures for value in each.right], np.float64)
    owners = np.array([at for at, each in enumerate(pictures) for _ in each.confidences], np.intp)
    order = np.argsort(-confidences, kind="stable")
    confidences, rights, owners = confidences[order], rights[order], owners[order]
    areas = [_area(confidences, rights, weight[owners], float(weight @ boxes)) for weight in weights]
    return _estimate(areas, round(boxes.sum()), scenes)


def share(hits: Sequence[tuple[str, bool]]) -> Estimate:
    """Of how many (scene, whether) it is so."""
    scenes, weights = _resampled([scene for scene, _ in hits])
    so = np.array([hit for _, hit in hits], np.float64)
    return _estimate([float(weight @ so / weight.sum()) if len(so) else None for weight in weights], len(hits), scenes)


def _area(confidences: Weights, rights: Weights, weight: Weights, boxes: float) -> float | None:
    if boxes == 0:
        return None
    good, all_ = np.cumsum(rights * weight), np.cumsum(weight)
    # equal confidences are one step: their order says nothing
    last = np.flatnonzero(np.append(confidences[1:] != confidences[:-1], True)[: len(confidences)])
    counted = last[all_[last] > 0]
    recall = np.concatenate(([0.0], good[counted] / boxes))
    precision = np.concatenate((good[counted] / all_[counted], [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1][: len(recall) - 1]
    return float(np.sum(np.diff(recall) * envelope))


def _resampled(scenes: Sequence[str]) -> tuple[int, list[Weights]]:
    """How many scenes; and for each resampling how often each picture is in it, first of all: each once."""
    names, owner = np.unique(np.array(scenes, dtype=str), return_inverse=True)
    weights: list[Weights] = [np.ones(len(scenes))]
    if len(names) > 1:
        drawn = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLED)
        weights += [each[owner].astype(np.float64) for each in drawn]
    return len(names), weights


def _estimate(values: Sequence[float | None], count: int, scenes: int) -> Estimate:
    first, drawn = values[0], [each for each in values[1:] if each is not None]
    if first is None or not drawn:
        return Estimate(first, None, None, count, scenes)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(first, float(low), float(high), count, scenes)
