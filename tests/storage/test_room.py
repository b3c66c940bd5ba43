# SPDX-License-Identifier: AGPL-3.0-or-later
"""Purging for space: who gives way, in which order, how much an hour; and that no clock has a say in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import wire
from daemon.clock import NS
from daemon.domain import Evidence
from daemon.storage.due import Due
from daemon.storage.durable import RealDisk
from daemon.storage.ledger import Head, files, follow
from daemon.storage.retention import Retention
from daemon.storage.room import HOUR_NS, Hourly, Space, excess, take
from daemon.storage.store import Store
from daemon.storage.supervisor_end import SupervisorEnd
from daemon.storage.verify import verify
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    INCIDENT,
    ClipWriter,
    FakeClocks,
    clip_of,
    evidence_of,
    incident_entry,
    numbered,
    opened,
    settings_of,
    still_entries,
)

YEARS_NS = 3653 * DAY_NS
CAMERAS = ("hall", "yard", "roof", "shed")
SIZES = st.integers(1, 400)


@given(
    stored=st.lists(st.tuples(st.sampled_from(CAMERAS), SIZES), min_size=1, max_size=60),
    allowed=st.integers(0, 4000),
)
def test_who_is_below_its_share_loses_nothing(stored: list[tuple[str, int]], allowed: int) -> None:
    """As long as too much is held, somebody is above its share; only such give way, the first stored first."""
    stills = [Due(str(number), "", size, camera) for number, (camera, size) in enumerate(stored)]
    while (held := sum(each.bytes for each in stills)) > allowed:
        by_camera: dict[str, int] = {}
        for each in stills:
            by_camera[each.camera] = by_camera.get(each.camera, 0) + each.bytes
        share = allowed // len(by_camera)
        over = excess(by_camera, allowed)
        gone = take(stills, over, held - allowed)
        assert gone, "too much is held, and nothing goes"
        for camera, size in by_camera.items():
            lost = [each for each in gone if each.camera == camera]
            if size <= share:
                assert lost == []
            if lost:  # not one more than until it is down to its share
                assert size - sum(each.bytes for each in lost[:-1]) > share
                assert lost == [each for each in stills if each.camera == camera][: len(lost)]
        stills = [each for each in stills if each not in gone]


class SmallDisk(RealDisk):
    """A disk on which evidence alone takes space."""

    def __init__(self, total: int, others: int = 0) -> None:
        self.total, self.others = total, others

    def space_bytes(self, path: Path) -> tuple[int, int]:
        taken = sum(file.stat().st_size for file in (path / "evidence").rglob("*.jpg"))
        return self.total - self.others - taken, self.total


def left(store: Store) -> set[str]:
    return {path.stem.partition("-")[2] for path in (store.root / "evidence").rglob("*.jpg")}


def purged(store: Store) -> list[dict[str, Any]]:
    folder = store.root / "ledger"
    spans = {name: (0, size) for name, size in files(store.disk, folder).items()}
    return [line.body for line in follow(store.disk, folder, Head(), spans) if line.kind == "purged"]


def store_all(store: Store, *several: Evidence) -> int:
    """Stores them; the bytes of one on average."""
    store.commit(still_entries(store, *several))
    return store.held.bytes // store.held.stills


def test_a_lamp_evicts_itself(tmp_path: Path) -> None:
    """A camera with a few firsts keeps them all beside one that fills the disk, also where the few are the oldest."""
    disk = SmallDisk(10**9)
    with opened(settings_of(tmp_path), FakeClocks(), disk) as store:
        few = [evidence_of(n, BEGIN_NS + n, camera="yard", kind="first_suspect") for n in range(3)]
        size = store_all(store, *few, *(evidence_of(n, BEGIN_NS + n) for n in range(10, 60)))
        disk.others = disk.total - disk.space_bytes(store.root)[0] // 10**9 - store.held.bytes - 2 * size
        assert store.purge.make_room(12 * size)
        assert {numbered(n) for n in range(3)} <= left(store)
        (line,) = purged(store)
        assert line["reason"] == "space"
        assert line["ids"] == [numbered(n) for n in range(10, 10 + len(line["ids"]))]
        assert 11 <= len(line["ids"]) <= 13
        assert store.purge.removed["space"] == len(line["ids"])
        assert store.held.stills == len(left(store))
        store.close("stop")
    assert verify(tmp_path / "store").findings == ()


def test_what_can_be_spared_goes_first(tmp_path: Path) -> None:
    """Drills, references and what was never confirmed; then what was kept for other cameras; then the rest; the firsts of a
    confirmed fire last of all.
    """
    disk = SmallDisk(10**9, others=10**9)
    lamp = numbered(900)
    with opened(settings_of(tmp_path), FakeClocks(), disk) as store:
        confirmed = incident_entry("confirmed")
        confirmed.body.update(first_confirmed_at="2026-11-23T16:05:10.000Z", first_confirmed_at_ns=str(BEGIN_NS + NS))
        store.commit([confirmed, incident_entry("unconfirmed", incident=lamp)])
        store_all(
            store,
            evidence_of(1, BEGIN_NS, kind="first_suspect", incident=INCIDENT),
            evidence_of(2, BEGIN_NS, kind="first_confirmed", incident=INCIDENT),
            evidence_of(3, BEGIN_NS, incident=INCIDENT),
            evidence_of(4, BEGIN_NS, kind="first_suspect", incident=lamp),
            evidence_of(5, BEGIN_NS, kind="context", incident=lamp),
            evidence_of(6, BEGIN_NS, kind="reference"),
            evidence_of(7, BEGIN_NS, kind="first_confirmed", incident=INCIDENT, drill=True),
            evidence_of(8, BEGIN_NS),
            evidence_of(9, BEGIN_NS, kind="sibling", incident=INCIDENT),
        )
        while store.purge.make_room(1):
            pass
        went = [int(line["ids"][0][-4:], 16) for line in purged(store)]
        assert went == [5, 6, 7, 8, 9, 3, 4, 1, 2]
        assert store.held.stills == store.held.bytes == 0


def test_room_is_made_until_there_is_headroom(tmp_path: Path) -> None:
    """From below one headroom above the reserve until two are free; not a still more."""
    clocks, disk = FakeClocks(), SmallDisk(2_000_000)
    given = settings_of(tmp_path, reserve=1_000_000)
    with opened(given, clocks, disk) as store:
        retention = Retention(given, clocks)
        number = 0
        while not store.space().is_short:
            retention.stored(store_all(store, evidence_of(number, BEGIN_NS + number)))
            number += 1
        assert store.disk_state() == "ok"
        for _ in range(5):
            retention.keep(store)
        space = store.space()
        assert 0 <= space.free - (space.reserve + 2 * space.headroom) < 10_000
        assert min(left(store)) > numbered(0)
        assert retention.state.startswith("space purged; oldest evidence is 0.0 days, retention asked 30 d")
        before = left(store)
        retention.keep(store)
        assert left(store) == before
        clocks.run_for(DAY_NS)
        retention.keep(store)
        assert retention.state == "ok"


def test_other_peoples_files_cost_a_tenth_an_hour(tmp_path: Path) -> None:
    """What fills the disk beside us takes at most a tenth of the evidence, then the disk is full, until the next hour."""
    clocks, disk = FakeClocks(), SmallDisk(10**9)
    given = settings_of(tmp_path, reserve=10**8)
    with opened(given, clocks, disk) as store:
        store_all(store, *(evidence_of(n, BEGIN_NS + n) for n in range(100)))
        retention = Retention(given, clocks)  # of a later hour than these were stored in
        disk.others = 950_000_000
        for _ in range(5):
            retention.keep(store)
        assert 9 <= 100 - len(left(store)) <= 11
        assert store.disk_state() == "full"
        clocks.run_for(HOUR_NS)
        retention.keep(store)
        assert 17 <= 100 - len(left(store)) <= 21


def test_a_growing_clip_is_stored_too(tmp_path: Path) -> None:
    """What a fire writes as clips may go for space in the same hour, as what it writes as stills may."""
    clocks, disk = FakeClocks(), SmallDisk(10**9)
    given = settings_of(tmp_path, reserve=10**8)
    with opened(given, clocks, disk) as store:
        size = store_all(store, *(evidence_of(n, BEGIN_NS + n) for n in range(100)))
        retention = Retention(given, clocks)
        ours, theirs = wire.pair()
        unused: Any = None
        grown = ClipWriter(clip_of(1), BEGIN_NS).next(10 * size)
        SupervisorEnd(ours, unused, unused, retention, unused).stored([], [grown])
        ours.close()
        theirs.close()
        disk.others = 950_000_000
        for _ in range(5):
            retention.keep(store)
        gone, may_go = 100 - len(left(store)), 10 + len(grown.data) / size
        assert may_go > 30
        assert abs(gone - may_go) <= 1


def test_hourly() -> None:
    """What is stored in the hour may go in it, and a tenth of the rest."""
    hourly = Hourly()
    assert hourly.left(5, 1000) == 100
    hourly.stored(70)
    hourly.removed(150)
    assert hourly.left(6, 9000) == 20
    hourly.removed(150)
    assert hourly.left(7, 9000) == 0
    assert hourly.left(5 + HOUR_NS, 9000) == 900


def test_headroom() -> None:
    """2 GB of a disk of 1 TB; at least a group of the recorder, at most a tenth of a small disk."""
    assert Space(0, 10**12, 0).headroom == 2 * 10**9
    assert Space(0, 16 * 10**9, 0).headroom == 64_000_000
    assert Space(0, 64 * 2**20, 0).headroom == 6_710_886
    assert Space(10, 1000, 100).allowed(500) == 210
    assert Space(10, 1000, 100).wanted == 290


LATEST_NS = 2**63 - 1 - YEARS_NS  # the index's times end in 2262


@settings(max_examples=12, deadline=None)
@given(
    cameras=st.lists(st.sampled_from(CAMERAS), min_size=8, max_size=60),
    kinds=st.lists(st.sampled_from(["hit", "context", "first_suspect", "reference"]), min_size=1, max_size=5),
    steps=st.lists(st.sampled_from([0, NS, -NS, DAY_NS, YEARS_NS, -YEARS_NS]), min_size=1, max_size=4),
    fits=st.integers(2, 30),
)
def test_fair_in_the_store_under_any_clock(cameras: list[str], kinds: list[str], steps: list[int], fits: int) -> None:
    """Whatever cameras store in whatever order, and however the wall clock steps meanwhile: nobody below its share loses."""
    clocks, disk = FakeClocks(), SmallDisk(10**9)
    with tempfile.TemporaryDirectory() as folder, opened(settings_of(Path(folder)), clocks, disk) as store:
        for number, camera in enumerate(cameras):
            clocks.wall = min(max(DAY_NS, clocks.wall + steps[number % len(steps)]), LATEST_NS)
            kind = kinds[number % len(kinds)]
            store_all(store, evidence_of(number, clocks.wall, camera=camera, kind=kind))
        size = store.held.bytes // store.held.stills
        allowed = fits * size
        disk.others = disk.total - allowed - 2 * store.space().headroom
        while (wanted := store.space().wanted) > 0:
            before = store.held.by_camera()
            share = store.space().allowed(store.held.bytes) // len(before)
            gone = store.purge.make_room(wanted)
            assert gone
            assert all(before[due.camera] > share for due in gone)
            clocks.wall += steps[0]
        assert store.held.bytes <= allowed
        order = [int(id_[-4:], 16) for line in purged(store) for id_ in line["ids"]]
        spared = [n for n in order if kinds[n % len(kinds)] != "first_suspect"]
        for camera in CAMERAS:
            mine = [n for n in spared if cameras[n] == camera]
            assert mine == sorted(mine)
