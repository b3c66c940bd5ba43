# SPDX-License-Identifier: AGPL-3.0-or-later
"""A site's own model: checked, kept, and gone over to while cameras are watched and a fire is burning."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import shipped
from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film
from tests.system.test_reload import lines

INTERVAL_S = 2.0
LATE_S = 0.5  # of a machine that does other things too


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmThread]:
    folder = tmp_path_factory.mktemp("film")
    quiet, burning = film(folder / "quiet.mp4", 0, 8), film(folder / "burning.mp4", 22, 30)
    with FarmThread([Camera("hall", quiet), Camera("yard", burning)]) as made:
        yield made


def other_model(path: Path) -> str:
    """The shipped network as another file: its hash tells which one looked."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(shipped.WEIGHTS))
    model.metadata_props.add(key="site", value=path.stem)
    onnx.save(model, str(path))
    path.with_suffix(".md").write_text(f"# {path.stem}\n\nmade by a test\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Intervals(threading.Thread):
    """Asks the daemon all the time for the longest interval between analysed frames, by camera."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self._daemon, self._end = daemon, threading.Event()
        self.longest_s: dict[str, float] = {}

    def run(self) -> None:
        while not self._end.wait(0.4):
            for name, camera in ((self._daemon.status() or {}).get("cameras") or {}).items():
                self.longest_s[name] = max(self.longest_s.get(name, 0.0), camera.get("interval_s") or 0.0)

    def stop(self) -> dict[str, float]:
        self._end.set()
        self.join()
        return self.longest_s


def in_order(daemon: Daemon) -> list[dict[str, Any]]:
    """The burning camera's records, by PTS: of one run."""
    found = [daemon.get(f"/api/v1/evidence/{each['id']}")["record"] for each in daemon.every("/api/v1/evidence")]
    records = [
        each for each in found if each["camera"] == "yard" and each["model"] and each["kind"] in ("hit", "context")
    ]
    return sorted(records, key=lambda each: int(each["pts"]))


@pytest.mark.timeout(180)
def test_a_damaged_choice_costs_the_detector_alone(daemon: Daemon, farm: FarmThread) -> None:
    """Cameras are recorded, their gap names the detector, which says what to do; a choice makes it good without a restart."""
    daemon.configure({"hall": {"url": farm.url("hall")}})
    choice = daemon.folder / "state" / "models" / "in_use.json"
    choice.parent.mkdir(parents=True)
    choice.write_text('{"name": ')
    daemon.start()
    says = f"{choice} cannot be read: choose again, or remove it"

    def failed() -> bool:
        status = daemon.status()
        return bool(status and status["detector"]["state"] == "failed" and status["cameras"]["hall"].get("pid"))

    wait_for(failed, 60, "the detector says that it failed")
    assert daemon.status()["detector"]["detail"] == says
    wait_for(lambda: "detector" in {each["reason"] for each in lines(daemon, "gap")}, 60, "the gap is the detector's")
    wait_for(lambda: daemon.get("/api/v1/evidence", kind="reference")["items"], 90, "a still is recorded")
    for command in (["check-config"], ["model", "list"]):
        told = daemon.command(*command)
        assert told.returncode == 2
        assert says in told.stderr
    assert says in daemon.command("doctor").stdout

    used = daemon.command("model", "use", "configured", within_s=120)
    assert used.returncode == 0, used.stderr
    assert daemon.wait_ready(60)["detector"]["sha256"]
    assert not choice.exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_is_added_and_gone_over_to_without_a_gap(daemon: Daemon, farm: FarmThread, tmp_path: Path) -> None:
    """Every camera keeps its interval; the incident goes on; records name the new hash from its first frame on."""
    daemon.configure({name: {"url": farm.url(name)} for name in ("hall", "yard")}, detect={"max_interval": INTERVAL_S})
    daemon.start()
    before = daemon.wait_ready(90)["detector"]["sha256"]
    wait_for(lambda: daemon.get("/api/v1/incidents", state="confirmed")["items"], 60, "the fire is confirmed")
    wait_for(lambda: in_order(daemon), 30, "a hit")

    sha256 = other_model(tmp_path / "site-2.onnx")
    added = daemon.command("model", "add", str(tmp_path / "site-2.onnx"), within_s=240)
    assert added.returncode == 0, added.stderr
    seen = re.search(r"^drawn fire +seen at (\d\.\d\d)$", added.stdout, re.MULTILINE)
    assert seen is not None, added.stdout
    assert float(seen[1]) > shipped.FIRE
    assert "reference still" in added.stdout
    assert daemon.status()["detector"]["sha256"] == before  # adding uses nothing

    gaps = len(lines(daemon, "gap"))
    watching = Intervals(daemon)
    watching.start()
    used = daemon.command("model", "use", "site-2", within_s=240)
    assert used.returncode == 0, used.stderr
    assert daemon.status()["detector"]["sha256"] == sha256
    wait_for(lambda: in_order(daemon)[-1]["model"]["sha256"] == sha256, 30, "a record by the new model")
    longest_s = watching.stop()
    assert set(longest_s) == {"hall", "yard"}
    assert max(longest_s.values()) <= INTERVAL_S + LATE_S, longest_s
    assert len(lines(daemon, "gap")) == gaps
    hashes = [each["model"]["sha256"] for each in in_order(daemon)]
    first = hashes.index(sha256)
    assert set(hashes[:first]) == {before}
    assert set(hashes[first:]) == {sha256}
    assert len({each["incident"] for each in in_order(daemon)}) == 1
    card = hashlib.sha256((tmp_path / "site-2.md").read_bytes()).hexdigest()
    assert in_order(daemon)[-1]["model"]["card_sha256"] == card

    refused(daemon, tmp_path, sha256)
    daemon.stop()
    daemon.start()
    assert daemon.wait_ready(90)["detector"]["sha256"] == sha256  # also after a restart
    assert daemon.command("model", "use", "configured").returncode == 0
    assert daemon.status()["detector"]["sha256"] == before
    assert daemon.command("reload").stdout == "no camera changed\n"
    assert daemon.command("verify").returncode == 0


def refused(daemon: Daemon, tmp_path: Path, sha256: str) -> None:
    """What is broken is not gone over to, and the one in use goes on."""
    other_model(tmp_path / "site-3.onnx")
    assert daemon.command("model", "add", str(tmp_path / "site-3.onnx"), within_s=240).returncode == 0
    weights = daemon.folder / "state" / "models" / "site-3" / "site-3.onnx"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:1_000_000])
    for name, says in (("site-3", "not the weights expected"), ("site-9", "there are configured, site-2, site-3")):
        asked = daemon.command("model", "use", name)
        assert asked.returncode == 2
        assert says in asked.stderr
    assert daemon.status()["detector"]["sha256"] == sha256
    listed = daemon.command("model", "list").stdout
    assert "* site-2" in listed
    assert "site-2.md" in listed
