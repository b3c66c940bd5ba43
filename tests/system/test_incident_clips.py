# SPDX-License-Identifier: AGPL-3.0-or-later
"""kill -9 of a whole daemon while two cameras burn: what it had of their clips plays to within two seconds of it.

100 kills are slow; CI does a few.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from daemon.clips.reading import Fragment, Head, fragments, read_head
from daemon.clock import NS
from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import Witness, film

LOST_AT_MOST_S = 2.0
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


def grown(daemon: Daemon, since_ns: int) -> set[str]:
    """The cameras with a clip that is being written and has frames of this life."""
    found = set()
    for path in daemon.root.rglob("*.mp4.open"):
        try:
            head, parts = read(path)
        except ValueError:
            continue
        if parts and parts[-1].frames[-1].at_ns > since_ns:
            found.add(head.clip.camera)
    return found


def plays(path: Path) -> int:
    """How many pictures any player decodes."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def check_after(daemon: Daemon, began_ns: int, killed_ns: int) -> None:
    """Each camera's clip of that life is closed, plays whole, and ends within two seconds of the kill."""
    ends = dict.fromkeys(CAMERAS, 0)
    for path in daemon.root.rglob("*.mp4"):
        head, parts = read(path)
        assert parts[-1].end == path.stat().st_size
        if parts[0].frames[0].at_ns >= began_ns - 5 * NS and parts[-1].frames[-1].at_ns <= killed_ns:
            assert plays(path) == sum(len(part.frames) for part in parts)
            ends[head.clip.camera] = max(ends[head.clip.camera], *(frame.at_ns for frame in parts[-1].frames))
    for camera, end_ns in ends.items():
        assert (killed_ns - end_ns) / NS <= LOST_AT_MOST_S, f"{camera}\n{daemon.log[-3000:]}"


def kills(daemon: Daemon, farm: FarmThread, count: int) -> None:
    source = random.Random(9)
    daemon.configure(
        {name: {"url": farm.url(name)} for name in CAMERAS},
        storage={"reference_interval": 0},
        detect={"patrol": 0, "max_interval": 2.0},
    )
    began_ns = time.time_ns()
    daemon.start()
    witness = Witness(daemon)
    for _ in range(count):
        wait_for(lambda since=began_ns: grown(daemon, since) == {*CAMERAS}, 90, f"clips grow\n{daemon.log[-3000:]}")
        witness.look()
        time.sleep(source.uniform(0, 2.5))  # the moment of the kill is what is random here
        killed_ns = time.time_ns()
        daemon.kill()
        before, began_ns = began_ns, time.time_ns()
        daemon.start()
        daemon.wait_ready(90)
        check_after(daemon, before, killed_ns)
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
