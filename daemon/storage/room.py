# SPDX-License-Identifier: AGPL-3.0-or-later
"""Room on the disk: when some has to be made, whose stills give way, and how much may go in an hour.

All by the order of storing (ledger seq) and bytes, never by a wall clock: a stepped one moves nothing here. The rules
are in docs/evidence-lifecycle.md, Purging for space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, not_, or_, select
from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.domain import REFERENCE, SIBLING
from daemon.storage.due import IDS_A_LINE, Due, may_go
from daemon.storage.index import EvidenceRow, IncidentRow

HOUR_NS = 3600 * NS
SHARE_AN_HOUR = 10  # of all evidence, beside what is stored in that hour
LEAST_HEADROOM_BYTES = 64_000_000  # one group of the recorder
LEAST_FREE_BYTES = 1_000_000  # for the line of a purge, and SQLite's own files
_FIRSTS = ("last_clean", "first_visible", "first_suspect", "first_confirmed")


@dataclass(frozen=True, slots=True)
class Space:
    """Of the evidence's file system, in bytes."""

    free: int
    total: int
    reserve: int

    @property
    def headroom(self) -> int:
        """Above the reserve: room is made from below once this, until twice this is free."""
        return min(max(self.total // 500, LEAST_HEADROOM_BYTES), self.total // 10)

    @property
    def is_short(self) -> bool:
        return self.free < self.reserve + self.headroom

    @property
    def can_purge(self) -> bool:
        """Whether the line of a purge fits. Where it does not, somebody else's files took the reserve as well."""
        return self.free >= LEAST_FREE_BYTES

    @property
    def wanted(self) -> int:
        """What has to go until there is room again; 0 where there is."""
        return max(0, self.reserve + 2 * self.headroom - self.free)

    def allowed(self, held: int) -> int:
        """What evidence may take of this disk, `held` being what it takes."""
        return max(0, held + self.free - self.reserve - 2 * self.headroom)


class Hourly:
    """At most what was stored in this hour, and a tenth of what was held when it began.

    Somebody else's files that fill the disk must not cost all evidence before anybody looks.
    """

    def __init__(self) -> None:
        self._began_mono_ns: int | None = None
        self._left = 0

    def left(self, mono_ns: int, held: int) -> int:
        """Bytes that may go now."""
        if self._began_mono_ns is None:  # what was stored before anybody asked counts
            self._began_mono_ns, self._left = mono_ns, self._left + held // SHARE_AN_HOUR
        elif mono_ns - self._began_mono_ns >= HOUR_NS:
            self._began_mono_ns, self._left = mono_ns, held // SHARE_AN_HOUR
        return self._left

    def stored(self, size: int) -> None:
        self._left += size

    def removed(self, size: int) -> None:
        self._left = max(0, self._left - size)


def excess(held: Mapping[str, int], allowed: int) -> dict[str, int]:
    """Camera → bytes above its fair share, of those that have any: an equal part of what all may take together."""
    share = allowed // max(1, len(held))
    return {camera: size - share for camera, size in held.items() if size > share}


def take(oldest_first: Iterable[Due], over: Mapping[str, int], wanted: int) -> list[Due]:
    """As many as are wanted, and of no camera more than until it is down to its share."""
    over, chosen = dict(over), []
    for due in oldest_first:
        if wanted <= 0:
            break
        if over.get(due.camera, 0) > 0:
            chosen.append(due)
            over[due.camera] -= due.bytes
            wanted -= due.bytes
    return chosen


def portion(session: Session, over: Mapping[str, int], wanted: int) -> list[Due]:
    """The next to go of the cameras above their share, at most as many as one line names; none while all are on hold."""
    row = EvidenceRow
    of_cameras = select(row.id, row.path, row.bytes, row.camera).outerjoin(IncidentRow, IncidentRow.id == row.incident)
    of_cameras = of_cameras.where(row.camera.in_(over), may_go())
    for rank in _ranks():
        rows = session.execute(of_cameras.where(rank).order_by(row.ledger_seq).limit(IDS_A_LINE))
        if chosen := take((Due(*each) for each in rows), over, wanted):
            return chosen
    return []


def _ranks() -> list[ColumnElement[bool]]:
    """What can be spared first, then what was kept for other cameras; what was first seen of a fire goes last of all."""
    kind, confirmed = EvidenceRow.kind, IncidentRow.first_confirmed_at_ns.is_not(None)
    spare = or_(EvidenceRow.drill, kind == REFERENCE, and_(kind.in_(("hit", "context")), not_(confirmed)))
    first = and_(not_(EvidenceRow.drill), kind.in_(_FIRSTS), confirmed)
    sibling = and_(not_(EvidenceRow.drill), kind == SIBLING)
    return [spare, sibling, and_(not_(spare), not_(sibling), not_(first)), first]


def held_by_camera(session: Session) -> dict[str, tuple[int, int]]:
    """Camera → (stills, bytes)."""
    row = EvidenceRow
    held = session.execute(select(row.camera, func.count(), func.sum(row.bytes)).group_by(row.camera))
    return {camera: (count, size) for camera, count, size in held}
