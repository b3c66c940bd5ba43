# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder and a disk that fails: it says so, acknowledges nothing, and goes on by itself when the disk is back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.clock import NS
from daemon.ids import new_id
from daemon.messages import ClipFragment
from daemon.storage.verify import verify
from tests.mounts import Ext4, Tmpfs, run
from tests.storage.recorder_under_test import Host, Worker, wait_for
from tests.storage.store_kit import ClipWriter, clip_of

SIZE = 24 * 2**20
RESUMED_S = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Tmpfs]:
    """A small file system of its own."""
    disk = Tmpfs(tmp_path / "disk", SIZE)
    yield disk
    disk.close()


@pytest.fixture
def host(tmp_path: Path, disk: Tmpfs) -> Iterator[Host]:
    """A recorder whose store lies on the small disk."""
    host = _host(tmp_path, disk.folder)
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    yield host
    host.close()


def _host(tmp_path: Path, folder: Path, **storage: object) -> Host:
    host = Host(tmp_path, storage={"root": str(folder / "store"), **storage})
    host.root = folder / "store"
    host.start()
    return host


def _settle(worker: Worker, host: Host) -> None:
    """All is stored again, within the time that is promised."""
    worker.settle(RESUMED_S)
    host.check_stored(worker.acknowledged)


def _refused(host: Host, worker: Worker, *states: str) -> None:
    """Supervisor and worker are told the state in which nothing is stored."""
    worker.take()

    def told() -> bool:
        worker.pump()
        return bool(set(worker.states) & set(states))

    host.beat(lambda beat: beat.disk in states and beat.detail != "", f"a beat that says {states}", RESUMED_S)
    wait_for(told, "the worker to be told")
    assert worker.unacknowledged


def test_full_and_free_again(host: Host, disk: Tmpfs) -> None:
    """A full disk stops the storing, in mid-group too; nothing is lost or torn, and it goes on when there is space."""
    worker = Worker(host, size=(640, 480))
    worker.began()
    worker.take()
    worker.settle()
    pid = host.pid
    filler = disk.fill(leave_bytes=600_000)  # for some of what follows, not for all
    incident = worker.incident("suspect")
    for _ in range(20):
        worker.take()

    def refused() -> bool:
        worker.pump()
        return "full" in worker.states

    wait_for(refused, "the worker to be told")
    host.beat(lambda beat: beat.disk == "full" and beat.detail != "", "a beat that says so")
    host.check_stored(worker.acknowledged)
    assert worker.unacknowledged
    filler.unlink()
    _settle(worker, host)
    assert host.rows("SELECT id FROM incidents") == [(incident.id,)]
    host.beat(lambda beat: beat.disk == "ok" and beat.detail == "", "a beat that all is well")
    assert host.pid == pid
    assert host.running()
    assert host.stop() == 0
    assert host.parts() == []
    assert verify(host.root).findings == ()


@pytest.mark.parametrize(
    ("reserve", "leave_bytes", "closed"),
    [
        pytest.param(0, 600_000, "recovery", id="in mid-write"),
        pytest.param(SIZE // 2, SIZE // 3, "worker", id="at the reserve", marks=pytest.mark.slow),
    ],
)
def test_a_clip_on_a_full_disk(tmp_path: Path, disk: Tmpfs, reserve: int, leave_bytes: int, closed: str) -> None:
    """It ends with what is durable, whole and never less than was acknowledged; the next one goes on once there is space."""
    host = _host(tmp_path, disk.folder, reserve=reserve)
    try:
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        worker = Worker(host)
        worker.began()
        first, second = (
            ClipWriter(clip_of(number, run=worker.run), time.time_ns() + number * NS, (new_id(),)) for number in (5, 60)
        )
        worker.film(first, 12)
        worker.settle()
        filler = disk.fill(leave_bytes)
        if reserve:
            host.beat(lambda beat: beat.disk == "full", "a beat that says so")
        worker.film(first, 6, size_bytes=100_000)

        def refused() -> bool:
            worker.pump()
            return "full" in worker.states

        wait_for(refused, "the worker to be told")
        waiting = [said for said, _ in worker.unacknowledged.values() if isinstance(said, ClipFragment)]
        acknowledged = min(said.from_byte for said in waiting)
        filler.unlink()
        worker.unacknowledged.clear()  # a worker begins another clip
        worker.film(second, 3, "ended")
        worker.settle(RESUMED_S)
        assert (host.running(), host.stop()) == (True, 0)
        stored = {body["id"]: body for body in host.bodies("stored")}
        assert [body["clip"]["closed"] for body in stored.values()] == [closed, "ended"]
        kept, after = ((host.root / body["path"]).read_bytes() for body in stored.values())
        assert len(kept) in [said.from_byte for said in waiting]
        assert (kept, after) == (first.content[: len(kept)], second.content)
        assert len(kept) >= acknowledged
        torn = [body["what"] for body in host.bodies("repaired")]
        assert torn == (["clip_tail", "closed_clip"] if closed == "recovery" else [])
        assert len([path for path in (host.root / "evidence").rglob("*") if path.is_file()]) == 2
        assert verify(host.root).findings == ()
    finally:
        host.close()


def test_gap_of_a_full_disk(host: Host, disk: Tmpfs) -> None:
    """What could not be stored is not watched: the gap `disk` is told once there is space to tell it."""
    worker = Worker(host)
    worker.connect()
    with worker.watching():
        wait_for(lambda: worker.frames > 5, "frames")
        filler = disk.fill()
        worker_of_yard = Worker(host, "yard")
        worker_of_yard.take()
        worker_of_yard.pump()
        host.beat(lambda beat: beat.disk == "full" and beat.open_gaps.get("hall") == "disk", "the gap in a beat")
        filler.unlink()
        host.beat(lambda beat: beat.disk == "ok" and "hall" not in beat.open_gaps, "the end of the gap", 60)
        worker_of_yard.settle(60)
    gaps = [body for body in host.bodies("gap") if body["camera"] == "hall"]
    assert {body["reason"] for body in gaps} == {"disk"}
    assert gaps[-1]["to_at"] is not None


def test_reserve(tmp_path: Path, disk: Tmpfs) -> None:
    """Below the reserve nothing is written, and the store itself is left in order.

    A command that writes is refused in a sentence; a purge, and trust in the clock, for which it may be waiting, are not.
    """
    host = _host(tmp_path, disk.folder, reserve=SIZE // 2)
    try:
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        filler = disk.fill(leave_bytes=SIZE // 3)
        host.beat(lambda beat: beat.disk == "full", "a beat that says so")
        lines = len(host.lines())
        worker = Worker(host)
        worker.take()
        worker.pump()
        assert "full" in host.ask("head").error
        assert host.ask("purge", dry_run=True).error == ""
        assert host.ask("clock_accept").error == ""
        host.beat(lambda beat: True, "a beat")
        assert len(host.lines()) == lines
        filler.unlink()
        _settle(worker, host)
    finally:
        host.close()


def test_full_from_the_start(tmp_path: Path, disk: Tmpfs) -> None:
    """A recorder that starts on a full disk waits for space instead of dying in a loop."""
    filler = disk.fill()
    host = _host(tmp_path, disk.folder)
    try:
        host.beat(lambda beat: beat.disk == "full", "a beat that says so")
        worker = Worker(host)
        worker.take()
        worker.pump()
        filler.unlink()
        _settle(worker, host)
        assert worker.states[-1] == "ok"
    finally:
        host.close()


def test_disk_gone_and_back(host: Host, disk: Tmpfs) -> None:
    """A disk that is unmounted is `gone` or `wrong`, never a new empty store; with it back all goes on."""
    worker = Worker(host)
    worker.take()
    worker.settle()
    disk.hide()
    _refused(host, worker, "gone", "wrong")
    assert list(disk.folder.iterdir()) == []
    disk.show()
    _settle(worker, host)


def test_disk_back_as_another_device(host: Host, disk: Tmpfs, tmp_path: Path) -> None:
    """A disk that was pulled out comes back with another device number, and is known by its store's id."""
    worker = Worker(host)
    worker.take()
    worker.settle()
    disk.hide()
    _refused(host, worker, "gone", "wrong")
    again = Tmpfs(disk.folder, SIZE)
    shutil.copytree(disk.folder.with_name("disk.kept") / "store", disk.folder / "store")
    _settle(worker, host)
    again.close()


@pytest.mark.slow
def test_wrong_disk(host: Host, disk: Tmpfs, tmp_path: Path) -> None:
    """Another store's disk in its place is `wrong`, and not a byte of it is changed; with the right one all goes on."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = Host(other)
    stranger.start()
    stranger.beat(lambda beat: beat.disk == "ok", "another store")
    assert stranger.stop() == 0
    worker = Worker(host)
    worker.take()
    worker.settle()
    disk.hide()
    run("mount", "--bind", str(other), str(disk.folder))
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    _refused(host, worker, "wrong")
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before
    run("umount", "-l", str(disk.folder))
    disk.show()
    _settle(worker, host)
    stranger.close()


def test_disk_read_only_at_first(host: Host, disk: Tmpfs) -> None:
    """A disk that is mounted read-only is a state; made writable again, all goes on."""
    worker = Worker(host)
    worker.take()
    worker.settle()
    host.kill()
    run("mount", "-o", "remount,ro", str(disk.folder))
    host.start()
    _refused(host, worker, "read_only")
    run("mount", "-o", "remount,rw", str(disk.folder))
    _settle(worker, host)


def test_disk_read_only_after_an_error(tmp_path: Path) -> None:
    """An ext4 that finds an error in itself turns read-only under the recorder; let go of, it can be mounted again."""
    disk = Ext4(tmp_path / "disk", 64 * 2**20)
    host = _host(tmp_path, disk.folder)
    try:
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        worker = Worker(host)
        worker.take()
        worker.settle()
        disk.fail()
        _refused(host, worker, "read_only", "damaged")
        pid = host.pid
        disk.repair()
        _settle(worker, host)
        assert (host.pid, host.stop()) == (pid, 0)
        assert verify(host.root).findings == ()
    finally:
        host.close()
        disk.close()


def test_evidence_that_fills_its_disk_makes_room(tmp_path: Path) -> None:
    """A lamp that stores more than the disk holds never fills it: its oldest go, in order, and yard's firsts stay."""
    disk = Tmpfs(tmp_path / "disk", 2 * SIZE // 3)
    host = _host(tmp_path, disk.folder, reserve=2_000_000)
    try:
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        yard, lamp = Worker(host, "yard", size=(640, 480)), Worker(host, size=(640, 480))
        for _ in range(3):
            yard.take(kind="first_suspect")
        yard.settle()
        until = time.monotonic() + 60
        while len(host.bodies("purged")) < 2:
            assert time.monotonic() < until
            lamp.take()
            lamp.settle()
        taken = len(yard.acknowledged) + len(lamp.acknowledged)
        beat = host.beat(
            lambda beat: 0 < beat.purged.get("space", 0) == taken - beat.evidence_stills, "a beat that counts them"
        )
        assert beat.retention.startswith("space purged; oldest evidence is 0.0 days, retention asked 30 d")
        assert (beat.disk, set(lamp.states)) == ("ok", {"ok"})
        assert host.stop() == 0
        gone = [id_ for body in host.bodies("purged") for id_ in body["ids"]]  # room may have been made since the beat
        assert {body["reason"] for body in host.bodies("purged")} == {"space"}
        assert gone == list(lamp.acknowledged)[: len(gone)]
        host.check_stored(yard.acknowledged | dict(list(lamp.acknowledged.items())[len(gone) :]))
        assert len(host.rows("SELECT id FROM evidence")) == taken - len(gone)
        assert verify(host.root).findings == ()
    finally:
        host.close()
        disk.close()
