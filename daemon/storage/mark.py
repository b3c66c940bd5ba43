# SPDX-License-Identifier: AGPL-3.0-or-later
"""The durable mark in the index: up to where the ledger has its rows, and which day folders are being written to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from daemon.storage.index import MetaRow
from daemon.storage.ledger import Head, Line

_SIZE, _FOLDER, _NOTED, _GONE, _REBUILDING = "size:", "folder:", "noted:", "gone:", "rebuilding"

_REFERENCES = ":reference"


@dataclass(frozen=True, slots=True)
class Mark:
    """The last line whose row is committed, the size of each ledger file then, and the day folders in use."""

    head: Head = field(default_factory=Head)
    file: str = ""
    offset: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    rebuilding: bool = False
    """The index was lost and is made anew: what lies behind the mark is old and durable, not new."""


def read(session: Session) -> Mark | None:
    """None when this index has none: it is new, or another one was lost."""
    values = {row.key: row.value for row in session.scalars(select(MetaRow))}
    if "seq" not in values:
        return None
    return Mark(
        Head(int(values["seq"]), values["hash"]),
        values["file"],
        int(values["offset"]),
        {key.removeprefix(_SIZE): int(value) for key, value in values.items() if key.startswith(_SIZE)},
        frozenset(key.removeprefix(_FOLDER) for key in values if key.startswith(_FOLDER)),
        _REBUILDING in values,
    )


def begin(session: Session) -> None:
    """The mark of a store without a line: committed before the first one, so that all behind it is known to be new."""
    _put(session, {"seq": "0", "hash": Head().hash, "file": "", "offset": "0"})


def begin_rebuilding(session: Session) -> None:
    """As `begin`, for a store that has lines; until `end_rebuilding` whoever opens it goes on with it."""
    begin(session)
    _put(session, {_REBUILDING: ""})


def end_rebuilding(session: Session) -> None:
    session.execute(delete(MetaRow).where(MetaRow.key == _REBUILDING))


def move(session: Session, line: Line) -> None:
    """The mark stands at `line`."""
    end = str(line.end)
    _put(session, {"seq": str(line.seq), "hash": line.hash, "file": line.file, "offset": end, _SIZE + line.file: end})


def use_folders(session: Session, folders: Collection[str]) -> None:
    """From now on these day folders, and no others, may have stills without line."""
    session.execute(delete(MetaRow).where(MetaRow.key.startswith(_FOLDER, autoescape=True)))
    if folders:
        _put(session, {_FOLDER + folder: "" for folder in folders})


def read_notes(session: Session) -> dict[int, int]:
    """Seq → trusted time at which it was the last line (daemon/storage/storing_times.py)."""
    rows = session.scalars(select(MetaRow).where(MetaRow.key.startswith(_NOTED, autoescape=True)))
    return {int(row.key.removeprefix(_NOTED)): int(row.value) for row in rows}


def write_notes(session: Session, notes: dict[int, int], gone: Collection[int]) -> None:
    """Adds and removes such notes."""
    if gone:
        session.execute(delete(MetaRow).where(MetaRow.key.in_([f"{_NOTED}{seq}" for seq in gone])))
    if notes:
        _put(session, {f"{_NOTED}{seq}": str(at_ns) for seq, at_ns in notes.items()})


def read_gone(session: Session) -> dict[tuple[str, bool], int]:
    """(camera, whether reference stills) → the newest line whose evidence a purge has removed (daemon/storage/rates.py)."""
    rows = session.scalars(select(MetaRow).where(MetaRow.key.startswith(_GONE, autoescape=True)))
    parts = {row.key.removeprefix(_GONE): int(row.value) for row in rows}
    return {(name.removesuffix(_REFERENCES), name.endswith(_REFERENCES)): seq for name, seq in parts.items()}


def write_gone(session: Session, gone: Mapping[tuple[str, bool], int]) -> None:
    """Evidence of these lines was removed."""
    known = read_gone(session)
    newer = {key: seq for key, seq in gone.items() if seq > known.get(key, 0)}
    if newer:
        _put(session, {f"{_GONE}{camera}{_REFERENCES * own}": str(seq) for (camera, own), seq in newer.items()})


def _put(session: Session, values: dict[str, str]) -> None:
    statement = insert(MetaRow)
    statement = statement.on_conflict_do_update(index_elements=[MetaRow.key], set_={"value": statement.excluded.value})
    session.execute(statement, [{"key": key, "value": value} for key, value in values.items()])
