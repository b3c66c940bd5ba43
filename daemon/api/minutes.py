# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's reference stills of one hour, for looking through what the detector said nothing about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from daemon.api.day import Item, Span
from daemon.api.parameters import MOST_ITEMS, time_ns
from daemon.clock import NS
from daemon.domain import REFERENCE
from daemon.storage.queries import Index

HOURS = 24
SHOWN = 120  # of an hour; with an interval below 30 s evenly fewer than there are
HOUR_NS = 3600 * NS
HOLE = 3  # times the usual distance: what is missing between two pictures must be seen


@dataclass(frozen=True, slots=True)
class Minutes:
    """One hour; `hours` are those of its day that have any."""

    hour: int
    hours: frozenset[int]
    pictures: list[Item]
    """In time order; `hole_s` is told of one that comes late after the one before."""
    count: int


def of(index: Index, camera: str, span: Span, hour: int | None) -> Minutes:
    """Without an hour the last of the day that has pictures."""
    hours = frozenset(each for each in range(HOURS) if _has_any(index, camera, span, each))
    shown = max(hours, default=0) if hour is None else hour
    found = list(_in(index, camera, span, shown))[::-1]
    step = -(-len(found) // SHOWN) or 1
    return Minutes(shown, hours, _with_holes(found[::step]), len(found))


def _has_any(index: Index, camera: str, span: Span, hour: int) -> bool:
    from_ns = span.from_ns + hour * HOUR_NS
    page = index.evidence_page(camera=camera, kind=REFERENCE, from_ns=from_ns, to_ns=from_ns + HOUR_NS, limit=1)
    return bool(page["items"])


def _in(index: Index, camera: str, span: Span, hour: int) -> Iterator[Item]:
    """The newest first."""
    from_ns, cursor = span.from_ns + hour * HOUR_NS, None
    while True:
        page = index.evidence_page(
            camera=camera, kind=REFERENCE, from_ns=from_ns, to_ns=from_ns + HOUR_NS, limit=MOST_ITEMS, cursor=cursor
        )
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _with_holes(pictures: list[Item]) -> list[Item]:
    steps_s = [(time_ns(later["captured_at"]) - time_ns(one["captured_at"])) / NS for one, later in pairwise(pictures)]
    longest_s = HOLE * median(steps_s) if steps_s else 0.0
    holes_s = [0.0, *(step_s if step_s > longest_s else 0.0 for step_s in steps_s)]
    return [{**picture, "hole_s": hole_s} for picture, hole_s in zip(pictures, holes_s, strict=False)]
