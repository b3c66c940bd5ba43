# SPDX-License-Identifier: AGPL-3.0-or-later
"""The index made anew equals the one before, row for row; whatever interrupts it, the next start goes on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage import index, recovery
from daemon.storage.reindex import KEPT, reindex
from daemon.storage.verify import verify
from daemon.storage.writing import Entry
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    HOUR_NS,
    INCIDENT,
    NS,
    FakeClocks,
    evidence_of,
    gap_entry,
    incident_entry,
    jpeg_of,
    numbered,
    opened,
    run_entry,
    settings_of,
)

TABLES = ("cameras", "runs", "incidents", "evidence", "sightings", "gaps", "coverage")
STILLS = 60
UNANALYSED: dict[str, Any] = {
    "kind": "reference", "detections": (), "model": None, "thresholds": {}, "reduced_from_px": (1920, 1080),
}  # fmt: skip


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
def settings(tmp_path: Path, clocks: FakeClocks) -> StorageSettings:
    """A store with every kind of line: also reference stills, purged ones, a missing one, and a reload."""
    settings = settings_of(tmp_path, retention=10 * 86400)
    with opened(settings, clocks) as store:
        store.commit([run_entry(1), incident_entry("suspect"), gap_entry(900, BEGIN_NS - HOUR_NS, None)])
        for number in range(STILLS):
            evidence = evidence_of(number, clocks.wall, incident=INCIDENT if number % 2 else None)
            if number % 10 == 0:
                evidence = replace(evidence, **UNANALYSED)
            store.commit([store.still_entry(evidence, jpeg_of(evidence))])
            clocks.run_for(DAY_NS // 4)
        hour = {
            "camera": "hall",
            "hour_at": "2026-11-23T16:00:00.000Z",
            "hour_at_ns": str(BEGIN_NS - BEGIN_NS % HOUR_NS),
        }
        store.commit([
            gap_entry(900, BEGIN_NS - HOUR_NS, BEGIN_NS), incident_entry("confirmed"), incident_entry("ended"),
            Entry("coverage", {**hour, "frames": 7, "watched_s": 12.5}),
            Entry("settings", {"sha256": "ab" * 32, "cameras": ["hall", "yard", "roof"]}),
        ])  # fmt: skip
        assert store.purge.run(dry_run=False, all_due=True).removed > 0
        last = numbered(STILLS - 1)
    (gone,) = (settings.root / "evidence").rglob(f"*{last}.jpg")
    gone.unlink()
    with opened(settings, clocks) as store:  # recovery says in a line that it is missing
        assert store.recovered.missing == [last]
    return settings


def tables(path: Path) -> dict[str, list[Any]]:
    connection = sqlite.connect(str(path))
    try:
        found = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in TABLES}
        found["notes"] = sorted(connection.execute("SELECT * FROM meta WHERE key LIKE 'noted:%'").fetchall())
        return found
    finally:
        connection.close()


def without_record_of(rows: list[Any], id_: str) -> list[Any]:
    return [row for row in rows if id_ not in row]


def test_it_equals_the_one_before(settings: StorageSettings, clocks: FakeClocks) -> None:
    """All tables; what nobody can know any more is the record of a still whose file is gone."""
    path = index.path_of(settings.root)
    before = tables(path)
    done = reindex(settings, clocks, version="0.2.0", cameras=["hall", "yard"])
    after = tables(path)
    assert done.stills == done.stills_before == len(before["evidence"])
    gone = numbered(STILLS - 1)
    for name in TABLES:
        mine, theirs = (without_record_of(each[name], gone) for each in (before, after))
        assert theirs == mine, name
    assert [row[0] for row in before["notes"]][:-1] == [row[0] for row in after["notes"]][: len(before["notes"]) - 1]
    assert tables(settings.root / KEPT)["evidence"] == before["evidence"]
    assert verify(settings.root).findings == ()


def test_the_index_may_be_damaged_or_gone(settings: StorageSettings, clocks: FakeClocks) -> None:
    """That is why one makes it anew."""
    path = index.path_of(settings.root)
    count = len(tables(path)["evidence"])
    for harm in (lambda: path.write_bytes(b"no database at all" * 500), path.unlink):
        harm()
        done = reindex(settings, clocks, version="0.2.0", cameras=["hall", "yard"])
        assert (done.stills, done.stills_before) == (count, None)
    assert verify(settings.root).findings == ()


def test_a_running_daemon_is_not_disturbed(settings: StorageSettings, clocks: FakeClocks) -> None:
    """Refused, and the index is where it was."""
    with opened(settings, clocks):
        with pytest.raises(StoreError, match="stop it first"):
            reindex(settings, clocks, version="0.2.0", cameras=[])
    assert not (settings.root / KEPT).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from daemon.settings import StorageSettings
from daemon.storage import recovery
from daemon.storage.reindex import reindex
from tests.storage.store_kit import FakeClocks, settings_of
recovery.PORTION = 7
left = int(sys.argv[2])
def going_on(lines):
    if lines >= left:
        os.kill(os.getpid(), signal.SIGKILL)
    return True
reindex(settings_of(Path(sys.argv[1]), retention=10 * 86400), FakeClocks(), version="0.2.0", cameras=[], going_on=going_on)
"""


def test_a_kill_in_the_middle_is_gone_on_with(settings: StorageSettings, clocks: FakeClocks, tmp_path: Path) -> None:
    """Kill -9 three times, each further on; then an ordinary start finishes it, and nothing is cut, lost or twice."""
    before = tables(index.path_of(settings.root))
    ledger = b"".join(path.read_bytes() for path in sorted((settings.root / "ledger").iterdir()))
    for lines in (7, 21, 14):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(lines)], check=False, timeout=60, capture_output=True
        )
        assert killed.returncode == -9, killed.stderr
    assert b"".join(path.read_bytes() for path in sorted((settings.root / "ledger").iterdir())) == ledger
    with opened(settings, clocks) as store:
        assert store.recovered.lines_applied > 0
        assert not store.recovered.cut_bytes
    after = tables(index.path_of(settings.root))
    gone = numbered(STILLS - 1)
    for name in TABLES:
        assert without_record_of(after[name], gone) == without_record_of(before[name], gone), name
    assert tables(settings.root / KEPT)["evidence"] == before["evidence"], "a second try must not replace the good one"


def test_damage_behind_the_mark_of_a_broken_off_one_is_not_cut(
    settings: StorageSettings, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines are old and were durable: a break among them is damage, although it lies behind the mark."""
    monkeypatch.setattr(recovery, "PORTION", 5)
    with pytest.raises(StoreError, match="the next start goes on"):
        reindex(settings, clocks, version="0.2.0", cameras=[], going_on=lambda lines: lines < 10)
    name = sorted((settings.root / "ledger").iterdir())[-1]
    whole = name.read_bytes()
    lines = whole.split(b"\n")
    lines[-4] = lines[-4].replace(b'"seq"', b'"SEQ"')
    name.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError) as refused, opened(settings, clocks):
        pass
    assert refused.value.state == "damaged"
    assert name.read_bytes() == b"\n".join(lines)
    name.write_bytes(whole)
    with opened(settings, clocks) as store:
        assert store.count() > 0


def test_a_stop_is_heard_between_portions(
    settings: StorageSettings, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening ends soon, as `starting`; the next one goes on where it was."""
    monkeypatch.setattr(recovery, "PORTION", 10)
    index.path_of(settings.root).unlink()
    with pytest.raises(StoreError) as broken, opened(settings, clocks, going_on=lambda lines: False):
        pass
    assert broken.value.state == "starting"
    all_lines = sum(path.read_bytes().count(b"\n") for path in (settings.root / "ledger").iterdir())
    with opened(settings, clocks) as store:
        assert store.recovered.lines_applied == all_lines - 10
    assert clocks.wall > BEGIN_NS + NS
