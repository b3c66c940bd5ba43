# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fire on one camera of a site, through the whole daemon: its siblings keep their pictures, and nobody else does."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film


def stills(daemon: Daemon, camera: str) -> list[dict[str, Any]]:
    return daemon.every("/api/v1/evidence", camera=camera, kind="sibling", limit=500)[::-1]


def check_loss(daemon: Daemon, fire: str) -> None:
    """Yard, which has fallen silent, comes after hall's first sight, and what it showed at most 2 s before is kept."""

    def sequence() -> list[dict[str, Any]]:
        items = daemon.get(f"/api/v1/incidents/{fire}/sequence")["items"]
        return [{**each} for each in items if len(items) == 2]

    first, lost = wait_for(sequence, 60, f"two events\n{daemon.log}")
    assert (first["what"], first["camera"], first["id"]) == ("first_sight", "hall", fire)
    assert (lost["what"], lost["camera"], lost["how"]) == ("lost", "yard", "unreachable")
    assert first["order_not_determined_with"] == lost["order_not_determined_with"] == []
    last = daemon.get(f"/api/v1/evidence/{lost['evidence']}")
    silent_for = datetime.fromisoformat(lost["at"]) - datetime.fromisoformat(last["captured_at"])
    assert (last["camera"], last["kind"]) == ("yard", "sibling")
    assert abs(silent_for.total_seconds()) <= 2.0


@pytest.mark.timeout(180)
def test_the_other_cameras_of_a_site_keep_what_they_saw(daemon: Daemon, tmp_path: Path) -> None:
    """From before the fire was confirmed, and on; their reason names the camera that burns; another site keeps nothing."""
    quiet, burning = film(tmp_path / "quiet.mp4", 0, 6), film(tmp_path / "burning.mp4", 22, 28)
    cameras = [Camera("hall", burning), Camera("yard", quiet), Camera("shop", quiet)]
    with FarmThread(cameras) as farm:
        sites = {"hall": "mill", "yard": "mill", "shop": "town"}
        daemon.configure({name: {"url": farm.url(name), "site": site} for name, site in sites.items()})
        daemon.start()
        daemon.wait_ready()
        kept = wait_for(lambda: len(stills(daemon, "yard")) >= 6 and stills(daemon, "yard"), 60, daemon.log)
        [fire] = [each for each in daemon.every("/api/v1/incidents") if each["camera"] == "hall"]
        assert kept[0]["captured_at"] < fire["first_confirmed_at"], "from the ring"
        [capture] = [each for each in daemon.every("/api/v1/incidents") if each["camera"] == "yard"]
        assert (capture["kind"], capture["reason"]) == ("manual", "sibling: fire confirmed on hall, site mill")
        assert {each["incident"] for each in kept} == {capture["id"]}
        wait_for(lambda: stills(daemon, "yard")[-1]["captured_at"] > fire["first_confirmed_at"], 30, daemon.log)
        assert stills(daemon, "shop") == stills(daemon, "hall") == []
        assert daemon.get(f"/api/v1/evidence/{kept[0]['id']}")["kind"] == "sibling"
        farm.command("yard", "refuse")
        check_loss(daemon, fire["id"])
