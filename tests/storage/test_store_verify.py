# SPDX-License-Identifier: AGPL-3.0-or-later
"""verify: names the first break, whatever it is; reads only; gives no false alarm while the store is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.errors import StoreError
from daemon.storage.verify import Verification, verify
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    INCIDENT,
    FakeClocks,
    coverage_entry,
    evidence_of,
    gap_entry,
    incident_entry,
    numbered,
    opened,
    run_entry,
    settings_of,
    still_entries,
)

LEDGER = "ledger/2026-11.jsonl"


def make(tmp_path: Path) -> Path:
    """A store with something of every kind, closed; its root."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit([run_entry(store.next_run_seq()), incident_entry("suspect"), gap_entry(90, BEGIN_NS, None)])
        store.commit(still_entries(store, *(evidence_of(n, BEGIN_NS, incident=INCIDENT) for n in range(1, 5))))
        store.commit([coverage_entry(BEGIN_NS, 7), gap_entry(90, BEGIN_NS, BEGIN_NS + 5)])
        store.close("stop")
        return store.root


def still(root: Path, number: int) -> Path:
    return next(root.rglob(f"*{numbered(number)}.jpg"))


def sql(root: Path, statement: str) -> None:
    """Through another process, as nothing here may open the index by a second SQLite library."""
    code = "import pysqlite3.dbapi2 as s, sys; c = s.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    subprocess.run([sys.executable, "-c", code, str(root / "index.sqlite"), statement], check=True)


def change_line(root: Path, number: int, before: bytes, after: bytes) -> None:
    lines = (root / LEDGER).read_bytes().splitlines(keepends=True)
    assert before in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(before, after)
    (root / LEDGER).write_bytes(b"".join(lines))


def test_a_good_store(tmp_path: Path) -> None:
    """Clean, with what was looked at."""
    root = make(tmp_path)
    found = verify(root)
    assert (found.findings, found.notes, found.exit_status) == ((), (), 0)
    assert (found.lines, found.stills, found.missing) == (12, 4, 0)
    assert found.bytes == sum(path.stat().st_size for path in root.rglob("*.jpg"))
    assert found.store == json.loads((root / ".firewitness").read_text())["store"]


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-30] ^= 1
    path.chmod(0o640)
    path.write_bytes(raw)


DAMAGES: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("a changed still", lambda root: _flip(still(root, 2)), f"{LEDGER} line 6", "was changed"),
    ("a still gone", lambda root: still(root, 3).unlink(), f"{LEDGER} line 7", "is not there"),
    ("a still added", lambda root: (root / "evidence/hall/x.jpg").touch(), "evidence/hall/x.jpg", "has no line"),
    ("a changed line", lambda root: change_line(root, 6, b'"pts":"180000"', b'"pts":"180001"'), f"{LEDGER} line 7",
     "does not chain to line 6"),
    ("a line removed", lambda root: change_line(root, 5, b"{", b"") , f"{LEDGER} line 5", "is not JSON"),
    ("the last line changed", lambda root: change_line(root, 12, b'"of_seq":11', b'"of_seq":10'), f"{LEDGER} line 12",
     "the index knows another line"),
    ("lines cut off", lambda root: os.truncate(root / LEDGER, 700), f"{LEDGER} line", "does not end"),
    ("the ledger gone", lambda root: (root / LEDGER).unlink(), "ledger", "it ends with line 0"),
    ("a row gone", lambda root: sql(root, f"DELETE FROM evidence WHERE id = '{numbered(1)}'"), f"{LEDGER} line 5",
     "has no row in the index"),
    ("a row changed", lambda root: sql(root, "UPDATE evidence SET pts = 1 WHERE pts = 90000"), "evidence/hall",
     "has a row that differs"),
    ("a sighting changed", lambda root: sql(root, "UPDATE sightings SET confidence = 1 WHERE label = 'fire'"),
     "evidence/hall", "has a row that differs"),
    ("a gap shortened", lambda root: sql(root, "UPDATE gaps SET to_at_ns = 1"), "index.sqlite, gaps", "differs"),
    ("a run gone", lambda root: sql(root, "DELETE FROM runs"), "index.sqlite, runs", "is not in the index"),
    ("coverage invented", lambda root: sql(root, "INSERT INTO coverage VALUES ('hall', 1, 2, 3.0)"),
     "index.sqlite, coverage hall/1", "has no line"),
    ("a broken index", lambda root: (root / "index.sqlite").write_bytes(b"no database" * 1000), "index.sqlite",
     "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "where", "what"), [each[1:] for each in DAMAGES], ids=[each[0] for each in DAMAGES])
def test_the_first_break_is_named(tmp_path: Path, damage: Callable[[Path], object], where: str, what: str) -> None:
    """File, line and what is wrong; exit status 1."""
    root = make(tmp_path)
    damage(root)
    found = verify(root)
    assert found.exit_status == 1
    assert found.findings[0].where.startswith(where), found.findings
    assert what in found.findings[0].what
    assert found.found >= len(found.findings)


def test_a_line_taken_out_of_the_middle(tmp_path: Path) -> None:
    """Also when a whole line is gone."""
    root = make(tmp_path)
    lines = (root / LEDGER).read_bytes().splitlines(keepends=True)
    (root / LEDGER).write_bytes(b"".join(lines[:6] + lines[7:]))
    assert str(verify(root).findings[0]) == f"{LEDGER} line 7: line 7 of the chain is expected here, not 8"


def test_several_findings_come_in_the_order_of_the_ledger(tmp_path: Path) -> None:
    """The first break first."""
    root = make(tmp_path)
    _flip(still(root, 4))
    still(root, 2).unlink()
    (root / "evidence/a").touch()
    assert [finding.where for finding in verify(root).findings] == [
        f"{LEDGER} line 6",
        f"{LEDGER} line 8",
        "evidence/a",
    ]


def test_it_changes_nothing(tmp_path: Path) -> None:
    """No byte, name or time below the root, with and without a WAL left by a kill."""
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    root = make(tmp_path)

    def state() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*"))

    before = state()
    assert verify(root).findings == ()
    assert state() == before
    kill = (
        "import os; from tests.storage.store_kit import *; from pathlib import Path\n"
        f"store = Store.open(settings_of(Path({str(tmp_path)!r})), FakeClocks(), version='0', cameras=[])\n"
        "store.commit(still_entries(store, evidence_of(50, BEGIN_NS))); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", kill], check=False, cwd=Path(__file__).parents[2])
    assert (root / "index.sqlite-wal").stat().st_size
    before = state()
    assert verify(root).findings == ()
    assert state() == before
    with opened(settings, clocks) as store:
        assert store.knows([numbered(50)])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take writing away from root, with an immutable mount")
def test_a_copy_on_a_read_only_medium(tmp_path: Path) -> None:
    """Nothing has to be written beside the index."""
    root = make(tmp_path)
    mount = ["mount", "--bind", "-o", "ro", str(root), str(root)]
    inner = f"{' '.join(mount)} && mount -o remount,bind,ro {root} && exec {sys.executable} -c "
    code = f"from daemon.storage.verify import verify; from pathlib import Path; print(verify(Path('{root}')))"
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", inner + '"$0"', code],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    if "unshare" in ran.stderr or "mount" in ran.stderr:
        pytest.skip("this sandbox may not mount")
    assert "found=0" in ran.stdout, ran.stderr


def test_what_the_next_start_will_do_is_a_note(tmp_path: Path) -> None:
    """After a kill between the steps nothing is wrong yet."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        path = next(store.root.rglob("*.jpg"))
        path.with_name(f".{path.name}.part").write_bytes(b"half")
        with (store.root / LEDGER).open("ab") as file:
            file.write(b'{"at"')
    found = verify(settings.root)
    assert (found.findings, len(found.notes)) == ((), 2)
    with opened(settings, FakeClocks()):
        pass
    assert verify(settings.root).notes == ()


def test_without_index_it_does_without(tmp_path: Path) -> None:
    """And says so."""
    root = make(tmp_path)
    (root / "index.sqlite").unlink()
    found = verify(root)
    assert (found.findings, found.notes) == ((), ("there is no index; rows were not compared",))


def test_no_store(tmp_path: Path) -> None:
    """One sentence."""
    with pytest.raises(StoreError, match="holds no store"):
        verify(tmp_path)


def test_no_false_alarm_while_it_is_written(tmp_path: Path) -> None:
    """Groups stored and purged all the while, seen from another process."""
    root = make(tmp_path)
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    stop, results = threading.Event(), []

    def watch() -> None:
        code = f"from daemon.storage.verify import verify; from pathlib import Path; print(verify(Path('{root}')))"
        for _ in range(4):
            ran = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
            )
            results.append(ran.stdout + ran.stderr)
        stop.set()

    with opened(settings, clocks) as store:
        thread = threading.Thread(target=watch)
        thread.start()
        number = 100
        while not stop.is_set():
            store.commit(still_entries(store, *(evidence_of(number + n, clocks.wall) for n in range(5))))
            number += 5
            clocks.run_for(DAY_NS)
            store.purge.run(dry_run=False, all_due=True)
        thread.join()
    assert number > 150
    assert [text for text in results if "found=0" not in text] == []


def test_the_daemon_finds_damage_while_it_runs(tmp_path: Path) -> None:
    """The same breaks are found beside a running writer."""
    root = make(tmp_path)
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(9, BEGIN_NS)))
        _flip(still(root, 2))
        found: Verification = verify(root)
        (finding,) = found.findings
        assert finding.where == f"{LEDGER} line 6"
        assert finding.what.startswith(f"{still(root, 2).relative_to(root)} was changed")
