# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a newcomer sees: `firewitness run` without a camera, its first evidence, and Ctrl-C."""

from __future__ import annotations

import hashlib
import json
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from daemon.simulate.flame import Flame
from daemon.simulate.recording import FPS
from daemon.simulate.scene import FIRE_FROM_S, FOOT, FULL_FIRE_S, flame_height_px
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
    assert "unreachable" not in daemon.log, "the worker waits for a camera that is still drawing"
    picture = requests.get(daemon.url(found["image"]), timeout=5)
    assert hashlib.sha256(picture.content).hexdigest() == found["sha256"]
    assert {each["label"] for each in found["detections"]} >= {"fire"}
    page = requests.get(daemon.url("/"), timeout=5)
    assert page.status_code == 200
    assert "simulated" in page.text
    assert found["id"] in page.text or found["image"] in page.text
    incident = daemon.get("/api/v1/incidents")["items"][0]
    assert incident["first_confirmed_at"] is not None
    check_beginning(daemon, incident["id"])

    took_s = daemon.stop()
    assert took_s < 10
    with socket.socket() as probe:  # the port is free again
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", daemon.port))
    assert not list((daemon.folder / "run").glob("*.sock"))
    assert not list(daemon.root.rglob("*.part"))
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def check_beginning(daemon: Daemon, incident: str) -> None:
    """Going back finds when the drawn flame first covered 12 × 12 px, within 0.4 s; the clip began with the run."""

    def origin() -> dict[str, Any] | None:
        answer = requests.get(daemon.url(f"/api/v1/incidents/{incident}/origin"), timeout=5)
        return dict(answer.json()) if answer.status_code == 200 else None

    found = wait_for(origin, 60, f"the origin\n{daemon.log}")
    first = found["first_visible"]
    lines = [
        json.loads(line) for path in (daemon.root / "ledger").glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    (run,) = [line["body"] for line in lines if line["kind"] == "run" and line["body"]["id"] == first["run"]]
    after_s = (datetime.fromisoformat(first["at"]) - datetime.fromisoformat(run["started_at"])).total_seconds()
    assert abs(after_s - first_covers_s()) <= 0.4, (after_s, first_covers_s(), found)
    x, y = first["point"]
    assert abs(x - FOOT[0]) <= 20
    assert abs(y - FOOT[1]) <= 20
    assert found["last_clean"]["at"] < first["at"] < found["confirmed_at"]
    assert {"last_clean", "first_visible"} <= {
        each["kind"] for each in daemon.every("/api/v1/evidence", incident=incident)
    }


def first_covers_s() -> float:
    """When the drawn flame first covers 12 × 12 px: of the picture in which it does."""
    for number in range(round(FIRE_FROM_S * FPS), round(FULL_FIRE_S * FPS)):
        picture = np.zeros((720, 1280, 3), np.uint8)
        Flame(1).draw(picture, FOOT, flame_height_px(number / FPS), number / FPS)
        rows, columns = np.nonzero(picture.max(axis=2) > 60)
        if len(rows) and min(np.ptp(rows), np.ptp(columns)) + 1 >= 12:
            return number / FPS
    raise AssertionError("it never does")


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
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
