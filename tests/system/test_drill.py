# SPDX-License-Identifier: AGPL-3.0-or-later
"""The test button: each step of a passing drill, the step at which one fails, and what is left of either."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.commands import drill as drills
from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film
from tests.system.test_reload import camera, configure, is_watched, lines

STEPS = [
    "connected",
    "first frame analysed",
    "suspect",
    "confirmed",
    "still on disk",
    "row in the index",
    "query answers",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("film")
    film(made / "quiet.mp4", 0, 8)
    film(made / "burning.mp4", 20, 28)
    return made


@pytest.fixture(scope="module")
def farm(folder: Path) -> Iterator[FarmThread]:
    with FarmThread([Camera("hall", folder / "quiet.mp4")]) as made:
        yield made


def steps_of(printed: str) -> list[str]:
    return [line.split(" s  ", 1)[1] for line in printed.splitlines() if " s  " in line]


def shortly(daemon: Daemon, clip: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The command in this process, with less patience."""
    monkeypatch.setattr(drills, "WITHIN_S", 6.0)
    return drills.run(argparse.Namespace(config=daemon.config, clip=clip))


def check_gone(daemon: Daemon) -> None:
    wait_for(lambda: not camera(daemon, "drill"), 15, "the drill's camera is gone")


@pytest.mark.timeout(240)
def test_a_drill_passes_or_names_its_step(
    daemon: Daemon, farm: FarmThread, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a fire: all steps, and marked records. Without one, without a detector, without a disk: the step and why."""
    configure(daemon, farm, "hall")
    daemon.start()
    daemon.wait_ready()
    wait_for(lambda: is_watched(daemon, "hall"), 30, "the other camera")
    passed = daemon.command("drill", "--clip", str(folder / "burning.mp4"), within_s=120)
    assert passed.returncode == 0, passed.stdout + passed.stderr + daemon.log
    assert steps_of(passed.stdout) == STEPS
    assert passed.stdout.endswith("Its records are marked as drill, and are removed after a day.\n")
    check_gone(daemon)
    check_records(daemon)

    assert shortly(daemon, folder / "quiet.mp4", monkeypatch) == 1
    said = capsys.readouterr().out
    assert steps_of(said) == STEPS[:2]
    assert said.splitlines()[-1] == "failed at “suspect”: not within 6 s; its camera is streaming and watched"
    check_gone(daemon)

    detector = (daemon.status() or {})["detector"]["pid"]
    os.kill(detector, signal.SIGSTOP)  # it stands there and answers nobody; killed, it would be back in seconds
    try:
        assert shortly(daemon, folder / "burning.mp4", monkeypatch) == 1
    finally:
        os.kill(detector, signal.SIGCONT)
    said = capsys.readouterr().out
    assert steps_of(said) == STEPS[:1]
    assert said.splitlines()[-1].startswith(
        "failed at “first frame analysed”: not within 6 s; the daemon is not ready: the detector is silent"
    )
    check_gone(daemon)

    text = folder / "text.mp4"
    text.write_text("no video")
    refused = daemon.command("drill", "--clip", str(text))
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        f"the simulated camera cannot run: {text} is no video",
        "firewitness drill: the simulated camera did not start; it has said why above",
    ]
    nothing = daemon.command("drill", "--clip", str(folder / "none.mp4"))
    assert (nothing.returncode, nothing.stderr.splitlines()) == (
        2, [f"firewitness drill: {folder}/none.mp4: there is no such file; give a video of a fire"],
    )  # fmt: skip

    daemon.root.rename(daemon.folder / "elsewhere")
    wait_for(lambda: (daemon.status() or {})["recorder"]["disk"] != "ok", 30, "the disk is gone")
    bad = daemon.command("drill", "--clip", str(folder / "burning.mp4"))
    assert bad.returncode == 1
    assert bad.stdout.startswith("failed before it began: the daemon is not ready: the disk is ")
    assert len(bad.stdout.splitlines()) == 1


def check_records(daemon: Daemon) -> None:
    """All of the drill's are marked, none of the other camera's; it has made no gap and no camera."""
    items = daemon.get("/api/v1/evidence", camera="drill")["items"]
    assert items
    assert all(item["drill"] is True for item in items)
    incidents = [line for line in lines(daemon, "incident") if line["camera"] == "drill"]
    assert incidents
    assert all(line["drill"] for line in incidents)
    wait_for(lambda: lines(daemon, "incident")[-1]["state"] in ("ended", "interrupted"), 10, "its incident has an end")
    assert not [gap for gap in lines(daemon, "gap") if gap["camera"] == "drill"]
    cameras: list[dict[str, Any]] = daemon.get("/api/v1/cameras")["items"]
    assert [(each["name"], each["drill"]) for each in cameras] == [("hall", False)]
    assert [each["camera"] for each in daemon.get("/api/v1/coverage")["items"]] == ["hall"]
    assert is_watched(daemon, "hall")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_without_a_clip_the_drawn_scene_burns(daemon: Daemon, farm: FarmThread) -> None:
    """As `make run` shows it; the fire breaks out some seconds after the drill began."""
    configure(daemon, farm, "hall")
    daemon.start()
    daemon.wait_ready()
    drill = daemon.command("drill", within_s=120)
    assert drill.returncode == 0, drill.stdout + drill.stderr + daemon.log
    assert steps_of(drill.stdout) == STEPS
