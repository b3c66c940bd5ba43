# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wall clock steps under the running daemon and across a restart: nothing is purged, new runs, order kept.

Once the clock is right the purge works again. The daemon's clocks are the host's plus what a file says: no test steps
the machine's.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from daemon.simulate.farm import Camera, FarmThread
from daemon.storage import index
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import Witness, film

HOUR_S, DAY_S = 3600.0, 86_400.0
YEARS_S = 3653 * DAY_S
ALL = [HOUR_S, -HOUR_S, YEARS_S, -YEARS_S]
CAMERAS = ("fire", "yard")
NOTICED_S = 40
SETTLING_S = 0.5  # a run's first times may be so late


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmThread]:
    folder = tmp_path_factory.mktemp("film")
    burning, quiet = film(folder / "burning.mp4", 22, 30), film(folder / "quiet.mp4", 0, 8)
    with FarmThread([Camera("fire", burning), Camera("yard", quiet)]) as made:
        yield made


class Host:
    """A daemon whose clocks a test moves."""

    def __init__(self, daemon: Daemon, farm: FarmThread) -> None:
        self.daemon, self._clock = daemon, daemon.folder / "clock.json"
        daemon.environment = {"FIREWITNESS_TESTING": "1", "FIREWITNESS_TEST_CLOCK": str(self._clock)}
        daemon.configure(
            {name: {"url": farm.url(name)} for name in CAMERAS},
            storage={"thinning": [{"after": "1 h", "every": "60 s"}]},
            detect={"max_interval": 2.0},
        )
        self.set()
        self.witness = Witness(daemon)

    def set(self, wall_s: float = 0.0, boot_s: float = 0.0) -> None:
        """Replaced whole: a daemon that reads it meanwhile must not see half of it."""
        part = self._clock.with_suffix(".part")
        part.write_text(json.dumps({"wall_s": wall_s, "boot_s": boot_s, "synchronised": True}))
        part.rename(self._clock)

    def start(self) -> None:
        self.daemon.start()
        self.daemon.wait_ready()
        self.goes_on()

    def ledger(self) -> list[dict[str, Any]]:
        """In the order of writing, which the month in a file's name does not tell once the clock stepped."""
        lines = [
            line for file in (self.daemon.root / "ledger").glob("*.jsonl") for line in file.read_bytes().split(b"\n")
        ]
        return sorted((json.loads(line) for line in lines if line.strip()), key=lambda line: int(line["seq"]))

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [line["body"] for line in self.ledger() if line["kind"] == kind]

    def in_index(self) -> set[str]:
        """Stills whose storing is noted: one whose line alone is there may yet be noted at a later time."""
        with closing(sqlite.connect(f"file:{index.path_of(self.daemon.root)}?mode=ro", uri=True)) as connection:
            return {id_ for (id_,) in connection.execute("SELECT id FROM evidence")}

    def goes_on(self) -> None:
        """More is stored: asked of the ledger, since lists go by the wall clock."""
        before = len(self.bodies("stored"))
        wait_for(lambda: len(self.bodies("stored")) > before, NOTICED_S, f"new evidence\n{self.daemon.log[-3000:]}")

    def steps(self, wall_s: float) -> None:
        """The clock steps while the daemon runs: each camera begins a new run that says why."""
        before = {run["id"] for run in self.bodies("run")}

        def begun() -> bool:
            new = [run for run in self.bodies("run") if run["id"] not in before]
            return {run["camera"] for run in new if run["cause"] == "clock"} == set(CAMERAS)

        self.set(wall_s)
        wait_for(begun, NOTICED_S, f"a new run on every camera\n{self.daemon.log[-3000:]}")
        self.goes_on()
        self.nothing_goes()

    def restarts(self, wall_s: float) -> None:
        """It steps while the daemon is stopped."""
        self.daemon.stop()
        self.set(wall_s)
        self.start()
        self.nothing_goes()

    def nothing_goes(self) -> None:
        """A purge of all that is due finds nothing, whatever the clock says; what was stored is there."""
        purged = self.daemon.command("purge", "--all-due")
        assert purged.stdout.startswith("Nothing is older"), purged.stdout + purged.stderr
        assert self.bodies("purged") == []
        stored = {body["id"] for body in self.bodies("stored")}
        there = {path.stem.partition("-")[2] for path in (self.daemon.root / "evidence").rglob("*.*")}
        assert stored <= there

    def order_is_kept(self) -> None:
        """By (run_seq, PTS) stills come in the order in which they were seen, whatever the wall clock said."""
        runs = self.bodies("run")
        assert [run["run_seq"] for run in runs] == list(range(1, len(runs) + 1))
        by_id = {run["id"]: run for run in runs}

        def place(body: dict[str, Any]) -> tuple[int, int]:
            return by_id[body["run"]]["run_seq"], int(body["pts"])

        def seen_s(body: dict[str, Any]) -> float:
            """On the monotonic clock, which did not step."""
            run = by_id[body["run"]]
            return (int(body["captured_at_ns"]) - int(run["started_at_ns"]) + int(run["started_mono_ns"])) / 1e9

        for camera in CAMERAS:
            began = [int(run["started_mono_ns"]) for run in runs if run["camera"] == camera]
            assert began == sorted(began)
            stills = sorted((body for body in self.bodies("stored") if body["camera"] == camera), key=place)
            for before, after in itertools.pairwise(stills):
                assert seen_s(after) > seen_s(before) - SETTLING_S, (before, after)

    def purges_again(self) -> None:
        """The clock is right and a month has passed: what was stored goes."""
        old = self.in_index()
        self.set(31 * DAY_S, 31 * DAY_S)
        self.goes_on()
        answer = self.daemon.command("purge", "--all-due")
        assert answer.returncode == 0, answer.stderr
        assert " older than the retention of 30 days\n" in answer.stdout
        gone = {id_ for body in self.bodies("purged") for id_ in body["ids"]}
        assert old <= gone, answer.stdout
        told = f"{len(gone)} (age)"  # with the recorder's next beat
        wait_for(lambda: told in self.daemon.command("status").stdout, NOTICED_S, f"status tells {told}")
        assert {body["id"] for body in self.bodies("stored")} - gone, "also what came after it went"

    def ends_well(self) -> None:
        self.daemon.stop()
        self.order_is_kept()
        verified = self.daemon.command("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def lies(host: Host, running: list[float], restarting: list[float]) -> None:
    host.start()
    for step_s in running:
        host.steps(step_s)
    for step_s in restarting:
        host.restarts(step_s)
    if restarting:
        host.restarts(0)
    else:
        host.steps(0)
    assert (host.daemon.status() or {})["recorder"]["clock"] == "ok"
    host.purges_again()
    host.ends_well()


@pytest.mark.timeout(300)
def test_a_step_while_running_and_one_across_a_restart(daemon: Daemon, farm: FarmThread) -> None:
    """Ten years ahead while it runs, then ten years back across a restart."""
    lies(Host(daemon, farm), [YEARS_S], [-YEARS_S])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", ALL)
def test_all_steps_while_running(daemon: Daemon, farm: FarmThread, first: float) -> None:
    """Each by itself, and then all others one after another."""
    lies(Host(daemon, farm), [first, 0, *(step for step in ALL if step != first)], [])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", ALL)
def test_all_steps_across_restarts(daemon: Daemon, farm: FarmThread, first: float) -> None:
    """The same while the daemon is stopped."""
    lies(Host(daemon, farm), [], [first, 0, *(step for step in ALL if step != first)])
