# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is due to go by its age or a quota, and in which order. The purge for want of space chooses by other rules, in room.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, exists, func, literal_column, not_, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from daemon.domain import OPEN_STATES, REFERENCE, SIBLING, PurgeReason
from daemon.settings import StorageSettings
from daemon.storage.index import ClipIncidentRow, EvidenceRow, IncidentRow
from daemon.storage.record import LARGEST

IDS_A_LINE = 1000
SHARE_A_RUN = 10  # at most one in so many of all stills, unless the operator says all: no wrong clock empties a disk
DRILL_KEPT_S = 86_400.0
What = Literal["drills", "references", "references_over_quota", "siblings_over_quota", "retention"]
"""What a rule of the purge is about; the order in which they are carried out."""


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Old enough is what was captured before `before_ns` in lines up to `seq`.

    What says that it was captured after `ahead_ns` had a clock that was fast, and goes by its line alone, where that is
    known: behind line `unknown_seq`.
    """

    before_ns: int
    seq: int
    ahead_ns: int = LARGEST
    unknown_seq: int = 0

    @property
    def condition(self) -> ColumnElement[bool]:
        row = EvidenceRow
        fast = and_(row.captured_at_ns > self.ahead_ns, row.ledger_seq > self.unknown_seq)
        return and_(or_(row.captured_at_ns < self.before_ns, fast), row.ledger_seq <= self.seq)

    def is_past(self, at_ns: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        """Of a time that no line vouches for."""
        return or_(at_ns < self.before_ns, at_ns > self.ahead_ns)


@dataclass(frozen=True, slots=True)
class Rule:
    """Stills that are to go, and the reason that their line will tell. No still is the matter of two rules."""

    what: What
    reason: PurgeReason
    condition: ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Due:
    """One still to go."""

    id: str
    path: str
    bytes: int
    camera: str


def may_go() -> ColumnElement[bool]:
    """Of every choice, for whatever reason: holds (a later issue) belong here and nowhere else."""
    return true()


def longest_s(settings: StorageSettings) -> float:
    """The age that any rule asks for at most."""
    return max(settings.retention, settings.reference_retention, DRILL_KEPT_S)


@dataclass(frozen=True, slots=True)
class Quotas:
    """One camera's, in bytes: of reference stills, and of what it keeps for incidents on other cameras of its site."""

    references: int
    siblings: int


def rules(drills: Cutoff, references: Cutoff, others: Cutoff, quotas: Quotas) -> list[Rule]:
    """Each with what is old enough for it."""
    row = EvidenceRow
    drill: ColumnElement[bool] = literal_column("evidence.drill")  # as the partial index has it
    spare = row.id.in_(_over(REFERENCE, quotas.references))
    sibling = row.id.in_(_over(SIBLING, quotas.siblings))
    reference = and_(not_(drill), row.kind == REFERENCE, not_(spare))
    rest = and_(not_(drill), row.kind != REFERENCE, not_(sibling))
    return [
        Rule("drills", "drill", and_(drill, drills.condition, may_go())),
        Rule("references_over_quota", "space", and_(not_(drill), spare, may_go())),
        Rule("siblings_over_quota", "space", and_(not_(drill), sibling, may_go())),
        Rule("references", "age", and_(reference, references.condition, may_go())),
        Rule("retention", "age", and_(rest, others.condition, may_go())),
    ]


def _over(kind: str, quota_bytes: int) -> Select[tuple[str]]:
    """What of a kind is older, by the order of storing, than the newest of its camera that fits the quota."""
    row = EvidenceRow
    with_newer = func.sum(row.bytes).over(partition_by=row.camera, order_by=row.ledger_seq.desc())
    sums = select(row.id, with_newer.label("bytes")).where(row.kind == kind).subquery()
    return select(sums.c.id).where(sums.c.bytes > quota_bytes)


def quotas_of_a_camera(session: Session, settings: StorageSettings) -> Quotas:
    """Equal shares for the cameras that have any."""
    return Quotas(
        settings.reference_bytes // _cameras_with(session, REFERENCE),
        settings.sibling_bytes // _cameras_with(session, SIBLING),
    )


def _cameras_with(session: Session, kind: str) -> int:
    """At least 1."""
    return max(
        1, session.scalar(select(func.count(EvidenceRow.camera.distinct())).where(EvidenceRow.kind == kind)) or 0
    )


def count_due(session: Session, rule: Rule) -> int:
    return session.scalar(select(func.count()).select_from(EvidenceRow).where(rule.condition)) or 0


def allowance(session: Session, *, all_due: bool, due: int) -> int:
    """How many may go in this run: a tenth of all stills, rounded down, but one at least: a small store drains too."""
    total = session.scalar(select(func.count()).select_from(EvidenceRow)) or 0
    return due if all_due else min(due, max(1, total // SHARE_A_RUN))


def bytes_of_first(session: Session, rule: Rule, count: int) -> int:
    """What the `count` that would go first hold."""
    row = EvidenceRow
    oldest = select(row.bytes).where(rule.condition).order_by(row.captured_at_ns, row.id).limit(count).subquery()
    return session.scalar(select(func.coalesce(func.sum(oldest.c.bytes), 0))) or 0


def portion(session: Session, rule: Rule, most: int) -> list[Due]:
    """The oldest that are due, at most as many as one line names."""
    row = EvidenceRow
    chosen = select(row.id, row.path, row.bytes, row.camera).where(rule.condition)
    return [
        Due(*each) for each in session.execute(chosen.order_by(row.captured_at_ns, row.id).limit(min(most, IDS_A_LINE)))
    ]


def drills_over(session: Session, cutoff: Cutoff) -> list[str]:
    """Incidents of drills whose evidence is gone: they go too, or every list would show the drills of years."""
    row = IncidentRow
    left = or_(exists().where(EvidenceRow.incident == row.id), exists().where(ClipIncidentRow.incident == row.id))
    over = and_(row.state.not_in(OPEN_STATES), not_(left))
    past = and_(
        cutoff.is_past(row.first_suspect_at_ns), or_(row.ended_at_ns.is_(None), cutoff.is_past(row.ended_at_ns))
    )
    return list(session.scalars(select(row.id).where(row.drill, over, past).limit(IDS_A_LINE)))
