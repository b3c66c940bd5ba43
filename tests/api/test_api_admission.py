# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is let in, in which order, and who is told at once that it would take too long."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from daemon.api.admission import Budget, Places
from daemon.api.codes import Refusal


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def waiting(places: Places, name: str, came: list[str], within_s: float = 20) -> threading.Thread:
    """Somebody who waits for a place; returns once it stands in the line."""
    before = len(places._waiting)

    def wait() -> None:
        try:
            with places.one(within_s):
                came.append(name)
        except Refusal as refusal:
            came.append(f"{name} {refusal.code.sentence}")

    thread = threading.Thread(target=wait)
    thread.start()
    while len(places._waiting) == before and thread.is_alive():
        time.sleep(0.001)
    return thread


def test_places_are_given_in_the_order_of_coming() -> None:
    """Nobody overtakes; a place that becomes free goes to whoever waits longest."""
    places, came = Places(1), []
    with places.one(1):
        line = [waiting(places, name, came) for name in ("first", "second", "third")]
    for thread in line:
        thread.join(20)
    assert came == ["first", "second", "third"]
    with places.one(0):
        came.append("free again")
    assert came[-1] == "free again"


def test_who_waited_too_long_is_refused_and_leaves_the_line() -> None:
    """And the place is not lost with it."""
    places, came = Places(1), []
    with places.one(1):
        waiting(places, "hasty", came, within_s=0.01).join(20)
        patient = waiting(places, "patient", came)
    patient.join(20)
    assert came == ["hasty overloaded", "patient"]


def test_what_cannot_be_in_time_is_refused_at_the_door() -> None:
    """By the rate of the last second; without a fresh rate whoever comes is tried, since it could have become better."""
    hand = Hand()
    places, came = Places(1, hand), []
    first = ExitStack()
    first.enter_context(places.one(1))
    second = waiting(places, "second", came)
    hand.now_s += 2  # one in two seconds
    first.close()
    second.join(20)
    with places.one(1):
        with pytest.raises(Refusal), places.one(3.9):  # its own two seconds, and two for the one inside
            pass
        third = waiting(places, "third", came, within_s=20)
        began_s = time.monotonic()
        with pytest.raises(Refusal), places.one(5.9):
            pass
        assert time.monotonic() - began_s < 1
        hand.now_s += 6
        fourth = waiting(places, "fourth", came, within_s=5.9)
    third.join(20)
    fourth.join(20)
    assert came == ["second", "third", "fourth"]


def test_a_budget_is_shared_by_size() -> None:
    """Many small ones, or few large ones; what is not free in time is refused, what becomes free is given."""
    budget = Budget(10)
    with budget.lent(6, 0), budget.lent(4, 0):
        with pytest.raises(Refusal), budget.lent(1, 0.01):
            pass
    held = ExitStack()
    held.enter_context(budget.lent(10, 0))
    threading.Timer(0.05, held.close).start()
    with budget.lent(10, 20), pytest.raises(Refusal), budget.lent(1, 0):
        pass
