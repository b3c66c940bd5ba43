# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which polygons cross themselves, against ones that are known to, or known not to."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.polygon import area, crossing

angles = st.lists(st.integers(0, 359), min_size=4, max_size=12, unique=True)


@given(angles)
def test_corners_in_their_order_round_a_circle_never_cross(degrees: list[int]) -> None:
    """Whichever way round; and two of four exchanged always do."""
    corners = [(0.5 + math.cos(math.radians(at)) / 2, 0.5 + math.sin(math.radians(at)) / 2) for at in sorted(degrees)]
    assert crossing(corners) is None
    assert crossing(corners[::-1]) is None
    one, two, three, four = corners[:4]
    assert crossing([one, three, two, four]) == (1, 3)


def test_what_only_touches_is_no_crossing() -> None:
    """The first corner given again at the end, and one that lies on another side."""
    square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    assert crossing([*square, square[0]]) is None
    assert crossing([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.0, 1.0)]) is None


def test_its_area() -> None:
    """Whichever way round."""
    triangle = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0)]
    assert area(triangle) == area(triangle[::-1]) == pytest.approx(0.25)
    assert area([(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]) == 0
