# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which incidents are asked for, and an incident as the API tells it, with what people made of it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from daemon.clock import rfc3339
from daemon.domain import OPEN_STATES, AssessmentSays
from daemon.storage.apply import batches
from daemon.storage.evidence_queries import UNANALYSED
from daemon.storage.index import AnalysisRow, AssessmentRow, EvidenceRow, IncidentRow
from daemon.storage.paging import Item, aside, within


def incidents_query(
    camera: str | None, state: str | None, from_ns: int | None, to_ns: int | None
) -> Select[IncidentRow]:
    """The incidents that are asked for, in no order yet."""
    row = IncidentRow
    wanted = within(row.first_suspect_at_ns, from_ns, to_ns)
    if camera is not None:
        wanted.append(row.camera == camera)
    if state is not None:
        wanted.append(aside(row.state) == state)
    return select(row).where(*wanted)


def incidents_during_query(from_ns: int, to_ns: int, camera: str | None) -> Select[IncidentRow]:
    """Those that began in the interval, and those from before that were not over when it began."""
    row = IncidentRow
    begun = row.first_suspect_at_ns
    went_on = and_(begun < from_ns, or_(row.state.in_(OPEN_STATES), row.ended_at_ns > from_ns))
    wanted = [or_(and_(begun >= from_ns, begun < to_ns), went_on)]
    if camera is not None:
        wanted.append(row.camera == camera)
    return select(row).where(*wanted).order_by(begun, row.id)


def assessments_of(session: Session, incident: str) -> list[Item]:
    """All that people made of it, the newest first."""
    its = select(AssessmentRow).where(AssessmentRow.incident == incident).order_by(AssessmentRow.ledger_seq.desc())
    return [{key: getattr(each, key) for key in ("id", "at", "says", "by", "note")} for each in session.scalars(its)]


def pictures_of(session: Session, says: AssessmentSays) -> list[str]:
    """Paths of the detector's stills of the incidents of which the newest assessment says that."""
    newest = select(func.max(AssessmentRow.ledger_seq)).group_by(AssessmentRow.incident)
    its = select(AssessmentRow.incident).where(AssessmentRow.ledger_seq.in_(newest), AssessmentRow.says == says)
    row = EvidenceRow
    wanted = (row.incident.in_(its), row.kind.not_in(UNANALYSED), row.missing.is_(False))
    return list(session.scalars(select(row.path).where(*wanted).order_by(row.id)))


def unanalysed(session: Session) -> list[str]:
    """See Index.unanalysed."""
    row = IncidentRow
    over = and_(row.first_confirmed_at_ns.is_not(None), row.state.in_(("ended", "interrupted")))
    wanted = (over, row.kind == "detected", row.drill.is_(False))
    known = exists().where(AnalysisRow.incident == row.id)
    return list(session.scalars(select(row.id).where(*wanted, ~known).order_by(row.first_suspect_at_ns.desc())))


def incident_items(session: Session, rows: Sequence[IncidentRow]) -> list[Item]:
    """Each with what people said of it last."""
    says: dict[str, str] = {}
    for some in batches([row.id for row in rows]):
        told = select(AssessmentRow.incident, AssessmentRow.says).where(AssessmentRow.incident.in_(some))
        says.update((incident, said) for incident, said in session.execute(told.order_by(AssessmentRow.ledger_seq)))
    return [incident_item(row, says.get(row.id)) for row in rows]


def incident_item(row: IncidentRow, assessed: str | None) -> Item:
    """One of which people said that last."""
    confirmed_at_ns = row.first_confirmed_at_ns
    return {
        "id": row.id,
        "camera": row.camera,
        "kind": row.kind,
        "drill": row.drill,
        "state": row.state,
        "first_suspect_at": rfc3339(row.first_suspect_at_ns),
        "first_confirmed_at": None if confirmed_at_ns is None else rfc3339(confirmed_at_ns),
        "ended_at": None if row.ended_at_ns is None else rfc3339(row.ended_at_ns),
        "labels": row.labels,
        "max_confidence": row.max_confidence,
        "evidence_count": row.evidence_count,
        "previous": row.previous,
        "place": row.place,
        "ignored_zones": row.ignored_zones,
        "reason": row.reason,
        "assessed": assessed,
    }
