# SPDX-License-Identifier: AGPL-3.0-or-later
"""Captures of a running daemon, asked for over HTTP and by command; the cameras are watched as before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
import requests

from daemon.simulate.farm import Camera, FarmThread
from daemon.storage.gaps import FRAMES_IN_ROW
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film

INTERVAL_S = 2.0


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmThread]:
    quiet = film(tmp_path_factory.mktemp("film") / "quiet.mp4", 0, 8)
    with FarmThread([Camera(name, quiet) for name in ("hall", "yard", "shed")]) as made:
        yield made


def ring_s(daemon: Daemon, name: str) -> float:
    status = daemon.status()
    return float(status["cameras"][name].get("ring_s", 0)) if status else 0.0


def watched(daemon: Daemon, name: str) -> bool:
    """Whether a gap of the start would be over: one ends with the last of so many watched frames."""
    status = daemon.status()
    return bool(status) and int(status["cameras"][name].get("frames_watched", 0)) >= FRAMES_IN_ROW


def captured(daemon: Daemon, incident: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The incident once it has ended, and its stills in time order."""

    def ended() -> dict[str, Any] | None:
        answer = requests.get(daemon.url(f"/api/v1/incidents/{incident}"), timeout=10)
        found = answer.json()
        return found if answer.status_code == 200 and found["state"] == "ended" else None

    done = wait_for(ended, 30, f"the capture's end\n{daemon.log}")
    return done, daemon.every("/api/v1/evidence", incident=incident, limit=100)[::-1]


@pytest.mark.timeout(180)
def test_a_capture_keeps_what_was_and_what_comes(daemon: Daemon, farm: FarmThread) -> None:
    """Stills of both sides of the moment, in an incident of kind manual; what is off is refused; no gap anywhere."""
    cameras = {name: {"url": farm.url(name), "enabled": name != "shed"} for name in ("hall", "yard", "shed")}
    daemon.configure(cameras, detect={"max_interval": INTERVAL_S})
    daemon.start()
    daemon.wait_ready()
    wait_for(lambda: all(ring_s(daemon, name) >= 3 for name in ("hall", "yard")), 30, daemon.log)
    wait_for(lambda: all(watched(daemon, name) for name in ("hall", "yard")), 30, "the gap of the start is over")
    began = datetime.now(UTC).isoformat()

    asked = {"cameras": ["hall", "shed"], "reason": "fire panel, loop 3", "before_s": 2, "after_s": 2}
    answer = requests.post(daemon.url("/api/v1/captures"), json=asked, timeout=10)
    assert answer.status_code == 202, answer.text
    assert answer.json()["refused"] == [{"camera": "shed", "why": "it is switched off in the configuration"}]
    [begun] = answer.json()["captures"]
    again = requests.post(daemon.url("/api/v1/captures"), json={**asked, "cameras": ["hall"]}, timeout=10)
    assert again.status_code == 409
    assert "still under way" in again.json()["detail"]
    check(daemon, "hall", begun["incident"], "fire panel, loop 3")

    done = daemon.command("capture", "--all", "--before", "1s", "--after", "1 s", "by", "hand")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(": from 1 s ago to 1 s from now, a picture every 0.2 s; http://")[0] for line in lines] == [
        "hall",
        "yard",
    ]
    for line in lines:
        check(daemon, line.partition(":")[0], line.rpartition("/")[2], "by hand")

    off = daemon.command("capture", "--camera", "shed", "reason")
    assert (off.returncode, off.stdout) == (1, "shed: refused: it is switched off in the configuration\n")
    # those of the start are told when they have ended, which may be after the captures began
    gaps = [gap for gap in daemon.get("/api/v1/gaps")["items"] if gap["camera"] != "shed"]
    during = [gap for gap in gaps if not gap["to"] or gap["to"] > began]
    assert during == [], f"the cameras were watched all the while, since {began}"

    latin = daemon.command("capture", "--camera", "hall", "--before", "1s", "--after", "1 s", b"br\xfbl\xe9")
    assert (latin.returncode, latin.stderr) == (0, "")
    check(daemon, "hall", latin.stdout.rpartition("/")[2].strip(), "br\ufffdl\ufffd")
    nobody = daemon.command("capture", "--site", "", "reason")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "no enabled camera has the site ''" in nobody.stderr

    begun = requests.post(
        daemon.url("/api/v1/captures"), json={**asked, "cameras": ["yard"], "after_s": 60}, timeout=10
    )
    [broken_off] = begun.json()["captures"]
    yard = (daemon.status() or {})["cameras"]["yard"]
    wait_for(lambda: daemon.get("/api/v1/evidence", incident=broken_off["incident"])["items"], 20, "its first stills")
    psutil.Process(yard["pid"]).kill()

    def interrupted() -> bool:
        return bool(daemon.get(f"/api/v1/incidents/{broken_off['incident']}")["state"] == "interrupted")

    wait_for(interrupted, 30, f"its end with its worker\n{daemon.log}")
    daemon.stop()
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def check(daemon: Daemon, camera: str, incident_id: str, reason: str) -> None:
    incident, stills = captured(daemon, incident_id)
    assert (incident["camera"], incident["kind"], incident["reason"]) == (camera, "manual", reason)
    assert incident["evidence_count"] == len(stills)
    assert {(item["kind"], item["analysed"]) for item in stills} == {("manual", False)}
    times = [item["captured_at"] for item in stills]
    assert times[0] < incident["first_confirmed_at"] < times[-1], "before and after it was asked for"
    assert len(stills) >= 5


def test_a_capture_that_cannot_be_is_one_sentence(daemon: Daemon) -> None:
    """Without a daemon, or with a time that is none."""
    daemon.configure({"yard": {"url": "rtsp://127.0.0.1:9/none"}})
    for arguments, sentence in (
        (["--site", "mill", "reason"], "no daemon is running here"),
        (["--camera", "yard", "--before", "soon", "reason"], "--before soon: write a number with one of the units"),
    ):
        answer = daemon.command("capture", *arguments)
        assert answer.returncode == 2
        assert sentence in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
