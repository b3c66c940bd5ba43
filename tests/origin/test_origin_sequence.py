# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order of first sights and losses: never claimed where the error bars do not bear it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.clock import NS
from daemon.origin.sequence import Event, first_sight, loss, reaching_back, sequence

moment = st.integers(0, 60 * NS)
margin = st.integers(0, 5 * NS)


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[Event, int]]:
    """Events with an error bar, and when each truly happened within it."""
    found = []
    for number in range(draw(st.integers(0, 8))):
        truth = draw(moment)
        begin, end = truth - draw(margin), truth + draw(margin)
        what = draw(st.sampled_from(["first_sight", "lost"]))
        at = draw(st.integers(begin, end))
        found.append((Event(f"e{number}", what, f"c{number}", None if draw(st.booleans()) else begin, end, at), truth))
    return found


@given(happenings())
def test_what_is_told_as_an_order_is_the_order(found: list[tuple[Event, int]]) -> None:
    """Whatever truly happened within the error bars: of two events with a determined order the first in the sequence was first."""
    truth = {event.id: at for event, at in found}
    placed = sequence(event for event, _ in found)
    for place, earlier in enumerate(placed):
        for later in placed[place + 1 :]:
            if later.event.id not in earlier.not_determined_with:
                assert truth[earlier.event.id] < truth[later.event.id]


@given(happenings())
def test_overlapping_intervals_are_not_ordered(found: list[tuple[Event, int]]) -> None:
    """Not determined is mutual, holds of no event with itself, and exactly where intervals share a moment."""
    placed = {each.event.id: each for each in sequence(event for event, _ in found)}
    assert len(placed) == len(found)
    for one in placed.values():
        assert one.event.id not in one.not_determined_with
        for other in placed.values():
            begin = max(-(10**18) if each.event.from_ns is None else each.event.from_ns for each in (one, other))
            shares = begin <= min(one.event.to_ns, other.event.to_ns)
            if one is not other:
                assert (other.event.id in one.not_determined_with) == shares
                assert (other.event.id in one.not_determined_with) == (one.event.id in other.not_determined_with)


@given(happenings(), st.randoms())
def test_the_sequence_does_not_depend_on_who_is_asked_first(found: list[tuple[Event, int]], chance: object) -> None:
    """The same events in any order are the same sequence."""
    events = [event for event, _ in found]
    shuffled = list(events)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sequence(shuffled) == sequence(events)


def test_a_first_sight_reaches_back_to_the_last_clean_frame() -> None:
    """Two cameras whose first visible frames are 0.3 s apart, each certain to 0.2 s: not determined; to 0.1 s: determined."""

    def order(uncertainty_s: float) -> list[tuple[str, ...]]:
        hall = first_sight("a", "hall", 10 * NS, uncertainty_s, "gone_back", None)
        yard = first_sight("b", "yard", 10 * NS + 3 * NS // 10, uncertainty_s, "gone_back", None)
        return [each.not_determined_with for each in sequence([yard, hall])]

    assert order(0.2) == [("b",), ("a",)]
    assert order(0.1) == [(), ()]


def test_a_first_sight_in_doubt_is_before_nobody_it_may_have_followed() -> None:
    """What may have burned since 8 s is not after the camera that saw it at 9 s; open to the past, it is before who is later."""
    hall = first_sight("a", "hall", 10 * NS, 0.1, "in_doubt", None)
    yard, gate = (first_sight(name, name, at * NS, 0.1, "gone_back", None) for name, at in (("yard", 9), ("gate", 11)))

    def unordered(since_ns: int | None) -> set[str]:
        (placed,) = [each for each in sequence([yard, gate, reaching_back(hall, since_ns)]) if each.event.id == "a"]
        return set(placed.not_determined_with)

    assert unordered(8 * NS) == {"yard"}
    assert unordered(99 * NS // 10) == set(), "no later than its own margin"
    assert unordered(None) == {"yard"}
    assert sequence([gate, reaching_back(hall, None)])[0].event.camera == "hall"


def test_a_loss_lies_between_the_last_frame_and_the_one_that_never_came() -> None:
    """A camera is lost at its last frame or up to an interval after it."""
    event = loss("g", "hall", 20 * NS, 0.1, 2.0, "unreachable", "still")
    assert (event.from_ns, event.to_ns, event.at_ns) == (199 * NS // 10, 221 * NS // 10, 20 * NS)
