# SPDX-License-Identifier: AGPL-3.0-or-later
"""Going back over a stored clip: after a kill by itself, and again when somebody asks."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from daemon.clips.reading import fragments, read_head
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.library import default_cache
from daemon.simulate.recording import recorded_scene
from tests.system.daemon_under_test import Daemon, wait_for


def origins(daemon: Daemon, incident: str) -> list[dict[str, Any]]:
    """All analyses, the newest first."""
    answer = requests.get(daemon.url(f"/api/v1/incidents/{incident}/origin"), params={"all": 1}, timeout=5)
    return list(answer.json()["items"]) if answer.status_code == 200 else []


def ledger(daemon: Daemon) -> str:
    return "".join(path.read_text() for path in (daemon.root / "ledger").glob("*.jsonl"))


def suspected_at_ns(daemon: Daemon) -> int:
    lines = [json.loads(line) for line in ledger(daemon).splitlines() if '"kind":"incident"' in line]
    return int(lines[0]["body"]["first_suspect_at_ns"])


def held_until_ns(daemon: Daemon) -> int:
    """The time of the growing clip's last frame; 0 without one."""
    for path in daemon.root.rglob("*.open"):
        with path.open("rb") as file:
            try:
                frames = [frame for each in fragments(file, read_head(file)) for frame in each.frames]
            except ValueError:
                return 0
            return frames[-1].at_ns if frames else 0
    return 0


@contextmanager
def going_back(daemon: Daemon) -> Iterator[None]:
    """A fire on "hall" is confirmed and gone back for, not to the end yet, and its clip reaches the suspicion."""
    with FarmThread([Camera("hall", recorded_scene(default_cache()), wait_for_viewer=True)]) as farm:
        daemon.configure({"hall": {"url": farm.url("hall")}})
        daemon.start()
        wait_for(lambda: "going back" in daemon.log, 90, f"a confirmed fire\n{daemon.log}")
        wait_for(lambda: '"kind":"first_confirmed"' in ledger(daemon), 20, f"the still that confirmed it\n{daemon.log}")
        # the clip is written from the ring's beginning on, faster than it is looked at
        wait_for(lambda: held_until_ns(daemon) >= suspected_at_ns(daemon), 20, "the clip up to the suspicion")
        yield


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_kill_left_undone_is_done_from_the_clip(daemon: Daemon) -> None:
    """Kill -9 while going back is under way; the next start goes back over the clip; `analyse` does it once more."""
    with going_back(daemon):
        daemon.kill()
    assert "first visible" not in daemon.log, "this test came too late to see anything"
    daemon.start()
    daemon.wait_ready()
    (incident,) = daemon.get("/api/v1/incidents")["items"]
    assert incident["state"] == "interrupted"
    (first,) = wait_for(lambda: origins(daemon, incident["id"]), 90, f"an analysis\n{daemon.log}")
    assert (first["source"], first["previous"]) == ("clip", None)
    assert first["last_clean"]["at"] < first["first_visible"]["at"] < first["confirmed_at"]

    told = daemon.command("analyse", incident["id"], within_s=120)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("First visible to hall at ")
    second, again = origins(daemon, incident["id"])
    assert again == first, "the one before stays as it was"
    assert second["previous"] == first["id"]
    assert second["first_visible"]["at"] == first["first_visible"]["at"]
    weights = Path(__file__).parents[2] / "daemon" / "detect" / "models"
    other = next(weights.glob("*.onnx"))
    assert daemon.command("analyse", incident["id"], "--model", str(other), within_s=200).returncode == 0
    assert len(origins(daemon, incident["id"])) == 3
    daemon.stop()
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_workers_death_left_undone_is_done_while_the_daemon_goes_on(daemon: Daemon) -> None:
    """Kill -9 of the worker alone, while it goes back: its incident is gone back for from the clip, without a restart."""
    with going_back(daemon):
        status = daemon.status()
        assert status is not None
        os.kill(status["cameras"]["hall"]["pid"], signal.SIGKILL)
        assert "first visible" not in daemon.log, "this test came too late to see anything"
        incident = json.loads(next(line for line in ledger(daemon).splitlines() if '"kind":"incident"' in line))[
            "body"
        ]["id"]
        (first,) = wait_for(lambda: origins(daemon, incident), 120, f"an analysis\n{daemon.log}")
    assert (first["source"], first["previous"]) == ("clip", None)
    daemon.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_recording_from_elsewhere_is_imported_and_analysed(daemon: Daemon) -> None:
    """By the running daemon's detector; API and page say that its times are claimed; again it is there already."""
    daemon.configure({"yard": {"url": "rtsp://127.0.0.1:9/none"}})
    daemon.start()
    daemon.wait_ready()
    clip = recorded_scene(default_cache())
    arguments = ("analyse", "--video", str(clip), "--start", "2026-03-01T12:00:00+01:00", "--camera", "phone")
    told = daemon.command(*arguments, within_s=200)
    assert told.returncode == 0, told.stderr
    assert "claimed, not measured: it begins at 2026-03-01T11:00:00.000Z" in told.stdout
    assert "First visible to phone at 2026-03-01T11:00:" in told.stdout
    (incident,) = daemon.get("/api/v1/incidents")["items"]
    assert (incident["kind"], incident["state"], incident["camera"]) == ("imported", "ended", "phone")
    (item,) = daemon.get(f"/api/v1/incidents/{incident['id']}/clips")["items"]
    assert (item["times"], item["cause"]) == ("claimed", "imported")
    assert item["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert origins(daemon, incident["id"])[0]["times"] == "claimed"
    page = requests.get(daemon.url(f"/incidents/{incident['id']}"), timeout=20)
    assert page.status_code == 200
    assert "Its times are claimed, not measured." in page.text
    still = origins(daemon, incident["id"])[0]["first_visible"]["evidence"]
    assert "claimed, not measured" in requests.get(daemon.url(f"/evidence/{still}"), timeout=20).text
    for path in (item["video"], f"/api/v1/incidents/{incident['id']}/frames/5.jpg", "/", "/?day=2026-03-01"):
        assert requests.get(daemon.url(path), timeout=20).status_code == 200, path
    again = daemon.command(*arguments, within_s=200)
    assert again.returncode == 0, again.stderr
    assert "is there already" in again.stdout
    assert len(origins(daemon, incident["id"])) == 2
    daemon.stop()
    assert daemon.command("reindex").returncode == 0
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
