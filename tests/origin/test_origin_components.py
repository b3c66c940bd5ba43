# SPDX-License-Identifier: AGPL-3.0-or-later
"""The component that a place is on: shares, overlaps, edges, moved cameras."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain import Detection
from daemon.origin.components import component_of
from daemon.origin.outline import UNNAMED, Outline
from daemon.origin.place import Place, place_of
from daemon.origin.record import Component
from daemon.origin.view import View

SIZE_PX = (1000, 500)
SAME = View("same", "")


def square(name: str, x1: float, y1: float, x2: float, y2: float) -> Outline:
    return Outline(name, ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))


def shares(named: Component) -> dict[str, float]:
    return {each.name: each.share for each in named.candidates}


def at(x: float, y: float, sigma: float = 5.0) -> Place:
    return Place("fire", (x - 10, y - 20, x + 10, y), (x, y), (sigma, sigma), refined=True)


PUMP, RACK = square("pump", 0.1, 0.2, 0.4, 0.8), square("rack", 0.4, 0.2, 0.7, 0.8)


def test_a_foot_well_inside_is_on_the_component() -> None:
    """A place far from every edge belongs to its component wholly."""
    named = component_of(at(250, 250), [PUMP, RACK], SIZE_PX, SAME)
    assert named.name == "pump"
    assert named.share == pytest.approx(1.0)
    assert [each.name for each in named.candidates] == ["pump"]
    assert named.note == ""


def test_between_two_components_both_are_candidates() -> None:
    """On the border of two each has a half, and both are told: not merely point in polygon."""
    named = component_of(at(402, 250), [PUMP, RACK], SIZE_PX, SAME)
    assert named.name == "rack"
    assert named.share == pytest.approx(0.65, abs=0.05)
    assert shares(named)["pump"] == pytest.approx(0.35, abs=0.05)


def test_where_there_is_no_component_it_is_the_unnamed_area() -> None:
    """A place in no polygon, or without polygons at all, is in the unnamed area."""
    assert component_of(at(900, 250), [PUMP, RACK], SIZE_PX, SAME).name == UNNAMED
    nothing_drawn = component_of(at(900, 250), [], SIZE_PX, None)
    assert (nothing_drawn.name, nothing_drawn.share) == (UNNAMED, 1.0)


def test_a_flame_on_the_upper_edge_is_on_what_it_stands_on() -> None:
    """The foot on a component's edge names it, though half of its uncertainty lies in the unnamed area behind."""
    named = component_of(at(250, 100), [PUMP], SIZE_PX, SAME)
    assert named.name == "pump"
    assert named.share == pytest.approx(0.5, abs=0.05)
    assert shares(named)[UNNAMED] == pytest.approx(0.5, abs=0.05)


def test_of_overlapping_components_the_smaller_says_more() -> None:
    """A bearing drawn within its pump is named before the pump, and the pump stays a candidate."""
    bearing = square("bearing", 0.2, 0.4, 0.3, 0.6)
    named = component_of(at(250, 250), [PUMP, bearing], SIZE_PX, SAME)
    assert named.name == "bearing"
    assert {each.name for each in named.candidates} == {"bearing", "pump"}


def test_a_moved_camera_names_no_component() -> None:
    """The polygons of another view are not even candidates, and the reason is told."""
    named = component_of(at(250, 250), [PUMP], SIZE_PX, View("moved", "the camera has moved"))
    assert named == Component(None, 0.0, (), "the camera has moved")


def test_an_unknown_view_names_none_and_lists_candidates() -> None:
    """Where the view cannot be told, candidates are told for whoever knows that the camera stood still."""
    named = component_of(at(250, 250), [PUMP], SIZE_PX, View("cannot_tell", "it is too dark"))
    assert named.name is None
    assert named.candidates[0].name == "pump"
    assert "only if the camera has not moved" in named.note


def test_a_rough_place_spreads_its_share() -> None:
    """The detector's box alone is less certain than a refined place, and its share says so."""
    detection = Detection("fire", 0.4, (200.0, 200.0, 400.0, 398.0))
    rough = component_of(place_of(detection, None), [PUMP], SIZE_PX, SAME)
    fine = component_of(at(300, 380), [PUMP], SIZE_PX, SAME)
    assert 0.3 < rough.share < 0.7 < fine.share


corner = st.tuples(st.floats(0, 1), st.floats(0, 1))
polygons = st.lists(st.lists(corner, min_size=3, max_size=8), max_size=5)


@given(polygons, st.floats(0, 1000), st.floats(0, 500), st.floats(2, 80))
def test_shares_make_a_whole(drawn: list[list[tuple[float, float]]], x: float, y: float, sigma: float) -> None:
    """However polygons overlap or cross themselves, no share is negative and all together make 1."""
    components = [Outline(f"c{number}", tuple(each)) for number, each in enumerate(drawn)]
    named = component_of(at(x, y, sigma), components, SIZE_PX, SAME)
    told = [each.share for each in named.candidates]
    assert all(0.01 <= share <= 1 + 1e-9 for share in told)
    assert 1 - 0.01 * (len(components) + 1) <= sum(told) <= 1 + 1e-9
    assert told == sorted(told, reverse=True)
