# SPDX-License-Identifier: AGPL-3.0-or-later
"""From whatever a kill or power failure left to a store whose files, lines and rows agree (docs/evidence-lifecycle.md).

Bounded by what lies behind the durable mark: the ledger's tail and the day folders that were in use. It looks at
nothing older; that is `verify`'s. A crash in the midst of it is only another start for the next recovery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from daemon.domain import Evidence
from daemon.errors import StoreError
from daemon.storage import closing, mark, still
from daemon.storage.apply import KINDS, apply, batches
from daemon.storage.clips import OPEN
from daemon.storage.durable import Disk, make_folders, read
from daemon.storage.index import EvidenceRow, SegmentRow
from daemon.storage.ledger import ChainBreak, Head, Ledger, Line, files, follow, last_line_hash
from daemon.storage.mark import Mark
from daemon.storage.paths import CLIP_NAME, LEDGER, STILL_NAME, day_folders, folder_of, still_path, stored_body

PORTION = 1000  # lines of one transaction: a kill goes on there, and memory stays small
Bodies = list[tuple[str, dict[str, Any]]]
GoingOn = Callable[[int], bool]
"""Told after each portion how many lines have their rows; False breaks the recovery off, for the next start."""


@dataclass(slots=True)
class Recovery:
    """What recovery found and did; all empty after a clean stop."""

    lines_applied: int = 0
    cut_bytes: int = 0
    parts_removed: int = 0
    unlinked: int = 0
    """Files of a purge that was under way."""
    completed: list[str] = field(default_factory=list)
    """Ids of stills that had no line."""
    broken: list[str] = field(default_factory=list)
    """Paths of files without line that were removed because they were not whole."""
    missing: list[str] = field(default_factory=list)
    """Ids of stills whose file was gone."""
    closed: list[str] = field(default_factory=list)
    """Ids of clips that a kill had left open."""


def recover(
    disk: Disk, root: Path, connection: Connection, at_ns: int, going_on: GoingOn = lambda lines: True
) -> tuple[Recovery, Ledger]:
    """Recovers; afterwards files, lines and rows agree and the ledger can be written.

    Raises StoreError `damaged` where the ledger is broken at a place that was durable: nothing is changed then; and
    `starting` where `going_on` broke it off.
    """
    return _Recoverer(disk, root, connection, going_on).recover(at_ns)


@dataclass(slots=True)
class _Tail:
    """The ledger behind the mark."""

    head: Head
    spans: dict[str, tuple[int, int]]
    """File → (where it begins, where its good lines end)."""
    purged: set[str] = field(default_factory=set)
    cut: dict[str, bytes] = field(default_factory=dict)
    """File → what stands behind its good lines."""
    lines: int = 0


class _Recoverer:
    def __init__(self, disk: Disk, root: Path, connection: Connection, going_on: GoingOn) -> None:
        self._disk, self._root, self._connection, self._going_on = disk, root, connection, going_on
        self._ledger_folder = root / LEDGER
        self._done = Recovery()
        self._unlinked_in: set[str] = set()

    def recover(self, at_ns: int) -> tuple[Recovery, Ledger]:
        known = self._mark()
        self._check_mark(known)
        self._disk.sync_folder(self._ledger_folder)
        tail = self._read_tail(known)
        if not known.rebuilding:
            self._write_again(tail)
        self._apply_tail(known, tail)
        ends = {name: end for name, (_, end) in tail.spans.items()}
        ledger = Ledger(self._disk, self._ledger_folder, tail.head, ends)
        folders = day_folders(self._disk, self._root) if known.rebuilding else sorted(known.folders)
        self._complete(ledger, tail, folders, at_ns)
        return self._done, ledger

    # ------------------------------------------------------------------ the ledger's tail

    def _mark(self) -> Mark:
        with Session(self._connection) as session, session.begin():
            known = mark.read(session)
            if known is not None:
                return known
            if any(files(self._disk, self._ledger_folder).values()):
                mark.begin_rebuilding(session)
                return Mark(rebuilding=True)
            mark.begin(session)  # a new store: all that will be found behind this is new
            return Mark()

    def _check_mark(self, known: Mark) -> None:
        sizes = files(self._disk, self._ledger_folder)
        for name, size in known.sizes.items():
            if sizes.get(name, 0) < size:
                raise _damage(f"ledger/{name} has {sizes.get(name, 0)} bytes; {size} were durable")
        if known.head.seq == 0:
            return
        try:
            found = last_line_hash(self._disk, self._ledger_folder / known.file, known.offset)
        except ValueError as error:
            raise _damage(f"ledger/{known.file}: {error}, where line {known.head.seq} was durable") from error
        if found != known.head.hash:
            raise _damage(f"ledger/{known.file}: line {known.head.seq}, which ends at byte {known.offset}, was changed")

    def _read_tail(self, known: Mark) -> _Tail:
        spans = {
            name: (known.sizes.get(name, 0), size) for name, size in files(self._disk, self._ledger_folder).items()
        }
        tail = _Tail(known.head, {name: (start, start) for name, (start, _) in spans.items()})
        try:
            for line in follow(self._disk, self._ledger_folder, known.head, spans):
                if line.kind not in KINDS:
                    raise StoreError("wrong", f"the ledger has a line {line.kind!r}: a newer Firewitness wrote it")
                tail.head, tail.lines = line.head, tail.lines + 1
                tail.spans[line.file] = (spans[line.file][0], line.end)
                if line.kind == "purged" and not known.rebuilding:  # of all years they would not fit into memory
                    tail.purged.update(line.body["ids"])
        except ChainBreak as broken:
            self._take_cut(tail, spans, broken, may_cut=not known.rebuilding)
        return tail

    def _take_cut(self, tail: _Tail, spans: dict[str, tuple[int, int]], broken: ChainBreak, *, may_cut: bool) -> None:
        for name, (_, stop) in spans.items():
            end = tail.spans[name][1]
            if end < stop:
                with self._disk.open(self._ledger_folder / name) as file:
                    file.seek(end)
                    tail.cut[name] = file.read(stop - end)
        # Without a mark nothing tells what was durable: only a last line that was torn while being written may go.
        if not may_cut and (len(tail.cut) > 1 or b"\n" in next(iter(tail.cut.values()))):
            raise _damage(str(broken))

    def _write_again(self, tail: _Tail) -> None:
        # What can be read behind the mark may be in the page cache alone, its fsync having failed: the same bytes
        # are written again, so that a sync means something.
        for name, (start, end) in tail.spans.items():
            if start < end:
                with self._disk.open(self._ledger_folder / name) as file:
                    file.seek(start)
                    self._disk.write_at(self._ledger_folder / name, start, file.read(end - start))

    def _apply_tail(self, known: Mark, tail: _Tail) -> None:
        lines = follow(self._disk, self._ledger_folder, known.head, tail.spans)
        while portion := list(islice(lines, PORTION)):
            with Session(self._connection) as session, session.begin():
                for line in portion:
                    self._apply(session, line, tail.purged)
                    mark.move(session, line)
                self._sync_unlinked()
            self._done.lines_applied += len(portion)
            if not self._going_on(self._done.lines_applied):
                raise StoreError("starting", "opening the store was broken off; the next start goes on with it")

    def _apply(self, session: Session, line: Line, purged: set[str]) -> None:
        evidence = None
        if line.kind == "stored":
            if line.body["id"] in purged:
                self._unlink([line.body["path"]])
                return
            if "clip" not in line.body:
                evidence = self._record_of(line.body["path"])
        elif line.kind == "purged":
            self._unlink(_paths_of(session, line.body["ids"]))
        apply(session, line, evidence)

    def _record_of(self, path: str) -> Evidence | None:
        try:
            return still.read_record(read(self._disk, self._root / path))
        except (FileNotFoundError, ValueError):
            return None  # said below as `missing`, or by verify as changed

    def _unlink(self, paths: Iterable[str]) -> None:
        for path in paths:
            if self._disk.size_bytes(self._root / path) is not None:
                self._disk.unlink(self._root / path)
                self._done.unlinked += 1
            self._unlinked_in.add(folder_of(path))  # also when gone: a killed process may not have come to the sync

    def _sync_unlinked(self) -> None:
        for folder in sorted(self._unlinked_in):
            if self._disk.names(self._root / folder) is not None:
                self._disk.sync_folder(self._root / folder)
        self._unlinked_in.clear()

    # ------------------------------------------------------------------ the day folders in use

    def _complete(self, ledger: Ledger, tail: _Tail, folders: Iterable[str], at_ns: int) -> None:
        bodies: Bodies = [
            ("repaired", {"what": "ledger_tail", "file": name, "bytes": len(cut), "sha256": _sha256(cut)})
            for name, cut in tail.cut.items()
        ]
        self._done.cut_bytes = sum(map(len, tail.cut.values()))
        self._remove_parts("")
        records: dict[str, Evidence] = {}
        folders = list(folders)
        closed, cut_lines = self._close_clips(ledger, folders, at_ns)
        bodies += closed
        for folder in folders:
            bodies += self._look_into(folder, records)
        lines = [*cut_lines, *(ledger.append(at_ns, bodies) if bodies else [])]
        for name in tail.cut:
            self._disk.truncate(self._ledger_folder / name, ledger.sizes[name])
        self._unlink(self._done.broken)
        self._sync_unlinked()
        with Session(self._connection) as session, session.begin():
            for line in lines:
                apply(session, line, records.get(line.body["id"]) if line.kind == "stored" else None)
                mark.move(session, line)
            mark.use_folders(session, ())
            mark.end_rebuilding(session)

    def _close_clips(self, ledger: Ledger, folders: Iterable[str], at_ns: int) -> tuple[Bodies, list[Line]]:
        """What is to be said of clips that are whole now, and the lines that say what was cut off them."""
        found = [each for folder in folders for each in self._clips_without_line(folder)]
        tails: Bodies = [
            ("repaired", body)
            for each in found
            if (body := closing.tail_body(self._disk, self._root, each)) is not None
        ]
        lines = ledger.append(at_ns, tails) if tails else []  # before it is cut: what was there is told in any case
        bodies: Bodies = []
        for each in found:
            if not each.end:
                self._done.broken.append(each.now_at)
                continue
            body = closing.close(self._disk, self._root, each)
            self._done.closed.append(body["id"])
            repaired = {"what": "closed_clip", "id": body["id"], "path": each.path}
            bodies += [("stored", body), ("repaired", repaired)]
        return bodies + self._vanished(), lines

    def _clips_without_line(self, folder: str) -> Iterator[closing.Found]:
        rows, names = self._rows_of(folder), self._disk.names(self._root / folder) or []
        for name in names:
            path = f"{folder}/{name.removesuffix(OPEN)}"
            if not CLIP_NAME.fullmatch(name.removesuffix(OPEN)):
                continue
            if name.endswith(OPEN) and name.removesuffix(OPEN) in names:  # a power failure in the midst of renaming
                self._unlink([f"{folder}/{name}"])
            elif path not in rows:
                attested = self._attested(path)
                yield closing.survey(self._disk, self._root, path, attested, is_open=name.endswith(OPEN))

    def _attested(self, path: str) -> int:
        """How many bytes of an open clip the ledger attests."""
        row = SegmentRow
        with Session(self._connection) as session:
            return session.scalar(select(func.max(row.from_byte + row.bytes)).where(row.path == path)) or 0

    def _vanished(self) -> Bodies:
        """Clips of which a part is attested, and that are not there."""
        row = SegmentRow
        with Session(self._connection) as session:
            attested = session.execute(select(row.clip, row.path).distinct().order_by(row.clip)).all()
        gone: Bodies = []
        for id_, path in attested:
            if all(self._disk.size_bytes(self._root / each) is None for each in (path, path + OPEN)):
                gone.append(("missing", {"id": id_, "path": path}))
                self._done.missing.append(id_)
        return gone

    def _look_into(self, folder: str, records: dict[str, Evidence]) -> Bodies:
        there = self._remove_parts(folder)
        rows = self._rows_of(folder)
        stills = {f"{folder}/{name}" for name in there if STILL_NAME.fullmatch(name)}
        clips = {f"{folder}/{name}" for name in there if CLIP_NAME.fullmatch(name)}
        without_line = sorted(stills - rows.keys())
        bodies: Bodies = []
        for path in without_line:
            bodies += self._line_for(path, records)
        if without_line:  # a killed process may not have come to these syncs
            make_folders(self._disk, self._root / folder, self._root)
            self._disk.sync_folder(self._root / folder)
        for path, (id_, missing) in sorted(rows.items()):
            if path not in stills | clips and not missing:
                bodies.append(("missing", {"id": id_, "path": path}))
                self._done.missing.append(id_)
        return bodies

    def _line_for(self, path: str, records: dict[str, Evidence]) -> Bodies:
        jpeg = read(self._disk, self._root / path)
        try:
            evidence = still.read_record(jpeg) if still.is_whole(jpeg) else None
        except ValueError:
            evidence = None
        if evidence is None:
            self._done.broken.append(path)
            return [("repaired", _of_broken(path, jpeg))]
        if still_path(evidence) != path:
            return []  # somebody's copy: nothing of ours, so neither completed nor removed; verify names it
        records[evidence.id] = evidence
        self._done.completed.append(evidence.id)
        repaired = {"what": "completed_still", "id": evidence.id, "path": path}
        return [("stored", stored_body(evidence, _sha256(jpeg), len(jpeg))), ("repaired", repaired)]

    def _remove_parts(self, folder: str) -> list[str]:
        """The names in a folder, once what was being written there is gone."""
        names = self._disk.names(self._root / folder) or []
        parts = [name for name in names if name.startswith(".") and name.endswith(".part")]
        for name in parts:
            self._disk.unlink(self._root / folder / name)
        if parts:
            self._disk.sync_folder(self._root / folder)
        self._done.parts_removed += len(parts)
        return [name for name in names if name not in parts]

    def _rows_of(self, folder: str) -> dict[str, tuple[str, bool]]:
        row = EvidenceRow
        inside = row.path.between(f"{folder}/", f"{folder}0")  # '0' comes after '/': uses the index, unlike LIKE
        with Session(self._connection) as session:
            found = session.execute(select(row.path, row.id, row.missing).where(inside))
            return {path: (id_, missing) for path, id_, missing in found}


def _paths_of(session: Session, ids: list[str]) -> Iterator[str]:
    for some in batches(ids):
        yield from session.scalars(select(EvidenceRow.path).where(EvidenceRow.id.in_(some))).all()


def _of_broken(path: str, contents: bytes) -> dict[str, Any]:
    return {"what": "broken_still", "path": path, "sha256": _sha256(contents), "bytes": len(contents)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _damage(what: str) -> StoreError:
    return StoreError("damaged", f"{what}; the store is opened for reading only, `firewitness verify` tells more")
