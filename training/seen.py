# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the daemon's own FireDetector sees in labelled pictures, and what of that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from daemon.detect.letterbox import letterbox
from daemon.domain import LABELS, Box, Detection
from training.folders import Pixels, Sample
from training.matching import found_near, right_of_size
from training.measures import Estimate, Ranked, average_precision, share

SPLITS = ("val", "val_cctv", "val_cctv_neg", "neg_hard")
FLOOR = 0.01  # for average precision: weaker ones add less than 0.001 to it
AT_ONCE = 16
SIZES = ((0.0, 8.0), (8.0, 16.0), (16.0, 32.0), (32.0, float("inf")))
"""Of a box's longer side at the detector's input, in pixels."""
Thresholds = Mapping[str, float]


class Looker(Protocol):
    """A FireDetector, as far as it is needed here."""

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample and what was seen in it; boxes in pixels of the picture."""

    sample: Sample
    size_px: tuple[int, int]
    detections: tuple[Detection, ...]

    def labelled(self, label: str) -> list[Box]:
        """The labelled boxes, in pixels of the picture."""
        width, height = self.size_px
        return [
            (each.box[0] * width, each.box[1] * height, each.box[2] * width, each.box[3] * height)
            for each in self.sample.boxes
            if each.label == label
        ]

    def found(self, label: str, threshold: float = 0.0) -> list[Detection]:
        """Detections of that label from that confidence on that no verifier rejected, the strongest first."""
        return [
            each
            for each in self.detections
            if each.label == label and each.confidence >= threshold and not each.rejected
        ]

    def above(self, floor: float) -> Seen:
        """The same without weaker detections."""
        return replace(self, detections=tuple(each for each in self.detections if each.confidence >= floor))

    def verified_from(self, threshold: float) -> Seen:
        """The same as if that were the verifier's threshold; 0: as if there were none."""
        judged = [
            replace(each, verdict=replace(each.verdict, passed=each.verdict.confidence >= threshold))
            if each.verdict is not None
            else each
            for each in self.detections
        ]
        return replace(self, detections=tuple(judged))

    def hit(self, thresholds: Thresholds) -> bool:
        """Whether anything counts that would be false in a picture that shows nothing."""
        return any(self.sample.known(label) and self.found(label, thresholds[label]) for label in LABELS)


Sized = Callable[[Seen, Box], bool]
"""Whether a box of what was seen, in pixels of its picture, is of the size that is asked for."""


def look(detector: Looker, samples: Sequence[Sample], told: Callable[[int], None] = lambda _: None) -> list[Seen]:
    """Looks at each picture; `told` hears how many are done."""
    seen: list[Seen] = []
    for at in range(0, len(samples), AT_ONCE):
        part = samples[at : at + AT_ONCE]
        pictures = [each.pixels() for each in part]
        for sample, picture, found in zip(part, pictures, detector.detect(pictures, FLOOR), strict=True):
            seen.append(Seen(sample, (picture.shape[1], picture.shape[0]), found))
        told(len(seen))
    return seen


def ap(seen: Iterable[Seen], label: str, iou: float, sized: Sized | None = None) -> Estimate:
    """Average precision over the pictures in which that label is known; of what is `sized` alone, as COCO counts it."""
    fits = sized or (lambda _seen, _box: True)
    ranked = []
    for each in seen:
        if each.sample.known(label):
            found, boxes = each.found(label), each.labelled(label)
            rights = right_of_size([one.box for one in found], boxes, partial(fits, each), iou)
            counted = [(one.confidence, good) for one, good in zip(found, rights, strict=True) if good is not None]
            confidences, goods = tuple(value for value, _ in counted), tuple(good for _, good in counted)
            ranked.append(Ranked(each.sample.scene, confidences, goods, sum(fits(each, box) for box in boxes)))
    return average_precision(ranked)


def image_recall(seen: Iterable[Seen], label: str, threshold: float) -> Estimate:
    """Of the pictures that show it, the share in which it is detected at all."""
    return share([(each.sample.scene, bool(each.found(label, threshold))) for each in seen if each.labelled(label)])


def hit_rate(seen: Iterable[Seen], thresholds: Thresholds) -> Estimate:
    """Of the pictures that show neither, the share with any detection."""
    return share([(each.sample.scene, each.hit(thresholds)) for each in seen if not each.sample.boxes])


def found_share(seen: Iterable[Seen], label: str, threshold: float, sized: Sized | None = None) -> Estimate:
    """Of the labelled boxes (of what is `sized`, where that is asked), the share that is found."""
    hits = []
    for each in seen:
        found = [one.box for one in each.found(label, threshold)]
        boxes = (box for box in each.labelled(label) if sized is None or sized(each, box))
        hits += [(each.sample.scene, found_near(found, box)) for box in boxes]
    return share(hits)


def of_size(low: float, high: float, input_px: int) -> Sized:
    """Whether a box's longer side at the detector's input is from `low` to less than `high` px."""
    return lambda seen, box: low <= input_side_px(box, seen.size_px, input_px) < high


def input_side_px(box: Box, size_px: tuple[int, int], input_px: int) -> float:
    """A box's longer side as the detector sees it."""
    scale = letterbox(size_px, input_px).inner_width / size_px[0]
    return round(max(box[2] - box[0], box[3] - box[1]) * scale, 3)  # labels are written to a millionth
