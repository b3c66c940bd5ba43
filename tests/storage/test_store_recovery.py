# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recovery on a real disk: what it completes, removes, cuts and refuses, and that it looks at nothing old."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlalchemy import insert, select

from daemon.errors import StoreError
from daemon.storage import index, left_open
from daemon.storage.durable import RealDisk
from daemon.storage.ledger import Head, Line, files, follow
from daemon.storage.recovery import Recovery
from daemon.storage.store import Store
from daemon.storage.verify import verify
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    FakeClocks,
    coverage_entry,
    evidence_of,
    jpeg_of,
    numbered,
    opened,
    run_entry,
    settings_of,
    still_entries,
)

DAY = "evidence/hall/2026/11/23"


class WatchedDisk(RealDisk):
    """Remembers what was opened, listed and sized."""

    def __init__(self) -> None:
        self.touched: list[Path] = []

    def open(self, path: Path) -> BinaryIO:
        self.touched.append(path)
        return super().open(path)

    def names(self, folder: Path) -> list[str] | None:
        self.touched.append(folder)
        return super().names(folder)

    def size_bytes(self, path: Path) -> int | None:
        self.touched.append(path)
        return super().size_bytes(path)


def lines(root: Path) -> list[Line]:
    disk, folder = RealDisk(), root / "ledger"
    return list(follow(disk, folder, Head(), {name: (0, size) for name, size in files(disk, folder).items()}))


def test_stills_without_line(tmp_path: Path) -> None:
    """Whole: completed from its own record. Torn: removed, with its hash. `.part`: gone. A stranger's copy: left alone."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
    folder = settings.root / DAY
    whole, torn = evidence_of(2, BEGIN_NS), jpeg_of(evidence_of(3, BEGIN_NS))[:-40]
    (folder / f"160509.123-{whole.id}.jpg").write_bytes(jpeg_of(whole))
    (folder / f"160509.123-{numbered(3)}.jpg").write_bytes(torn)
    (folder / f".160509.123-{numbered(4)}.jpg.part").write_bytes(b"half")
    (folder / f"160510.000-{numbered(5)}.jpg").write_bytes(jpeg_of(evidence_of(5, BEGIN_NS)))
    (folder / "holiday.jpg").write_bytes(b"sun")
    with opened(settings, FakeClocks()) as store:
        torn_path = f"{DAY}/160509.123-{numbered(3)}.jpg"
        assert store.recovered == Recovery(0, 0, 1, 1, [whole.id], [torn_path], [])
        assert store.knows([numbered(n) for n in range(6)]) == {numbered(1), whole.id}
        store.close("stop")
    said = [line.body for line in lines(settings.root) if line.kind == "repaired"]
    assert {"what": "completed_still", "id": whole.id, "path": f"{DAY}/160509.123-{whole.id}.jpg"} in said
    broken = {"what": "broken_still", "path": torn_path, "sha256": hashlib.sha256(torn).hexdigest(), "bytes": len(torn)}
    assert broken in said
    assert sorted(path.name[-16:] for path in folder.iterdir()) == sorted(
        [f"{n:012x}.jpg" for n in (1, 2, 5)] + ["holiday.jpg"]
    )
    strangers = {finding.where for finding in verify(settings.root).findings}
    assert strangers == {f"{DAY}/160510.000-{numbered(5)}.jpg", f"{DAY}/holiday.jpg"}


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """Said once, in a line; the row stays, marked; verify knows it."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
    next(settings.root.rglob("*.jpg")).unlink()
    for missing in ([numbered(1)], []):
        with opened(settings, FakeClocks()) as store:
            assert store.recovered.missing == missing
            with store._writing.session() as session:
                assert session.scalars(select(index.EvidenceRow.missing)).all() == [True]
    found = verify(settings.root)
    assert (found.findings, found.missing) == ((), 1)


@pytest.mark.parametrize("rubbish", [b"{", b"{}\n", b"\0" * 5000, b"x\ny\nz\n"])
def test_rubbish_behind_the_mark_is_cut(tmp_path: Path, rubbish: bytes) -> None:
    """And said, with its length and hash."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        before = store.head()[0]
    with (settings.root / "ledger/2026-11.jsonl").open("ab") as file:
        file.write(rubbish)
    with opened(settings, FakeClocks()) as store:
        assert store.recovered.cut_bytes == len(rubbish)
    said = lines(settings.root)[before].body
    digest = hashlib.sha256(rubbish).hexdigest()
    assert said == {"what": "ledger_tail", "file": "2026-11.jsonl", "bytes": len(rubbish), "sha256": digest}
    assert verify(settings.root).findings == ()


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone"])
def test_damage_before_the_mark_is_never_cut(tmp_path: Path, damage: str) -> None:
    """What was durable and is not there any more is reported; nothing is touched."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.close("stop")
    path = settings.root / "ledger/2026-11.jsonl"
    raw = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(raw[:-10] if damage == "shorter" else raw[:-10] + b"X" + raw[-9:])
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreError) as caught, opened(settings, FakeClocks()):
        pass
    assert caught.value.state == "damaged"
    assert (path.read_bytes() if path.exists() else None) == left
    assert verify(settings.root).exit_status == 1


def test_a_copy_beside_the_ledger_is_not_touched(tmp_path: Path) -> None:
    """Somebody's copy of a month is no part of the chain; verify names it, and finds nothing wrong."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        store.close("stop")
    copy = settings.root / "ledger/2026-11 before the audit.jsonl"
    shutil.copy(settings.root / "ledger/2026-11.jsonl", copy)
    before = copy.read_bytes()
    with opened(settings, FakeClocks()) as store:
        assert store.recovered == Recovery()
        store.close("stop")
    assert copy.read_bytes() == before
    found = verify(settings.root)
    assert (found.exit_status, found.notes) == (0, (f"ledger/{copy.name} is no file of the ledger",))


def test_a_lost_index_is_made_again(tmp_path: Path) -> None:
    """All rows come back from ledger and stills, without those of purged stills; also with a torn last line."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        clocks.run_for(31 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == 1
        store.commit([*still_entries(store, evidence_of(2, clocks.wall)), coverage_entry(BEGIN_NS, 3)])
        store.close("stop")
    for path in settings.root.glob("index.sqlite*"):
        path.unlink()
    with (settings.root / "ledger/2026-12.jsonl").open("ab") as file:
        file.write(b'{"torn')
    with opened(settings, clocks) as store:
        assert store.knows([numbered(1), numbered(2)]) == {numbered(2)}
    assert verify(settings.root).findings == ()


def rows_of(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite.connect(str(path))) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)


def spoil(path: Path, *pages: str) -> None:
    """Fills the root pages of these tables and indices, or where none is named the whole file, with what is none."""
    with closing(sqlite.connect(str(path))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    with path.open("r+b") as file:
        for name in pages:
            file.seek(size * (roots[name] - 1))
            file.write(b"\xff" * size)
        if not pages:
            file.write(b"no database at all" * 500)


@pytest.mark.parametrize("pages", [(), ("meta",), ("cameras", "runs")])
def test_a_malformed_index_is_set_aside_and_made_again(
    tmp_path: Path, pages: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """It is a cache: the store opens, all rows are there, the old one is kept, and nothing was lost but what only it knew."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit([run_entry(1), *still_entries(store, *(evidence_of(number, BEGIN_NS) for number in range(9)))])
        store.close("stop")
    path = index.path_of(settings.root)
    before = rows_of(path, "evidence")
    spoil(path, *pages)
    with opened(settings, FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(10, BEGIN_NS)))
        store.close("stop")
    assert [row for row in rows_of(path, "evidence") if row in before] == before
    assert (b"\xff" * 4096 if pages else b"no database at all" * 500) in (
        settings.root / "index-malformed.sqlite"
    ).read_bytes()
    assert caplog.text.count("it is kept as index-malformed.sqlite, and made anew") == 1
    assert verify(settings.root).findings == ()


@pytest.mark.parametrize("ask", [lambda store: store.knows([numbered(1)]), lambda store: store.read(left_open.gaps)])
def test_an_index_that_proves_malformed_is_made_again_at_the_next_opening(
    tmp_path: Path, ask: Callable[[Store], object]
) -> None:
    """Also where opening itself met nothing of it: whatever asked is told in a StoreError, and the store refuses the rest."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit(still_entries(store, *(evidence_of(number, BEGIN_NS) for number in range(9))))
        store.close("stop")
    spoil(index.path_of(settings.root), "sqlite_autoindex_runs_1", "gaps")
    with opened(settings, FakeClocks()) as store:
        with pytest.raises(index.MalformedIndex):
            ask(store)
        with pytest.raises(StoreError, match="until the store is opened again"):
            store.commit([coverage_entry(BEGIN_NS, 1)])
        store.close("fault")
    with opened(settings, FakeClocks()) as store:
        assert store.knows([numbered(1), numbered(20)]) == {numbered(1)}
        store.close("stop")
    assert verify(settings.root).findings == ()


def test_an_index_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """A disk that fails, or another schema, says nothing of what is in the index."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.close("stop")
    path = index.path_of(settings.root)
    whole = path.read_bytes()
    for harm in (
        lambda: path.write_bytes(whole[:60] + b"\0\0\0\x63" + whole[64:]),
        lambda: (path.unlink(), path.mkdir()),
    ):
        harm()
        with pytest.raises(StoreError) as refused, opened(settings, FakeClocks()):
            pass
        assert not isinstance(refused.value, index.MalformedIndex)
        assert path.exists()
        assert not (settings.root / "index-malformed.sqlite").exists()


def test_a_lost_index_and_a_broken_ledger_cut_nothing(tmp_path: Path) -> None:
    """Without the mark nothing tells what was durable."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store.commit([coverage_entry(BEGIN_NS, 3)])
        store.close("stop")
    for path in settings.root.glob("index.sqlite*"):
        path.unlink()
    path = settings.root / "ledger/2026-11.jsonl"
    raw = path.read_bytes().replace(b'"frames":3', b'"frames":4')
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="does not chain"), opened(settings, FakeClocks()):
        pass
    assert path.read_bytes() == raw


def test_recovery_looks_at_nothing_old(tmp_path: Path) -> None:
    """With 20,000 old stills and a long ledger: what is opened, listed or sized does not grow with them."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    touched = []
    for many in (0, 20_000):
        with opened(settings, clocks) as store:
            old = [_old_row(number) for number in range(many)]
            with store._writing.session() as session, session.begin():
                if old:
                    session.execute(insert(index.EvidenceRow), old)
            for path in {Path(str(row["path"])).parent for row in old}:
                (store.root / path).mkdir(parents=True)
            for row in old[::20]:  # the files' number matters less than that none is looked at
                (store.root / str(row["path"])).touch()
            clocks.run_for(DAY_NS)
            store.commit(still_entries(store, evidence_of(100_000 + many, clocks.wall)))
        shutil.copyfile(next(settings.root.rglob("*0186a0.jpg")), tmp_path / "some.jpg")
        disk = WatchedDisk()
        with opened(settings, clocks, disk) as store:
            assert store.recovered == Recovery()
        touched.append(len(disk.touched))
        assert not [path for path in disk.touched if "/yard/" in str(path)]
    assert touched[1] <= touched[0] + 3
    assert touched[1] < 40


def _old_row(number: int) -> dict[str, object]:
    day = f"evidence/yard/2026/{1 + number // 2000:02}/{1 + number % 20:02}"
    return {
        "id": numbered(number), "camera": "yard", "kind": "hit", "captured_at_ns": BEGIN_NS - number, "run_seq": 1,
        "pts": 1, "incident": None, "max_confidence": 0.5, "drill": False,
        "path": f"{day}/000000.000-{numbered(number)}.jpg", "sha256": "0" * 64, "bytes": 1, "ledger_seq": 1,
        "missing": False, "record": {},
    }  # fmt: skip
