# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness drill`: the test button. A temporary simulated camera burns, and each step to the evidence is timed."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from daemon import sockets
from daemon.clock import host_clocks
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.domain import DRILL_CAMERA
from daemon.errors import FirewitnessError, NotRunning, StoreError
from daemon.loopback import in_url, is_loopback
from daemon.settings import Settings
from daemon.storage.queries import Index

WITHIN_S = 60.0  # for each step; the drawn fire breaks out some seconds after the first viewer
LOOK_EVERY_S = 0.1


class StepFailed(FirewitnessError):
    """A step that did not come in its time."""


class Drill:
    """Its steps, in the order of a frame's journey; each returns what it waits for, or nothing."""

    def __init__(self, settings: Settings, control: Control) -> None:
        self._settings, self._control = settings, control
        self._since_ns = host_clocks().wall_ns()
        self._item: dict[str, Any] = {}

    def steps(self) -> list[tuple[str, Callable[[], Any]]]:
        """What is printed, and how it is found out."""
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("connected", lambda: self._camera().get("state") == "streaming"),
            ("first frame analysed", lambda: self._camera().get("frames_watched")),
            ("suspect", lambda: self._incident("first_suspect_at")),
            ("confirmed", lambda: self._incident("first_confirmed_at")),
            ("still on disk", self._still),
            ("row in the index", self._row),
        ]
        if is_loopback(self._settings.api.host):
            steps.append(("query answers", self._query))
        return steps

    def condition(self) -> str:
        """What the daemon says of itself and the drill's camera now."""
        status = self._control.ask("status")
        if why := _not_ready(status):
            return why
        camera = status["cameras"].get(DRILL_CAMERA)
        if camera is None:
            return "the drill's camera is not there any more"
        detail = f" ({camera['detail']})" if camera.get("detail") else ""
        watched = "watched" if camera["condition"] == "ok" else f"not watched: {camera['condition']}{detail}"
        return f"its camera is {camera['state']} and {watched}"

    def _camera(self) -> dict[str, Any]:
        found: dict[str, Any] = self._control.ask("status")["cameras"].get(DRILL_CAMERA, {})
        return found

    def _incident(self, key: str) -> bool:
        page = self._index().incidents_page(camera=DRILL_CAMERA, from_ns=self._since_ns)
        return any(each[key] is not None for each in page["items"])

    def _still(self) -> bool:
        root = self._settings.storage.root
        files = (root / "evidence" / DRILL_CAMERA).rglob("*.jpg")
        return any(path.stat().st_mtime_ns >= self._since_ns for path in files)

    def _row(self) -> bool:
        """The row's file is on the disk, and is what the row says."""
        page = self._index().evidence_page(camera=DRILL_CAMERA, from_ns=self._since_ns, kind="first_confirmed")
        for item in page["items"]:
            path = self._index().evidence_file(item["id"])
            if path is not None and hashlib.sha256(path.read_bytes()).hexdigest() == item["sha256"]:
                self._item = item
                return True
        return False

    def _query(self) -> bool:
        """Over HTTP, as an investigator's browser asks; the picture is byte for byte the one on disk."""
        found = json.loads(self._get(f"/api/v1/evidence/{self._item['id']}"))
        return hashlib.sha256(self._get(found["image"])).hexdigest() == str(self._item["sha256"])

    def _get(self, path: str) -> bytes:
        host = self._settings.api.host
        address = f"http://{in_url(host)}:{self._settings.api.port}{path}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bytes(answer.read())

    def _index(self) -> Index:
        return Index(self._settings.storage.root, host_clocks())


def run(options: argparse.Namespace) -> int:
    """0 when every step was seen; 1 with the step that was not."""
    settings = settings_of.of(options.config)
    control = Control(sockets.control(runtime_dir(settings.storage)))
    if options.clip is not None and not os.path.isfile(options.clip):
        raise FirewitnessError(f"{options.clip}: there is no such file; give a video of a fire")
    if why := _not_ready(control.ask("status")):
        print(f"failed before it began: {why}")
        return 1
    with simulated_camera(options.clip) as url:
        drill = Drill(settings, control)
        began_s = time.monotonic()
        control.ask("drill_begin", {"url": url})
        try:
            for name, find in drill.steps():
                _await(name, find, drill)
                print(f"{time.monotonic() - began_s:6.1f} s  {name}", flush=True)
        except StepFailed as error:
            print(f"failed at {error}")
            return 1
        finally:
            with contextlib.suppress(NotRunning):  # it has been said
                control.ask("drill_end")
    print("The drill passed. Its records are marked as drill, and are removed after a day.")
    return 0


def _not_ready(status: dict[str, Any]) -> str:
    """Why nothing can be seen or kept now, or nothing."""
    if status["ready"]:
        return ""
    detector, recorder = status["detector"], status["recorder"]
    found = [("detector", detector["state"], detector.get("detail"))] if detector["state"] != "ready" else []
    found += [("disk", recorder["disk"], recorder.get("detail"))] if recorder["disk"] != "ok" else []
    parts = [f"the {what} is {state}" + (f" ({detail})" if detail else "") for what, state, detail in found]
    return f"the daemon is not ready: {' and '.join(parts) or 'it does not say why'}"


def _await(name: str, find: Callable[[], Any], drill: Drill) -> None:
    until_s = time.monotonic() + WITHIN_S
    why = ""
    try:
        while time.monotonic() < until_s:
            try:
                if find():
                    return
            except (StoreError, urllib.error.URLError, OSError) as error:
                why = f"; {error}"
            time.sleep(LOOK_EVERY_S)
        raise StepFailed(f"“{name}”: not within {WITHIN_S:g} s; {drill.condition()}{why}")
    except NotRunning as error:
        raise StepFailed(f"“{name}”: {error}") from error


@contextlib.contextmanager
def simulated_camera(clip: Path | None) -> Iterator[str]:
    """A camera on a free port of loopback that plays the clip, or the drawn scene; its address."""
    command = [sys.executable, "-P", "-m", "daemon.simulate"]
    command += ["--clip", str(clip.resolve())] if clip is not None else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise FirewitnessError("the simulated camera did not start; it has said why above")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
