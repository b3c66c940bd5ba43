# SPDX-License-Identifier: AGPL-3.0-or-later
"""An index of an earlier version becomes one of this version: whole, once, with a copy; or is refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from alembic.operations import Operations

from daemon.errors import StoreError
from daemon.storage import index, migrations
from tests.storage.store_kit import BEGIN_NS, FakeClocks, evidence_of, jpeg_of, opened, settings_of

VERSION_1 = (Path(__file__).parent / "index_v1.sql").read_text()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with an index as version 0.1 left it."""
    connection = sqlite.connect(str(index.path_of(tmp_path)))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSION_1)
    connection.close()
    return tmp_path


def shape(path: Path) -> dict[str, Any]:
    """Tables with their columns, and indices with theirs: what a schema is, whatever the SQL that made it."""
    connection = sqlite.connect(str(path))
    try:
        found: dict[str, Any] = {"version": connection.execute("PRAGMA user_version").fetchone()[0]}
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found[table] = sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({table})"))
            for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})"):
                columns = [row[2] for row in connection.execute(f"PRAGMA index_info({name})")]
                found[f"{table}.{name if origin == 'c' else ','.join(columns)}"] = (columns, unique, partial)
        return found
    finally:
        connection.close()


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    connection = sqlite.connect(str(path))
    try:
        return sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
    finally:
        connection.close()


def test_a_migrated_index_is_shaped_like_a_new_one(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whichever way it came to this version."""
    new = tmp_path_factory.mktemp("new")
    index.writing_engine(new).dispose()
    index.writing_engine(root).dispose()
    assert shape(index.path_of(root)) == shape(index.path_of(new))
    assert shape(index.path_of(root))["version"] == migrations.SCHEMA


@pytest.mark.parametrize("at", [1, 6, 12, 20])
def test_a_new_index_is_whole_or_none(tmp_path: Path, at: int) -> None:
    """Killed between two of the statements that make its tables and indices: the next start makes all of them."""
    script = """
import os, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from daemon.storage import index
made = 0
@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *rest):
    global made
    made += statement.lstrip().startswith("CREATE")
    if made == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
index.writing_engine(Path(sys.argv[1]))
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(at)], check=False)
    assert killed.returncode == -9
    index.writing_engine(tmp_path).dispose()
    whole = tmp_path / "whole"
    whole.mkdir()
    index.writing_engine(whole).dispose()
    assert shape(index.path_of(tmp_path)) == shape(index.path_of(whole))


def test_rows_are_kept_and_so_is_a_copy(root: Path) -> None:
    """Each row of version 1 is there afterwards; the copy beside it is the index as it was."""
    before = {table: rows(index.path_of(root), table) for table in ("evidence", "runs", "gaps", "meta", "sightings")}
    incidents = rows(index.path_of(root), "incidents")
    index.writing_engine(root).dispose()
    assert {table: rows(index.path_of(root), table) for table in before} == before
    assert rows(index.path_of(root), "incidents") == [(*row, "") for row in incidents]
    copy = root / "index-v1.sqlite"
    assert shape(copy)["version"] == 1
    assert rows(copy, "evidence") == before["evidence"]
    changed = copy.stat().st_mtime_ns
    index.writing_engine(root).dispose()
    assert copy.stat().st_mtime_ns == changed, "migrated once, not at each start"


def test_siblings_and_clips_that_were_counted_are_not_any_more(root: Path) -> None:
    """An incident's count is that of its own camera's stills, also where an earlier version counted all."""
    connection = sqlite.connect(str(index.path_of(root)))
    connection.execute("UPDATE evidence SET kind = 'sibling' WHERE id LIKE '%1'")
    connection.execute("UPDATE evidence SET kind = 'clip' WHERE id LIKE '%2'")
    assert connection.execute("SELECT evidence_count FROM incidents").fetchall() == [(3,)]
    connection.commit()
    connection.close()
    index.writing_engine(root).dispose()
    connection = sqlite.connect(str(index.path_of(root)))
    assert connection.execute("SELECT evidence_count FROM incidents").fetchall() == [(1,)]
    connection.close()


def test_a_step_that_fails_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a step: the index is still of version 1, whole, and the next start goes through."""

    def fail(op: Operations) -> None:
        migrations.to_2.upgrade(op)
        raise RuntimeError("here")

    before = shape(index.path_of(root))
    with monkeypatch.context() as patched:
        patched.setitem(migrations.STEPS, 2, fail)
        with pytest.raises(RuntimeError):
            index.writing_engine(root)
    assert shape(index.path_of(root)) == before
    index.writing_engine(root).dispose()
    assert shape(index.path_of(root))["version"] == migrations.SCHEMA


KILLED = """
import os, signal, sys
from pathlib import Path
from daemon.storage import index, migrations
real = migrations.to_2.upgrade
def upgrade(op):
    real(op)
    os.kill(os.getpid(), signal.SIGKILL)
migrations.STEPS[2] = upgrade
index.writing_engine(Path(sys.argv[1]))
"""


def test_a_kill_in_the_middle_of_a_step_changes_nothing(root: Path) -> None:
    """A real kill -9, with the step's changes in SQLite's WAL."""
    before = shape(index.path_of(root))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False, timeout=60)
    assert killed.returncode == -9
    assert shape(index.path_of(root)) == before
    index.writing_engine(root).dispose()
    assert shape(index.path_of(root))["version"] == migrations.SCHEMA


def test_a_newer_index_is_refused_and_untouched(root: Path) -> None:
    """By the writer and by readers, with what to do; not a byte is changed."""
    connection = sqlite.connect(str(index.path_of(root)))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = index.path_of(root).read_bytes()
    for engine in (index.writing_engine, lambda folder: index.reading_engine(folder).connect()):
        with pytest.raises(StoreError, match="has schema 99, and this Firewitness knows") as refused:
            engine(root)
        assert refused.value.state == "wrong"
        assert "firewitness reindex" in str(refused.value)
    assert index.path_of(root).read_bytes() == before
    assert not list(root.glob("index-v*"))


def test_a_reader_waits_for_the_recorder(root: Path) -> None:
    """The page of a new version meets the index of the old one until the recorder has migrated it."""
    with pytest.raises(StoreError, match="the recorder brings it up to date first"):
        index.reading_engine(root).connect()


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    """A store whose index is of version 1, made from one of now."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        evidence = evidence_of(1, BEGIN_NS)
        store.commit([store.still_entry(evidence, jpeg_of(evidence))])
    connection = sqlite.connect(str(index.path_of(tmp_path / "store")))
    connection.executescript(
        "DROP INDEX evidence_space; DROP INDEX evidence_drill; DROP INDEX evidence_shown;"
        "ALTER TABLE incidents DROP COLUMN reason; DROP TABLE analyses; DROP TABLE assessments;"
        "DROP TABLE clips; DROP TABLE clip_incidents; DROP TABLE segments;"
        "PRAGMA user_version = 1;"
    )
    connection.close()
    return tmp_path


def test_a_store_of_version_1_goes_on(old_store: Path) -> None:
    """Opening it migrates; what is stored afterwards has its row beside the old ones."""
    with opened(settings_of(old_store), FakeClocks()) as store:
        evidence = evidence_of(2, BEGIN_NS + 1)
        store.commit([store.still_entry(evidence, jpeg_of(evidence))])
        assert store.knows([evidence.id, evidence_of(1, BEGIN_NS).id]) == {evidence.id, evidence_of(1, BEGIN_NS).id}
    assert (old_store / "store" / "index-v1.sqlite").exists()
