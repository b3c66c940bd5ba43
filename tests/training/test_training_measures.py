# SPDX-License-Identifier: AGPL-3.0-or-later
"""Average precision against cases worked out by hand and a second, slow computation; intervals; what counts as found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.matching import found_near, overlaps, right, right_of_size
from training.measures import Ranked, average_precision, share

A, B, FAR = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (80.0, 80.0, 90.0, 90.0)


def test_overlap_of_boxes_worked_out_by_hand() -> None:
    """Half covered from the side is a third of the union; touching is nothing."""
    assert overlaps([A], [A, (5.0, 0.0, 15.0, 10.0), (10.0, 0.0, 20.0, 10.0)]).tolist() == [
        [1.0, pytest.approx(1 / 3), 0.0]
    ]


def test_a_second_detection_of_the_same_box_is_wrong() -> None:
    """Each box is found once, by the strongest; the weaker may still take another that it covers."""
    assert right([A, A, B], [A, B], 0.5) == [True, False, True]


def test_a_box_is_right_only_from_the_overlap_on() -> None:
    """IoU 1/3 counts at 0.3 and not at 0.5."""
    assert right([(5.0, 0.0, 15.0, 10.0)], [A], 0.3) == [True]
    assert right([(5.0, 0.0, 15.0, 10.0)], [A], 0.5) == [False]


def test_what_is_of_another_size_is_neither_right_nor_wrong() -> None:
    """Neither what finds a box that does not fit, nor what is no box and does not fit; a second detection stays wrong."""
    wide = (40.0, 0.0, 70.0, 10.0)
    nothing, wide_nothing = (0.0, 50.0, 10.0, 60.0), (40.0, 50.0, 70.0, 60.0)

    def narrow(box: tuple[float, ...]) -> bool:
        return box[2] - box[0] <= 10

    found = [A, A, wide, nothing, wide_nothing]
    assert right_of_size(found, [A, wide], narrow, 0.5) == [True, False, None, False, None]
    assert right_of_size(found, [A, wide], lambda box: not narrow(box), 0.5) == [None, None, True, None, False]
    assert right_of_size(found, [A, wide], lambda _: True, 0.5) == right(found, [A, wide], 0.5)


def test_found_is_within_one_and_a_half_sizes_of_the_centre() -> None:
    """The longer side counts, and the boxes need not overlap."""
    low = (0.0, 0.0, 10.0, 4.0)
    assert found_near([(15.0, 0.0, 25.0, 4.0)], low)
    assert not found_near([(15.2, 0.0, 25.2, 4.0)], low)
    assert not found_near([], low)


@pytest.mark.parametrize(
    ("rights", "boxes", "expected"),
    [
        ((True, True), 2, 1.0),
        ((False, True), 1, 0.5),
        ((True, False, True), 2, 0.5 * 1 + 0.5 * 2 / 3),
        ((False, True, True), 2, 2 / 3),  # the envelope: precision 1/2 at the first recall counts as the later 2/3
        ((True,), 4, 0.25),
        ((), 3, 0.0),
        ((False,), 3, 0.0),
    ],
)
def test_average_precision_of_one_picture_worked_out_by_hand(
    rights: tuple[bool, ...], boxes: int, expected: float
) -> None:
    """The area under the precision envelope over recall."""
    confidences = tuple(0.9 - 0.1 * at for at in range(len(rights)))
    assert average_precision([Ranked("s", confidences, rights, boxes)]).value == pytest.approx(expected)


def test_equal_confidences_are_one_step() -> None:
    """Which of two equally sure detections comes first says nothing about the detector."""
    both = [Ranked("a", (0.5,), (True,), 1), Ranked("b", (0.5,), (False,), 0)]
    assert average_precision(both).value == average_precision(both[::-1]).value == pytest.approx(0.5)


def test_without_boxes_there_is_no_average_precision() -> None:
    """Nothing can be said, which is not zero."""
    assert average_precision([Ranked("a", (0.5,), (False,), 0)]).value is None
    assert average_precision([]).value is None


PICTURES = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=5), st.integers(0, 3)
    ),
    min_size=1,
    max_size=6,
)


@given(PICTURES)
def test_average_precision_is_the_integral_of_the_best_precision_at_each_recall(
    made: list[tuple[str, list[tuple[int, bool]], int]],
) -> None:
    """Against its definition: for each box, the best precision of any cut that finds as many; within its interval's bounds."""
    pictures = []
    for scene, found, extra in made:
        ordered = sorted(found, key=lambda each: -each[0])
        boxes = sum(good for _, good in found) + extra
        pictures.append(Ranked(scene, tuple(c / 10 for c, _ in ordered), tuple(good for _, good in ordered), boxes))
    figure = average_precision(pictures)
    total = sum(each.boxes for each in pictures)
    cuts = []
    for cut in range(1, 10):
        kept = [good for _, found, _ in made for confidence, good in found if confidence >= cut]
        if kept:
            cuts.append((sum(kept), sum(kept) / len(kept)))
    if total == 0:
        assert figure.value is None
        return
    best = [
        max((precision for found, precision in cuts if found >= wanted), default=0.0) for wanted in range(1, total + 1)
    ]
    assert figure.value == pytest.approx(sum(best) / total)
    assert figure.low is None or figure.high is None or 0 <= figure.low <= figure.high <= 1


def test_an_interval_needs_several_scenes_and_is_wider_for_fewer() -> None:
    """A hundred frames of one scene are no hundred scenes."""
    assert share([("one", True), ("one", False)]).low is None
    many = share([(str(at), at % 2 == 0) for at in range(100)])
    few = share([(str(at // 25), (at // 25) % 2 == 0) for at in range(100)])
    assert many.value == few.value == 0.5
    assert many.low is not None
    assert many.high is not None
    assert few.low is not None
    assert few.low < many.low < 0.5 < many.high
    assert (many.count, many.scenes, few.scenes) == (100, 100, 4)


def test_the_same_data_give_the_same_interval() -> None:
    """A figure can be repeated to the last digit."""
    hits = [(str(at % 7), at % 3 == 0) for at in range(50)]
    assert share(hits) == share(hits)
