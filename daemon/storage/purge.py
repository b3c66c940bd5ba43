# SPDX-License-Identifier: AGPL-3.0-or-later
"""The purge of an open store: what is due by age or quota, and what has to go for want of space, in portions of one line.

Order (docs/evidence-lifecycle.md): `purged` line durable, files unlinked, folders synced, rows deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.domain import PurgeReason
from daemon.settings import StorageSettings
from daemon.storage import room
from daemon.storage.ages import Ages
from daemon.storage.due import (
    DRILL_KEPT_S,
    Cutoff,
    Due,
    Rule,
    What,
    allowance,
    bytes_of_first,
    count_due,
    drills_over,
    longest_s,
    portion,
    quotas_of_a_camera,
    rules,
)
from daemon.storage.durable import Disk
from daemon.storage.held import Held
from daemon.storage.paths import EVIDENCE, folder_of
from daemon.storage.writing import Entry, Writing


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What a purge did or, with `dry_run`, would do."""

    due: int
    """Stills that were to go when it began."""
    removed: int
    bytes: int
    """Of the removed."""
    left: int
    """Due, and left for the next run."""
    clock: str = "ok"
    """Why the trusted clock holds it back, if it does."""
    due_by: dict[What, int] = field(default_factory=dict)
    """The due ones by rule; rules of which nothing is due are not named."""


class Purge:
    """Removes from one open store; stills can be stored between any two portions."""

    def __init__(
        self,
        settings: StorageSettings,
        disk: Disk,
        root: Path,
        writing: Writing,
        ages: Ages,
        held: Held,
        space: Callable[[], room.Space],
        folders_gone: Callable[[set[str]], None],
    ) -> None:
        self._settings, self._disk, self._root = settings, disk, root
        self._writing, self._ages, self._held = writing, ages, held
        self._space, self._folders_gone = space, folders_gone
        self.removed: Counter[PurgeReason] = Counter()
        """Stills, since the store was opened."""

    def run(self, *, dry_run: bool, all_due: bool) -> PurgeResult:
        """Removes what is due by its age or a quota, at most a tenth of all stills unless `all_due`; also when full."""
        *_, result = self.steps(dry_run=dry_run, all_due=all_due)
        return result

    def steps(self, *, dry_run: bool, all_due: bool) -> Iterator[PurgeResult]:
        """The same in portions of one ledger line, with what is done so far: stills can be stored in between."""
        self._writing.refuse_unusable()
        clock = self._ages.state()
        with self._writing.step():
            drills, wanted = self._rules()
        with self._writing.session() as session:
            due_by = {rule.what: count for rule in wanted if (count := count_due(session, rule))}
            due = sum(due_by.values())
            allowed = allowance(session, all_due=all_due, due=due)
        wanted = [rule for rule in wanted if rule.what in due_by]
        removed, size = self._would_go(wanted, due_by, allowed) if dry_run else (0, 0)
        yield PurgeResult(due, removed, size, due - removed, clock, due_by)
        while removed < allowed and wanted:
            gone = self._portion(wanted[0], allowed - removed)
            if not gone:
                del wanted[0]
                continue
            removed, size = removed + len(gone), size + sum(each.bytes for each in gone)
            yield PurgeResult(due, removed, size, due - removed, clock, due_by)
        if not dry_run:
            self._drills(drills)

    def make_room(self, most: int) -> list[Due]:
        """Removes one portion for want of space, about `most` bytes; nothing where nothing may go."""
        self._writing.refuse_unusable()
        with self._writing.step():
            over = room.excess(self._held.by_camera(), self._space().allowed(self._held.bytes))
            with self._writing.session() as session:
                chosen = room.portion(session, over, most)
            self._remove(chosen, "space")
        return chosen

    def _would_go(self, wanted: list[Rule], due_by: dict[What, int], allowed: int) -> tuple[int, int]:
        left, size = allowed, 0
        with self._writing.session() as session:
            for rule in wanted:
                size += bytes_of_first(session, rule, min(left, due_by[rule.what]))
                left = max(0, left - due_by[rule.what])
        return allowed - left, size

    def _rules(self) -> tuple[Cutoff, list[Rule]]:
        """What is over for drills, and the rules for stills."""
        from_ns, settings = self._ages.measured_from_ns(), self._settings
        with self._writing.session() as session, session.begin():
            if from_ns is not None:
                self._ages.note(session, self._writing.head.seq)
                self._ages.forget_older(session, from_ns, longest_s(settings))
            ages_s = (DRILL_KEPT_S, settings.reference_retention, settings.retention)
            drills, references, others = (self._ages.cutoff(from_ns, age_s) for age_s in ages_s)
            quotas = quotas_of_a_camera(session, settings)
        return drills, rules(drills, references, others, quotas)

    def _portion(self, rule: Rule, most: int) -> list[Due]:
        self._writing.refuse_unusable()
        with self._writing.step():
            with self._writing.session() as session:
                chosen = portion(session, rule, most)
            self._remove(chosen, rule.reason)
        return chosen

    def _drills(self, cutoff: Cutoff) -> None:
        """The incidents of drills, once their stills are gone."""
        with self._writing.session() as session:
            incidents = drills_over(session, cutoff)
        if incidents:
            self._writing.refuse_unusable()
            with self._writing.step():
                self._writing.write([Entry("purged", {"ids": incidents, "reason": "drill"})])

    def _remove(self, chosen: Sequence[Due], reason: PurgeReason) -> None:
        """The line first; it is what recovery goes by."""
        if not chosen:
            return
        lines = self._writing.append([Entry("purged", {"ids": [due.id for due in chosen], "reason": reason})])
        folders = _unlink(self._disk, self._root, chosen)
        self._writing.apply(lines, [None])
        today = lines[0].at[:10].replace("-", "/")
        self._folders_gone(_remove_empty(self._disk, self._root, folders, today))
        for due in chosen:
            self._held.remove(due.camera, due.bytes)
        self.removed[reason] += len(chosen)


def _unlink(disk: Disk, root: Path, chosen: Sequence[Due]) -> set[str]:
    """Removes the files, durably; returns the day folders they were in."""
    for due in chosen:
        disk.unlink(root / due.path)
    folders = {folder_of(due.path) for due in chosen}
    for folder in sorted(folders):
        if disk.names(root / folder) is not None:  # gone when all its files were, by whomever
            disk.sync_folder(root / folder)
    return folders


def _remove_empty(disk: Disk, root: Path, folders: Iterable[str], today: str) -> set[str]:
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
