# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opens the index for `verify` without changing a byte, and compares its rows with what the ledger makes them."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from daemon.storage import index
from daemon.storage.working_set import WorkingSet, digest_of

_FEW = 500
_PLAIN = (
    index.CameraRow, index.RunRow, index.GapRow, index.CoverageRow, index.IncidentRow, index.AnalysisRow, index.AssessmentRow,
    index.ClipRow, index.ClipIncidentRow, index.SegmentRow,
)  # fmt: skip
_OF_STILLS = {"evidence_count", "max_confidence"}  # columns of an incident that its lines alone do not tell


@contextmanager
def read_only_index(root: Path, work: Path, *, writer_runs: bool) -> Iterator[Connection | None]:
    """The index, or None where there is none.

    A reader of a WAL database makes `-shm` and `-wal` files, which a read-only medium refuses and which, made by
    another user, would lock the daemon out. So without a writer the file is read as immutable, or, where a WAL was left
    by a kill, a copy is.
    """
    path = index.path_of(root)
    if not path.exists():
        yield None
        return
    if writer_runs:
        engine = index.reading_engine(root)
    else:
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            shutil.copyfile(path, work / path.name)
            shutil.copyfile(wal, work / wal.name)
            path = work / path.name
        engine = _immutable(path, copied=path.parent == work)
    connection = engine.connect()
    try:
        yield connection
    finally:
        connection.close()
        engine.dispose()


def _immutable(path: Path, *, copied: bool) -> Engine:
    def connect() -> Any:
        how = "mode=rw" if copied else "mode=ro&immutable=1"
        return sqlite.connect(f"file:{path}?{how}", uri=True)

    return create_engine("sqlite+pysqlite://", module=sqlite, creator=connect, poolclass=NullPool)


def compare(session: Session, work: WorkingSet) -> Iterator[tuple[str, str]]:
    """(where, what) for every row that is not what the ledger makes it, or is absent."""
    for table in _PLAIN:
        yield from _compare_plain(session, work, table)
    yield from _compare_incidents(session, work)
    yield from _compare_evidence(session, work)


def _compare_plain(session: Session, work: WorkingSet, table: type[index.Row]) -> Iterator[tuple[str, str]]:
    here, there = _rows(session, table), _rows(work.session, table)
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            what = "is not in the index" if key not in here else "has no line" if key not in there else "differs"
            yield f"index.sqlite, {table.__tablename__} {'/'.join(map(str, key))}", f"the row {what}"


def _rows(session: Session, table: type[index.Row]) -> dict[tuple[Any, ...], dict[str, Any]]:
    columns = [column for column in table.__table__.columns if column.name not in _OF_STILLS]
    keys = [column.name for column in columns if column.primary_key]
    found = {}
    for row in session.execute(select(*columns)).mappings():
        found[tuple(row[key] for key in keys)] = dict(row)
    return found


def _compare_incidents(session: Session, work: WorkingSet) -> Iterator[tuple[str, str]]:
    row = index.IncidentRow
    counts = work.evidence_counts()
    told = {each.id: each.max_confidence for each in work.session.scalars(select(row))}
    for id_, count, confidence in session.execute(select(row.id, row.evidence_count, row.max_confidence)):
        if count != counts.get(id_, 0):
            yield f"index.sqlite, incidents {id_}", f"counts {count} stills; the ledger has {counts.get(id_, 0)}"
        if confidence < told.get(id_, 0.0):
            yield f"index.sqlite, incidents {id_}", f"max_confidence is {confidence}; a line says {told[id_]}"


def _compare_evidence(session: Session, work: WorkingSet) -> Iterator[tuple[str, str]]:
    columns = list(index.EvidenceRow.__table__.columns)
    after = ""
    while True:
        some = select(*columns).where(index.EvidenceRow.id > after).order_by(index.EvidenceRow.id).limit(_FEW)
        rows = [dict(row) for row in session.execute(some).mappings()]
        seen = _sightings(session, [row["id"] for row in rows])
        for row in rows:
            wrong = work.row_found(row["id"], row["missing"], digest_of(row, seen[row["id"]]))
            if wrong:
                yield row["path"], wrong
            after = row["id"]
        if len(rows) < _FEW:
            break
    for still in work.without_row():
        yield still.place, f"{still.line.body['path']} has no row in the index"


def _sightings(session: Session, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    row = index.SightingRow
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    wanted = select(row.evidence, row.label, row.captured_at_ns, row.confidence).where(row.evidence.in_(ids))
    for each in session.execute(wanted.order_by(row.evidence, row.label)).mappings():
        found[each["evidence"]].append(dict(each))
    return found
