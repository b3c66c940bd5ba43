# SPDX-License-Identifier: AGPL-3.0-or-later
"""kill -9 of every process of a daemon that is recording a fire: it recovers, and nothing that was shown is lost.

Evidence that the API has answered is what "acknowledged" means here: it was seen outside the daemon. 20 kills each are
slow; CI does a few.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
import requests

from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.scene import Scene
from tests.system.daemon_under_test import Daemon, wait_for

FPS = 10
MAX_INTERVAL_S = 2.0
RECOVERED_S = 40


def film(path: Path, from_s: float, to_s: float) -> Path:
    """A stretch of the drawn scene with a key frame every second."""
    scene = Scene()
    target = Target(CODECS["h264"], scene.size, Fraction(FPS), FPS, quality=25, preset="ultrafast")
    with Encoder(path, target) as encoder:
        for number in range(round((to_s - from_s) * FPS)):
            encoder.add(av.VideoFrame.from_ndarray(scene.picture(from_s + number / FPS), format="bgr24"))
    return path


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmThread]:
    folder = tmp_path_factory.mktemp("film")
    burning = film(folder / "burning.mp4", 22, 30)
    quiet = film(folder / "quiet.mp4", 0, 8)
    with FarmThread([Camera("fire", burning), Camera("yard", quiet)]) as made:
        yield made


class Witness:
    """Notes what the daemon has shown: everything here must still be there after any fault."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.seen: dict[str, str] = {}

    def look(self) -> int:
        """How many stills were shown so far; an API that is being restarted shows nothing new."""
        try:
            items = self.daemon.get("/api/v1/evidence", limit=500)["items"]
        except requests.RequestException:
            return len(self.seen)
        self.seen.update({item["id"]: item["sha256"] for item in items})
        return len(self.seen)

    def goes_on(self, within_s: float = RECOVERED_S) -> None:
        """New evidence is shown."""
        before = self.look()
        wait_for(lambda: self.look() > before, within_s, f"new evidence\n{self.daemon.log[-3000:]}")

    def nothing_is_lost(self) -> None:
        """Every still that was ever shown is there, byte for byte."""
        there = {item["id"]: item for item in self.daemon.every("/api/v1/evidence", limit=500)}
        assert set(self.seen) <= set(there)
        stored = {path.stem.split("-", 1)[1]: path for path in self.daemon.root.rglob("*.jpg")}
        for name, sha256 in self.seen.items():
            assert hashlib.sha256(stored[name].read_bytes()).hexdigest() == sha256


def start(daemon: Daemon, farm: FarmThread, max_interval_s: float = MAX_INTERVAL_S) -> Witness:
    daemon.configure(
        {name: {"url": farm.url(name)} for name in ("fire", "yard")},
        storage={"thinning": [{"after": "1 h", "every": "60 s"}]},  # go on storing, so that kills hit the middle of it
        detect={"max_interval": max_interval_s},
    )
    daemon.start()
    daemon.wait_ready()
    witness = Witness(daemon)
    witness.goes_on()
    return witness


def pid_of(daemon: Daemon, who: str) -> int | None:
    status = daemon.status() or {}
    part = status.get("cameras", {}).get("fire", {}) if who == "worker" else status.get(who, {})
    return part.get("pid")


def kill(daemon: Daemon, who: str) -> None:
    """Kill -9, and waits until another one has its place."""
    pid = wait_for(lambda: pid_of(daemon, who), RECOVERED_S, f"a {who} runs")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid_of(daemon, who) not in (None, pid), RECOVERED_S, f"a new {who}\n{daemon.log[-3000:]}")


def end_and_verify(daemon: Daemon, witness: Witness) -> None:
    witness.nothing_is_lost()
    family = daemon.family()
    daemon.stop()
    assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert not list(daemon.root.rglob("*.part"))
    assert not [name for name in os.listdir("/dev/shm") if "firewitness" in name]


def burning(daemon: Daemon) -> str | None:
    """The id of the fire that is confirmed and runs."""
    incidents = daemon.get("/api/v1/incidents", camera="fire", limit=500)["items"]
    return next((each["id"] for each in incidents if each["state"] == "confirmed"), None)


def burns_on(daemon: Daemon, fire: str) -> None:
    wait_for(lambda: burning(daemon) == fire, RECOVERED_S, "the same fire, confirmed")


def kill_in_turn(daemon: Daemon, farm: FarmThread, victims: Sequence[str]) -> None:
    witness = start(daemon, farm)
    for who in victims:
        fire = wait_for(lambda: burning(daemon), RECOVERED_S, "a confirmed fire")
        kill(daemon, who)
        witness.goes_on()
        if who == "recorder":  # its worker lives on, and so does the incident
            burns_on(daemon, fire)
    reasons = {gap["reason"] for gap in daemon.every("/api/v1/gaps")}
    end_and_verify(daemon, witness)
    assert reasons <= {"unreachable", "worker", "detector", "recorder", "overload", "daemon", "stalled"}, reasons


FEW = 2
MANY = 20
WHO = ["worker", "detector", "recorder", "forkserver", "web"]


@pytest.mark.timeout(300)
def test_it_recovers_from_some_kills(daemon: Daemon, farm: FarmThread) -> None:
    """Each child's death costs only what it was doing; all of them in turn, in one daemon."""
    kill_in_turn(daemon, farm, WHO * FEW)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", WHO)
def test_it_recovers_from_many_kills(daemon: Daemon, farm: FarmThread, who: str) -> None:
    """20 times the same."""
    kill_in_turn(daemon, farm, [who] * MANY)


def kill_the_supervisor(daemon: Daemon, farm: FarmThread, times: int) -> None:
    witness = start(daemon, farm, max_interval_s=1)  # so that no restart is fast enough to leave no gap
    for turn in range(times):
        # A gap that is still open would simply go on through the dead daemon's time, with its first cause
        wait_for(
            lambda: all(gap["to"] for gap in daemon.every("/api/v1/gaps")), RECOVERED_S, "both cameras are watched"
        )
        for _ in range(turn % 3):  # another moment of the incident each time
            witness.goes_on()
        daemon.kill()
        daemon.start()
        daemon.wait_ready()
        witness.goes_on()
    gaps = daemon.every("/api/v1/gaps")
    assert {"fire", "yard"} <= {gap["camera"] for gap in gaps if gap["reason"] == "daemon"}
    interrupted = [each for each in daemon.every("/api/v1/incidents") if each["state"] == "interrupted"]
    assert interrupted
    end_and_verify(daemon, witness)


@pytest.mark.timeout(240)
def test_it_recovers_from_the_supervisors_death(daemon: Daemon, farm: FarmThread) -> None:
    """Nobody outlives it; the next start goes on, says what was not watched, and names the incident before."""
    kill_the_supervisor(daemon, farm, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_recovers_from_the_supervisors_many_deaths(daemon: Daemon, farm: FarmThread) -> None:
    """20 times."""
    kill_the_supervisor(daemon, farm, MANY)


def intervals_of(daemon: Daemon, camera: str, while_: Callable[[], bool]) -> list[float]:
    """Seconds between the frames of a camera that were watched, sampled from outside."""
    marks: list[int] = []
    while while_():
        status: dict[str, Any] = daemon.status() or {}
        watched = status.get("cameras", {}).get(camera, {}).get("watched_at_ns")
        if watched and (not marks or watched != marks[-1]):
            marks.append(watched)
        time.sleep(0.02)
    return [(after - before) / 1e9 for before, after in itertools.pairwise(marks)]


@pytest.mark.timeout(120)
def test_a_dead_worker_does_not_hurt_another_camera(daemon: Daemon, farm: FarmThread) -> None:
    """While one camera's worker is killed again and again, the other's frames keep detect.max_interval."""
    start(daemon, farm)
    until = time.monotonic() + 15
    killed_at = 0.0

    def goes_on() -> bool:
        nonlocal killed_at
        if time.monotonic() - killed_at > 1:
            killed_at = time.monotonic()
            pid = pid_of(daemon, "worker")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        return time.monotonic() < until

    intervals = intervals_of(daemon, "yard", goes_on)
    assert len(intervals) >= 3
    assert max(intervals) <= MAX_INTERVAL_S, intervals
    daemon.stop()
