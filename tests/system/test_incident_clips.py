# SPDX-License-Identifier: AGPL-3.0-or-later
"""kill -9 of a whole daemon while two cameras burn: what it had of their clips plays to within two seconds of it, and is gone back over.

100 kills are slow; CI does a few.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import requests

from daemon.clips.reading import Fragment, Head, fragments, read_head
from daemon.clock import NS
from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import Witness, film

LOST_AT_MOST_S = 2.0
GONE_BACK_WITHIN_S = 300.0  # several incidents of two cameras that burn meanwhile, on a host that may be busy
CAMERAS = ("fire", "yard")


@pytest.fixture(scope="module")
def burning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmThread]:
    """Two cameras before a fire."""
    path = film(tmp_path_factory.mktemp("film") / "burning.mp4", 22, 30)
    with FarmThread([Camera(name, path) for name in CAMERAS]) as made:
        yield made


def read(path: Path) -> tuple[Head, list[Fragment]]:
    with path.open("rb") as file:
        head = read_head(file)
        return head, list(fragments(file, head, checked_from=0))


def being_written(daemon: Daemon) -> list[tuple[Head, Fragment, set[str]]]:
    """Of each open clip that has parts: its head, its last part, and the incidents that it serves."""
    found = []
    for path in daemon.root.rglob("*.mp4.open"):
        try:
            with path.open("rb") as file:
                head = read_head(file)
                parts = list(fragments(file, head))
        except (FileNotFoundError, ValueError):
            continue
        if parts:
            found.append((head, parts[-1], {incident for part in parts for incident in part.incidents}))
    return found


def grown(daemon: Daemon, since_ns: int) -> set[str]:
    """The cameras with a clip that is being written and has frames of this life."""
    return {head.clip.camera for head, last, _ in being_written(daemon) if last.frames[-1].at_ns > since_ns}


def served(daemon: Daemon) -> set[str]:
    """The incidents that open clips serve."""
    return {incident for _, _, incidents in being_written(daemon) for incident in incidents}


def plays(path: Path) -> int:
    """How many pictures any player decodes."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


class Clips:
    """The closed clips of a store, each read once: they do not change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, tuple[Head, list[Fragment]]] = {}

    def all(self) -> list[tuple[Path, Head, list[Fragment]]]:
        """Each is whole to its last byte."""
        for path in sorted(set(self._root.rglob("*.mp4")) - set(self._read)):
            _, parts = self._read[path] = read(path)
            assert parts[-1].end == path.stat().st_size
        return [(path, *held) for path, held in self._read.items()]

    def frames_of(self, incident: str) -> set[tuple[str, int]]:
        """Run and PTS of each frame of the clips that serve an incident."""
        return {
            (head.clip.run, frame.pts)
            for _, head, parts in self.all()
            if any(incident in part.incidents for part in parts)
            for part in parts
            for frame in part.frames
        }


class Lines:
    """Kind and body of the ledger's whole lines, each read once; a torn last one is none."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, int] = {}
        self._found: list[tuple[str, dict[str, Any]]] = []

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of one kind, in order."""
        for path in sorted((self._root / "ledger").glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read[path] = self._read.get(path, 0) + len(whole) + 1
                told = [json.loads(line) for line in whole.split(b"\n")]
                self._found += [(each["kind"], each["body"]) for each in told]
        return [body for each, body in self._found if each == kind]


class Undone:
    """Incidents that a kill found confirmed and not gone back for; each is to be gone back for after a restart."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._clips, self._lines = Clips(daemon.root), Lines(daemon.root)
        self._open: set[str] = set()
        self.kills = self.done = 0

    def killed(self) -> None:
        """The daemon is dead, nothing changes any more."""
        left = self.now()
        self.kills += bool(left - self._open)
        self._open |= left

    def now(self) -> set[str]:
        """Whose stored confirmation has no analysis yet."""
        stored = self._lines.of("stored")
        confirmed = {body["incident"] for body in stored if body["kind"] == "first_confirmed"}
        return confirmed - self._told().keys()

    def clips_end(self, began_ns: int, killed_ns: int, lost_at_most_s: float) -> None:
        """Each camera's clip of the life between is closed, plays whole, and ends so close to the kill.

        Or of its last run's beginning, where the camera had just paused: what comes before a run's first key frame is in no clip.
        """
        runs = [body for body in self._lines.of("run") if int(body["started_at_ns"]) <= killed_ns]
        ends = {name: max(int(run["started_at_ns"]) for run in runs if run["camera"] == name) for name in CAMERAS}
        for path, head, parts in self._clips.all():
            if parts[0].frames[0].at_ns >= began_ns - 5 * NS and parts[-1].frames[-1].at_ns <= killed_ns:
                assert plays(path) == sum(len(part.frames) for part in parts)
                ends[head.clip.camera] = max(ends[head.clip.camera], *(frame.at_ns for frame in parts[-1].frames))
        for camera, end_ns in ends.items():
            assert (killed_ns - end_ns) / NS <= lost_at_most_s, f"{camera}\n{self._daemon.log[-3000:]}"

    def wait_done(self) -> None:
        """All are gone back for by this life, from what their clips have; not one that a kill left without any."""
        self._open = {each for each in self._open if self._clips.frames_of(each)}
        try:
            wait_for(lambda: self._open <= self._told().keys(), GONE_BACK_WITHIN_S, f"{self._open} are gone back for")
        except AssertionError as error:
            status = json.dumps(self._daemon.status(), indent=1)
            raise AssertionError(f"{error}\n{status}\n{self._daemon.log[-6000:]}") from None
        for incident in self._open:
            self._check(incident, self._told()[incident])
        self.done += len(self._open)
        self._open.clear()

    def _told(self) -> dict[str, dict[str, Any]]:
        return {body["incident"]: body for body in self._lines.of("analysis")}

    def _check(self, incident: str, body: dict[str, Any]) -> None:
        """It is made from the clip, and names a frame of it, or the confirming still where that shows the fire first."""
        assert body["source"] == "clip"
        url = self._daemon.url(f"/api/v1/incidents/{incident}/origin")
        # the ledger has it before the index: its line is durable first
        wait_for(lambda: requests.get(url, timeout=10).status_code == 200, 10, f"{url} is there")
        first, last = body["first_visible"], body["last_clean"]
        frames = self._clips.frames_of(incident)
        by_still = first["at_ns"] == body["confirmed_at_ns"]
        assert by_still or (first["run"], int(first["pts"])) in frames, body
        assert last is None or (last["run"], int(last["pts"])) in frames, body
        still = requests.get(self._daemon.url(f"/api/v1/evidence/{first['evidence']}/image"), timeout=10)
        assert still.status_code == 200


def kills(daemon: Daemon, farm: FarmThread, count: int) -> None:
    """Every other life on average is killed soon after its clips grow, the others once what was undone is done.

    The first is killed as soon as something with a clip is undone: on a fast host the random moments of a few lives can all come too
    late. Its rings are still being written then, so that its clips are only asked to be whole.
    """
    source = random.Random(9)
    daemon.configure(
        {name: {"url": farm.url(name)} for name in CAMERAS},
        storage={"reference_interval": 0},
        detect={"patrol": 0, "max_interval": 2.0, "active_fps": 2, "input_px": 320},  # what is seen matters little here
    )
    began_ns = time.time_ns()
    daemon.start()
    witness, undone = Witness(daemon), Undone(daemon)
    for number in range(count):
        if number == 0:
            wait_for(lambda: undone.now() & served(daemon), 90, "something is undone")
        else:
            wait_for(lambda since=began_ns: grown(daemon, since) == {*CAMERAS}, 90, f"clips grow\n{daemon.log[-3000:]}")
            if source.random() < 0.5:
                undone.wait_done()
            witness.look()
            time.sleep(source.uniform(0, 2.5))  # the moment of the kill is what is random here
        killed_ns = time.time_ns()
        daemon.kill()
        undone.killed()
        before, began_ns = began_ns, time.time_ns()
        daemon.start()
        daemon.wait_ready(90)
        undone.clips_end(before, killed_ns, LOST_AT_MOST_S if number else math.inf)
        print(
            f"kill {number + 1}: {undone.done} incidents gone back for after {undone.kills} kills that left some",
            flush=True,
        )
    undone.wait_done()
    assert undone.done
    witness.nothing_is_lost()
    daemon.stop()
    assert not list(daemon.root.rglob("*.open"))
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.timeout(400)
def test_clips_outlive_a_kill_of_everything(daemon: Daemon, burning: FarmThread) -> None:
    """After each kill -9 both cameras' clips are closed by recovery, and the ledger attests them."""
    kills(daemon, burning, 2)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_clips_outlive_a_hundred_kills(daemon: Daemon, burning: FarmThread) -> None:
    """The same at a hundred random moments of an incident."""
    kills(daemon, burning, 100)
