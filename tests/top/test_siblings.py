# SPDX-License-Identifier: AGPL-3.0-or-later
"""For which incidents each camera of a site keeps its pictures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.supervisor.siblings import MOST_S, Siblings, Told

SITES = {"hall": "mill", "yard": "mill", "gate": "mill", "shop": "town", "lone": None}


def told(silent: tuple[str, ...] = (), **confirmed: str) -> dict[str, Told]:
    """All cameras; `confirmed` says which incident runs where."""
    return {
        name: Told(site, (confirmed[name],) if name in confirmed else (), name not in silent)
        for name, site in SITES.items()
    }


def keeping(found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: incidents for name, incidents in found.items() if incidents}


def test_the_others_of_the_site_keep_theirs() -> None:
    """Not the burning one, not those of another site or of none."""
    assert keeping(Siblings().kept_for(10.0, told(hall="a"))) == {"yard": ("a",), "gate": ("a",)}
    assert keeping(Siblings().kept_for(10.0, told(lone="a"))) == {}


def test_several_incidents_of_one_site() -> None:
    """A burning camera keeps its pictures for the others' incidents, and not for its own."""
    siblings = Siblings()
    siblings.kept_for(0.0, told(hall="a"))
    found = siblings.kept_for(1.0, told(hall="a", yard="b", shop="c"))
    assert keeping(found) == {"hall": ("b",), "yard": ("a",), "gate": ("a", "b")}
    assert keeping(siblings.kept_for(2.0, told(yard="b"))) == {"hall": ("b",), "gate": ("b",)}


def test_a_camera_that_fell_silent_in_a_fire_says_nothing_of_its_end() -> None:
    """Its incident ends as quiet, or with its worker; for the others it goes on until it is watched again, or for too long."""
    siblings = Siblings()
    siblings.kept_for(0.0, told(hall="a"))
    assert keeping(siblings.kept_for(100.0, told(silent=("hall",)))) == {"yard": ("a",), "gate": ("a",)}
    assert keeping(siblings.kept_for(200.0, told())) == {}
    assert keeping(siblings.kept_for(201.0, told(silent=("hall",)))) == {}
    siblings.kept_for(300.0, told(hall="b"))
    assert keeping(siblings.kept_for(300.0 + MOST_S + 1, told(silent=("hall",)))) == {}


def test_what_burns_for_too_long_is_known() -> None:
    """One incident cannot fill the disk through its siblings for ever; the next one begins anew."""
    siblings = Siblings()
    siblings.kept_for(0.0, told(hall="a"))
    assert keeping(siblings.kept_for(MOST_S, told(hall="a"))) == {"yard": ("a",), "gate": ("a",)}
    for later_s in (1.0, 2.0):
        assert keeping(siblings.kept_for(MOST_S + later_s, told(hall="a"))) == {}
    assert keeping(siblings.kept_for(MOST_S + 3, told(hall="a", yard="b"))) == {"hall": ("b",), "gate": ("b",)}


def test_a_camera_that_is_removed_burns_no_more() -> None:
    """After a reload nobody keeps anything for it."""
    siblings = Siblings()
    siblings.kept_for(0.0, told(hall="a"))
    rest = {name: each for name, each in told().items() if name != "hall"}
    assert keeping(siblings.kept_for(1.0, rest)) == {}


burning = st.dictionaries(st.sampled_from(sorted(SITES)), st.sampled_from("abcdef"), max_size=3)


@given(st.lists(st.tuples(burning, st.sets(st.sampled_from(sorted(SITES)))), max_size=30))
def test_nobody_keeps_for_itself_or_for_another_site(steps: list[tuple[dict[str, str], set[str]]]) -> None:
    """Whatever burns where and falls silent when; and nothing is kept on once all are watched and nothing burns."""
    siblings = Siblings()
    for second, (confirmed, silent) in enumerate(steps):
        of = {id_ + name: name for name, id_ in confirmed.items()}
        cameras = told(tuple(silent), **{name: id_ + name for name, id_ in confirmed.items()})
        for name, incidents in siblings.kept_for(float(second), cameras).items():
            for id_ in incidents:
                assert id_[1:] != name
                assert SITES[id_[1:]] == SITES[name] is not None
                assert id_ in of or id_[1:] in silent
    assert keeping(siblings.kept_for(float(len(steps)), told())) == {}
