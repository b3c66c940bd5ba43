# SPDX-License-Identifier: AGPL-3.0-or-later
"""The closer look: what is cut out, how both looks weigh, and the real detector looking twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.detect.closer import LEAST_PX, MOST, SIDE_PX, CloserLook, cut_out, deal
from daemon.detect.detector import REFERENCE_PICTURE, FireDetector
from daemon.domain import Box, Detection, Looks

PICTURE = np.zeros((400, 600, 3), np.uint8)
HERE: Box = (100.0, 100.0, 140.0, 140.0)


class Sees:
    """A function and a model: in whole pictures what it is given first, close to each box what it is given for it, in turn."""

    def __init__(self, whole: Sequence[Detection], *close: Sequence[Detection]) -> None:
        self.whole, self.close, self.shown = tuple(whole), list(close), list[tuple[int, ...]]()

    def __call__(
        self, pictures: Sequence[np.ndarray], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        return [self.whole for _ in pictures]

    def find(
        self, pictures: Sequence[np.ndarray], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        assert list(input_px) == [SIDE_PX] * len(pictures)
        self.shown += [each.shape for each in pictures]
        return [tuple(self.close.pop(0)) if self.close else () for _ in pictures]

    def looked(self, floor: float = 0.1) -> tuple[Detection, ...]:
        return CloserLook(self, self)([PICTURE], floor, [640])[0]


def middle(confidence: float, label: str = "fire") -> Detection:
    """The box HERE as its cut-out has it: 224 px square from (8, 8) on."""
    return Detection(label, confidence, (92.0, 92.0, 132.0, 132.0))


def test_a_detection_is_as_sure_as_both_looks() -> None:
    """Their geometric mean; both stay on record; what the closer look confirms comes before what it does not."""
    elsewhere = Detection("fire", 0.6, (400.0, 200.0, 440.0, 240.0))
    sees = Sees([elsewhere, Detection("fire", 0.5, HERE)], [middle(0.2)], [middle(0.9)])
    first, second = sees.looked()
    assert (first.box, first.looks) == (HERE, Looks(0.5, 0.9))
    assert first.confidence == pytest.approx((0.5 * 0.9) ** 0.5, abs=1e-4)
    assert (second.box, second.looks) == (elsewhere.box, Looks(0.6, 0.2))
    assert sees.shown == [(LEAST_PX, LEAST_PX, 3)] * 2


def test_a_box_is_the_mean_of_two_that_are_alike() -> None:
    """Of one that is drawn quite otherwise nothing is taken but how sure it is."""
    near, far = Detection("fire", 0.5, (96.0, 92.0, 136.0, 132.0)), Detection("fire", 0.5, (92.0, 92.0, 102.0, 102.0))
    assert Sees([Detection("fire", 0.5, HERE)], [near]).looked()[0].box == (102.0, 100.0, 142.0, 140.0)
    (found,) = Sees([Detection("fire", 0.5, HERE)], [far]).looked()
    assert (found.box, found.confidence) == (HERE, 0.5)


@pytest.mark.parametrize(
    "close",
    [
        [],
        [middle(0.9, "smoke")],
        [Detection("fire", 0.9, (0.0, 0.0, 20.0, 20.0))],
    ],
    ids=["nothing", "another label", "another place"],
)
def test_what_is_not_seen_close_does_not_count(close: list[Detection]) -> None:
    """However sure the first look is, and it is not told from the floor on."""
    (found,) = Sees([Detection("fire", 0.9, HERE)], close).looked(floor=0.02)
    assert found.confidence < 0.1
    assert found.looks == Looks(0.9, 0.0)
    assert Sees([Detection("fire", 0.9, HERE)], close).looked(floor=0.1) == ()


def test_weak_ones_are_not_looked_at() -> None:
    """They are told as they were, from the floor on, whatever became of a stronger one."""
    sees = Sees([Detection("fire", 0.9, (0.0, 0.0, 9.0, 9.0)), Detection("fire", 0.09, HERE)])
    (found,) = sees.looked(floor=0.05)
    assert (found.confidence, found.looks, len(sees.shown)) == (0.09, None, 1)


@pytest.mark.parametrize(
    ("size_px", "side", "input_px", "whole", "together"),
    [
        ((1800, 1200), 40.0, 640, 0.05, 0.05**0.25 * 0.9**0.75),
        ((1800, 1200), 40.0, 1344, 0.05, None),
        ((1800, 1200), 240.0, 640, 0.3, (0.3 * 0.9) ** 0.5),
        ((640, 400), 40.0, 640, 0.3, (0.3 * 0.9) ** 0.5),
        ((640, 400), 40.0, 640, 0.05, None),
        ((640, 400), 40.0, 128, 0.05, 0.05**0.25 * 0.9**0.75),
        ((160, 120), 40.0, 160, 0.05, None),
        ((1800, 1200), 40.0, 640, 0.015, None),
    ],
    ids=["small in large", "seen in full", "large", "in small", "weak there", "much reduced", "enlarged", "too weak"],
)
def test_where_the_closer_look_is_finer_it_counts_for_more(
    size_px: tuple[int, int], side: float, input_px: int, whole: float, together: float | None
) -> None:
    """A flame of a few pixels at the input, that the picture as it was given shows well: three quarters of the weight, from 0.02 on."""
    picture = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    box: Box = (60.0, 50.0, 60.0 + side, 50.0 + side)
    cut = cut_out(picture, box)
    close = Detection("fire", 0.9, (box[0] - cut.left, box[1] - cut.top, box[2] - cut.left, box[3] - cut.top))
    sees = Sees([Detection("fire", whole, box)], [close])
    (found,) = CloserLook(sees, sees)([picture], 0.01, [input_px])[0]
    assert found.confidence == pytest.approx(together if together is not None else whole, abs=1e-4)
    assert (found.looks is not None) == (together is not None)


def test_of_very_many_the_strongest_are_looked_at_and_none_of_the_others_is_surer() -> None:
    """A street of lamps costs no more than so many looks, and what was not looked at does not count for that."""
    boxes = [(10.0 * at, 10.0, 10.0 * at + 8, 18.0) for at in range(MOST + 20)]
    lamps = [Detection("fire", round(0.9 - 0.01 * at, 2), box) for at, box in enumerate(boxes)]
    sees = Sees(lamps)
    found = sees.looked(floor=0.0)
    assert len(sees.shown) == MOST
    assert len(found) == len(lamps)
    assert max(each.confidence for each in found) < 0.1
    assert max(each.confidence for each in found if each.looks is None) <= min(
        each.confidence for each in found if each.looks is not None
    )


def test_one_that_is_refuted_takes_no_other_with_it() -> None:
    """Of a row of flames one is a lamp: those that there was no look for go the way of most, and smoke is looked at for itself."""
    flames = [
        Detection("fire", round(0.9 - 0.01 * at, 2), (30.0 * at, 10.0, 30.0 * at + 20, 30.0)) for at in range(MOST + 3)
    ]
    smoke = Detection("smoke", 0.5, (100.0, 200.0, 300.0, 380.0))

    class Beside(Sees):
        def find(
            self, pictures: Sequence[np.ndarray], floor: float, input_px: Sequence[int]
        ) -> list[tuple[Detection, ...]]:
            whole = (0.0, 0.0, 600.0, 400.0)
            answers = [(Detection("fire", 0.9, whole),) for _ in range(MOST)] + [(Detection("smoke", 0.5, whole),)]
            return [(), *answers[1:]]

    found = Beside([*flames, smoke]).looked()
    assert [each.label for each in found].count("fire") == MOST + 2
    assert [each.label for each in found].count("smoke") == 1
    assert sum(each.looks is None for each in found) == 3


def test_one_beyond_the_eighth_is_weighed_for_itself() -> None:
    """Small flames in a large picture become much surer, and what is large there no more than had it been looked at."""
    small = [Detection("fire", 0.12, (100.0 * at, 100.0, 100.0 * at + 30, 130.0)) for at in range(1, MOST + 1)]
    large = Detection("fire", 0.11, (700.0, 500.0, 1300.0, 1000.0))

    class Sure(Sees):
        def find(
            self, pictures: Sequence[np.ndarray], floor: float, input_px: Sequence[int]
        ) -> list[tuple[Detection, ...]]:
            return [(Detection("fire", 0.9, (0.0, 0.0, 2000.0, 2000.0)),) for _ in pictures]

    sees = Sure([*small, large])
    *flames, last = CloserLook(sees, sees)([np.zeros((1080, 1920, 3), np.uint8)], 0.1, [640])[0]
    assert [each.confidence for each in flames] == [pytest.approx(0.12**0.25 * 0.9**0.75, abs=1e-4)] * MOST
    assert (last.box, last.confidence) == (large.box, pytest.approx((0.11 * 0.9) ** 0.5, abs=1e-4))


def test_between_one_resolution_and_the_other_there_is_no_step() -> None:
    """A box of a pixel more or less, a picture of a pixel more or less: how sure both looks are hardly changes."""
    for sizes_px in ([(1920, side) for side in range(120, 300)], [(width, 60) for width in range(640, 1400)]):
        sure = []
        for width, side in sizes_px:
            box: Box = (300.0, 200.0, 300.0 + side, 200.0 + side)
            (found,) = deal([Detection("fire", 0.12, box)], np.zeros((600, width, 3), np.uint8), 640).looked
            sure.append(found.together(0.9))
        assert max(sure) - min(sure) > 0.2
        assert max(abs(one - other) for one, other in pairwise(sure)) < 0.01


def test_the_first_look_goes_further_down_than_what_is_asked_for() -> None:
    """Whoever asks from a threshold on, as POST does, is told of what both looks together are sure of."""
    asked = []

    class Noting(Sees):
        def __call__(
            self, pictures: Sequence[np.ndarray], floor: float, input_px: Sequence[int]
        ) -> list[tuple[Detection, ...]]:
            asked.append(floor)
            return super().__call__(pictures, floor, input_px)

    (found,) = Noting([Detection("fire", 0.2, HERE)], [middle(0.9)]).looked(floor=0.34)
    assert (asked, found.confidence) == ([0.02], pytest.approx(0.4243, abs=1e-4))


def test_boxes_that_come_to_lie_alike_are_one() -> None:
    """Two halves of a flame, both of which the closer look sees as the same whole."""
    two = [Detection("fire", 0.6, (100.0, 100.0, 200.0, 200.0)), Detection("fire", 0.5, (140.0, 100.0, 240.0, 200.0))]
    sees = Sees(
        two,
        [Detection("fire", 0.9, (120.0, 100.0, 220.0, 200.0))],
        [Detection("fire", 0.9, (80.0, 100.0, 180.0, 200.0))],
    )
    assert len(sees.looked()) == 1


def test_every_picture_has_its_own_and_none_is_no_mistake() -> None:
    """In the order of the pictures; without detections nothing is computed."""
    sees = Sees([Detection("fire", 0.5, HERE)], [middle(0.9)], [])
    first, second = CloserLook(sees, sees)([PICTURE, PICTURE], 0.01, [640, 640])
    assert [each[0].looks for each in (first, second)] == [Looks(0.5, 0.9), Looks(0.5, 0.0)]
    nothing = Sees([])
    assert nothing.looked() == ()
    assert nothing.shown == []
    assert CloserLook(nothing, nothing)([], 0.1, []) == []


@given(
    st.integers(1, 700), st.integers(1, 500), st.floats(0, 1), st.floats(0, 1), st.floats(0.002, 1), st.floats(0.002, 1)
)
def test_a_cut_lies_in_the_picture_and_holds_the_box(
    width: int, height: int, x: float, y: float, across: float, down: float
) -> None:
    """Square as far as the picture allows, at least 224 px, and the box is whole in it."""
    picture = np.zeros((height, width, 3), np.uint8)
    x1, y1 = x * width * (1 - across), y * height * (1 - down)
    box = (x1, y1, x1 + across * width, y1 + down * height)
    cut = cut_out(picture, box)
    rows, columns = cut.pixels.shape[:2]
    assert columns == width or columns >= LEAST_PX
    assert rows == height or rows >= LEAST_PX
    assert cut.left <= box[0] + 0.5
    assert cut.top <= box[1] + 0.5
    assert box[2] <= cut.left + columns + 0.5
    assert box[3] <= cut.top + rows + 0.5
    assert (cut.left >= 0, cut.top >= 0) == (True, True)


def test_the_real_detector_looks_twice() -> None:
    """The drawn fire is one at both scales; the same weights' single look is what `whole` says; warming up knows both."""
    picture = cv2.imread(str(REFERENCE_PICTURE))
    twice, once = FireDetector(device="cpu", batch=2, closer=True), FireDetector(device="cpu", batch=2)
    twice.warm()
    assert "looked at once more, close" in twice.why
    assert "close" not in once.why
    found, alone = twice.detect([picture], 0.3)[0], once.detect([picture], 0.3)[0]
    assert found[0].looks is not None
    assert found[0].looks.whole == pytest.approx(alone[0].confidence, abs=0.01)
    assert found[0].looks.close > 0.3
    assert found[0].confidence == pytest.approx((found[0].looks.whole * found[0].looks.close) ** 0.5, abs=1e-3)
    assert twice.detect([picture[:, ::-1].copy(), picture], 0.3)[1] == found
