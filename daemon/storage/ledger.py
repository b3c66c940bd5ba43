# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ledger: canonical JSON lines, each chained to the one before, in one file a month (docs/formats.md).

The month is that of the line's `at`, a wall clock: when that steps back, lines go on in an earlier month's file.
So `seq` alone is the order, and reading merges the files by it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from daemon.clock import rfc3339
from daemon.storage.durable import Disk
from daemon.storage.record import canonical

ZERO_HASH = "0" * 64
LONGEST_LINE_BYTES = 1_000_000  # a `purged` line of 1,000 ids has 40 kB; a reader must not swallow a file of rubbish
_FILE = re.compile(r"\d{4}-\d\d\.jsonl")
_KEYS = {"seq", "at", "kind", "body", "prev"}


@dataclass(frozen=True, slots=True)
class Head:
    """The last line so far: its number and the SHA-256 of its bytes without newline."""

    seq: int = 0
    hash: str = ZERO_HASH


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and where it stands."""

    seq: int
    at: str
    kind: str
    body: dict[str, Any]
    prev: str
    hash: str
    file: str
    end: int
    """Offset behind its newline."""
    number: int = 0
    """Counted from 1 where reading began at the file's start."""

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash)


class ChainBreak(Exception):
    """The chain does not go on: at `file`, line `number` (0: not counted), `offset`, because of `what`."""

    def __init__(self, file: str, number: int, offset: int, what: str) -> None:
        super().__init__(f"ledger/{file} {f'line {number}' if number else f'at byte {offset}'}: {what}")
        self.file, self.number, self.offset, self.what = file, number, offset, what


def encode(head: Head, at: str, kind: str, body: Mapping[str, Any]) -> bytes:
    """The bytes of the line behind `head`, without newline."""
    return canonical({"seq": head.seq + 1, "at": at, "kind": kind, "body": dict(body), "prev": head.hash})


def hash_of(raw: bytes) -> str:
    """What the next line names as `prev`."""
    return hashlib.sha256(raw).hexdigest()


class Ledger:
    """The writing end. One owner; a failed append leaves it unusable (its store is reopened)."""

    def __init__(self, disk: Disk, folder: Path, head: Head, sizes: Mapping[str, int]) -> None:
        self._disk, self._folder, self.head = disk, folder, head
        self.sizes = dict(sizes)
        """Where the good lines of each file end."""
        self._known: set[str] = set()

    def append(self, at_ns: int, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Line]:
        """Appends a group with one sync; durable when it returns."""
        at = rfc3339(at_ns)
        file = f"{at[:7]}.jsonl"
        offset = self.sizes.get(file, 0)
        lines, data = self._chain(entries, at, file, offset)
        self._disk.write_at(self._folder / file, offset, data)
        if file not in self._known:  # perhaps new: also when a killed process made it and did not come to this sync
            self._disk.sync_folder(self._folder)
            self._known.add(file)
        self.sizes[file] = offset + len(data)
        self.head = lines[-1].head
        return lines

    def _chain(
        self, entries: Sequence[tuple[str, Mapping[str, Any]]], at: str, file: str, offset: int
    ) -> tuple[list[Line], bytes]:
        head, lines, data = self.head, [], bytearray()
        for kind, body in entries:
            raw = encode(head, at, kind, body)
            data += raw + b"\n"
            line = Line(head.seq + 1, at, kind, dict(body), head.hash, hash_of(raw), file, offset + len(data))
            lines.append(line)
            head = line.head
        return lines, bytes(data)


def files(disk: Disk, folder: Path) -> dict[str, int]:
    """Name → size of the ledger's files; recovery cuts what it finds in one behind the mark, and a copy beside them is not ours."""
    names = [name for name in disk.names(folder) or [] if _FILE.fullmatch(name)]
    return {name: disk.size_bytes(folder / name) or 0 for name in names}


def foreign(disk: Disk, folder: Path) -> list[str]:
    """What else lies there."""
    return [name for name in disk.names(folder) or [] if not _FILE.fullmatch(name)]


@dataclass(slots=True)
class _Cursor:
    """Reads one file line by line up to `stop`."""

    name: str
    file: BinaryIO
    offset: int
    stop: int
    number: int
    counted: bool
    raw: bytes = b""

    def peek(self) -> bytes:
        """The next line with its newline (without one when torn); empty at the end."""
        if not self.raw and self.offset < self.stop:
            self.raw = self.file.readline(min(LONGEST_LINE_BYTES, self.stop - self.offset))
        return self.raw

    def take(self) -> None:
        self.offset += len(self.raw)
        self.number += 1
        self.raw = b""

    def broken(self, what: str) -> ChainBreak:
        return ChainBreak(self.name, self.number + 1 if self.counted else 0, self.offset, what)


def follow(disk: Disk, folder: Path, head: Head, spans: Mapping[str, tuple[int, int]]) -> Iterator[Line]:
    """The lines behind `head` in the order of their chain, from the bytes [start, stop) of each file.

    Raises ChainBreak where something stands that is not the next line.
    """
    cursors: list[_Cursor] = []
    try:
        for name, (start, stop) in sorted(spans.items()):
            if start < stop:
                file = disk.open(folder / name)
                file.seek(start)
                cursors.append(_Cursor(name, file, start, stop, 0, start == 0))
        while any(cursor.peek() for cursor in cursors):
            line = _next_line(cursors, head)
            yield line
            head = line.head
    finally:
        for cursor in cursors:
            cursor.file.close()


def _next_line(cursors: list[_Cursor], head: Head) -> Line:
    """The line behind `head`; the file that had the last one comes first in `cursors`, to be asked first."""
    complaints: list[tuple[int, ChainBreak]] = []
    for position, cursor in enumerate(cursors):
        if not cursor.peek():
            continue
        try:
            line = _parse(cursor, head)
        except ValueError as error:
            complaints.append((position, cursor.broken(str(error))))
            continue
        cursor.take()
        if position:
            cursors.insert(0, cursors.pop(position))
        return line
    raise complaints[0][1]


def _parse(cursor: _Cursor, head: Head) -> Line:
    raw = cursor.raw.removesuffix(b"\n")
    if raw == cursor.raw:
        raise ValueError("the line does not end")
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise ValueError("the line is not JSON") from error
    if not isinstance(value, dict) or set(value) != _KEYS or not isinstance(value["body"], dict):
        raise ValueError("this is not a line of a ledger")
    if value["seq"] != head.seq + 1:
        raise ValueError(f"line {head.seq + 1} of the chain is expected here, not {value['seq']}")
    if value["prev"] != head.hash:
        raise ValueError(f"the line does not chain to line {head.seq}, which was changed or exchanged")
    return Line(
        value["seq"], value["at"], value["kind"], value["body"], value["prev"], hash_of(raw),
        cursor.name, cursor.offset + len(cursor.raw), cursor.number + 1 if cursor.counted else 0,
    )  # fmt: skip


def last_line_hash(disk: Disk, path: Path, end: int) -> str:
    """The hash of the line that ends at offset `end`; ValueError when no line ends there."""
    start = max(0, end - LONGEST_LINE_BYTES)
    with disk.open(path) as file:
        file.seek(start)
        tail = file.read(end - start)
    if len(tail) != end - start or not tail.endswith(b"\n"):
        raise ValueError(f"no line ends at byte {end}")
    return hash_of(tail[:-1].rpartition(b"\n")[2])
