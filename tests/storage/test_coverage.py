# SPDX-License-Identifier: AGPL-3.0-or-later
"""Coverage: an hour's frames and seconds, whatever order gaps and watched time become known in."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from daemon.clock import NS
from daemon.domain import Gap
from daemon.storage.coverage import HOUR_NS, Coverage, hour_of
from daemon.storage.gaps import Frames, Watched

H = 1_795_449_600 * NS  # 2026-11-23T16:00:00Z
GAP = Gap("g", "hall", "stalled", H + 600 * NS, H + 900 * NS)


def _watched(from_s: float, to_s: float) -> Watched:
    return Watched("hall", H + round(from_s * NS), H + round(to_s * NS))


def _all(coverage: Coverage) -> dict[str, tuple[int, float]]:
    return {line["hour_at"]: (line["frames"], line["watched_s"]) for line in coverage.all()}


def test_an_hour_is_told_when_it_is_over() -> None:
    """Not before, and only once unless it changes."""
    coverage = Coverage()
    coverage.add(_watched(0, 3599))
    coverage.add(Frames("hall", H + 5 * NS, 1800))
    assert coverage.ended({"hall": H + 3599 * NS}) == []
    coverage.add(_watched(3599, 3601))
    [line] = coverage.ended({"hall": H + 3601 * NS})
    assert line == {
        "camera": "hall", "hour_at": "2026-11-23T16:00:00.000Z", "hour_at_ns": str(H), "frames": 1800, "watched_s": 3600.0,
    }  # fmt: skip
    assert coverage.ended({"hall": H + 3602 * NS}) == []
    assert _all(coverage) == {"2026-11-23T17:00:00.000Z": (0, 1.0)}


def test_a_gap_told_later_corrects_the_hour() -> None:
    """Frozen for ten seconds, or stills dropped: what was taken for watched is not, and the line comes again."""
    coverage = Coverage()
    coverage.add(_watched(0, 3605))
    assert [line["watched_s"] for line in coverage.ended({"hall": H + 3605 * NS})] == [3600.0]
    coverage.add(replace(GAP, from_at_ns=H + 3590 * NS, to_at_ns=None))
    assert [line["watched_s"] for line in coverage.ended({"hall": H + 3610 * NS})] == [3590.0]
    assert coverage.of("hall", H + HOUR_NS) == (0, 0.0)


def test_an_open_gap_takes_all_that_follows_until_it_is_closed() -> None:
    """Whole versions of one gap replace each other."""
    coverage = Coverage()
    coverage.add(_watched(0, 600))
    coverage.add(replace(GAP, to_at_ns=None))
    coverage.add(GAP)
    coverage.add(_watched(900, 1000))
    assert coverage.of("hall", H) == (0, 700.0)
    coverage.add(replace(GAP, from_at_ns=H + 500 * NS))
    assert coverage.of("hall", H) == (0, 600.0)


def test_time_that_passes_twice_counts_once() -> None:
    """A wall clock that stepped back makes no hour of 5,400 seconds."""
    coverage = Coverage()
    coverage.add(_watched(0, 3000))
    coverage.add(_watched(600, 3600))
    assert coverage.of("hall", H) == (0, 3600.0)


def test_goes_on_from_the_heartbeat() -> None:
    """After a crash the hour goes on where the heartbeat left it, and an hour that ended meanwhile is told."""
    coverage = Coverage()
    coverage.continue_from("hall", H, 100, 300.0, H + 1000 * NS)
    coverage.add(_watched(1200, 1300))
    coverage.add(Frames("hall", H + 1300 * NS, 50))
    assert coverage.of("hall", H) == (150, 400.0)
    coverage.add(replace(GAP, from_at_ns=H + 990 * NS, to_at_ns=H + 1200 * NS))
    assert coverage.of("hall", H) == (150, 390.0)
    assert [line["frames"] for line in coverage.ended({"hall": H + HOUR_NS})] == [150]


def test_old_hours_are_forgotten() -> None:
    """Memory does not grow with the years."""
    coverage = Coverage()
    for hour in range(100):
        coverage.add(Watched("hall", H + hour * HOUR_NS, H + (hour + 1) * HOUR_NS))
        coverage.add(replace(GAP, id=f"g{hour}", from_at_ns=H + hour * HOUR_NS, to_at_ns=H + hour * HOUR_NS + 1))
        coverage.ended({"hall": H + (hour + 1) * HOUR_NS})
    assert len(coverage._hours["hall"]) <= 3
    assert len(coverage._gaps["hall"]) <= 3


SPANS = st.lists(st.tuples(st.integers(0, 7200), st.integers(0, 2000)), max_size=12)


@given(SPANS, SPANS)
def test_watched_is_what_gaps_leave(watched: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> None:
    """By counting seconds one by one."""
    coverage = Coverage()
    for start, length in watched:
        coverage.add(_watched(start, start + length))
    for number, (start, length) in enumerate(gaps):
        coverage.add(Gap(str(number), "hall", "stalled", H + start * NS, H + (start + length) * NS))
    seconds = {second for start, length in watched for second in range(start, start + length)}
    seconds -= {second for start, length in gaps for second in range(start, start + length)}
    for hour in range(3):
        assert coverage.of("hall", H + hour * HOUR_NS)[1] == len(seconds & {*range(hour * 3600, hour * 3600 + 3600)})


def test_hours_begin_at_full_utc_hours() -> None:
    """Whatever the zone of the host."""
    assert hour_of(H) == hour_of(H + HOUR_NS - 1) == H
