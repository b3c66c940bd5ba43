# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder's idea of incidents: interrupted ones, and those that continue them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.clock import NS
from daemon.domain import Incident
from daemon.storage.incidents import Incidents

T0 = 1_795_449_600 * NS
PLACE = (0.40, 0.40, 0.50, 0.50)
FIRST = Incident("a", "hall", "suspect", T0, None, None, ("fire",), 0.5, PLACE)


def _interrupted(at_s: float = 60) -> Incidents:
    incidents = Incidents()
    incidents.changed(FIRST, 1.0)
    [ended] = incidents.interrupt("hall", T0 + round(at_s * NS))
    assert (ended.state, ended.ended_at_ns) == ("interrupted", T0 + round(at_s * NS))
    return incidents


@pytest.mark.parametrize(
    ("camera", "place", "at_s", "continued"),
    [
        ("hall", PLACE, 61, True),
        ("hall", (0.45, 0.45, 0.55, 0.55), 660, True),
        ("hall", (0.51, 0.40, 0.57, 0.50), 100, True),  # beside it: centres within one box size
        ("hall", PLACE, 661, False),
        ("hall", (0.80, 0.10, 0.85, 0.15), 61, False),
        ("yard", PLACE, 61, False),
        ("hall", PLACE, 0, True),  # a wall clock that stepped back a little
        ("hall", PLACE, -3600, False),
    ],
)
def test_what_continues_an_interrupted_one(
    camera: str, place: tuple[float, float, float, float], at_s: float, continued: bool
) -> None:
    """The same camera, the same place, within ten minutes of the interruption."""
    incidents = _interrupted()
    new = replace(FIRST, id="b", camera=camera, place=place, first_suspect_at_ns=T0 + round(at_s * NS))
    assert incidents.changed(new, 1.0).previous == ("a" if continued else None)


@pytest.mark.parametrize(("before", "after"), [("manual", "detected"), ("detected", "manual")])
def test_what_somebody_asked_for_continues_nothing(before: str, after: str) -> None:
    """A capture has no place: it is no part of what the detector saw before or after it."""
    incidents = Incidents()
    incidents.changed(replace(FIRST, kind=before), 1.0)
    incidents.interrupt("hall", T0 + NS)
    new = replace(FIRST, id="b", kind=after, first_suspect_at_ns=T0 + 2 * NS)
    assert incidents.changed(new, 1.0).previous is None


def test_previous_stays_through_its_transitions() -> None:
    """Workers do not know of it: each of their messages gets it again, the last one too."""
    incidents = _interrupted()
    new = replace(FIRST, id="b", first_suspect_at_ns=T0 + 90 * NS)
    for state in ("suspect", "confirmed", "ended"):
        assert incidents.changed(replace(new, state=state), 1.0).previous == "a"


def test_previous_is_the_newest() -> None:
    """A chain of interruptions names its last link."""
    incidents = _interrupted()
    incidents.changed(replace(FIRST, id="b", first_suspect_at_ns=T0 + 90 * NS), 1.0)
    incidents.interrupt("hall", T0 + 120 * NS)
    assert incidents.changed(replace(FIRST, id="c", first_suspect_at_ns=T0 + 150 * NS), 1.0).previous == "b"


@pytest.mark.parametrize("state", ["ended", "unconfirmed"])
def test_what_is_over_is_not_interrupted_nor_continued(state: str) -> None:
    """An incident that ended by itself stays as it ended."""
    incidents = Incidents()
    incidents.changed(replace(FIRST, state=state, ended_at_ns=T0 + 10 * NS), 1.0)
    assert incidents.interrupt("hall", T0 + 60 * NS) == []
    assert incidents.changed(replace(FIRST, id="b", first_suspect_at_ns=T0 + 20 * NS), 1.0).previous is None


def test_interruption_is_not_before_the_confirmation() -> None:
    """The heartbeat can be older than the last transition."""
    incidents = Incidents()
    incidents.know([replace(FIRST, state="confirmed", first_confirmed_at_ns=T0 + 5 * NS)])
    [ended] = incidents.interrupt("hall", T0 + 2 * NS)
    assert ended.ended_at_ns == T0 + 5 * NS


def test_interrupted_once() -> None:
    """Twice gone is once interrupted; another camera's go on."""
    incidents = _interrupted()
    incidents.changed(replace(FIRST, id="y", camera="yard"), 1.0)
    assert incidents.interrupt("hall", T0 + 99 * NS) == []
    assert [each.id for each in incidents.interrupt("yard", T0 + 99 * NS)] == ["y"]


def test_the_living_worker_has_the_last_word() -> None:
    """Only the recorder was gone: the worker's next transition counts, and names no previous one."""
    incidents = _interrupted()
    assert incidents.changed(replace(FIRST, state="confirmed"), 1.0) == replace(FIRST, state="confirmed")
    assert [each.state for each in incidents.interrupt("hall", T0 + 99 * NS)] == ["interrupted"]


CONFIRMED = replace(FIRST, state="confirmed", first_confirmed_at_ns=T0 + 5 * NS)


def test_what_comes_again_tells_nothing() -> None:
    """A worker that connects again sends again: each state is told once, and none goes back."""
    ended = replace(CONFIRMED, state="ended", ended_at_ns=T0 + 50 * NS)
    incidents = Incidents()
    for told in (FIRST, CONFIRMED, ended):
        assert incidents.changed(told, 1.0) == told
        for again in (FIRST, CONFIRMED, ended)[: (FIRST, CONFIRMED, ended).index(told) + 1]:
            assert incidents.changed(again, 1.0) is None
    assert incidents.interrupt("hall", T0 + 60 * NS) == []


def test_what_may_not_be_durable_is_told_again() -> None:
    """A state whose group could not be stored is no reason to ignore it the next time; after that it is."""
    incidents = Incidents()
    incidents.changed(CONFIRMED, 1.0)
    incidents.doubt([CONFIRMED.id])
    assert incidents.changed(FIRST, 1.0) == FIRST
    assert incidents.changed(CONFIRMED, 1.0) == CONFIRMED
    assert incidents.changed(CONFIRMED, 1.0) is None


def test_another_place_is_news() -> None:
    """Only what is the same in every field is the same."""
    incidents = Incidents()
    incidents.changed(CONFIRMED, 1.0)
    moved = replace(CONFIRMED, place=(0.41, 0.40, 0.51, 0.50))
    assert incidents.changed(moved, 1.0) == moved


def test_an_interrupted_one_runs_again() -> None:
    """Its worker lived on: the state that it had before the interruption is news again."""
    incidents = Incidents()
    incidents.changed(CONFIRMED, 1.0)
    incidents.interrupt("hall", T0 + 60 * NS)
    assert incidents.cameras_with_open() == []
    assert incidents.changed(CONFIRMED, 1.0) == CONFIRMED
    assert incidents.cameras_with_open() == ["hall"]


def test_old_ones_are_forgotten() -> None:
    """Memory does not grow with the years."""
    incidents = Incidents()
    for number in range(100):
        at_ns = T0 + number * 3600 * NS
        ended = replace(FIRST, id=str(number), state="ended", first_suspect_at_ns=at_ns, ended_at_ns=at_ns + NS)
        incidents.changed(ended, 1.0)
    assert len(incidents._of["hall"]) <= 2
