# SPDX-License-Identifier: AGPL-3.0-or-later
"""Begins a new index in the place of one that is kept beside it; the next opening of the store makes its rows.

What is in no file and no line is taken over from the old one: when, by trusted time, the ledger had grown how far
(daemon/storage/storing_times.py).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
from sqlalchemy.orm import Session

from daemon.storage import index, mark
from daemon.storage.durable import Disk

_ENDINGS = ("-wal", "-shm", "")  # the WAL first: an old one must not meet a new index


def begin(disk: Disk, root: Path, kept: Path) -> None:
    """For who holds the store's lock and has no connection open; raises StoreError."""
    notes = _set_aside(disk, index.path_of(root), kept)
    engine = index.writing_engine(root)
    try:
        with Session(engine) as session, session.begin():
            mark.begin_rebuilding(session)
            mark.write_notes(session, notes, gone=())
    finally:
        engine.dispose()
    disk.sync_folder(root)


def _set_aside(disk: Disk, path: Path, kept: Path) -> dict[int, int]:
    """Moves the index with its WAL, whatever state it is in; what only it knows."""
    for ending in _ENDINGS:
        disk.unlink(Path(f"{kept}{ending}"))
    notes = _notes(path) if disk.size_bytes(path) is not None else {}
    for ending in _ENDINGS:
        if disk.size_bytes(Path(f"{path}{ending}")) is not None:
            disk.rename(Path(f"{path}{ending}"), Path(f"{kept}{ending}"))
    return notes


def _notes(path: Path) -> dict[int, int]:
    try:
        with closing(sqlite.connect(str(path))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            rows = connection.execute("SELECT key, value FROM meta WHERE key LIKE 'noted:%'").fetchall()
        return {int(key.partition(":")[2]): int(value) for key, value in rows}
    except (sqlite.Error, ValueError):
        return {}  # it is damaged, or of another program: that may be why it is made anew
