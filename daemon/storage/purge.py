# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a purge chooses, and the removing of one portion of it; the ledger's line before it is the store's.

Order (docs/evidence-lifecycle.md): `purged` line durable, files unlinked, folders synced, rows deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from daemon.storage.durable import Disk
from daemon.storage.index import EvidenceRow
from daemon.storage.paths import EVIDENCE, folder_of

IDS_A_LINE = 1000
SHARE_A_RUN = 10  # at most one in so many of all stills, unless the operator says all: no wrong clock empties a disk


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What a purge did or, with `dry_run`, would do."""

    due: int
    """Stills older than the retention when it began."""
    removed: int
    bytes: int
    """Of the removed."""
    left: int
    """Due, and left for the next run."""
    clock: str = "ok"
    """Why the trusted clock holds it back, if it does."""


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Due is what was captured before `before_ns` in lines up to `seq`."""

    before_ns: int
    seq: int

    @property
    def condition(self) -> ColumnElement[bool]:
        # Holds (a later issue) belong here: nothing else chooses.
        return and_(EvidenceRow.captured_at_ns < self.before_ns, EvidenceRow.ledger_seq <= self.seq)


@dataclass(frozen=True, slots=True)
class Due:
    """One still to go."""

    id: str
    path: str
    bytes: int


def count_due(session: Session, cutoff: Cutoff) -> int:
    return session.scalar(select(func.count()).select_from(EvidenceRow).where(cutoff.condition)) or 0


def allowance(session: Session, *, all_due: bool, due: int) -> int:
    """How many may go in this run: a tenth of all stills, rounded down, but one at least: a small store drains too."""
    total = session.scalar(select(func.count()).select_from(EvidenceRow)) or 0
    return due if all_due else min(due, max(1, total // SHARE_A_RUN))


def bytes_of_oldest(session: Session, cutoff: Cutoff, count: int) -> int:
    """What the `count` oldest that are due hold."""
    row = EvidenceRow
    oldest = select(row.bytes).where(cutoff.condition).order_by(row.captured_at_ns, row.id).limit(count).subquery()
    return session.scalar(select(func.coalesce(func.sum(oldest.c.bytes), 0))) or 0


def portion(session: Session, cutoff: Cutoff, most: int) -> list[Due]:
    """The oldest that are due, at most as many as one line names."""
    row = EvidenceRow
    chosen = select(row.id, row.path, row.bytes).where(cutoff.condition).order_by(row.captured_at_ns, row.id)
    return [Due(*each) for each in session.execute(chosen.limit(min(most, IDS_A_LINE)))]


def unlink(disk: Disk, root: Path, chosen: Sequence[Due]) -> set[str]:
    """Removes the files, durably; returns the day folders they were in."""
    for due in chosen:
        disk.unlink(root / due.path)
    folders = {folder_of(due.path) for due in chosen}
    for folder in sorted(folders):
        if disk.names(root / folder) is not None:  # gone when all its files were, by whomever
            disk.sync_folder(root / folder)
    return folders


def remove_empty(disk: Disk, root: Path, folders: Iterable[str], today: str) -> set[str]:
    """Removes day folders that are empty and not `today` (YYYY/MM/DD), and what is empty above; the days removed."""
    removed = set()
    for folder in sorted(folders):
        if folder.endswith(today) or not disk.remove_folder(root / folder):
            continue
        removed.add(folder)
        above = Path(folder).parent
        while len(above.parts) > len((EVIDENCE, "camera")) and disk.remove_folder(root / above):
            above = above.parent
        disk.sync_folder(root / above)
    return removed
