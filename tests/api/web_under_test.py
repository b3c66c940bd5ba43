# SPDX-License-Identifier: AGPL-3.0-or-later
"""The true web process for tests, with a detector and a supervisor that are played by threads here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import requests

from daemon import shipped, sockets, wire
from daemon.domain import Detection, Looks, ModelInfo, Verdict, VerifierInfo
from daemon.errors import MessageError, PeerGone
from daemon.memory import map_sealed, sealed
from daemon.messages import Answer, Command, WorkAnswer, WorkRequest
from daemon.settings import Settings

MODEL = ModelInfo(sha256="ab12cd34ef56" + "0" * 52, name="played", runtime="thread", input_px=640)
OUTCOME_BY_TONE = {1: "overloaded", 2: "not_ready", 3: "failed", 4: "no such outcome"}
READY = {"ready": True, "cameras": {}, "detector": {"state": "ready"}, "recorder": {"disk": "ok"}}


class _Listener:
    """Serves each connection of a SEQPACKET socket in a thread."""

    def __init__(self, path: Path, receives: Any, serve: Callable[[Any, Any, list[int]], None]) -> None:
        self._listening = wire.listen(path)
        self._receives, self._serve = receives, serve
        self._channels: list[wire.Channel[Any]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            channel: wire.Channel[Any] = wire.Channel(connection, self._receives)
            channel.settimeout(None)
            self._channels.append(channel)
            threading.Thread(target=self._read, args=(channel,), daemon=True).start()

    def _read(self, channel: wire.Channel[Any]) -> None:
        try:
            while (received := channel.receive()) is not None:
                self._serve(channel, *received)
        except (PeerGone, MessageError):
            channel.close()

    def close(self) -> None:
        # shutdown first: a thread that waits in accept keeps a closed socket listening
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class PlayedDetector:
    """Sees one fire in every picture, from x = its tone to the right edge; some tones give another outcome.

    `hold` cleared makes it wait before it answers; `verified` set, it has a verifier, which rejects all smoke;
    `looked` set, it looks twice.
    """

    verified = False
    looked = False

    def __init__(self, run_dir: Path) -> None:
        self.seen: list[tuple[int, int]] = []
        self.hold = threading.Event()
        self.hold.set()
        self._listener = _Listener(sockets.work(run_dir), WorkRequest, self._serve)

    def _serve(self, channel: Any, request: WorkRequest, descriptors: list[int]) -> None:
        with map_sealed(descriptors[0], 2**30) as memory:
            image = np.frombuffer(memory, np.uint8).reshape(request.height_px, request.width_px, 3).copy()
        os.close(descriptors[0])
        threading.Thread(target=self._answer, args=(channel, request, image), daemon=True).start()

    def _answer(self, channel: Any, request: WorkRequest, image: Any) -> None:
        self.seen.append((request.width_px, request.height_px))
        self.hold.wait(30)
        tone = int(image[image.shape[0] // 2, image.shape[1] // 2, 0])
        outcome = OUTCOME_BY_TONE.get(tone, "analysed")
        found = (
            Detection("fire", 0.9, (float(tone), 1.0, float(request.width_px), float(request.height_px))),
            Detection("smoke", shipped.SMOKE, (0.0, 0.0, 5.0, 5.0)),
            Detection("smoke", shipped.SMOKE - 0.0001, (0.0, 0.0, 5.0, 5.0)),
            Detection("fire", shipped.FIRE - 0.0001, (0.0, 0.0, 5.0, 5.0)),
        )
        model = MODEL
        if self.verified:
            model = replace(MODEL, verifier=VerifierInfo("c" * 64, "verifier", 64, 0.5))
            found = tuple(replace(each, verdict=Verdict(0.25, each.label == "fire")) for each in found)
        if self.looked:
            found = tuple(replace(each, looks=Looks(0.5, 0.32)) for each in found)
        channel.send(
            WorkAnswer(id=request.id, outcome=outcome, detections=found if outcome == "analysed" else (), model=model)
        )

    def close(self) -> None:
        self.hold.set()
        self._listener.close()


class PlayedSupervisor:
    """Answers `status`, and other commands, with what the test says; notes what it was asked."""

    def __init__(self, run_dir: Path) -> None:
        self.status: dict[str, Any] = dict(READY)
        self.result: dict[str, Any] = {}
        self.error = ""
        self.asked: list[Command] = []
        self._listener = _Listener(sockets.control(run_dir), Command, self._serve)

    def _serve(self, channel: Any, command: Command, _: list[int]) -> None:
        if command.name == "status":
            channel.send(Answer(id=command.id, result=self.status))
            return
        self.asked.append(command)
        channel.send(Answer(id=command.id, result=self.result, error=self.error))

    def close(self) -> None:
        self._listener.close()


class Web:
    """`python -m daemon.api.server` as the supervisor starts it."""

    def __init__(
        self, settings: Settings, host: str = "127.0.0.1", listening: socket.socket | None = None, first: str = ""
    ) -> None:
        """`first` is Python that is run in the process before its main()."""
        self.listening = listening or socket.create_server((host, 0), backlog=256)
        self.port = int(self.listening.getsockname()[1])
        self.url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}"
        lifeline, self.lifeline_held = os.pipe()
        settings_fd = sealed("settings", settings.for_children().encode())
        passed = (lifeline, settings_fd, self.listening.fileno())
        arguments = [f"--{name}={fd}" for name, fd in zip(("lifeline", "settings", "listen"), passed, strict=True)]
        program = (
            ["-c", f"{first}; from daemon.api.server import main; main()"] if first else ["-m", "daemon.api.server"]
        )
        self.process = subprocess.Popen(
            [sys.executable, "-P", *program, *arguments],
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
            },
        )
        os.close(lifeline)
        os.close(settings_fd)
        self.errors = ""

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)

    def post(self, **options: Any) -> requests.Response:
        return requests.post(self.url + "/fire_detector", timeout=60, **options)

    def post_to(self, path: str, **options: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=30, **options)

    def stop(self) -> str:
        """SIGTERM; what it wrote to standard error."""
        if self.lifeline_held >= 0:
            self.process.send_signal(signal.SIGTERM)
            self.errors = self.process.communicate(timeout=20)[1]
            self._close()
        return self.errors

    def _close(self) -> None:
        self.listening.close()
        if self.lifeline_held >= 0:
            os.close(self.lifeline_held)
            self.lifeline_held = -1


class Site:
    """Folders, settings, and the played neighbours of a web process."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.run_dir = Path(tempfile.mkdtemp(dir="/tmp", prefix="fw"))
        storage = {
            "root": tmp_path / "store",
            "state_dir": tmp_path / "state",
            "runtime_dir": self.run_dir,
            "reserve": 0,
        }
        self.settings = Settings.model_validate({"storage": storage, **settings})
        self.detector = PlayedDetector(self.run_dir)
        self.supervisor = PlayedSupervisor(self.run_dir)
        self._webs: list[Web] = []

    def start(self, host: str = "127.0.0.1", first: str = "") -> Web:
        self._webs.append(Web(self.settings, host, first=first))
        return self._webs[-1]

    def close(self) -> None:
        for web in self._webs:
            web.stop()
        self.detector.close()
        self.supervisor.close()
        shutil.rmtree(self.run_dir)
