# SPDX-License-Identifier: AGPL-3.0-or-later
"""Does the store still say what it said: chain, files against hashes, files without line, lines without file, rows.

Only reads, also from a copy on a read-only medium, and also while the daemon writes: it takes the durable mark first,
and follows what came since only to tell what was stored or purged meanwhile from what is wrong. The first break is the
first finding. What recovery will do at the next start is a note, not a finding.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from daemon.errors import StoreError
from daemon.storage import clip_check, mark, still
from daemon.storage import disk as disks
from daemon.storage.apply import KINDS
from daemon.storage.clips import OPEN
from daemon.storage.durable import Disk, RealDisk, read
from daemon.storage.ledger import ChainBreak, Head, files, follow, foreign
from daemon.storage.mark import Mark
from daemon.storage.paths import EVIDENCE, LEDGER, is_evidence
from daemon.storage.rows import compare, read_only_index
from daemon.storage.working_set import ABSENT, Still, WorkingSet

MOST_FINDINGS = 100  # listed; all are counted
CATCH_UP_S = 5.0  # how long a file may be ahead of its line, or behind its purge, before it is a finding
Progress = Callable[[str, int, int], object]
"""Called with (what: ledger, stills or rows; done; of how many, 0 where not known)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the ledger says."""

    where: str
    """A line (ledger/2026-11.jsonl line 41) or a file below the root."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at and found."""

    store: str
    lines: int
    head: Head
    stills: int
    bytes: int
    missing: int
    """Stills of which a line says that their file was found missing."""
    findings: tuple[Finding, ...]
    """The first break first; at most MOST_FINDINGS."""
    found: int
    """How many findings there are in all."""
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """0 when nothing is wrong, else 1."""
        return 1 if self.found else 0


def verify(root: Path, *, disk: Disk | None = None, progress: Progress = lambda what, done, of: None) -> Verification:
    """Verifies the store at `root`. Raises StoreError where there is none or it cannot be read at all."""
    disk, root = disk or RealDisk(), root.absolute()
    store = disks.marker_of(disk, root)
    if store is None:
        raise StoreError("wrong", f"{root} holds no store")
    writer_runs = _writer_runs(disk, root)
    with tempfile.TemporaryDirectory(prefix="firewitness-verify-") as folder:
        with read_only_index(root, Path(folder), writer_runs=writer_runs) as connection:
            work = WorkingSet(Path(folder))
            try:
                result = _Verifier(disk, root, connection, work, progress, writer_runs=writer_runs).verify(store)
            finally:
                work.close()
    if result.found and not writer_runs and _writer_runs(disk, root):
        return verify(root, disk=disk, progress=progress)  # the daemon was started meanwhile: what was read moved
    return result


def _writer_runs(disk: Disk, root: Path) -> bool:
    lock = disk.lock(root, 0)
    if lock is not None:
        lock.release()
    return lock is None


class _Stop(Exception):
    pass


class _Verifier:
    def __init__(
        self,
        disk: Disk,
        root: Path,
        index: Connection | None,
        work: WorkingSet,
        progress: Progress,
        *,
        writer_runs: bool,
    ) -> None:
        self._disk, self._root, self._index, self._work = disk, root, index, work
        self._progress, self._writer_runs = progress, writer_runs
        self._findings: list[Finding] = []
        self._found = self._lines = self._bytes = 0
        self._notes: list[str] = []
        self._head = Head()
        self._read: dict[str, int] = {}
        self._tail_paths: set[str] = set()
        self._mark: Mark | None = None

    def verify(self, store: str) -> Verification:
        try:
            self._check_ledger()
            self._check_stills()
            self._check_open_clips()
            strays = list(self._strays())
            self._check_rows(strays)
        except _Stop:
            pass
        stills, missing = self._work.count()
        return Verification(
            store, self._lines, self._head, stills, self._bytes, missing, tuple(self._findings), self._found,
            tuple(self._notes),
        )  # fmt: skip

    def _find(self, where: str, what: str) -> None:
        self._found += 1
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(where, what))

    # ------------------------------------------------------------------ the ledger

    def _check_ledger(self) -> None:
        self._mark = self._read_mark()
        sizes = files(self._disk, self._root / LEDGER)
        self._notes += [
            f"{LEDGER}/{name} is no file of the ledger" for name in foreign(self._disk, self._root / LEDGER)
        ]
        if self._mark is not None and self._writer_runs:
            sizes = {name: size for name, size in self._mark.sizes.items() if name in sizes}
        self._follow(sizes)
        if self._mark is not None and self._head.seq < self._mark.head.seq:
            self._find("ledger", f"it ends with line {self._head.seq}; the index knows {self._mark.head.seq}")
            raise _Stop
        if self._mark is not None and self._head.seq > self._mark.head.seq and not self._writer_runs:
            behind = self._head.seq - self._mark.head.seq
            self._notes.append(f"{behind} lines have no rows yet; the next start makes them")

    def _read_mark(self) -> Mark | None:
        if self._index is None:
            self._notes.append("there is no index; rows were not compared")
            return None
        try:
            with Session(self._index) as session:
                return mark.read(session)
        except SQLAlchemyError as error:
            self._find("index.sqlite", f"cannot be read ({error}); rows were not compared")
            self._index = None
            return None

    def _follow(self, stops: dict[str, int]) -> None:
        """Takes in the lines from where it was up to these offsets."""
        spans = {name: (self._read.get(name, 0), stop) for name, stop in stops.items()}
        try:
            for line in follow(self._disk, self._root / LEDGER, self._head, spans):
                if line.kind not in KINDS:
                    raise StoreError("wrong", f"the ledger has a line {line.kind!r}: a newer Firewitness wrote it")
                self._compare_with_mark(line.head, line.file, line.number)
                try:
                    self._work.add(line)
                except ValueError as error:
                    self._find(f"ledger/{line.file} line {line.number}", str(error))
                self._head, self._lines = line.head, self._lines + 1
                self._read[line.file] = line.end
                if self._mark is not None and line.seq > self._mark.head.seq and line.kind == "purged":
                    self._notes.append("a purge is under way; the next start ends it")
                if self._lines % 1000 == 0:
                    self._progress("ledger", self._lines, 0)
        except ChainBreak as broken:
            self._break(broken)

    def _break(self, broken: ChainBreak) -> None:
        durable = self._mark.sizes.get(broken.file, 0) if self._mark else None
        if durable is not None and broken.offset >= durable and self._head.seq >= self._mark_seq():
            self._notes.append(f"{broken}; it lies behind what was durable, and the next start cuts it")
            return
        self._find(str(broken).partition(": ")[0], broken.what)
        raise _Stop

    def _mark_seq(self) -> int:
        return self._mark.head.seq if self._mark else 0

    def _compare_with_mark(self, head: Head, file: str, number: int) -> None:
        if self._mark is not None and head.seq == self._mark.head.seq and head.hash != self._mark.head.hash:
            self._find(f"ledger/{file} line {number}", "the index knows another line of this number: it was exchanged")
            raise _Stop

    # ------------------------------------------------------------------ files

    def _check_stills(self) -> None:
        total, _ = self._work.count()
        for done, each in enumerate(self._work.stills()):
            fault = self._fault_of(each)
            if fault is not None and not each.missing:
                self._work.set_fault(each, fault)
            if done % 100 == 0:
                self._progress("stills", done, total)

    def _fault_of(self, each: Still) -> str | None:
        body = each.line.body
        if "clip" in body:
            return self._fault_of_clip(each)
        try:
            contents = read(self._disk, self._root / body["path"])
        except FileNotFoundError:
            return ABSENT
        except StoreError as error:
            return f"cannot be read: {error}"
        self._bytes += len(contents)
        digest = hashlib.sha256(contents).hexdigest()
        if digest != body["sha256"]:
            is_, was = f"{len(contents)} bytes with SHA-256 {digest}", f"{body['bytes']} with {body['sha256']}"
            return f"was changed: it has {is_}, not {was}"
        try:
            self._work.set_good(each, still.read_record(contents))
        except ValueError as error:
            return f"holds no record: {error}"
        return None

    def _fault_of_clip(self, each: Still) -> str | None:
        body = each.line.body
        try:
            found = clip_check.check(self._disk, self._root / body["path"], self._work.segments(body["id"]))
        except FileNotFoundError:
            return ABSENT
        except StoreError as error:
            return f"cannot be read: {error}"
        self._bytes += found.bytes
        if (found.bytes, found.sha256) != (body["bytes"], body["sha256"]):
            is_, was = f"{found.bytes} bytes with SHA-256 {found.sha256}", f"{body['bytes']} with {body['sha256']}"
            return f"was changed: it has {is_}, not {was}{found.where}"
        self._work.set_good(each, None)
        return None

    def _check_open_clips(self) -> None:
        """Those that are written now, or that a kill has left: what is attested of them has to be there."""
        for id_, path in self._work.open_clips():
            for place in (path + OPEN, path):  # it can have been closed just now
                try:
                    found = clip_check.check(self._disk, self._root / place, self._work.segments(id_))
                except FileNotFoundError:
                    continue
                if found.where:
                    self._find(place, f"was changed{found.where}")
                break
            else:
                self._find(path + OPEN, "is not there, and a line attests a part of it")

    def _strays(self) -> Iterator[str]:
        """Files below evidence that no line names."""
        folders = [EVIDENCE]
        while folders:
            folder = folders.pop()
            for name in self._disk.names(self._root / folder) or []:
                path = f"{folder}/{name}"
                if self._disk.names(self._root / path) is not None:
                    folders.append(path)
                elif not self._work.knows_path(path):
                    yield path

    # ------------------------------------------------------------------ catching up with the writer, and rows

    def _check_rows(self, strays: list[str]) -> None:
        until = time.monotonic() + CATCH_UP_S
        while self._writer_runs and time.monotonic() < until:
            self._catch_up()
            strays = self._still_strays(strays)
            if not strays and not self._work.absent():
                break
            time.sleep(0.2)
        if self._index is not None:
            self._index.exec_driver_sql("BEGIN")  # one state of the index for mark and rows
        rows = []
        try:
            self._catch_up()
            if self._index is not None and (self._writer_runs or self._head.seq == self._mark_seq()):
                self._progress("rows", 0, 0)
                with Session(self._index) as session:
                    rows = list(compare(session, self._work))
        except SQLAlchemyError as error:
            rows = [("index.sqlite", f"cannot be read: {error}")]
        for each in self._work.faulty():
            self._find(each.place, f"{each.line.body['path']} {each.fault}")
        self._report_strays(self._still_strays(strays))
        for where, what in rows:
            self._find(where, what)

    def _catch_up(self) -> None:
        if self._writer_runs and self._index is not None:
            with Session(self._index) as session:
                self._mark = mark.read(session)
            self._follow(dict(self._mark.sizes) if self._mark else {})

    def _still_strays(self, strays: list[str]) -> list[str]:
        there = (path for path in strays if self._disk.size_bytes(self._root / path) is not None)
        return [path for path in there if not self._work.knows_path(path)]

    def _report_strays(self, strays: list[str]) -> None:
        in_use = self._mark.folders if self._mark else frozenset()
        for path in strays:
            folder, _, name = path.rpartition("/")
            if folder in in_use and (name.endswith((".part", OPEN)) or is_evidence(name)):
                what = "it is being written" if self._writer_runs else "the next start looks at it"
                self._notes.append(f"{path} has no line yet; {what}")
            else:
                self._find(path, "has no line in the ledger")
