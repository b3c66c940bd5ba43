# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole daemon on a disk of 64 MiB that is filled, and exchanged: one clear state, the cameras are watched on, and it goes on."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.simulate.farm import Camera, FarmThread
from tests.mounts import Tmpfs, run
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import Witness, film
from tests.system.test_incident_clips import Lines

RESUMED_S = 60.0


@pytest.fixture
def disk(daemon: Daemon) -> Iterator[Tmpfs]:
    """Where the daemon's store is."""
    disk = Tmpfs(daemon.folder / "disk", 64 * 2**20)
    yield disk
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.kill()
    disk.close()


def recorder(daemon: Daemon) -> dict[str, Any]:
    return dict((daemon.status() or {}).get("recorder", {}))


def refused(daemon: Daemon, state: str) -> dict[str, Any]:
    """Waits until nothing is stored; what `status` says of the camera then, once it keeps what it sees itself."""

    def told() -> bool:
        return bool(recorder(daemon).get("disk") == state and recorder(daemon)["detail"]) and not daemon.answers()

    def keeping() -> dict[str, Any] | None:
        camera = dict((daemon.status() or {})["cameras"]["fire"])
        return camera if camera["unacked_bytes"] > 0 else None

    wait_for(told, RESUMED_S, f"disk {state}, said with a sentence, and not ready\n{daemon.log[-3000:]}")
    return dict(wait_for(keeping, RESUMED_S, "the worker keeps what is not stored"))


def resumed(daemon: Daemon, witness: Witness, before: dict[str, Any]) -> None:
    """Evidence is stored again within a minute, by the same worker, which let go of nothing."""
    began = time.monotonic()
    witness.goes_on(RESUMED_S)
    wait_for(daemon.answers, RESUMED_S - (time.monotonic() - began), "ready again")
    took_s = time.monotonic() - began
    assert took_s <= RESUMED_S
    print(f"resumed after {took_s:.1f} s")
    camera = (daemon.status() or {})["cameras"]["fire"]
    assert (camera["pid"], camera["stills_dropped"]) == (before["pid"], 0)
    analysed = lambda: (daemon.status() or {})["cameras"]["fire"]["frames_analysed"]  # noqa: E731
    wait_for(lambda: analysed() > before["frames_analysed"], RESUMED_S, "more frames analysed, told with the next beat")


@pytest.mark.timeout(300)
def test_a_full_and_a_wrong_disk(daemon: Daemon, disk: Tmpfs, tmp_path: Path) -> None:
    """Filled to the end by somebody else's file and freed; then another store's disk in its place, and the right one."""
    with FarmThread([Camera("fire", film(tmp_path / "burning.mp4", 22, 30))]) as farm:
        daemon.configure(
            {"fire": {"url": farm.url("fire")}},
            storage={"root": "disk/store", "thinning": [{"after": "1 h", "every": "60 s"}]},
            detect={"max_interval": 2.0},
        )
        daemon.start()
        daemon.wait_ready()
        witness = Witness(daemon)
        witness.goes_on()

        filler = disk.fill()
        before = refused(daemon, "full")
        assert before["ring_bytes"] > 0
        filler.unlink()
        resumed(daemon, witness, before)

        disk.hide()
        other = tmp_path / "other" / "store"
        other.mkdir(parents=True)
        stranger = json.dumps({"store": str(uuid.uuid4()), "created_at": "2026-11-23T16:05:09.123Z"})
        (other / ".firewitness").write_text(stranger)
        run("mount", "--bind", str(other.parent), str(disk.folder))
        before = refused(daemon, "wrong")
        assert [path.name for path in other.iterdir()] == [".firewitness"]
        assert (other / ".firewitness").read_text() == stranger
        run("umount", "-l", str(disk.folder))
        disk.show()
        resumed(daemon, witness, before)

        there = {item["id"] for item in daemon.every("/api/v1/evidence", limit=500)}
        # as it fills, a disk may be just full enough for room to be made: what goes then is told, and nothing else goes
        purges = Lines(disk.folder / "store").of("purged")
        assert {each["reason"] for each in purges} <= {"space"}
        assert set(witness.seen) <= there | {id_ for each in purges for id_ in each["ids"]}
        assert {gap["reason"] for gap in daemon.every("/api/v1/gaps")} <= {
            "unreachable",
            "detector",
            "disk",
            "overload",
            "stalled",  # the farm is in this process, which other tests' daemons may keep from the cores for seconds
        }
        daemon.stop()
    assert "disk: full" in daemon.log
    assert "disk: wrong" in daemon.log
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
