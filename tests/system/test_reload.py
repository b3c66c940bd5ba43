# SPDX-License-Identifier: AGPL-3.0-or-later
"""A reload of a running daemon: cameras come, go and change; the others do not notice; a bad file changes nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.simulate.farm import Camera, FarmThread
from daemon.storage import heartbeat
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film

INTERVAL_S = 2.0


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmThread]:
    quiet = film(tmp_path_factory.mktemp("film") / "quiet.mp4", 0, 8)
    with FarmThread([Camera(name, quiet) for name in ("hall", "yard", "shed", "roof")]) as made:
        yield made


def configure(daemon: Daemon, farm: FarmThread, *names: str, **more: Any) -> None:
    cameras = {name: {"url": farm.url(name), **more.get(name, {})} for name in names}
    daemon.configure(cameras, detect={"max_interval": INTERVAL_S, **more.get("detect", {})})


def camera(daemon: Daemon, name: str) -> dict[str, Any]:
    status = daemon.status()
    return status["cameras"].get(name, {}) if status else {}


def is_watched(daemon: Daemon, name: str) -> bool:
    now = camera(daemon, name)
    return now.get("condition") == "ok" and now.get("frames_watched", 0) >= 3


def is_settled(daemon: Daemon, name: str) -> bool:
    """Whether the recorder knows it, too: the gap in which it began has its end in the ledger."""
    beat = heartbeat.read(daemon.root)
    seen = beat.cameras.get(name) if beat else None
    return seen is not None and seen.in_row >= 3 and all(gap["camera"] != name for gap in open_gaps(daemon))


def lines(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((daemon.root / "ledger").glob("*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return [each["body"] for each in found if each["kind"] == kind]


@pytest.mark.timeout(180)
def test_cameras_come_go_and_change_without_a_gap_in_the_others(daemon: Daemon, farm: FarmThread) -> None:
    """`hall` keeps its worker and is watched throughout; each of the others is as the file says."""
    configure(daemon, farm, "hall", "yard", "shed")
    daemon.start()
    wait_for(lambda: all(is_watched(daemon, name) for name in ("hall", "yard", "shed")), 60, daemon.log)
    wait_for(lambda: is_settled(daemon, "hall"), 30, "its gaps of the beginning have their end")
    before = {name: camera(daemon, name)["pid"] for name in ("hall", "shed")}
    gaps_before = [gap for gap in lines(daemon, "gap") if gap["camera"] == "hall"]

    configure(daemon, farm, "hall", "shed", "roof", shed={"thresholds": {"fire": 0.5}}, detect={"batch": 2})
    done = daemon.command("reload")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == [
        "added     roof", "removed   yard", "changed   shed", "only after a restart: detect.batch",
    ]  # fmt: skip
    wait_for(lambda: is_watched(daemon, "roof") and is_watched(daemon, "shed"), 30, f"roof and shed\n{daemon.log}")
    assert camera(daemon, "hall")["pid"] == before["hall"]
    assert camera(daemon, "shed")["pid"] != before["shed"]
    assert "yard" not in (daemon.status() or {})["cameras"]
    assert [gap for gap in lines(daemon, "gap") if gap["camera"] == "hall"] == gaps_before
    assert lines(daemon, "settings")[-1]["cameras"] == ["hall", "roof", "shed"]
    wait_for(lambda: any(gap["camera"] == "yard" and gap["reason"] == "disabled" for gap in lines(daemon, "gap")),
             10, "the removed camera's gap")  # fmt: skip

    configure(daemon, farm, "hall", "shed", "roof", "yard", shed={"thresholds": {"fire": 0.5}})
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: is_watched(daemon, "yard"), 30, f"yard is back\n{daemon.log}")
    wait_for(lambda: not [gap for gap in open_gaps(daemon) if gap["camera"] == "yard"], 10, "its gap has an end")
    assert camera(daemon, "hall")["pid"] == before["hall"]
    daemon.stop()
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def open_gaps(daemon: Daemon) -> list[dict[str, Any]]:
    last = {gap["id"]: gap for gap in lines(daemon, "gap")}
    return [gap for gap in last.values() if gap["to_at_ns"] is None]


@pytest.mark.timeout(120)
def test_a_bad_file_keeps_all_as_it_was(daemon: Daemon, farm: FarmThread, tmp_path: Path) -> None:
    """By command and by signal: one sentence, with the line; the camera goes on with the worker it has."""
    configure(daemon, farm, "hall")
    daemon.start()
    wait_for(lambda: is_watched(daemon, "hall"), 60, daemon.log)
    pid = camera(daemon, "hall")["pid"]
    good = daemon.config.read_text()

    daemon.config.write_text(good.replace("rtsp://", "http://"))
    refused = daemon.command("reload")
    assert refused.returncode == 2
    assert "cameras.hall.url" in refused.stderr
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "all stays as it was" in daemon.log and "cameras.hall.url" in daemon.log, 10, daemon.log)

    daemon.config.write_text(good.replace("runtime_dir: run", f"runtime_dir: {'run/' * 40}"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "a socket's path may have" in daemon.log, 10, daemon.log)

    daemon.config.write_text(
        good.replace(farm.url("hall"), farm.url("hall") + "\n    username: u\n    password_file: /none")
    )
    refused = daemon.command("reload")
    assert refused.returncode == 2
    assert "/none cannot be read" in refused.stderr
    assert camera(daemon, "hall")["pid"] == pid
    assert camera(daemon, "hall")["condition"] == "ok"
