# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real clips as cameras, through the whole daemon: which leave a confirmed incident, and which must not."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import pytest

from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for

DATA = os.environ.get("FIREWITNESS_DATA")
BURNING = ["bedroom", "carpark", "house_night", "yardfire", "forecourt", "barrel"]
QUIET = ["corridor", "warehouse", "pedestrians", "office"]
WATCH_S = 75.0  # longer than the longest of the quiet clips
PATROL_S = 10.0  # so that each of them is searched in its own resolution several times in
QUIET_S = 40.0

pytestmark = pytest.mark.skipif(DATA is None, reason="FIREWITNESS_DATA names no folder with clips")


def clips() -> dict[str, Path]:
    assert DATA is not None
    with (Path(DATA) / "clips.csv").open() as table:
        return {row["name"]: Path(DATA) / "clips" / f"{row['name']}.mp4" for row in csv.DictReader(table)}


def watch(daemon: Daemon, names: list[str], watch_s: float, until_confirmed: bool) -> dict[str, set[str]]:
    """States that each clip's incidents came to while all were watched."""
    files = clips()
    with FarmThread([Camera(name, files[name]) for name in names]) as farm:
        cameras = {name.replace("_", "-"): {"url": farm.url(name)} for name in names}
        daemon.configure(cameras, detect={"patrol": PATROL_S})
        daemon.start()
        daemon.wait_ready()
        confirmed: dict[str, set[str]] = {}
        until = time.monotonic() + watch_s

        def all_confirmed_or_over() -> bool:
            for incident in daemon.every("/api/v1/incidents", limit=500):
                seen = confirmed.setdefault(incident["camera"].replace("-", "_"), set())
                seen.add("confirmed" if incident["first_confirmed_at"] else incident["state"])
            done = all("confirmed" in confirmed.get(name, ()) for name in names)
            return (until_confirmed and done) or time.monotonic() > until

        wait_for(all_confirmed_or_over, watch_s + 10, "the clips were watched")
        daemon.stop()
    return confirmed


@pytest.mark.timeout(180)
def test_fires_are_confirmed(daemon: Daemon) -> None:
    """Every clip that burns clearly leaves a confirmed incident."""
    seen = watch(daemon, BURNING, WATCH_S, until_confirmed=True)
    assert {name for name in BURNING if "confirmed" in seen.get(name, ())} == set(BURNING)


@pytest.mark.timeout(180)
def test_quiet_cameras_leave_no_incident(daemon: Daemon) -> None:
    """No clip of people, a warehouse or an office is ever taken for a fire; a suspect that fades is allowed."""
    seen = watch(daemon, QUIET, QUIET_S, until_confirmed=False)
    assert {name for name in QUIET if "confirmed" in seen.get(name, ())} == set()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_quiet_cameras_leave_no_incident_to_their_ends(daemon: Daemon) -> None:
    """The same until the longest clip has been shown whole."""
    seen = watch(daemon, QUIET, WATCH_S, until_confirmed=False)
    assert {name for name in QUIET if "confirmed" in seen.get(name, ())} == set()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_other_clips_are_reported(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """What the rest gives is told, neither right nor wrong: the table goes into the closing note."""
    rest = sorted(set(clips()) - set(BURNING) - set(QUIET))
    seen = watch(daemon, rest, 100, until_confirmed=False)
    with capsys.disabled():
        for name in rest:
            print(f"{name}: {', '.join(sorted(seen.get(name, {'nothing'})))}")
    assert set(seen) <= set(rest)
