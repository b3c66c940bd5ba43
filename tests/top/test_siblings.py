# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which cameras keep their pictures because of a fire on another one of their site."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.supervisor.siblings import AFTER_S, LATER_EVERY_S, MOST_S, Siblings

SITES = {"hall": "mill", "yard": "mill", "gate": "mill", "shop": "town", "lone": None}


def test_the_others_of_the_site_keep_their_ring_and_a_minute() -> None:
    """Not the burning one, not those of another site or of none; a still a second, with the reason."""
    found = Siblings().due(10.0, SITES, {"hall"}, set())
    assert {each.cameras for each in found} == {("yard",), ("gate",)}
    assert {(each.kind, each.after_s, each.every_s) for each in found} == {("sibling", AFTER_S, 1.0)}
    assert all(each.before_s >= 600 for each in found), "as much as the ring holds"
    assert {each.reason for each in found} == {"sibling: fire confirmed on hall, site mill"}


def test_while_it_burns_on_they_go_on_more_seldom() -> None:
    """Once the first minute is over, a still every 2 s from then on, without the ring again."""
    siblings = Siblings()
    siblings.due(0.0, SITES, {"hall"}, set())
    siblings.began("yard", "mill")
    siblings.began("gate", "mill")
    assert siblings.due(30.0, SITES, {"hall"}, {"yard", "gate"}) == []
    later = siblings.due(62.0, SITES, {"hall"}, {"gate"})
    assert [(each.cameras, each.before_s, each.every_s) for each in later] == [(("yard",), 0.0, LATER_EVERY_S)]


def test_a_camera_that_cannot_now_is_asked_again() -> None:
    """Its worker was being restarted: the ring is still asked for, and not more often than once a second."""
    siblings = Siblings()
    assert len(siblings.due(0.0, SITES, {"shop", "hall"}, set())) == 2
    assert siblings.due(0.5, SITES, {"hall"}, set()) == []
    assert all(each.before_s > 0 for each in siblings.due(1.1, SITES, {"hall"}, set()))


def test_the_next_fire_begins_anew() -> None:
    """When none is confirmed any more, the next one asks for the ring again."""
    siblings = Siblings()
    siblings.due(0.0, SITES, {"hall"}, set())
    siblings.began("yard", "mill")
    assert siblings.due(100.0, SITES, set(), set()) == []
    again = {each.cameras: each.before_s for each in siblings.due(200.0, SITES, {"gate"}, set())}
    assert again[("yard",)] > 0


def test_what_burns_for_an_hour_is_known() -> None:
    """One fire cannot fill the disk through its siblings for ever."""
    siblings = Siblings()
    assert siblings.due(0.0, SITES, {"hall"}, set())
    assert siblings.due(MOST_S - 1, SITES, {"hall"}, set())
    assert siblings.due(MOST_S + 1, SITES, {"hall"}, set()) == []


names = st.sets(st.sampled_from(sorted(SITES)))


@given(st.lists(st.tuples(names, names), max_size=30))
def test_nobody_is_asked_who_burns_or_keeps_already(steps: list[tuple[set[str], set[str]]]) -> None:
    """Whatever burns when: only idle cameras of a site on which another one burns are asked."""
    siblings = Siblings()
    for second, (burning, capturing) in enumerate(steps):
        for each in siblings.due(2.0 * second, SITES, burning, capturing):
            (camera,) = each.cameras
            assert camera not in burning | capturing
            assert any(SITES[other] == SITES[camera] is not None for other in burning)
