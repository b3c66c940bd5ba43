# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `verify` has read of the ledger so far, in a temporary database: a store has more stills than fit in memory.

Lines other than of stills are applied to the index's own tables here, so that they can be compared with the index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from daemon.domain import Evidence
from daemon.storage.apply import (
    UNCOUNTED,
    apply,
    batches,
    clip_rows,
    drop_incidents,
    evidence_values,
    forget_clips,
    sightings,
)
from daemon.storage.index import Row
from daemon.storage.ledger import Line

_STILLS = """CREATE TABLE stills (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, seq INTEGER NOT NULL, file TEXT NOT NULL, number INTEGER NOT NULL,
    body TEXT NOT NULL, incident TEXT,
    missing INTEGER NOT NULL DEFAULT 0,  -- said in a line
    digest TEXT,                         -- of the row that line and file make; null where the file was not read
    fault TEXT,                          -- what is wrong with the file
    has_row INTEGER NOT NULL DEFAULT 0
)"""
_SEGMENTS = """CREATE TABLE segments_told (
    clip TEXT, from_byte INTEGER, bytes INTEGER, sha256 TEXT, file TEXT, number INTEGER, PRIMARY KEY (clip, from_byte)
)"""
_FEW = 500


@dataclass(frozen=True, slots=True)
class Still:
    """One still that the ledger names."""

    line: Line
    missing: bool
    fault: str | None

    @property
    def place(self) -> str:
        """Of its line."""
        number = f"line {self.line.number}" if self.line.number else f"line of seq {self.line.seq}"
        return f"ledger/{self.line.file} {number}"


@dataclass(frozen=True, slots=True)
class Segment:
    """What one line attests of a clip."""

    from_byte: int
    bytes: int
    sha256: str
    file: str
    number: int

    @property
    def place(self) -> str:
        return f"ledger/{self.file} line {self.number}"


class WorkingSet:
    """The temporary database."""

    def __init__(self, folder: Path) -> None:
        self._engine = create_engine(f"sqlite+pysqlite:///{folder / 'work.sqlite'}", module=sqlite, poolclass=NullPool)
        event.listen(self._engine, "connect", _set_up)
        Row.metadata.create_all(self._engine)
        self._connection = self._engine.connect()
        self.session = Session(self._connection)
        self._run(_STILLS)
        self._run("CREATE UNIQUE INDEX stills_path ON stills (path)")
        self._run(_SEGMENTS)
        self._run("CREATE INDEX stills_seq ON stills (seq)")

    def close(self) -> None:
        self.session.close()
        self._connection.close()
        self._engine.dispose()

    def add(self, line: Line) -> None:
        """Takes a line in. Raises ValueError where a still is stored a second time."""
        if line.kind == "stored":
            self._add_still(line)
        elif line.kind == "purged":
            self._run_many("DELETE FROM stills WHERE id = ?", [(each,) for each in line.body["ids"]])
            for some in batches(line.body["ids"]):
                drop_incidents(self.session, some)
                forget_clips(self.session, some)
        elif line.kind == "missing":
            self._run("UPDATE stills SET missing = 1 WHERE id = ?", (line.body["id"],))
            apply(self.session, line)
        else:
            apply(self.session, line)
            if line.kind == "segment":
                body = line.body
                values = (body["clip"], body["from_byte"], body["bytes"], body["sha256"], line.file, line.number)
                self._run("INSERT OR REPLACE INTO segments_told VALUES (?, ?, ?, ?, ?, ?)", values)

    def _add_still(self, line: Line) -> None:
        body = line.body
        known = self._run("SELECT seq FROM stills WHERE id = ? OR path = ?", (body["id"], body["path"])).fetchone()
        if known:
            raise ValueError(f"stores {body['path']} again, after line {known[0]}")
        values = (body["id"], body["path"], line.seq, line.file, line.number, json.dumps(body), body["incident"])
        names = "id, path, seq, file, number, body, incident"
        self._run(f"INSERT INTO stills ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        clip_rows(self.session, line)

    def segments(self, clip: str) -> list[Segment]:
        """What lines have attested of a clip, from its beginning on."""
        query = "SELECT from_byte, bytes, sha256, file, number FROM segments_told WHERE clip = ? ORDER BY from_byte"
        return [Segment(*row) for row in self._run(query, (clip,))]

    def open_clips(self) -> list[tuple[str, str]]:
        """(id, path when closed) of clips that lines attest and none has closed."""
        return [tuple(row) for row in self._run("SELECT DISTINCT clip, path FROM segments ORDER BY clip").all()]

    def count(self) -> tuple[int, int]:
        """(stills, of these said to be missing)."""
        count, missing = self._run("SELECT count(*), coalesce(sum(missing), 0) FROM stills").one()
        return int(count), int(missing)

    def stills(self, where: str = "1") -> Iterator[Still]:
        """In the order of their lines; `where` is one of this module's own conditions."""
        after = 0
        while True:
            rows = self._run(
                f"SELECT seq, file, number, body, missing, fault FROM stills WHERE seq > ? AND ({where}) "
                "ORDER BY seq LIMIT ?", (after, _FEW),
            ).fetchall()  # fmt: skip
            for seq, file, number, body, missing, fault in rows:
                yield Still(Line(seq, "", "stored", json.loads(body), "", "", file, 0, number), bool(missing), fault)
                after = seq
            if len(rows) < _FEW:
                return

    def faulty(self) -> Iterator[Still]:
        return self.stills("fault IS NOT NULL")

    def absent(self) -> bool:
        """Whether a file was not found that should be there."""
        return self._run("SELECT 1 FROM stills WHERE fault = ?", (ABSENT,)).fetchone() is not None

    def without_row(self) -> Iterator[Still]:
        return self.stills("has_row = 0")

    def knows_path(self, path: str) -> bool:
        return self._run("SELECT 1 FROM stills WHERE path = ?", (path,)).fetchone() is not None

    def set_fault(self, still: Still, fault: str) -> None:
        self._run("UPDATE stills SET fault = ? WHERE id = ?", (fault, still.line.body["id"]))

    def set_good(self, still: Still, evidence: Evidence | None) -> None:
        """The file is as the line says: keeps what its row has to be."""
        digest = digest_of(evidence_values(self.session, still.line, evidence), sightings(still.line, evidence))
        self._run("UPDATE stills SET digest = ? WHERE id = ?", (digest, still.line.body["id"]))

    def row_found(self, id_: str, missing: bool, digest: str) -> str | None:
        """Takes note of a row of the index; what is wrong with it, or None."""
        known = self._run("SELECT digest, missing FROM stills WHERE id = ?", (id_,)).fetchone()
        if known is None:
            return "has a row and no line"
        self._run("UPDATE stills SET has_row = 1 WHERE id = ?", (id_,))
        if bool(known[1]) != missing:
            return "has a row that differs from the ledger on whether its file is missing"
        if known[0] is not None and known[0] != digest:
            return "has a row that differs from its line and file"
        return None

    def evidence_counts(self) -> dict[str, int]:
        """Incident → its own camera's stills."""
        its = f"incident IS NOT NULL AND json_extract(body, '$.kind') NOT IN {UNCOUNTED}"
        return dict(self._run(f"SELECT incident, count(*) FROM stills WHERE {its} GROUP BY incident").all())

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        return self._connection.exec_driver_sql(statement, values)

    def _run_many(self, statement: str, values: list[tuple[Any, ...]]) -> None:
        if values:
            self._connection.exec_driver_sql(statement, values)


ABSENT = "is not there, and no line says that it was purged"


def digest_of(values: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """One value for a row in `evidence` with its sightings. `missing` is compared by itself."""
    whole = [{name: value for name, value in values.items() if name != "missing"}, found]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _set_up(connection: Any, _: object) -> None:
    for pragma in ("journal_mode = OFF", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
