# SPDX-License-Identifier: AGPL-3.0-or-later
"""The index: what SQLite holds of stills and ledger so that they can be found; a cache of both, rebuilt from them.

Typed SQLAlchemy models and the engine. Writing goes through daemon/storage/apply.py in the recorder alone,
reading through daemon/storage/queries.py. Times are UTC nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import JSON, CheckConstraint, Engine, Index, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from daemon.errors import StoreError
from daemon.storage import migrations

OLDEST_SQLITE = (3, 51, 3)  # older: a checkpoint that resets the WAL can corrupt the database (sqlite.org/wal.html)
_STATES = {"is full": "full", "readonly": "read_only", "unable to open": "gone"}  # what SQLite says → DiskState


_MALFORMED, _PRIMARY = (sqlite.SQLITE_CORRUPT, sqlite.SQLITE_NOTADB), 0xFF  # sqlite.org/rescode.html


class MalformedIndex(StoreError):
    """SQLite itself calls the index malformed, or no database: neither a disk that fails nor a newer schema."""


class Row(DeclarativeBase):
    """What all tables have in common."""

    type_annotation_map = {list[Any]: JSON, dict[str, Any]: JSON}  # noqa: RUF012 — SQLAlchemy's way


class MetaRow(Row):
    """The durable mark, and where recovery has to look; of the keys of daemon/storage/mark.py.

    The mark is the last ledger line whose row is committed: 'seq', 'hash', 'file', 'offset', and 'size:<file>' of
    every ledger file then. 'folder:<path>' names each day folder that may have stills without line; 'noted:<seq>' is
    the trusted time at which that line was the last one; 'gone:<camera>' and 'gone:<camera>:reference' are the newest
    line of evidence that was purged.
    """

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class CameraRow(Row):
    """A camera that some 'opened' line named; nothing was watched before first_seen_at_ns."""

    __tablename__ = "cameras"
    name: Mapped[str] = mapped_column(primary_key=True)
    first_seen_at_ns: Mapped[int]


class RunRow(Row):
    """A run; run_seq is the store-wide order of runs."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(primary_key=True)
    run_seq: Mapped[int] = mapped_column(unique=True)
    camera: Mapped[str] = mapped_column(index=True)
    started_at_ns: Mapped[int]
    body: Mapped[dict[str, Any]]
    """The ledger line's body."""

    @property
    def utc_ahead_ns(self) -> int:
        """Of the monotonic clock, when it began: other runs' differ where the wall clock was set between, or the host started."""
        return self.started_at_ns - int(self.body["started_mono_ns"])


class IncidentRow(Row):
    """An incident's last state.

    evidence_count is that of its own camera's stills in `evidence` (neither clips and siblings nor what was purged),
    max_confidence the greatest that any of its lines or stills told, also of those purged since.
    """

    __tablename__ = "incidents"
    __table_args__ = (
        CheckConstraint("state IN ('suspect', 'confirmed', 'ended', 'interrupted', 'unconfirmed')"),
        Index("incidents_camera_time", "camera", "first_suspect_at_ns", "id"),
        Index("incidents_time", "first_suspect_at_ns", "id"),
        Index("incidents_state", "state"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    camera: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str]
    drill: Mapped[bool]
    first_suspect_at_ns: Mapped[int]
    first_confirmed_at_ns: Mapped[int | None]
    ended_at_ns: Mapped[int | None]
    labels: Mapped[list[Any]]
    max_confidence: Mapped[float]
    place: Mapped[list[Any]]
    previous: Mapped[str | None]
    ignored_zones: Mapped[list[Any]]
    evidence_count: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str] = mapped_column(default="", server_default="")
    """Of a manual one: why it was asked for."""


class EvidenceRow(Row):
    """One stored still, or clip. `record` is the still's XMP record, or what the clip's line says of it; the columns are
    redundant with it, to search by.
    """

    __tablename__ = "evidence"
    __table_args__ = (
        Index("evidence_camera_time", "camera", "captured_at_ns", "id"),
        Index("evidence_time", "captured_at_ns", "id"),
        Index("evidence_shown", "captured_at_ns", "id", sqlite_where=text("kind != 'reference'")),
        Index("evidence_incident", "incident", "captured_at_ns", "id", "kind"),
        Index("evidence_kind_time", "kind", "captured_at_ns", "id"),
        Index("evidence_space", "camera", "kind", "ledger_seq", "bytes"),
        Index("evidence_drill", "captured_at_ns", sqlite_where=text("drill")),
        Index("evidence_run_unknown", "id", sqlite_where=text("run_seq IS NULL")),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    camera: Mapped[str]
    kind: Mapped[str]
    captured_at_ns: Mapped[int]
    run_seq: Mapped[int | None]
    """Null until the run's line comes, which a kill can have put behind the still's."""
    pts: Mapped[int]
    incident: Mapped[str | None]
    max_confidence: Mapped[float]
    drill: Mapped[bool]
    path: Mapped[str] = mapped_column(unique=True)
    """Below the store's root, with forward slashes."""
    sha256: Mapped[str]
    bytes: Mapped[int]
    ledger_seq: Mapped[int]
    """Of its 'stored' line."""
    missing: Mapped[bool] = mapped_column(default=False)
    """The file was gone without a 'purged' line; said in a 'missing' line."""
    record: Mapped[dict[str, Any]]

    @property
    def is_clip(self) -> bool:
        """Else a still: both can be of kind sibling."""
        return "first_dts" in self.record


class ClipRow(Row):
    """What a closed clip holds, beside its row in `evidence` of the same id."""

    __tablename__ = "clips"
    __table_args__ = (Index("clips_run", "run", "first_pts"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[str]
    frames: Mapped[int]
    first_pts: Mapped[int]
    last_pts: Mapped[int]
    from_at_ns: Mapped[int]
    to_at_ns: Mapped[int]


class ClipIncidentRow(Row):
    """Which clips an incident has: a clip can serve several."""

    __tablename__ = "clip_incidents"
    incident: Mapped[str] = mapped_column(primary_key=True)
    clip: Mapped[str] = mapped_column(primary_key=True, index=True)


class SegmentRow(Row):
    """What the ledger has attested of a clip that is not closed yet."""

    __tablename__ = "segments"
    clip: Mapped[str] = mapped_column(primary_key=True)
    from_byte: Mapped[int] = mapped_column(primary_key=True)
    bytes: Mapped[int]
    path: Mapped[str]
    """Of the clip, once it is closed."""
    body: Mapped[dict[str, Any]]
    """The ledger line's body."""


class SightingRow(Row):
    """The strongest detection per label of one still: the search by label and confidence."""

    __tablename__ = "sightings"
    __table_args__ = (Index("sightings_label_time", "label", "captured_at_ns", "evidence"),)
    evidence: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    captured_at_ns: Mapped[int]
    confidence: Mapped[float]


class AnalysisRow(Row):
    """What one going back found; of an incident there can be several, the newest by ledger_seq."""

    __tablename__ = "analyses"
    __table_args__ = (Index("analyses_incident", "incident", "ledger_seq"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    incident: Mapped[str]
    camera: Mapped[str]
    ledger_seq: Mapped[int]
    body: Mapped[dict[str, Any]]
    """The ledger line's body."""


class AssessmentRow(Row):
    """What a person made of an incident; of one there can be several, the newest by ledger_seq counts."""

    __tablename__ = "assessments"
    __table_args__ = (Index("assessments_incident", "incident", "ledger_seq"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    incident: Mapped[str]
    ledger_seq: Mapped[int]
    at: Mapped[str]
    """The line's, RFC 3339."""
    says: Mapped[str]
    by: Mapped[str]
    note: Mapped[str]


class GapRow(Row):
    """An interval in which a camera was not watched; open while to_at_ns is null."""

    __tablename__ = "gaps"
    __table_args__ = (Index("gaps_camera_time", "camera", "from_at_ns"), Index("gaps_time", "from_at_ns", "id"))
    id: Mapped[str] = mapped_column(primary_key=True)
    camera: Mapped[str]
    reason: Mapped[str]
    from_at_ns: Mapped[int]
    to_at_ns: Mapped[int | None]
    detail: Mapped[str]


class CoverageRow(Row):
    """What one camera's hour came to: frames analysed and seconds watched."""

    __tablename__ = "coverage"
    camera: Mapped[str] = mapped_column(primary_key=True)
    hour_at_ns: Mapped[int] = mapped_column(primary_key=True)
    frames: Mapped[int]
    watched_s: Mapped[float]


def path_of(root: Path) -> Path:
    """Where the index of the store at `root` lies."""
    return root / "index.sqlite"


def check_sqlite() -> None:
    """Raises StoreError when this SQLite is one of those that can corrupt a WAL database."""
    if sqlite.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        what = f"SQLite {sqlite.sqlite_version} can corrupt a WAL database; {needed} or newer is needed"
        raise StoreError("damaged", what)


def writing_engine(root: Path) -> Engine:
    """The recorder's engine, of which there is one per store; makes the schema where there is none."""
    check_sqlite()
    engine = create_engine(
        f"sqlite+pysqlite:///{path_of(root)}", module=sqlite, poolclass=NullPool, json_serializer=_json
    )
    event.listen(engine, "connect", _set_up_writer)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if migrations.version_of(connection) == 0:
            with migrations.to_version(connection, migrations.SCHEMA):
                Row.metadata.create_all(connection)
        else:
            migrations.migrate(connection, path_of(root))
    return engine


def reading_engine(root: Path) -> Engine:
    """An engine that cannot write. Readers keep no transaction across requests, or the WAL would grow without end."""
    check_sqlite()

    def connect() -> Any:
        connection = sqlite.connect(f"file:{path_of(root)}?mode=ro", uri=True, check_same_thread=False, timeout=5)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != migrations.SCHEMA:
            connection.close()
            migrations.check(version, path_of(root))
            raise StoreError(
                "starting", f"{path_of(root)} has schema {version}: the recorder brings it up to date first"
            )
        return connection

    engine = create_engine("sqlite+pysqlite://", module=sqlite, creator=connect, poolclass=NullPool)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    return engine


@contextmanager
def reading(root: Path) -> Iterator[Session]:
    """One session of a reader's. Raises StoreError."""
    engine = reading_engine(root)
    try:
        with Session(engine) as session:
            yield session
    except SQLAlchemyError as error:
        raise store_error(error, root) from error
    finally:
        engine.dispose()


def store_error(error: SQLAlchemyError, root: Path) -> StoreError:
    """SQLite's error as the disk's state and one sentence."""
    cause = getattr(error, "orig", None)
    text = str(cause or error)
    if getattr(cause, "sqlite_errorcode", 0) & _PRIMARY in _MALFORMED:
        return MalformedIndex("damaged", f"{path_of(root)}: {text}")
    for words, state in _STATES.items():
        if words in text:
            return StoreError(state, f"{path_of(root)}: {text}")
    return StoreError("damaged", f"{path_of(root)}: {text}")


def _json(value: Any) -> str:
    """One text for one value, so that an index made anew equals the one before."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _set_up_writer(connection: Any, _: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"):
        connection.execute(f"PRAGMA {pragma}")
