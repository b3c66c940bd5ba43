# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether each camera answers, with its credentials: as its worker would ask, all at once, and each a few seconds at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from daemon.config_file import ConfigFile
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.errors import CameraError, SettingsError
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.planning import Sockets, plan_for
from daemon.ingest.stream import DECODABLE, open_stream
from daemon.secrets import password_of

PATIENCE_S = 5.0
AT_ONCE = 32
_ADVICE = {
    "refused": "see username and password or password_file",
    "unreachable": "see its address, its power and the network between",
    "stalled": "see its load and the network between; restart it",
    "decode": "set it to H.264 or H.265 in its own pages",
}
_NOWHERE = Sockets(Path(), Path())


def look(file: ConfigFile, told: Mapping[str, Any]) -> Iterator[Finding]:
    """`told`: what the running daemon says of its cameras. Those that it watches are not asked again: some let in only one."""
    cameras = {name: camera for name, camera in file.settings.cameras.items() if camera.enabled}
    if not cameras:
        yield warning("cameras", "none is named: a simulated one would be watched", f"name them in {file.path}")
    with ThreadPoolExecutor(AT_ONCE, "doctor") as pool:
        asked = {name: pool.submit(_ask, file, name) for name in cameras if told.get(name, {}).get("condition") != "ok"}
        for name in cameras:
            if name in asked:
                yield from asked[name].result()
            else:
                yield ok(f"camera {name}", "watched by the running daemon")


def _ask(file: ConfigFile, name: str) -> list[Finding]:
    camera = file.settings.cameras[name]
    try:
        password = password_of(camera, file.place("cameras", name, "password_file"))
    except SettingsError as error:
        return [problem(f"camera {name}", str(error), "put the password there, readable by the service's user")]
    plan = plan_for(file.settings, name, password, _NOWHERE)
    plan = msgspec.structs.replace(plan, open_timeout_s=PATIENCE_S, read_timeout_s=PATIENCE_S)
    found = [_answer(f"camera {name}", plan)]
    if camera.detect_url is not None:
        found.append(_answer(f"camera {name}, detect_url", msgspec.structs.replace(plan, url=camera.detect_url)))
    return found


def _answer(about: str, plan: WorkerPlan) -> Finding:
    try:
        stream = open_stream(plan)
    except CameraError as error:
        return problem(about, str(error), _ADVICE.get(error.reason, "see the log"))
    try:
        return ok(about, f"answers, sends {DECODABLE[stream.video.codec_context.name]}")
    finally:
        stream.container.close()
