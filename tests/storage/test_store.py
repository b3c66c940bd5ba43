# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store on a real disk: what it stores, refuses and says; failed syncs, and the cost of a group."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from daemon.errors import StoreError
from daemon.storage import index, left_open
from daemon.storage.durable import RealDisk
from daemon.storage.ledger import Head, files, follow
from daemon.storage.store import Store
from daemon.storage.writing import Entry
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    INCIDENT,
    RUN,
    FakeClocks,
    coverage_entry,
    evidence_of,
    gap_entry,
    incident_entry,
    jpeg_of,
    numbered,
    opened,
    run_entry,
    settings_of,
    still_entries,
)


class CountingDisk(RealDisk):
    """Counts the steps, and fails with `failing` at the first of `fail`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def sync_folder(self, path: Path) -> None:
        self.calls["sync_folder"] += 1
        super().sync_folder(path)

    def write_new(self, path: Path, data: bytes | memoryview, mode: int = 0o440) -> None:
        self.calls["write_new"] += 1
        super().write_new(path, data, mode)

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        self.calls["write_at"] += 1
        super().write_at(path, offset, data)


def test_a_still_is_stored_byte_for_byte(tmp_path: Path) -> None:
    """File, line and row say the same; the file cannot be written to."""
    evidence = evidence_of(1, BEGIN_NS)
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        store.commit([run_entry(store.next_run_seq()), *still_entries(store, evidence)])
        path = store.root / "evidence/hall/2026/11/23" / f"160509.123-{evidence.id}.jpg"
        assert path.read_bytes() == jpeg_of(evidence)
        assert path.stat().st_mode & 0o777 == 0o440
        with store._writing.session() as session:
            row = session.scalars(select(index.EvidenceRow)).one()
            assert (row.sha256, row.run_seq, row.pts) == (hashlib.sha256(jpeg_of(evidence)).hexdigest(), 1, 90000)
            assert store.root / row.path == path
            seen = session.scalars(select(index.SightingRow).order_by(index.SightingRow.label)).all()
            assert [(each.label, each.confidence) for each in seen] == [("fire", 0.26), ("smoke", 0.125)]


def test_lines_are_canonical_and_chained(tmp_path: Path) -> None:
    """Each line is RFC 8785 (keys sorted, no blanks), numbered from 1, and holds the hash of the one before."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        store.commit([gap_entry(1, BEGIN_NS, None)])
        store.close("stop")
    raw = (tmp_path / "store/ledger/2026-11.jsonl").read_bytes().splitlines()
    prev = "0" * 64
    for number, line in enumerate(raw, 1):
        value = json.loads(line)
        assert line == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert (value["seq"], value["prev"]) == (number, prev)
        prev = hashlib.sha256(line).hexdigest()
    assert [json.loads(line)["kind"] for line in raw] == ["opened", "gap", "closed", "head"]
    assert json.loads(raw[3])["body"] == {"of_seq": 3, "of_hash": hashlib.sha256(raw[2]).hexdigest()}
    assert json.loads(raw[0])["body"]["store"] == json.loads((tmp_path / "store/.firewitness").read_text())["store"]


def test_chain_goes_on_when_the_clock_goes_back_a_month(tmp_path: Path) -> None:
    """Lines go into the file of their month, whichever that is; the chain runs on by number, also after reopening."""
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    for days in (0, 40, -40, 3660, -3660):
        clocks.wall += days * DAY_NS
        with opened(settings, clocks) as store:
            store.commit([coverage_entry(BEGIN_NS, 1), coverage_entry(BEGIN_NS, 2)])
            store.close("stop")
    spans = {name: (0, size) for name, size in files(RealDisk(), tmp_path / "store/ledger").items()}
    assert len(spans) == 3
    assert [line.seq for line in follow(RealDisk(), tmp_path / "store/ledger", Head(), spans)] == list(range(1, 26))


def test_a_group_shares_its_syncs(tmp_path: Path) -> None:
    """32 stills of one folder cost one sync a file, one of the folder, one of the ledger."""
    disk = CountingDisk()
    with opened(settings_of(tmp_path), FakeClocks(), disk) as store:
        store.commit(still_entries(store, evidence_of(0, BEGIN_NS)))
        disk.calls.clear()
        store.commit(still_entries(store, *(evidence_of(number, BEGIN_NS) for number in range(1, 33))))
    assert disk.calls == {"write_new": 32, "sync_folder": 1, "write_at": 1}


def test_incident_counts_its_stills_in_any_order(tmp_path: Path) -> None:
    """Stills before, between and after the incident's lines count, and the strongest confidence stays."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        first, second = evidence_of(40, BEGIN_NS, incident=INCIDENT), evidence_of(1, BEGIN_NS, incident=INCIDENT)
        store.commit(still_entries(store, first))
        store.commit([incident_entry("suspect")])
        store.commit([*still_entries(store, second), incident_entry("confirmed")])
        (incident,) = store.read(left_open.open_incidents)
        assert (incident.state, incident.max_confidence) == ("confirmed", 0.65)
        with store._writing.session() as session:
            assert session.scalars(select(index.IncidentRow.evidence_count)).one() == 2
        recent = lambda since_ns: store.read(lambda session: left_open.recent_incidents(session, "hall", since_ns))  # noqa: E731
        assert recent(BEGIN_NS)[0].id == INCIDENT
        assert recent(BEGIN_NS + 1) == []


def test_run_that_comes_after_its_still(tmp_path: Path) -> None:
    """A still that recovery completed can precede its run's line: it gets the run's number then."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        store.commit([run_entry(store.next_run_seq())])
        with store._writing.session() as session:
            assert session.scalars(select(index.EvidenceRow.run_seq)).one() == 1
        assert store.knows([RUN, numbered(1), numbered(2)]) == {RUN, numbered(1)}


def test_run_numbers_go_on_after_reopening(tmp_path: Path) -> None:
    """Order of runs is store-wide and for good."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        store.commit([run_entry(store.next_run_seq())])
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        assert store.next_run_seq() == 2


def test_what_is_stored_is_not_stored_again(tmp_path: Path) -> None:
    """A known still is refused before anything is written, and the store goes on."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        (entry,) = still_entries(store, evidence_of(1, BEGIN_NS))
        store.commit([entry])
        head = store.head()
        for group in ([entry], [*still_entries(store, evidence_of(2, BEGIN_NS))] * 2):
            with pytest.raises(ValueError, match="stored already"):
                store.commit(group)
        assert store.head() == head
        store.commit(still_entries(store, evidence_of(2, BEGIN_NS)))


def test_a_jpeg_of_another_record_is_refused(tmp_path: Path) -> None:
    """The row follows the file: a picture whose own record is of another still is no evidence of this one."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        with pytest.raises(ValueError, match="not of"):
            store.still_entry(evidence_of(1, BEGIN_NS), jpeg_of(evidence_of(2, BEGIN_NS)))


def test_below_the_reserve_nothing_is_written_and_a_purge_may(tmp_path: Path) -> None:
    """State `full`; room comes back by itself or by the purge, and storing goes on."""

    class SmallDisk(RealDisk):
        free = 10**9

        def space_bytes(self, path: Path) -> tuple[int, int]:
            return self.free, 10**12

    disk, clocks = SmallDisk(), FakeClocks()
    with opened(settings_of(tmp_path, reserve=10**6), clocks, disk) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        disk.free = 10**6 - 1
        clocks.run_for(31 * DAY_NS)
        before = sorted(tmp_path.rglob("*.jpg")), store.head()
        with pytest.raises(StoreError, match=r"storage\.reserve") as caught:
            store.commit(still_entries(store, evidence_of(2, clocks.wall)))
        assert (caught.value.state, store.disk_state()) == ("full", "full")
        assert before == (sorted(tmp_path.rglob("*.jpg")), store.head())
        assert store.purge.run(dry_run=False, all_due=False).removed == 1
        disk.free = 10**6
        assert store.disk_state() == "ok"
        store.commit(still_entries(store, evidence_of(2, clocks.wall)))


@pytest.mark.parametrize(
    ("number", "state"), [(errno.EIO, "damaged"), (errno.ENOSPC, "full"), (errno.EROFS, "read_only")]
)
@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_failed_sync_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, state: str
) -> None:
    """L5: it refuses everything, writes nothing more, and goes on through recovery with all that was acknowledged."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        entries = still_entries(store, evidence_of(2, BEGIN_NS))
        calls = []

        def fail(descriptor: int) -> None:
            calls.append(descriptor)
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(StoreError) as caught:
                store.commit(entries)
        assert (caught.value.state, store.disk_state(), len(calls)) == (state, state, 1)
        head = store.head()
        for refused in (
            lambda: store.commit([gap_entry(1, 1, None)]),
            lambda: store.purge.run(dry_run=False, all_due=True),
        ):
            with pytest.raises(StoreError, match="until the store is opened again"):
                refused()
        store.close("stop")
        assert store.head() == head
    with opened(settings, clocks) as store:
        assert numbered(1) in store.knows([numbered(1)])
        if not store.knows([numbered(2)]):
            store.commit(still_entries(store, evidence_of(2, BEGIN_NS)))


def test_a_second_writer_is_told(tmp_path: Path) -> None:
    """One clear sentence, and the first is not disturbed."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        with pytest.raises(StoreError, match="another Firewitness is writing to"):
            Store.open(settings, FakeClocks(), version="0", cameras=[])
        store.commit([gap_entry(1, BEGIN_NS, None)])
        assert [gap.id for gap in store.read(left_open.gaps)] == [numbered(1)]
    with opened(settings, FakeClocks()):
        pass


def test_the_disk_that_goes_away(tmp_path: Path) -> None:
    """When another folder stands at the root's path, nothing is written there: state `gone`."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        store.root.rename(tmp_path / "moved")
        store.root.mkdir()
        assert store.disk_state() == "gone"
        with pytest.raises(StoreError, match="its disk is gone"):
            store.commit([gap_entry(1, BEGIN_NS, None)])
        assert list(store.root.iterdir()) == []


def test_sqlite_that_fails_is_said_as_the_disks_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that cannot be committed stops the store; the line is there, and recovery makes the row."""
    settings = settings_of(tmp_path)

    def fail(*_: Any) -> None:
        raise index.SQLAlchemyError("database or disk is full")

    with opened(settings, FakeClocks()) as store:
        with monkeypatch.context() as patch:
            patch.setattr("daemon.storage.writing.apply", fail)
            with pytest.raises(StoreError) as caught:
                store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))
        assert caught.value.state == "full"
    with opened(settings, FakeClocks()) as store:
        assert store.recovered.lines_applied == 1
        assert store.knows([numbered(1)]) == {numbered(1)}


def test_an_unknown_kind_is_a_bug_and_stores_nothing(tmp_path: Path) -> None:
    """Nothing of it is in the ledger."""
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        head = store.head()
        with pytest.raises(ValueError, match="no kind"):
            store.commit([Entry("nonsense", {})])
        assert store.head() == head
        store.commit([gap_entry(1, BEGIN_NS, None)])
