# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much each camera stores a day, from what the index holds of the last week, and how long a disk lasts at that.

The stretch is measured by the notes of storing_times.py, trusted time and ledger seq, so that no clock is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.domain import DRILL_CAMERA, REFERENCE
from daemon.settings import LONGEST_S, StorageSettings
from daemon.storage import mark
from daemon.storage.index import EvidenceRow
from daemon.storage.storing_times import LONG_AGO, Note

LOOKED_BACK_NS = 7 * 86_400 * NS
LEAST_NS = 3600 * NS  # less tells nothing of a day


@dataclass(frozen=True, slots=True)
class Rate:
    """What one camera stores."""

    bytes_a_day: float = 0.0
    """Of what is kept for `storage.retention`."""
    references_bytes_a_day: float = 0.0
    stills_a_day: float = 0.0
    references_a_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was stored in a stretch of `span_s`, or in as much of it as lies behind the last that was purged."""

    span_s: float
    cameras: dict[str, Rate]


def seen(session: Session) -> Seen | None:
    """None where less than an hour is known of."""
    notes = sorted((at_ns, seq) for seq, at_ns in mark.read_notes(session).items() if at_ns > LONG_AGO)
    if not notes:
        return None
    until_ns = notes[-1][0]
    before = [note for note in notes if note[0] <= until_ns - LOOKED_BACK_NS]
    from_ns, from_seq = before[-1] if before else notes[0]
    if until_ns - from_ns < LEAST_NS:
        return None
    found: dict[str, dict[bool, tuple[float, float]]] = {}
    gone = mark.read_gone(session)
    row, reference = EvidenceRow, EvidenceRow.kind == REFERENCE
    stored = select(row.camera, reference).where(row.ledger_seq > from_seq, row.camera != DRILL_CAMERA).distinct()
    for camera, own in session.execute(stored).all():
        begin = _behind(gone.get((camera, bool(own)), 0), notes, from_ns)
        found.setdefault(camera, {})[bool(own)] = _a_day(
            session, begin, until_ns, row.camera == camera, reference == own
        )
    return Seen((until_ns - from_ns) / NS, {camera: _rate(of) for camera, of in found.items()})


def _behind(gone_seq: int, notes: list[Note], from_ns: int) -> Note:
    """From when on all is there still; an hour ago at the latest, which may be too early for what is evicted sooner."""
    possible = [note for note in notes if from_ns <= note[0] <= notes[-1][0] - LEAST_NS]
    return next((note for note in possible if note[1] >= gone_seq), possible[-1])


def _a_day(session: Session, begin: Note, until_ns: int, *of: ColumnElement[bool]) -> tuple[float, float]:
    """Bytes and stills of what was stored since."""
    row, (begin_ns, begin_seq) = EvidenceRow, begin
    count, size = session.execute(
        select(func.count(), func.coalesce(func.sum(row.bytes), 0)).where(row.ledger_seq > begin_seq, *of)
    ).one()
    days = (until_ns - begin_ns) / (86_400 * NS)
    return size / days, count / days


def _rate(of: Mapping[bool, tuple[float, float]]) -> Rate:
    (size, count), (reference_size, reference_count) = of.get(False, (0.0, 0.0)), of.get(True, (0.0, 0.0))
    return Rate(size, reference_size, count, reference_count)


def references_bytes(rates: Mapping[str, Rate], settings: StorageSettings) -> float:
    """What reference stills come to once their own retention or quota holds."""
    quota = settings.reference_bytes / max(1, len(rates))
    days = settings.reference_retention / 86_400
    return sum(min(rate.references_bytes_a_day * days, quota) for rate in rates.values())


def lasts_s(rates: Mapping[str, Rate], settings: StorageSettings, allowed_bytes: float) -> float:
    """For how long evidence can be kept in so much: the retention that can be expected where nothing else limits it."""
    left = max(0.0, allowed_bytes - references_bytes(rates, settings))
    a_day = sum(rate.bytes_a_day for rate in rates.values())
    return min(LONGEST_S, left / a_day * 86_400) if a_day else LONGEST_S
