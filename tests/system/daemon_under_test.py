# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole daemon under test: the command a user runs, in a folder of its own, asked over HTTP and its control socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import requests
import yaml

from daemon import sockets
from daemon.control import Control
from daemon.errors import FirewitnessError

STOP_WITHIN_S = 10.0


def wait_for(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first true value of `condition`; fails with `what` when there was none in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s:g} s: {what}")


def reserved_port() -> socket.socket:
    """Bound to a port that nobody else is given while it is open: with SO_REUSEADDR a server can still listen there.

    A port that is only looked for, and let go, goes to whoever asks for any port next: another test's farm, say.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def port_of(reserved: socket.socket) -> int:
    return int(reserved.getsockname()[1])


class Daemon:
    """`firewitness run` in its own folder; short, since Unix sockets' paths must be."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fw-", dir="/tmp"))
        self._reserved = reserved_port()
        self.port = port_of(self._reserved)
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        self.prefix: list[str] = []
        """What the command is started with, such as a filter of system calls."""

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def root(self) -> Path:
        return self.folder / "store"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def configure(self, cameras: dict[str, Any], **blocks: dict[str, Any]) -> None:
        settings = {
            "cameras": cameras,
            **blocks,
            "storage": {"root": "store", "state_dir": "state", "runtime_dir": "run", **blocks.get("storage", {})},
            "api": {"port": self.port, **blocks.get("api", {})},
        }
        self.config.write_text(yaml.safe_dump(settings))

    def start_for_the_journal(self) -> None:
        """As systemd starts it: its log is JSON."""
        (self.folder / "log").touch()
        stream = (self.folder / "log").stat()
        self.environment["JOURNAL_STREAM"] = f"{stream.st_dev}:{stream.st_ino}"
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(Path(sys.executable).with_name("firewitness")), "run", "--config", str(self.config)],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )

    def command(self, *arguments: str | bytes, within_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Another `firewitness` command beside it."""
        program = str(Path(sys.executable).with_name("firewitness"))
        return subprocess.run(
            [*self.prefix, program, arguments[0], "--config", str(self.config), *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def status(self) -> dict[str, Any] | None:
        try:
            return Control(sockets.control(self.folder / "run")).ask("status", timeout_s=2)
        except FirewitnessError:
            return None

    def wait_ready(self, within_s: float = 45) -> dict[str, Any]:
        def ready() -> dict[str, Any] | None:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            status = self.status()
            return status if status and status["ready"] and self.answers() else None

        try:
            return dict(wait_for(ready, within_s, "the daemon is ready"))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(), indent=1)}\n{self.log}") from None

    def answers(self) -> bool:
        try:
            return requests.get(self.url("/readyz"), timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def url(self, path: str, **query: Any) -> str:
        return f"http://127.0.0.1:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def get(self, path: str, **query: Any) -> Any:
        answer = requests.get(self.url(path, **query), timeout=10)
        answer.raise_for_status()
        return answer.json()

    def every(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            items += page["items"]
            cursor = page.get("next")
            if not cursor:
                return items

    def family(self) -> list[psutil.Process]:
        """Every process that belongs to this daemon: found by its folder and descent, not by what it says."""
        assert self.process is not None
        try:
            return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> float:
        """Ctrl-C; returns how long it took. Fails when it takes longer than promised or somebody is left."""
        assert self.process is not None
        family = self.family()
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_WITHIN_S + 2)
        took_s = time.monotonic() - began
        wait_for(lambda: not left_of(family), 3, f"nobody is left: {left_of(family)}\n{self.log}")
        return took_s

    def kill(self) -> None:
        """Kill -9 of the supervisor; waits until nobody of its family is left."""
        assert self.process is not None
        family = self.family()
        self.process.kill()
        self.process.wait(10)
        wait_for(lambda: not left_of(family), 8, f"nobody outlives the supervisor: {left_of(family)}")

    def clean(self) -> None:
        if self.process is not None and self.process.poll() is None:
            for each in reversed(self.family()):
                try:
                    each.kill()
                except psutil.NoSuchProcess:
                    continue
            self.process.wait(10)
        self._reserved.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def left_of(family: list[psutil.Process]) -> list[str]:
    """Those of a family that still run (a zombie whose parent is busy does not)."""
    left = []
    for each in family:
        try:
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{each.pid} {' '.join(each.cmdline())[-90:]}")
        except psutil.NoSuchProcess:
            continue
    return left
