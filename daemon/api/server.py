# SPDX-License-Identifier: AGPL-3.0-or-later
"""The web process: `python -m daemon.api.server --lifeline FD --settings FD --listen FD`; one gunicorn worker, threads.

The port is bound by the supervisor and inherited, so that a restart refuses nobody. It never loads a model, and
writes nothing.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from daemon import lifeline, log, sockets
from daemon.api.app import create_app
from daemon.api.live import LiveStatus
from daemon.api.patience import Master, OurLog, PatientWorker
from daemon.child import descriptors, settings_in
from daemon.clock import host_clocks
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.detect.work import WorkClient
from daemon.settings import Settings
from daemon.storage.queries import Index

STOP_WITHIN_S = 5
KEEP_ALIVE_S = 1  # a stopping worker waits that long for those who may be about to ask again
_MOST_CONNECTIONS = 1000
# Of gunicorn and of systemd: they would change what is bound here, or speak to systemd in the supervisor's name.
_NOT_OURS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "GUNICORN_PID", "GUNICORN_FD", "GUNICORN_CMD_ARGS")


class WebServer(BaseApplication):  # type: ignore[misc]
    """The daemon's Flask application under gunicorn."""

    def __init__(self, settings: Settings, lifeline_fd: int, listen_fd: int) -> None:
        self._settings, self._lifeline, self._listen = settings, lifeline_fd, listen_fd
        self._host, self._port = _address(listen_fd)  # before gunicorn closes the descriptor for a copy of its own
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": f"fd://{self._listen}",
            "worker_class": PatientWorker,
            "workers": 1,
            "threads": self._settings.api.threads,
            "worker_connections": _MOST_CONNECTIONS,
            "keepalive": KEEP_ALIVE_S,
            "graceful_timeout": STOP_WITHIN_S,
            "sendfile": False,  # it waits for ever for a client that takes nothing (SO_SNDTIMEO is not seen)
            "control_socket_disable": True,
            "accesslog": None,
            "logger_class": OurLog,
            "loglevel": "warning",
            "proc_name": "firewitness web",
            "forwarded_allow_ips": "",
            "post_fork": self._after_fork,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """In the worker, after the fork: connections and threads belong to it alone."""
        settings = self._settings
        run_dir = runtime_dir(settings.storage)
        clocks = host_clocks()
        control = Control(sockets.control(run_dir))
        return create_app(
            settings,
            index=Index(settings.storage.root, clocks),
            live=LiveStatus(control),
            control=control,
            detector=WorkClient(sockets.work(run_dir)),
            clocks=clocks,
            host=self._host,
            port=self._port,
        )

    def run(self) -> None:
        Master(self, self._lifeline).run()

    def _after_fork(self, _arbiter: Any, _worker: Any) -> None:
        lifeline.watch(self._lifeline)


def _address(listen_fd: int) -> tuple[str, int]:
    """Told by the socket itself: what was bound counts, not what was meant."""
    with socket.socket(fileno=os.dup(listen_fd)) as listening:
        host, port = listening.getsockname()[:2]
        return str(host), int(port)


def main(arguments: list[str] | None = None) -> None:
    """Runs until SIGTERM, or until the supervisor is gone."""
    options = descriptors("daemon.api.server", "lifeline", "settings", "listen", arguments=arguments)
    log.set_up("web")
    for name in _NOT_OURS:
        os.environ.pop(name, None)
    settings = settings_in(options.settings)
    WebServer(settings, options.lifeline, options.listen).run()


if __name__ == "__main__":
    main()
