# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the recorder has to know of incidents and gaps when it starts: those that were open when it ended, and those of late.

Questions for `Store.read`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from daemon.domain import OPEN_STATES, Gap, Incident
from daemon.storage.index import EvidenceRow, GapRow, IncidentRow


def gaps(session: Session) -> list[Gap]:
    """Gaps without an end."""
    rows = session.scalars(select(GapRow).where(GapRow.to_at_ns.is_(None)))
    return [Gap(row.id, row.camera, row.reason, row.from_at_ns, row.to_at_ns, row.detail) for row in rows]


def open_incidents(session: Session) -> list[Incident]:
    """Incidents that are suspect or confirmed."""
    return [_incident(row) for row in session.scalars(select(IncidentRow).where(IncidentRow.state.in_(OPEN_STATES)))]


def recent_incidents(session: Session, camera: str, since_ns: int) -> list[Incident]:
    """A camera's incidents that began or ended since, the newest first."""
    row = IncidentRow
    since = func.coalesce(row.ended_at_ns, row.first_suspect_at_ns) >= since_ns
    query = select(row).where(row.camera == camera, since).order_by(row.first_suspect_at_ns.desc(), row.id.desc())
    return [_incident(each) for each in session.scalars(query)]


def incidents(session: Session, cameras: Iterable[str], since_ns: int) -> tuple[list[Incident], set[str]]:
    """The open ones and those cameras' recent ones; and the ids of those that only a still says were confirmed.

    A kill came before their own line: stills are durable as files before anything has a line.
    """
    recent = [each for camera in cameras for each in recent_incidents(session, camera, since_ns)]
    at_ns = _confirmed_by_still(session)
    found = [
        replace(each, state="confirmed", first_confirmed_at_ns=at_ns[each.id]) if each.id in at_ns else each
        for each in (*open_incidents(session), *recent)
    ]
    return found, set(at_ns)


def _confirmed_by_still(session: Session) -> dict[str, int]:
    query = (
        select(IncidentRow.id, func.min(EvidenceRow.captured_at_ns))
        .join(EvidenceRow, EvidenceRow.incident == IncidentRow.id)
        .where(IncidentRow.state == "suspect", EvidenceRow.kind == "first_confirmed")
        .group_by(IncidentRow.id)
    )
    return dict(session.execute(query).tuples().all())


def _incident(row: IncidentRow) -> Incident:
    x1, y1, x2, y2 = row.place
    return Incident(
        row.id, row.camera, row.state, row.first_suspect_at_ns, row.first_confirmed_at_ns, row.ended_at_ns,
        tuple(row.labels), row.max_confidence, (x1, y1, x2, y2), row.previous, row.kind, row.drill,
        tuple(row.ignored_zones), row.reason,
    )  # fmt: skip
