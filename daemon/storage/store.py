# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store: files, ledger and index as one, with a single writer. What `commit` returns from is durable.

The order of the steps and what may be found after a kill between any two: docs/evidence-lifecycle.md. Not safe for
threads: its owner, the recorder, has one for it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from daemon.clock import Clocks
from daemon.domain import Evidence
from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage import anew, index, mark, room, still
from daemon.storage import disk as disks
from daemon.storage.ages import Ages
from daemon.storage.apply import KINDS, batches
from daemon.storage.clips import OpenClips, Step
from daemon.storage.durable import Disk, Lock, RealDisk, make_folders, part_of
from daemon.storage.held import Held
from daemon.storage.paths import EVIDENCE, LEDGER, folder_of, still_path, stored_body
from daemon.storage.purge import Purge
from daemon.storage.recovery import GoingOn, Recovery, recover
from daemon.storage.storing_times import StoringTimes
from daemon.storage.trusted_clock import TrustedClock
from daemon.storage.writing import Entry, Writing, sqlite_mapped

Answer = TypeVar("Answer")
MALFORMED = "index-malformed.sqlite"
_log = logging.getLogger("firewitness.index")
FOLDERS_IN_USE = 64  # day folders that recovery may have to list; beyond it only the last group's stay


class Store:
    """One open store. After any failed step it refuses everything until opened again, which recovers."""

    root: Path
    id: str
    recovered: Recovery
    """What recovery did at opening."""
    held: Held
    """What evidence takes of the disk."""
    purge: Purge

    def __init__(self, settings: StorageSettings, clocks: Clocks, disk: Disk, lock: Lock) -> None:
        """Use `open`."""
        self.root, self.state_dir = disks.root_of(settings), disks.state_dir_of(settings)
        self.disk = disk
        self._settings, self._clocks, self._lock = settings, clocks, lock
        self._clips = OpenClips(disk, self.root)
        self._folders: set[str] = set()
        self._writing = Writing(self.root, clocks, lock)

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
                with sqlite_mapped(root):
                    store = cls(settings, clocks, disk, lock)
                    try:
                        store._begin(id_, version, cameras, going_on)
                    except BaseException:
                        store._writing.end()
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
        self.recovered, ledger = recover(self.disk, self.root, self._writing.connection, at_ns, going_on)
        with self._writing.session() as session:
            nothing_stored = session.scalar(select(index.EvidenceRow.id).limit(1)) is None
            self._run_seq = session.scalar(select(func.max(index.RunRow.run_seq))) or 0
            times = StoringTimes(session, ledger.head.seq)
            self.held = Held(room.held_by_camera(session))
            session.commit()
        trusted = TrustedClock(self._clocks, self.disk, self.state_dir, nothing_stored=nothing_stored)
        self._ages = Ages(self._clocks, trusted, times)
        self._ages.state()
        self._writing.begin(ledger, self._ages)
        self.purge = Purge(
            self._settings, self.disk, self.root, self._writing, self._ages, self.held, self.space, self._folders_gone
        )
        body = {
            "store": id_, "version": version, "cameras": list(cameras),
            "boot": self._clocks.boot_id(), "sqlite": sqlite.sqlite_version,
        }  # fmt: skip
        self._writing.write([Entry("opened", body)])

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
        self._writing.refuse_unusable()
        self._refuse_wrong(entries)
        self._refuse_full()
        with self._writing.step():
            entries = [*entries, *self._write_files(entries, steps)]
            if entries:
                self._writing.write(entries)
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
        with self._writing.session() as session, session.begin():
            mark.use_folders(session, self._folders)  # before anything is in them that recovery would have to find
        for folder in new:
            make_folders(self.disk, self.root / folder, self.root)

    def _folders_gone(self, folders: set[str]) -> None:
        self._folders -= folders

    # ------------------------------------------------------------------ asking

    def knows(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that are stored: of evidence, of runs or of analyses."""
        known: set[str] = set()
        with self._writing.session() as session:
            for some in batches(list(ids)):
                for column in (index.EvidenceRow.id, index.RunRow.id, index.AnalysisRow.id):
                    known.update(session.scalars(select(column).where(column.in_(some))))
        return known

    def count(self) -> int:
        """How many stills are there."""
        with self._writing.session() as session:
            return session.scalar(select(func.count()).select_from(index.EvidenceRow)) or 0

    def newest_analysis(self, incident: str) -> str | None:
        """The id of an incident's newest analysis."""
        row = index.AnalysisRow
        with self._writing.session() as session:
            return session.scalar(
                select(row.id).where(row.incident == incident).order_by(row.ledger_seq.desc()).limit(1)
            )

    def has_incident(self, id: str) -> bool:
        """Whether a line tells of it."""
        with self._writing.session() as session:
            return session.get(index.IncidentRow, id) is not None

    def next_run_seq(self) -> int:
        """The next run's place among all runs of the store; counts on."""
        self._run_seq += 1
        return self._run_seq

    def head(self) -> tuple[int, str]:
        """The last line's number and hash."""
        return self._writing.head.seq, self._writing.head.hash

    def disk_state(self) -> str:
        """A DiskState."""
        failure = self._writing.notice()
        if failure is not None:
            return failure.state
        space = self.space()
        return "full" if space.free < space.reserve else "ok"

    def disk_detail(self) -> str:
        """One sentence where the state is not ok, else nothing."""
        if self._writing.failure is not None:
            return str(self._writing.failure)
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
        with self._writing.session() as session:
            return question(session)

    def oldest_at_ns(self) -> int | None:
        """When a camera's oldest still was captured, as it says itself; what was imported claims any time."""
        row = index.EvidenceRow
        ours = func.coalesce(row.camera, "").in_(
            select(index.CameraRow.name)
        )  # so, the index of the times is gone along
        oldest = select(row.captured_at_ns).where(ours).order_by(row.captured_at_ns).limit(1)
        return self.read(lambda session: session.scalar(oldest))

    # ------------------------------------------------------------------ the clock, the end

    def now_ns(self) -> int:
        """Trusted now, or the wall clock while there is none."""
        return self._ages.now_ns()

    def accept_clock(self) -> int:
        """The operator vouches for the wall clock; returns trusted now, UTC nanoseconds."""
        self._writing.refuse_unusable()
        return self._ages.accept()

    def clock_state(self) -> str:
        """`ok`, or one sentence on why the purge is held back."""
        return self._ages.state()

    def close(self, why: str) -> None:
        """Writes `closed` and `head` unless a step has failed, and lets go of everything."""
        try:
            if self._writing.failure is None:
                with self._writing.step():
                    ends = [
                        Entry(*line)
                        for line in self._clips.write(self._clips.end_all("stop" if why == "stop" else "worker"))
                    ]
                    *_, line = self._writing.write([*ends, Entry("closed", {"why": why})])
                    self._writing.write([Entry("head", {"of_seq": line.seq, "of_hash": line.hash})])
        finally:
            self._release()

    def _release(self) -> None:
        failure = self._writing.failure
        self._writing.failure = failure or StoreError("gone", "the store is closed")
        self._writing.end()
        try:
            if isinstance(failure, index.MalformedIndex) and self._lock.is_current():
                _begin_anew(self.disk, self.root, failure)
        finally:
            self._lock.release()

    # ------------------------------------------------------------------ refusing

    def _refuse_wrong(self, entries: Sequence[Entry]) -> None:
        if wrong := {entry.kind for entry in entries} - KINDS:
            raise ValueError(f"no kind of line: {wrong}")
        ids = [entry.body["id"] for entry in entries if entry.kind in ("stored", "run", "analysis")]
        if len(set(ids)) < len(ids) or (again := self.knows(ids)):
            raise ValueError(f"stored already: {sorted(again) if len(set(ids)) == len(ids) else 'twice in one group'}")

    def _refuse_full(self) -> None:
        if self.disk_state() == "full":
            raise StoreError("full", self._in_reserve(self.space()))


def _begin_anew(disk: Disk, root: Path, why: index.MalformedIndex) -> None:
    """The index is a cache: one that is malformed is made anew, and must not keep anything from being recorded."""
    _log.warning("%s; it is kept as %s, and made anew from ledger and evidence", why, MALFORMED)
    with sqlite_mapped(root):
        anew.begin(disk, root, root / MALFORMED)
