# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which reference stills stand for all: of every camera, at every hour, always the same."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from daemon.clock import NS
from daemon.storage.queries import Index
from daemon.storage.reference_sample import places
from tests.storage.store_kit import BEGIN_NS, FakeClocks, evidence_of, opened, settings_of, still_entries

MOST = 200


@pytest.mark.parametrize("count", [0, 3, 200, 201, 399, 86_400, 288_000])
def test_each_part_of_the_whole_is_in_the_choice(count: int) -> None:
    """One of each two-hundredth, none twice."""
    chosen = places(count, MOST)
    assert len(chosen) == min(count, MOST)
    assert chosen == sorted(set(chosen))
    assert all(0 <= place < count for place in chosen)
    assert all(later - one <= 2 * count / MOST + 1 for one, later in pairwise(chosen))


def test_a_part_as_long_as_a_day_has_all_hours() -> None:
    """A still a minute of 20 cameras for ten days: 200 parts of one day each, of which no hour is left out."""
    hours = Counter(place % 1440 // 60 for place in places(20 * 10 * 1440, MOST))
    assert len(hours) == 24
    assert max(hours.values()) <= 2 * min(hours.values())


def test_of_each_camera_as_many_as_its_share(tmp_path: Path) -> None:
    """Cameras that store in turns do not push each other out; other kinds are none; the answer is the same each time."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        stills = [
            evidence_of(n, BEGIN_NS + n * 3 * NS, camera=("hall", "yard")[n % 2], kind="reference") for n in range(60)
        ]
        store.commit(still_entries(store, *stills, evidence_of(70, BEGIN_NS)))
        index = Index(store.root, clocks)
        chosen, count = index.references_evenly(10)
        assert index.references_evenly(10) == (chosen, count)
        assert {(store.root / each.path).is_file() for each in chosen} == {True}
        everything, _ = index.references_evenly(100)
    assert count == 60
    assert Counter(each.camera for each in chosen) == {"hall": 5, "yard": 5}
    yard_s = [(each.captured_at_ns - BEGIN_NS) // NS for each in chosen if each.camera == "yard"]
    assert yard_s == sorted(yard_s)
    assert yard_s[0] < 45
    assert yard_s[-1] > 135
    assert sorted(each.id for each in everything) == sorted(each.id for each in stills)
