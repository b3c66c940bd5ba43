# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a newcomer sees: `firewitness run` without a camera, its first evidence, and Ctrl-C."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.system.daemon_under_test import Daemon, wait_for

FIRST_EVIDENCE_S = 60


@pytest.mark.timeout(150)
def test_the_first_evidence_within_a_minute_and_a_clean_end(daemon: Daemon) -> None:
    """A fire breaks out before the simulated camera; page and API show it; Ctrl-C leaves nobody and nothing behind."""
    daemon.configure({})
    daemon.start()

    def evidence() -> list[dict[str, Any]]:
        try:
            return list(daemon.get("/api/v1/evidence", kind="first_confirmed")["items"])
        except requests.RequestException:
            return []

    found = wait_for(evidence, FIRST_EVIDENCE_S, f"the first evidence\n{daemon.log}")[0]
    picture = requests.get(daemon.url(found["image"]), timeout=5)
    assert hashlib.sha256(picture.content).hexdigest() == found["sha256"]
    assert {each["label"] for each in found["detections"]} >= {"fire"}
    page = requests.get(daemon.url("/"), timeout=5)
    assert page.status_code == 200
    assert "simulated" in page.text
    assert found["id"] in page.text or found["image"] in page.text
    incident = daemon.get("/api/v1/incidents")["items"][0]
    assert incident["first_confirmed_at"] is not None

    took_s = daemon.stop()
    assert took_s < 10
    with socket.socket() as probe:  # the port is free again
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", daemon.port))
    assert not list((daemon.folder / "run").glob("*.sock"))
    assert not list(daemon.root.rglob("*.part"))
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_two_daemons_do_not_share_a_folder(daemon: Daemon) -> None:
    """A second start beside a running one is refused in one sentence."""
    daemon.configure({"yard": {"url": "rtsp://127.0.0.1:9/none"}})
    daemon.start()
    wait_for(daemon.status, 20, f"the control socket answers\n{daemon.log}")
    second = daemon.command("run")
    assert second.returncode == 2
    assert second.stderr.startswith("firewitness run: another daemon is running with the runtime folder")
    assert len(second.stderr.splitlines()) == 1


def test_a_port_in_use_is_one_sentence(daemon: Daemon) -> None:
    """Nothing is started when the port is taken."""
    daemon.configure({})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", daemon.port))
        taken.listen()
        refused = daemon.command("run")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"firewitness run: api.host, api.port: cannot listen on 127.0.0.1:{daemon.port} (")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("folder", ["root", "state_dir", "runtime_dir"])
def test_a_folder_that_cannot_be_made_is_one_sentence(daemon: Daemon, folder: str) -> None:
    """Also for root, who may write anywhere: a path below a file can be no folder."""
    (daemon.folder / "file").write_text("")
    daemon.configure({}, storage={folder: "file/below"})
    refused = daemon.command("check-config")
    assert refused.returncode == 2
    assert f"storage.{folder}: {daemon.folder}/file/below cannot be written" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_check_config_of_the_shipped_file() -> None:
    """The file in the checkout is good as it is; checking starts nothing."""
    from daemon.cli import main

    assert main(["check-config", "--config", str(Path(__file__).parents[2] / "config.yaml")]) == 0
