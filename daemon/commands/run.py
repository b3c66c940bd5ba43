# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness run`: the daemon in the foreground, as systemd and `make run` start it."""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
from pathlib import Path

from daemon import __version__, log
from daemon.commands import settings as settings_of
from daemon.commands.folders import check, lacking, prepare
from daemon.config_file import runtime_dir
from daemon.errors import FirewitnessError, SettingsError
from daemon.loopback import in_url, is_loopback
from daemon.settings import CameraSettings, Settings
from daemon.supervisor.supervisor import Supervisor

SIMULATED = "simulated"
DRAWN_WITHIN_S = 60.0
"""At its first start the simulated camera answers nobody before its film is drawn, which takes longer than a camera may."""


def run(options: argparse.Namespace) -> int:
    """Returns when the daemon was stopped."""
    file = settings_of.file(options.config)
    prepare(file)
    settings = file.settings
    lock = _lock(runtime_dir(settings.storage))
    http = _listen(settings.api.host, settings.api.port)
    simulated = None
    if not settings.cameras:
        simulated = _listen("127.0.0.1", 0)
        settings = _with_simulated(settings, simulated.getsockname()[1])
    _introduce(settings, http, simulated is not None)

    def reread() -> Settings:
        """What a reload takes over: checked as by check-config."""
        now = settings_of.file(options.config)
        check(now)
        if now.settings.cameras:
            return now.settings
        if simulated is None:
            raise SettingsError(f"{now.path}: names no camera; the simulated one is only there after a restart")
        return _with_simulated(now.settings, simulated.getsockname()[1])

    logger = log.set_up("firewitness")
    for each in lacking(file):  # nobody may be there to mend it: the rest is recorded all the same
        logger.warning("%s; going on without it", each)
    status = Supervisor(settings, http, logger, reread, simulated).run()
    os.close(lock)
    return status


def _with_simulated(settings: Settings, port: int) -> Settings:
    camera = CameraSettings(url=f"rtsp://127.0.0.1:{port}/{SIMULATED}")
    ingest = settings.ingest.model_copy(update={"open_timeout": DRAWN_WITHIN_S})
    return settings.model_copy(update={"cameras": {SIMULATED: camera}, "ingest": ingest})


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FirewitnessError(f"another daemon is running with the runtime folder {folder}; stop it first") from None
    return descriptor


def _listen(host: str, port: int) -> socket.socket:
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(address[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address[4])
        listening.listen(1024)
    except OSError as error:
        raise FirewitnessError(
            f"api.host, api.port: cannot listen on {host}:{port} ({error.strerror}); choose another port, or stop what uses it"
        ) from error
    return listening


def _introduce(settings: Settings, http: socket.socket, simulated: bool) -> None:
    host, port = http.getsockname()[:2]
    print(f"Firewitness {__version__}")
    for name, camera in settings.cameras.items():
        note = "" if camera.enabled else "  (disabled)"
        print(f"  watches   {name}  {camera.url}{note}")
    if simulated:
        print("            a drawn room in which a fire breaks out: config.yaml names no camera yet")
    print(f"  evidence  {settings.storage.root}")
    if is_loopback(host):
        print(f"  page      http://{in_url(host)}:{port}/")
    else:
        print(
            f"  serves    /fire_detector and health on {host}:{port}; evidence only with api.host 127.0.0.1 (see README.md)"
        )
    print("  Ctrl-C stops.", flush=True)
