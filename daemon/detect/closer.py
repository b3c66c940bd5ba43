# SPDX-License-Identifier: AGPL-3.0-or-later
"""The closer look: what the detector sees in a picture it is shown once more, cut out and enlarged; in series behind a function.

A streak of glare or a lamp is taken for a flame at one scale and seldom at another, a flame at most. So a detection is as
sure as both looks together: the geometric mean, which a look that sees nothing there brings close to nothing; and its box
is the mean of both. In a large picture, reduced to the input, a small flame is a few pixels; the closer look, cut out of the
picture as it was given, shows all that there are, and then counts for more. How much is cut out, how it is weighed,
and what it brings was measured: docs/accuracy.md, The closer look.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from daemon.detect.boxes import covered, iou, longer_side
from daemon.detect.function import Function, each_once
from daemon.detect.model import Model, Picture
from daemon.domain import Box, Detection, Looks

SIDE_PX = 320  # of what is shown: a quarter of a square picture's cost at 640
CONTEXT = 3.0  # of the box's longer side
LEAST_PX = 224  # of the picture: enlarged more, small flames are a blur that is taken for none
FROM = 0.10  # weaker ones could reach no threshold that is of use
WEIGHT = 0.5  # of the first look in the geometric mean
FINER = (1.25, 2.0)  # times the whole picture's resolution; between them the closer look becomes the better witness:
FINER_FROM, FINER_WEIGHT = 0.02, 0.25
MOST = 8  # of one label in one picture: a street of lamps must not keep the other cameras waiting
SAME = 0.4  # of the smaller box's area: it is seen there again
ALIKE = 0.5  # intersection over union: both boxes are of the same thing, and drawn alike
NOTHING = 0.001  # a look that sees nothing there is not sure of that without end


class Cut(NamedTuple):
    """A part of a picture: its top left corner, and its pixels."""

    left: int
    top: int
    pixels: Picture


class Close(NamedTuple):
    """A detection that is worth another look: its cut-out, and what the first look weighs."""

    detection: Detection
    cut: Cut
    weight: float

    def together(self, close: float) -> float:
        """How sure both looks are, where the closer one is so sure."""
        mean: float = self.detection.confidence**self.weight * max(close, NOTHING) ** (1 - self.weight)
        return round(mean, 4)


class Dealt(NamedTuple):
    """What was found in a picture, the strongest first."""

    looked: list[Close]
    """Of each label the strongest, which are looked at."""
    beyond: list[Close]
    """Worth a look too, but there were so many of their label."""
    weak: list[Detection]


class CloserLook:
    """A function, and then the detector once more, close to each of its boxes."""

    def __init__(self, function: Function, detector: Model) -> None:
        self._function, self._detector = function, detector

    def __call__(
        self, pictures: Sequence[Picture], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        # the first look from further down than what is asked for: the closer one may be surer
        answers = self._function(pictures, min(floor, FINER_FROM), input_px)
        dealt = [deal(*each) for each in zip(answers, pictures, input_px, strict=True)]
        seen = iter(self._seen([each.cut for of in dealt for each in of.looked]))
        judged = [[_judged(each, next(seen)) for each in of.looked] for of in dealt]
        return [_together(*each, floor) for each in zip(dealt, judged, strict=True)]

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


def deal(found: Sequence[Detection], picture: Picture, input_px: int) -> Dealt:
    """By what is looked at once more, of what was found in a picture that was shown at `input_px`."""
    looked: list[Close] = []
    beyond: list[Close] = []
    weak: list[Detection] = []
    for each in found:
        if (close := _close(each, picture, input_px)) is None:
            weak.append(each)
        else:
            before = sum(one.detection.label == each.label for one in looked)
            (looked if before < MOST else beyond).append(close)
    return Dealt(looked, beyond, weak)


def _close(detection: Detection, picture: Picture, input_px: int) -> Close | None:
    """None for what is too weak to be looked at."""
    cut = cut_out(picture, detection.box)
    least, most = FINER
    finer = (_resolution(cut.pixels, SIDE_PX) / _resolution(picture, input_px) - least) / (most - least)
    finer = min(1.0, max(0.0, finer))
    if detection.confidence < FROM + finer * (FINER_FROM - FROM):
        return None
    return Close(detection, cut, WEIGHT + finer * (FINER_WEIGHT - WEIGHT))


def _resolution(picture: Picture, side_px: int) -> float:
    """What is left of a picture's own when it is shown so large; nothing comes of enlarging it."""
    height, width = picture.shape[:2]
    return float(min(1.0, side_px / max(height, width)))


def _together(dealt: Dealt, judged: Sequence[Detection], floor: float) -> tuple[Detection, ...]:
    """What was found, as sure as both looks are, the strongest first, each thing once: means of boxes may come to lie alike."""
    found = [*judged, *(_as_the_others(each, judged) for each in dealt.beyond), *dealt.weak]
    return each_once([each for each in found if each.confidence >= floor])


def _as_the_others(close: Close, judged: Sequence[Detection]) -> Detection:
    """For one that there was no look for after so many of its label: as if it had been seen as surely as most of them."""
    label = close.detection.label
    seen = statistics.median(each.looks.close for each in judged if each.label == label and each.looks is not None)
    return replace(close.detection, confidence=close.together(seen))


def _judged(close: Close, seen: Sequence[Detection]) -> Detection:
    detection = close.detection
    again = next((each for each in seen if _same(each, detection)), None)  # the strongest comes first
    sure = again.confidence if again is not None else 0.0
    box = _between(detection.box, again.box) if again is not None else detection.box
    return replace(detection, confidence=close.together(sure), box=box, looks=Looks(detection.confidence, sure))


def _between(one: Box, other: Box) -> Box:
    if iou(one, other) < ALIKE:
        return one
    x1, y1, x2, y2 = (round((a + b) / 2, 2) for a, b in zip(one, other, strict=True))
    return x1, y1, x2, y2


def _moved(box: Box, cut: Cut) -> Box:
    return box[0] + cut.left, box[1] + cut.top, box[2] + cut.left, box[3] + cut.top


def _same(one: Detection, other: Detection) -> bool:
    return one.label == other.label and covered(one.box, other.box) >= SAME
