# SPDX-License-Identifier: AGPL-3.0-or-later
"""The function layer: how models combine to answer about a picture; its caller does not know how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from daemon.detect.model import Model, Picture
from daemon.detect.postprocess import suppress
from daemon.detect.verifier import Verifier
from daemon.domain import LABELS, MAX_DETECTIONS, Detection, Verdict


class Function(Protocol):
    """From pictures to detections, by one model or several in series or in parallel."""

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        """For each picture its detections of at least `floor`, in the pictures' order.

        `input_px` has for each the longer side at which it is to be looked at.
        """


class DetectorAlone:
    """One detector, nothing behind it."""

    def __init__(self, detector: Model) -> None:
        self._detector = detector

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        return self._detector.find(pictures, floor, input_px)


class InParallel:
    """Several functions look at the same pictures; what two of them see at one place is told once, by the surer one."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._functions = functions

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        answers = [each(pictures, floor, input_px) for each in self._functions]
        return [
            each_once([one for answer in answers for one in answer[place]])[:MAX_DETECTIONS]
            for place in range(len(pictures))
        ]


class Verified:
    """In series: a function, then a verifier that looks at each of its boxes in the picture as it was given.

    What does not pass is marked, not hidden: it is on record, and does not count. What is weaker than `judged_from` is
    not looked at: nobody is told of it as a detection, and there may be many of those.
    """

    def __init__(self, function: Function, verifier: Verifier, threshold: float, judged_from: float = 0.0) -> None:
        self._function, self._verifier = function, verifier
        self._threshold, self._judged_from = threshold, judged_from

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        answers = self._function(pictures, floor, input_px)
        pairs = [(picture, each) for picture, found in zip(pictures, answers, strict=True) for each in found]
        judged = iter(self._verifier.judge([(picture, each.box) for picture, each in pairs if self._judges(each)]))
        return [
            tuple(self._with_verdict(each, next(judged)) if self._judges(each) else each for each in found)
            for found in answers
        ]

    def _judges(self, detection: Detection) -> bool:
        return detection.confidence >= self._judged_from

    def _with_verdict(self, detection: Detection, judged: np.ndarray) -> Detection:
        confidence = round(float(judged[LABELS.index(detection.label)]), 4)
        return replace(detection, verdict=Verdict(confidence, confidence >= self._threshold))


def each_once(found: Sequence[Detection]) -> tuple[Detection, ...]:
    """Of what shows the same thing the surest, by intersection over union; the strongest first."""
    order = sorted(found, key=lambda each: -each.confidence)
    if not order:
        return ()
    boxes = np.array([each.box for each in order], np.float32)
    classes = np.array([LABELS.index(each.label) for each in order], np.intp)
    return tuple(order[place] for place in suppress(boxes, classes))
