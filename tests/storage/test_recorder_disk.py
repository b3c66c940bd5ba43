# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder and a disk that fails: it says so, acknowledges nothing, and goes on by itself when the disk is back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.storage.verify import verify
from tests.storage.recorder_under_test import Host, Worker, wait_for

SIZE = 24 * 2**20


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or not _mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)):
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def host(tmp_path: Path, disk: Path) -> Iterator[Host]:
    """A recorder whose store lies on the small disk."""
    host = Host(tmp_path, storage={"root": str(disk / "store")})
    host.root = disk / "store"
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    yield host
    host.close()


def _fill(folder: Path, leave_bytes: int = 0) -> Path:
    """Takes what is free but for `leave_bytes`."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        file.write(bytes(max(0, free - leave_bytes)))
    return filler


def _settle(worker: Worker, host: Host) -> None:
    worker.settle(60)
    host.check_stored(worker.acknowledged)


def test_full_and_free_again(host: Host, disk: Path) -> None:
    """A full disk stops the storing, in mid-group too; nothing is lost or torn, and it goes on when there is space."""
    worker = Worker(host, size=(640, 480))
    worker.began()
    worker.take()
    worker.settle()
    pid = host.pid
    filler = _fill(disk, leave_bytes=600_000)  # for some of what follows, not for all
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


def test_gap_of_a_full_disk(host: Host, disk: Path) -> None:
    """What could not be stored is not watched: the gap `disk` is told once there is space to tell it."""
    worker = Worker(host)
    worker.connect()
    with worker.watching():
        wait_for(lambda: worker.frames > 5, "frames")
        filler = _fill(disk)
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


def test_reserve(tmp_path: Path, disk: Path) -> None:
    """Below the reserve nothing is written, and the store itself is left in order; commands are refused in a sentence."""
    host = Host(tmp_path, storage={"root": str(disk / "store"), "reserve": SIZE // 2})
    host.root = disk / "store"
    try:
        host.start()
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        filler = _fill(disk, leave_bytes=SIZE // 3)
        host.beat(lambda beat: beat.disk == "full", "a beat that says so")
        lines = len(host.lines())
        worker = Worker(host)
        worker.take()
        worker.pump()
        assert "full" in host.ask("head").error
        assert host.ask("purge", dry_run=True).error == ""
        host.beat(lambda beat: True, "a beat")
        assert len(host.lines()) == lines
        filler.unlink()
        _settle(worker, host)
    finally:
        host.close()


def test_full_from_the_start(tmp_path: Path, disk: Path) -> None:
    """A recorder that starts on a full disk waits for space instead of dying in a loop."""
    filler = _fill(disk)
    host = Host(tmp_path, storage={"root": str(disk / "store")})
    host.root = disk / "store"
    try:
        host.start()
        host.beat(lambda beat: beat.disk == "full", "a beat that says so")
        worker = Worker(host)
        worker.take()
        worker.pump()
        filler.unlink()
        _settle(worker, host)
        assert worker.states[-1] == "ok"
    finally:
        host.close()


def test_disk_gone_and_back(host: Host, disk: Path) -> None:
    """A disk that is unmounted is `gone` or `wrong`, never a new empty store; with it back all goes on."""
    worker = Worker(host)
    worker.take()
    worker.settle()
    shelter = disk.parent / "elsewhere"
    shelter.mkdir()
    assert _mount("--bind", str(disk), str(shelter))
    try:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        worker.take()
        worker.pump()
        host.beat(lambda beat: beat.disk in ("gone", "wrong"), "a beat that says so", 60)
        assert list(disk.iterdir()) == [] or not list(disk.rglob("*.jsonl"))
        shutil.rmtree(disk / "store", ignore_errors=True)
        assert _mount("--bind", str(shelter), str(disk))
        _settle(worker, host)
    finally:
        subprocess.run(["umount", "-l", str(shelter)], check=True)


def test_disk_read_only_at_first(host: Host, disk: Path) -> None:
    """A disk that is read-only (as ext4 makes itself after an error) is a state; made writable again, all goes on."""
    worker = Worker(host)
    worker.take()
    worker.settle()
    host.kill()
    assert _mount("-o", "remount,ro", str(disk))
    host.start()
    host.beat(lambda beat: beat.disk == "read_only" and beat.detail != "", "a beat that says so")
    worker.take()
    worker.pump()
    assert _mount("-o", "remount,rw", str(disk))
    _settle(worker, host)
