# SPDX-License-Identifier: AGPL-3.0-or-later
"""The closer look: what the detector sees in a picture it is shown once more, cut out and enlarged; in series behind a function.

A streak of glare or a lamp is taken for a flame at one scale and seldom at another, a flame at most. So a detection is as
sure as both looks together: the geometric mean, which a look that sees nothing there brings close to nothing; and its box
is the mean of both. How much is cut out, how it is weighed, and what it brings was measured: docs/accuracy.md, The closer look.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from daemon.detect.boxes import covered, iou, longer_side
from daemon.detect.function import Function, each_once
from daemon.detect.model import Model, Picture
from daemon.domain import LABELS, Box, Detection, Looks

SIDE_PX = 320  # of what is shown: a quarter of a square picture's cost at 640
CONTEXT = 3.0  # of the box's longer side
LEAST_PX = 224  # of the picture: enlarged more, small flames are a blur that is taken for none
FROM = 0.10  # weaker ones could reach no threshold that is of use
MOST = 8  # of one label in one picture: a street of lamps must not keep the other cameras waiting
SAME = 0.4  # of the smaller box's area: it is seen there again
ALIKE = 0.5  # intersection over union: both boxes are of the same thing, and drawn alike
NOTHING = 0.001  # a look that sees nothing there is not sure of that without end


class Cut(NamedTuple):
    """A part of a picture: its top left corner, and its pixels."""

    left: int
    top: int
    pixels: Picture


class CloserLook:
    """A function, and then the detector once more, close to each of its boxes."""

    def __init__(self, function: Function, detector: Model) -> None:
        self._function, self._detector = function, detector

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        # the first look from further down than what is asked for: the closer one may be surer
        answers = self._function(pictures, min(floor, FROM), input_px)
        looked = [_looked_at(found) for found in answers]
        cuts = [cut_out(picture, each.box) for picture, of in zip(pictures, looked, strict=True) for each in of]
        seen = iter(self._seen(cuts))
        judged = [[_judged(each, next(seen)) for each in of] for of in looked]
        rest = [[each for each in found if each not in of] for found, of in zip(answers, looked, strict=True)]
        return [_together(each, others, floor) for each, others in zip(judged, rest, strict=True)]

    def _seen(self, cuts: Sequence[Cut]) -> Iterator[tuple[Detection, ...]]:
        """What each of them shows, boxes in pixels of its picture."""
        answers = self._detector.find([each.pixels for each in cuts], NOTHING, [SIDE_PX] * len(cuts)) if cuts else []
        for cut, found in zip(cuts, answers, strict=True):
            yield tuple(replace(each, box=_moved(each.box, cut)) for each in found)


def cut_out(picture: Picture, box: Box) -> Cut:
    """The square round a box, three times its longer side large and at least 224 px, moved until it lies in the picture; without a copy.

    Where the picture has less than that on a side, all of it.
    """
    height, width = picture.shape[:2]
    size_px = max(LEAST_PX, round(CONTEXT * longer_side(box)))
    across, down = min(size_px, width), min(size_px, height)
    left = min(max(0, round((box[0] + box[2] - size_px) / 2)), width - across)
    top = min(max(0, round((box[1] + box[3] - size_px) / 2)), height - down)
    return Cut(left, top, picture[top : top + down, left : left + across])


def _looked_at(found: Sequence[Detection]) -> list[Detection]:
    """The strongest of each label, in the order in which they were found; the strongest come first."""
    strong = [each for each in found if each.confidence >= FROM]
    return [each for label in LABELS for each in [one for one in strong if one.label == label][:MOST]]


def _together(judged: Sequence[Detection], rest: Sequence[Detection], floor: float) -> tuple[Detection, ...]:
    """What was found, as sure as both looks are, the strongest first, each thing once: means of boxes may come to lie alike."""
    found = [*judged, *(_as_the_others(each, judged) for each in rest)]
    return each_once([each for each in found if each.confidence >= floor])


def _as_the_others(detection: Detection, judged: Sequence[Detection]) -> Detection:
    """For one that there was no look for after so many of its label: as much surer, or less, as most of them became."""
    looks = [(each.confidence, each.looks.whole) for each in judged if each.label == detection.label and each.looks]
    if detection.confidence < FROM or not looks:
        return detection
    changed = statistics.median(together / whole for together, whole in looks)
    return replace(detection, confidence=round(min(1.0, detection.confidence * changed), 4))


def _judged(detection: Detection, seen: Sequence[Detection]) -> Detection:
    again = next((each for each in seen if _same(each, detection)), None)  # the strongest comes first
    if again is None:
        return replace(detection, confidence=_mean(detection.confidence, 0.0), looks=Looks(detection.confidence, 0.0))
    return replace(
        detection,
        confidence=_mean(detection.confidence, again.confidence),
        box=_between(detection.box, again.box),
        looks=Looks(detection.confidence, again.confidence),
    )


def _mean(whole: float, close: float) -> float:
    return round(math.sqrt(whole * max(close, NOTHING)), 4)


def _between(one: Box, other: Box) -> Box:
    if iou(one, other) < ALIKE:
        return one
    x1, y1, x2, y2 = (round((a + b) / 2, 2) for a, b in zip(one, other, strict=True))
    return x1, y1, x2, y2


def _moved(box: Box, cut: Cut) -> Box:
    return box[0] + cut.left, box[1] + cut.top, box[2] + cut.left, box[3] + cut.top


def _same(one: Detection, other: Detection) -> bool:
    return one.label == other.label and covered(one.box, other.box) >= SAME
