# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much each camera stores a day, from what the index holds of the last week, and how long a disk lasts at that.

The stretch is measured by the notes of storing_times.py, trusted time and ledger seq, so that no clock is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.domain import DRILL_CAMERA
from daemon.settings import LONGEST_S, StorageSettings
from daemon.storage import mark
from daemon.storage.index import EvidenceRow
from daemon.storage.purge import REFERENCE
from daemon.storage.storing_times import LONG_AGO

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
    """What was stored in a stretch of `span_s` and is there still."""

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
    row, days = EvidenceRow, (until_ns - from_ns) / (86_400 * NS)
    stored = select(row.camera, row.kind == REFERENCE, func.count(), func.sum(row.bytes)).where(
        row.ledger_seq > from_seq, row.camera != DRILL_CAMERA
    )
    found: dict[str, dict[bool, tuple[float, float]]] = {}
    for camera, reference, count, size in session.execute(stored.group_by(row.camera, row.kind == REFERENCE)):
        found.setdefault(camera, {})[bool(reference)] = (size / days, count / days)
    return Seen((until_ns - from_ns) / NS, {camera: _rate(of) for camera, of in found.items()})


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
