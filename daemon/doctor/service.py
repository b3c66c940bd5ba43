# SPDX-License-Identifier: AGPL-3.0-or-later
"""The daemon: whether it runs and is ready, whether its port is its own, and who may read its secrets."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon import sockets, wire
from daemon.commands.folders import check
from daemon.config_file import ConfigFile, runtime_dir
from daemon.control import Control
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.errors import FirewitnessError, PeerGone, SettingsError
from daemon.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What the running daemon says of itself."""

    status: dict[str, Any] | None
    silence: str = ""
    """Why there is one and it says nothing: it hangs, or is closed to this user. Empty: none is there."""

    @property
    def running(self) -> bool:
        return self.status is not None or self.silence != ""


def ask(settings: Settings) -> Answer:
    """Only where nobody listens is it sure that nothing is watched."""
    control = sockets.control(runtime_dir(settings.storage))
    try:
        return Answer(Control(control).ask("status"))
    except FirewitnessError as error:
        return Answer(None, str(error) if _listened_at(control) else "")


def _listened_at(control: Path) -> bool:
    """The socket goes with its daemon, or refuses; one in a folder that is closed to this user may be there."""
    try:
        wire.connect(control).close()
    except PeerGone as error:
        return isinstance(error.__cause__, PermissionError)
    except FirewitnessError:  # no socket can have this path: the folders' finding says so
        return False
    return True


def look(file: ConfigFile, answer: Answer) -> Iterator[Finding]:
    """All findings about the daemon and its files."""
    yield of_daemon(answer)
    api = file.settings.api
    yield of_port(api.host, api.port, running=answer.running)
    try:
        check(file)
        yield ok("folders", "what the settings name can be read and written")
    except SettingsError as error:
        yield problem("folders", str(error), "change the owner, or the setting")
    for path, holds in secrets_of(file):
        yield from of_secret(path, holds)


def of_daemon(answer: Answer) -> Finding:
    status = answer.status
    if answer.silence:
        return problem("daemon", answer.silence, "ask as root or as the service's user; if it hangs, see the log")
    if status is None:
        return warning("daemon", "not running: nothing is watched", "systemctl start firewitness, or firewitness run")
    detector, recorder = status["detector"], status["recorder"]
    if status["ready"]:
        return ok("daemon", f"running, version {status['version']}, ready")
    what = f"running, not ready: detector {detector['state']}, disk {recorder['disk']}"
    ill = [detector] * (detector["state"] != "ready") + [recorder] * (recorder["disk"] != "ok")
    details = "; ".join(each["detail"] for each in ill if each["detail"])
    return problem("daemon", f"{what}{f' ({details})' if details else ''}", "wait if it is starting; else see the log")


def of_port(host: str, port: int, *, running: bool) -> Finding:
    if running:
        return ok("port", f"{host}:{port}, served by the running daemon")
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address[4])
    except OSError as error:
        what = f"{host}:{port} cannot be had ({error.strerror})"
        return problem("port", what, f"see `ss -ltnp sport = :{port}`; stop what uses it, or choose another api.port")
    return ok("port", f"{host}:{port} is free")


def secrets_of(file: ConfigFile) -> Iterator[tuple[Path, str]]:
    """Files in which passwords stand, and what to call them."""
    cameras = file.settings.cameras.values()
    if any(("cameras", name, "password") in file.lines for name in file.settings.cameras):
        yield file.path, "the settings hold a password"
    for path in sorted({camera.password_file for camera in cameras if camera.password_file is not None}):
        yield path, "a password"


def of_secret(path: Path, holds: str) -> Iterator[Finding]:
    """Nothing of a file that is not there: its camera's finding says so."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if mode & stat.S_IROTH:
        yield warning(
            "secrets", f"{path}: {holds}, and every user can read it", f"chmod 640 {path}, with the service's group"
        )
    else:
        yield ok("secrets", f"{path} is closed to other users")
