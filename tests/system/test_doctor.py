# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness doctor` as a user calls it: before the first start, beside a running daemon, and on a broken file."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film


def _doctor(daemon: Daemon) -> tuple[int, dict[str, dict[str, str]]]:
    answer = daemon.command("doctor", "--json")
    assert answer.stderr == "", answer.stderr
    return answer.returncode, {each["about"]: each for each in json.loads(answer.stdout)}


def test_before_the_first_start(daemon: Daemon) -> None:
    """Cameras are asked by RTSP; one that is away and a port that is taken are problems with advice; nothing is made."""
    with socket.socket() as taken, socket.socket() as silent:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        silent.bind(("127.0.0.1", 0))  # not listening: refused
        daemon.port = taken.getsockname()[1]
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/none"
        daemon.configure({"yard": {"url": url, "username": "viewer", "password": "c4nary"}})
        daemon.config.chmod(0o644)
        answer = daemon.command("doctor")
        status, found = _doctor(daemon)
    assert (answer.returncode, status) == (1, 1)
    assert (
        "problem   camera yard: the camera cannot be reached: nothing listens at its address and port\n"
        in answer.stdout
    )
    assert found["port"]["level"] == "problem"
    assert "ss -ltnp" in found["port"]["do"]
    assert found["secrets"]["level"] == "warning"
    assert found["daemon"]["what"].startswith("not running")
    assert found["SQLite"]["level"] == found["weights"]["level"] == found["store"]["level"] == "ok"
    assert "c4nary" not in answer.stdout
    assert not daemon.root.exists()


def test_a_broken_file_is_a_finding(daemon: Daemon) -> None:
    """The mistake with its line, as a problem; the status says so."""
    daemon.config.write_text("cameras:\n  hall: {uri: rtsp://10.0.0.21/a}\n")
    status, found = _doctor(daemon)
    assert status == 1
    assert list(found) == ["settings"]
    assert "line 2" in found["settings"]["what"]


@pytest.mark.timeout(150)
def test_beside_a_running_daemon(daemon: Daemon, tmp_path: Path) -> None:
    """A camera that it watches is not asked again; one that the daemon does not know yet is; no problem: status 0."""
    quiet = film(tmp_path / "quiet.mp4", 0, 8)
    with FarmThread([Camera(name, quiet) for name in ("hall", "gate")]) as farm:
        daemon.configure({"hall": {"url": farm.url("hall")}})
        daemon.start()
        daemon.wait_ready()

        def watched() -> bool:
            return bool((daemon.status() or {})["cameras"]["hall"]["condition"] == "ok")

        wait_for(watched, 60, f"hall is watched\n{daemon.log}")
        daemon.configure({name: {"url": farm.url(name)} for name in ("hall", "gate")})
        status, found = _doctor(daemon)
        assert status == 0, found
        assert found["camera hall"]["what"] == "watched by the running daemon"
        assert found["camera gate"]["what"] == "answers, sends H.264"
        assert found["daemon"]["level"] == found["port"]["level"] == "ok"
        daemon.stop()
