# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store: files, ledger and index as one, with a single writer. What `commit` returns from is durable.

The order of the steps and what may be found after a kill between any two: docs/evidence-lifecycle.md. Not safe for
threads: its owner, the recorder, has one for it.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from daemon.clock import NS, Clocks, rfc3339
from daemon.domain import Evidence, PurgeReason
from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage import anew, index, mark, room, still
from daemon.storage import disk as disks
from daemon.storage import purge as purging
from daemon.storage.apply import KINDS, apply, batches
from daemon.storage.clips import OpenClips, Step
from daemon.storage.durable import Disk, Lock, RealDisk, make_folders, part_of
from daemon.storage.held import Held
from daemon.storage.ledger import Line
from daemon.storage.paths import EVIDENCE, LEDGER, folder_of, still_path, stored_body
from daemon.storage.recovery import GoingOn, Recovery, recover
from daemon.storage.storing_times import StoringTimes
from daemon.storage.trusted_clock import TOLERANCE_NS, TrustedClock

Answer = TypeVar("Answer")
MALFORMED = "index-malformed.sqlite"
_log = logging.getLogger("firewitness.index")
FOLDERS_IN_USE = 64  # day folders that recovery may have to list; beyond it only the last group's stay


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger line to be, with its file where it has one."""

    kind: str
    body: dict[str, Any]
    evidence: Evidence | None = None
    jpeg: bytes | memoryview | None = None


class Store:
    """One open store. After any failed step it refuses everything until opened again, which recovers."""

    root: Path
    id: str
    recovered: Recovery
    """What recovery did at opening."""
    held: Held
    """What evidence takes of the disk."""

    def __init__(self, settings: StorageSettings, clocks: Clocks, disk: Disk, lock: Lock) -> None:
        """Use `open`."""
        self.root, self.state_dir = disks.root_of(settings), disks.state_dir_of(settings)
        self.disk = disk
        self._settings, self._clocks, self._lock = settings, clocks, lock
        self._clips = OpenClips(disk, self.root)
        self.purged: Counter[PurgeReason] = Counter()
        """Stills removed since it was opened."""
        self._failure: StoreError | None = None
        self._folders: set[str] = set()
        self._engine = index.writing_engine(self.root)
        self._connection = self._engine.connect()  # one for life: closing the last one checkpoints the WAL

    @classmethod
    def open(
        cls,
        settings: StorageSettings,
        clocks: Clocks,
        *,
        version: str,
        cameras: Sequence[str],
        new_store: bool = False,
        disk: Disk | None = None,
        going_on: GoingOn = lambda lines: True,
    ) -> Store:
        """Right disk, lock, recovery, then the `opened` line. Raises StoreError(state, sentence).

        `going_on` hears of a long recovery's progress and can break it off.
        """
        disk = disk or RealDisk()
        root, state_dir = disks.root_of(settings), disks.state_dir_of(settings)
        disks.make_root(disk, root, state_dir, new_store=new_store)
        lock = disk.lock(root)
        if lock is None:
            raise StoreError("wrong", f"another Firewitness is writing to {root}: only one can")
        try:
            id_ = disks.identify(disk, root, state_dir, clocks, new_store=new_store)

            def recovered() -> Store:
                with _sqlite_mapped(root):
                    store = cls(settings, clocks, disk, lock)
                    try:
                        store._begin(id_, version, cameras, going_on)
                    except BaseException:
                        store._disconnect()
                        raise
                return store

            try:
                return recovered()
            except index.MalformedIndex as error:
                _begin_anew(disk, root, error)
                return recovered()
        except BaseException:
            lock.release()
            raise

    def _begin(self, id_: str, version: str, cameras: Sequence[str], going_on: GoingOn) -> None:
        self.id = id_
        for name in (LEDGER, EVIDENCE):
            make_folders(self.disk, self.root / name, self.root)
        at_ns = self._clocks.wall_ns()
        self.recovered, self._ledger = recover(self.disk, self.root, self._connection, at_ns, going_on)
        with self._session() as session:
            nothing_stored = session.scalar(select(index.EvidenceRow.id).limit(1)) is None
            self._run_seq = session.scalar(select(func.max(index.RunRow.run_seq))) or 0
            self._times = StoringTimes(session, self._ledger.head.seq)
            self.held = Held(room.held_by_camera(session))
            session.commit()
        self._trusted = TrustedClock(self._clocks, self.disk, self.state_dir, nothing_stored=nothing_stored)
        self.clock_state()
        body = {
            "store": id_, "version": version, "cameras": list(cameras),
            "boot": self._clocks.boot_id(), "sqlite": sqlite.sqlite_version,
        }  # fmt: skip
        self._write_lines([Entry("opened", body)])

    # ------------------------------------------------------------------ storing

    def still_entry(self, evidence: Evidence, jpeg: bytes | memoryview) -> Entry:
        """The entry of a still. ValueError when the JPEG's own record is absent or of another still.

        The record is the file's: it may list fewer detections than `evidence` (docs/formats.md).
        """
        filed = still.read_record(jpeg)
        if (filed.id, still_path(filed)) != (evidence.id, still_path(evidence)):
            raise ValueError(f"the JPEG holds the record of {filed.id}, not of {evidence.id}")
        return Entry("stored", stored_body(filed, hashlib.sha256(jpeg).hexdigest(), len(jpeg)), filed, jpeg)

    def commit(self, entries: Sequence[Entry], steps: Sequence[Step] = ()) -> None:
        """Stores a group: files, folders, lines, rows, each durable before the next. Durable when it returns.

        `steps` are those of clips.

        StoreError `full` below the reserve, with nothing written and the store usable. Any other StoreError leaves it
        refusing everything until it is opened again.
        """
        if not entries and not steps:
            return
        self._refuse_unusable()
        self._refuse_wrong(entries)
        self._refuse_full()
        with self._writing():
            entries = [*entries, *self._write_files(entries, steps)]
            if entries:
                self._write_lines(entries)
        for entry in entries:
            if entry.kind == "stored":
                self.held.add(entry.body["camera"], entry.body["bytes"])

    def _write_files(self, entries: Sequence[Entry], steps: Sequence[Step]) -> list[Entry]:
        """Of stills and clips; what is to be said of the latter."""
        stills = [entry for entry in entries if entry.jpeg is not None]
        folders = sorted({folder_of(entry.body["path"]) for entry in stills})
        self._use_folders(sorted({*folders, *self._clips.folders(steps)}))
        self._write_stills(stills, folders)
        return [Entry(kind, body) for kind, body in self._clips.write(steps)]

    def _write_stills(self, entries: Sequence[Entry], folders: Sequence[str]) -> None:
        for entry in entries:
            target = self.root / entry.body["path"]
            assert entry.jpeg is not None
            self.disk.write_new(part_of(target), entry.jpeg)
            self.disk.rename(part_of(target), target)
        for folder in folders:
            self.disk.sync_folder(self.root / folder)

    def _use_folders(self, folders: Sequence[str]) -> None:
        new = [folder for folder in folders if folder not in self._folders]
        if not new:
            return
        kept = self._folders if len(self._folders) + len(new) <= FOLDERS_IN_USE else set()
        self._folders = kept | set(folders)
        with self._session() as session, session.begin():
            mark.use_folders(session, self._folders)  # before anything is in them that recovery would have to find
        for folder in new:
            make_folders(self.disk, self.root / folder, self.root)

    def _write_lines(self, entries: Sequence[Entry]) -> list[Line]:
        lines = self._ledger.append(self._clocks.wall_ns(), [(entry.kind, entry.body) for entry in entries])
        with self._session() as session, session.begin():
            for line, entry in zip(lines, entries, strict=True):
                apply(session, line, entry.evidence)
            self._move_mark(session, lines[-1])
        return lines

    def _move_mark(self, session: Session, line: Line) -> None:
        mark.move(session, line)
        self._note_time(session, line.seq)

    def _note_time(self, session: Session, seq: int) -> None:
        trusted_ns = self._trusted.now_ns()
        if self._trusted.take_correction():
            self._times.forget(session)
        if trusted_ns is not None and self._trusted.is_running:
            self._times.note(session, trusted_ns, seq)

    # ------------------------------------------------------------------ asking

    def knows(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that are stored: of evidence, of runs or of analyses."""
        known: set[str] = set()
        with self._session() as session:
            for some in batches(list(ids)):
                for column in (index.EvidenceRow.id, index.RunRow.id, index.AnalysisRow.id):
                    known.update(session.scalars(select(column).where(column.in_(some))))
        return known

    def count(self) -> int:
        """How many stills are there."""
        with self._session() as session:
            return session.scalar(select(func.count()).select_from(index.EvidenceRow)) or 0

    def newest_analysis(self, incident: str) -> str | None:
        """The id of an incident's newest analysis."""
        row = index.AnalysisRow
        with self._session() as session:
            return session.scalar(
                select(row.id).where(row.incident == incident).order_by(row.ledger_seq.desc()).limit(1)
            )

    def has_incident(self, id: str) -> bool:
        """Whether a line tells of it."""
        with self._session() as session:
            return session.get(index.IncidentRow, id) is not None

    def next_run_seq(self) -> int:
        """The next run's place among all runs of the store; counts on."""
        self._run_seq += 1
        return self._run_seq

    def head(self) -> tuple[int, str]:
        """The last line's number and hash."""
        return self._ledger.head.seq, self._ledger.head.hash

    def disk_state(self) -> str:
        """A DiskState."""
        if self._failure is not None:
            return self._failure.state
        if not self._lock.is_current():
            self._failure = self._another_disk()  # for good: what is written by path would be written there
            return "gone"
        space = self.space()
        return "full" if space.free < space.reserve else "ok"

    def disk_detail(self) -> str:
        """One sentence where the state is not ok, else nothing."""
        if self._failure is not None:
            return str(self._failure)
        return self._in_reserve(self.space()) if self.disk_state() == "full" else ""

    def _in_reserve(self, space: room.Space) -> str:
        megabytes = f"{space.free / 1e6:,.0f} MB free, storage.reserve is {space.reserve / 1e6:,.0f} MB"
        return f"{self.root} has {megabytes}: nothing is written"

    def space(self) -> room.Space:
        """Of the disk that the evidence is on."""
        free, total = self.disk.space_bytes(self.root)
        return room.Space(free, total, disks.reserve_bytes(self._settings, total))

    def read(self, question: Callable[[Session], Answer]) -> Answer:
        """What the index answers."""
        with _sqlite_mapped(self.root), self._session() as session:
            return question(session)

    def oldest_at_ns(self) -> int | None:
        """When a camera's oldest still was captured, as it says itself; what was imported claims any time."""
        row = index.EvidenceRow
        ours = func.coalesce(row.camera, "").in_(
            select(index.CameraRow.name)
        )  # so, the index of the times is gone along
        oldest = select(row.captured_at_ns).where(ours).order_by(row.captured_at_ns).limit(1)
        return self.read(lambda session: session.scalar(oldest))

    def now_ns(self) -> int:
        """Trusted now, or the wall clock while there is none."""
        trusted_ns = self._trusted.now_ns()
        return self._clocks.wall_ns() if trusted_ns is None else trusted_ns

    # ------------------------------------------------------------------ purging, the clock, the end

    def purge(self, *, dry_run: bool, all_due: bool) -> purging.PurgeResult:
        """Removes what is due by its age or a quota, at most a tenth of all stills unless `all_due`; also when full."""
        *_, result = self.purge_steps(dry_run=dry_run, all_due=all_due)
        return result

    def purge_steps(self, *, dry_run: bool, all_due: bool) -> Iterator[purging.PurgeResult]:
        """The same in portions of one ledger line, with what is done so far: stills can be stored in between."""
        self._refuse_unusable()
        clock = self.clock_state()
        with self._writing():
            drills, rules = self._rules()
        with self._session() as session:
            due_by = {rule.what: due for rule in rules if (due := purging.count_due(session, rule))}
            due = sum(due_by.values())
            allowed = purging.allowance(session, all_due=all_due, due=due)
        rules = [rule for rule in rules if rule.what in due_by]
        removed, size = self._would_go(rules, due_by, allowed) if dry_run else (0, 0)
        yield purging.PurgeResult(due, removed, size, due - removed, clock, due_by)
        while removed < allowed and rules:
            self._refuse_unusable()
            with self._writing():
                gone = self._purge_portion(rules[0], allowed - removed)
            if not gone:
                del rules[0]
                continue
            removed, size = removed + len(gone), size + sum(each.bytes for each in gone)
            yield purging.PurgeResult(due, removed, size, due - removed, clock, due_by)
        if not dry_run:
            self._purge_drills(drills)

    def _would_go(self, rules: list[purging.Rule], due_by: dict[purging.What, int], allowed: int) -> tuple[int, int]:
        left, size = allowed, 0
        with self._session() as session:
            for rule in rules:
                size += purging.bytes_of_first(session, rule, min(left, due_by[rule.what]))
                left = max(0, left - due_by[rule.what])
        return allowed - left, size

    def _rules(self) -> tuple[purging.Cutoff, list[purging.Rule]]:
        """Age is measured with the earlier of wall and trusted clock: a wrong one can only delay."""
        trusted_ns = self._trusted.now_ns()
        now_ns = None if trusted_ns is None else min(self._clocks.wall_ns(), trusted_ns)
        settings = self._settings
        with self._session() as session, session.begin():
            if now_ns is not None:
                self._note_time(session, self._ledger.head.seq)
                self._times.prune(session, now_ns - round(purging.longest_s(settings) * NS))
            ages_s = (purging.DRILL_KEPT_S, settings.reference_retention, settings.retention)
            drills, references, others = (self._cutoff(now_ns, age_s) for age_s in ages_s)
            quotas = purging.quotas_of_a_camera(session, settings)
        return drills, purging.rules(drills, references, others, quotas)

    def _cutoff(self, now_ns: int | None, age_s: float) -> purging.Cutoff:
        if now_ns is None:
            return purging.Cutoff(0, 0)
        before_ns = now_ns - round(age_s * NS)
        ahead_ns = max(self._clocks.wall_ns(), self.now_ns()) + TOLERANCE_NS
        return purging.Cutoff(before_ns, self._times.reachable_seq(before_ns), ahead_ns, self._times.unknown_seq)

    def _purge_portion(self, rule: purging.Rule, most: int) -> list[purging.Due]:
        with self._session() as session:
            chosen = purging.portion(session, rule, most)
        if chosen:
            self._remove(chosen, rule.reason)
        return chosen

    def _purge_drills(self, cutoff: purging.Cutoff) -> None:
        """The incidents of drills, once their stills are gone."""
        with self._session() as session:
            incidents = purging.drills_over(session, cutoff)
        if incidents:
            self._refuse_unusable()
            with self._writing():
                self._write_lines([Entry("purged", {"ids": incidents, "reason": "drill"})])

    def make_room(self, most: int) -> list[purging.Due]:
        """Removes one portion for want of space, about `most` bytes; nothing where nothing may go."""
        self._refuse_unusable()
        with self._writing():
            over = room.excess(self.held.by_camera(), self.space().allowed(self.held.bytes))
            with self._session() as session:
                chosen = room.portion(session, over, most)
            if chosen:
                self._remove(chosen, "space")
        return chosen

    def _remove(self, chosen: Sequence[purging.Due], reason: PurgeReason) -> None:
        """The line first; it is what recovery goes by."""
        at_ns = self._clocks.wall_ns()
        (line,) = self._ledger.append(at_ns, [("purged", {"ids": [due.id for due in chosen], "reason": reason})])
        folders = purging.unlink(self.disk, self.root, chosen)
        with self._session() as session, session.begin():
            apply(session, line)
            self._move_mark(session, line)
        self._folders -= purging.remove_empty(self.disk, self.root, folders, rfc3339(at_ns)[:10].replace("-", "/"))
        for due in chosen:
            self.held.remove(due.camera, due.bytes)
        self.purged[reason] += len(chosen)

    def accept_clock(self) -> int:
        """The operator vouches for the wall clock; returns trusted now, UTC nanoseconds."""
        self._refuse_unusable()
        return self._trusted.accept()

    def clock_state(self) -> str:
        """`ok`, or one sentence on why the purge is held back."""
        try:
            return self._trusted.state()
        except StoreError as error:  # of state_dir's disk: no reason to stop storing on this one
            return str(error)

    def close(self, why: str) -> None:
        """Writes `closed` and `head` unless a step has failed, and lets go of everything."""
        try:
            if self._failure is None:
                with self._writing():
                    ends = [
                        Entry(*line)
                        for line in self._clips.write(self._clips.end_all("stop" if why == "stop" else "worker"))
                    ]
                    *_, line = self._write_lines([*ends, Entry("closed", {"why": why})])
                    self._write_lines([Entry("head", {"of_seq": line.seq, "of_hash": line.hash})])
        finally:
            self._release()

    def _release(self) -> None:
        failure, self._failure = self._failure, self._failure or StoreError("gone", "the store is closed")
        self._disconnect()
        try:
            if isinstance(failure, index.MalformedIndex) and self._lock.is_current():
                _begin_anew(self.disk, self.root, failure)
        finally:
            self._lock.release()

    def _disconnect(self) -> None:
        self._connection.close()
        self._engine.dispose()

    # ------------------------------------------------------------------ refusing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with _sqlite_mapped(self.root):
                yield
        except StoreError as error:
            self._failure = error
            raise
        except BaseException as error:  # left in mid-step, whatever the reason: only recovery knows what is there
            self._failure = StoreError("damaged", f"a step on {self.root} was broken off ({error!r})")
            raise

    def _refuse_unusable(self) -> None:
        if self._failure is not None:
            what = "nothing is written until the store is opened again"
            raise StoreError(self._failure.state, f"{self._failure}; {what}")
        if not self._lock.is_current():
            raise self._another_disk()

    def _another_disk(self) -> StoreError:
        return StoreError("gone", f"{self.root} is another folder than the one that was opened: its disk is gone")

    def _refuse_wrong(self, entries: Sequence[Entry]) -> None:
        if wrong := {entry.kind for entry in entries} - KINDS:
            raise ValueError(f"no kind of line: {wrong}")
        ids = [entry.body["id"] for entry in entries if entry.kind in ("stored", "run", "analysis")]
        if len(set(ids)) < len(ids) or (again := self.knows(ids)):
            raise ValueError(f"stored already: {sorted(again) if len(set(ids)) == len(ids) else 'twice in one group'}")

    def _refuse_full(self) -> None:
        if self.disk_state() == "full":
            raise StoreError("full", self._in_reserve(self.space()))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with _sqlite_mapped(self.root), Session(self._connection) as session:
                yield session
        except index.MalformedIndex as error:
            self._failure = error
            raise


def _begin_anew(disk: Disk, root: Path, why: index.MalformedIndex) -> None:
    """The index is a cache: one that is malformed is made anew, and must not keep anything from being recorded."""
    _log.warning("%s; it is kept as %s, and made anew from ledger and evidence", why, MALFORMED)
    with _sqlite_mapped(root):
        anew.begin(disk, root, root / MALFORMED)


@contextmanager
def _sqlite_mapped(root: Path) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise index.store_error(error, root) from error
