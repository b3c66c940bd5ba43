# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fire on one camera of a site, through the whole daemon: its siblings keep their pictures, nobody else does, and of a camera
that is lost in it the last frame is there.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from daemon.clips.reading import fragments, read_head
from daemon.clock import NS
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.truth import read_truth
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film

SITES = {"hall": "mill", "yard": "mill", "shop": "town"}


def growing(daemon: Daemon) -> dict[str, Path]:
    """Camera → its clip that is being written; not yet of one that has no head so far, no more of one that has just been closed."""
    found = {}
    for path in daemon.root.rglob("*.mp4.open"):
        with contextlib.suppress(FileNotFoundError, ValueError), path.open("rb") as file:
            found[read_head(file).clip.camera] = path
    return found


def filmed_until(path: Path) -> float:
    """When the last frame of a clip that is being written was seen, in seconds since 1970."""
    with path.open("rb") as file:
        return max(frame.at_ns for part in fragments(file, read_head(file)) for frame in part.frames) / NS


def seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def check_last_frame(daemon: Daemon, fire: str, camera: str, truth: Path) -> None:
    """A loss names the last frame of that camera, within 2 s of the last that it sent, and it can be looked at."""

    def lost() -> dict[str, Any] | None:
        items = daemon.get(f"/api/v1/incidents/{fire}/sequence")["items"]
        return next((each for each in items if (each["what"], each["camera"]) == ("lost", camera)), None)

    item = wait_for(lost, 60, f"the loss of {camera}\n{daemon.log}")
    assert item["how"] == "unreachable"
    sent_s = max(line["time"] for line in read_truth(truth) if line["camera"] == camera and "frame" in line)
    assert abs(seconds(item["at"]) - sent_s) <= 2.0
    answer = requests.get(daemon.url(item["picture"]), timeout=30)
    assert answer.status_code == 200, answer.text
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    kept = daemon.get(f"/api/v1/evidence/{item['evidence']}")
    assert (kept["camera"], picture.shape[1::-1]) == (camera, (kept["width"], kept["height"]))
    if camera != "hall":  # the burning one has stills of nearly every frame
        assert item["frame"] is not None, "a frame of its clip, which is later than any still"
    if item["frame"] is not None:
        assert item["frame"] == kept["frames"] - 1
    assert abs(seconds(kept["captured_at" if item["frame"] is None else "to_at"]) - sent_s) <= 2.0


def confirmed(daemon: Daemon) -> list[dict[str, Any]]:
    """Those of the index: it has their lines after the clips that they begin are there."""
    return [each for each in daemon.every("/api/v1/incidents") if each["first_confirmed_at"] is not None]


@pytest.mark.timeout(240)
def test_the_other_cameras_of_a_site_keep_what_they_saw(daemon: Daemon, tmp_path: Path) -> None:
    """As clips that serve the fire's incident, from before it was confirmed; another site keeps nothing. Losses name last frames."""
    quiet, burning = film(tmp_path / "quiet.mp4", 0, 6), film(tmp_path / "burning.mp4", 22, 28)
    cameras, truth = [Camera("hall", burning), Camera("yard", quiet), Camera("shop", quiet)], tmp_path / "truth.jsonl"
    with FarmThread(cameras, truth=truth) as farm:
        daemon.configure({name: {"url": farm.url(name), "site": site} for name, site in SITES.items()})
        daemon.start()
        daemon.wait_ready()
        wait_for(lambda: set(growing(daemon)) == {"hall", "yard"}, 60, f"clips of the site\n{daemon.log}")
        [fire] = wait_for(lambda: confirmed(daemon), 20, daemon.log)
        assert fire["camera"] == "hall"
        still = wait_for(lambda: daemon.every("/api/v1/evidence", kind="sibling"), 20, daemon.log)[-1]
        assert (still["camera"], still["incident"], still["analysed"]) == ("yard", fire["id"], False)
        confirmed_s = seconds(fire["first_confirmed_at"])
        wait_for(lambda: filmed_until(growing(daemon)["yard"]) > confirmed_s, 20, daemon.log)
        farm.command("yard", "refuse")
        check_last_frame(daemon, fire["id"], "yard", truth)
        listed = lambda: daemon.get(f"/api/v1/incidents/{fire['id']}/clips")["items"]  # noqa: E731
        [own, other] = wait_for(
            lambda: each if len(each := listed()) == 2 else None, 20, "a growing clip's first segment"
        )
        assert (own["camera"], own["kind"], other["camera"], other["kind"]) == ("hall", "clip", "yard", "sibling")
        assert (other["incidents"], other["sibling_of"], other["cause"]) == ([], [fire["id"]], "sibling")
        assert other["captured_at"] < fire["first_confirmed_at"] < other["to_at"], "from the ring, and on"
        farm.command("hall", "refuse")
        check_last_frame(daemon, fire["id"], "hall", truth)
        page = requests.get(daemon.url(f"/incidents/{fire['id']}"), timeout=30).text
        assert f'id="clip-{other["id"]}"' in page
        assert not [each for each in daemon.every("/api/v1/evidence") if each["camera"] == "shop"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_siblings_clip_outlives_a_kill_of_everything(daemon: Daemon, tmp_path: Path) -> None:
    """Closed by recovery, whole to within 2 s of the kill, and the fire's still; the ledger attests it."""
    quiet, burning = film(tmp_path / "quiet.mp4", 0, 6), film(tmp_path / "burning.mp4", 22, 28)
    with FarmThread([Camera("hall", burning), Camera("yard", quiet)]) as farm:
        daemon.configure({name: {"url": farm.url(name), "site": "mill"} for name in ("hall", "yard")})
        daemon.start()
        daemon.wait_ready()
        wait_for(lambda: "yard" in growing(daemon), 60, f"a sibling's clip\n{daemon.log}")
        [fire] = wait_for(lambda: confirmed(daemon), 20, daemon.log)
        confirmed_s = seconds(fire["first_confirmed_at"])
        wait_for(lambda: filmed_until(growing(daemon)["yard"]) > confirmed_s + 3, 60, daemon.log)
        killed_s = time.time()
        daemon.kill()
        daemon.start()
        daemon.wait_ready(90)
        clips = daemon.get(f"/api/v1/incidents/{fire['id']}/clips")["items"]
        [clip] = [each for each in clips if each["camera"] == "yard"]
        assert (clip["kind"], clip["closed"], clip["sibling_of"]) == ("sibling", "recovery", [fire["id"]])
        assert killed_s - seconds(clip["to_at"]) <= 2.0
        daemon.stop()
    verified = daemon.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
