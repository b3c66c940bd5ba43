# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real detector process on real sockets, held as the supervisor holds it; and a fake worker."""

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from daemon import wire
from daemon.detect.detector import REFERENCE_PICTURE
from daemon.detect.live import LiveChannel, make_live_channel
from daemon.memory import sealed
from daemon.messages import (
    Answer,
    Attach,
    Detach,
    DetectorBeat,
    DetectorHello,
    FrameDone,
    FromDetectorControl,
    Stop,
    UseModel,
)

INPUT_PX = 320  # small, so that the tests are fast; the shipped picture is seen at it too


def wait_for(condition: Callable[[], Any], what: str, within_s: float = 30) -> Any:
    """Returns what `condition` returns once that is true."""
    until_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until_s, f"waited {within_s} s for {what}"
        time.sleep(0.005)
    return found


class Supervisor:
    """What the supervisor holds for the detector; it can kill and start it on the same sockets."""

    def __init__(self, **detect: Any) -> None:
        self.runtime_dir = Path(tempfile.mkdtemp(dir="/tmp"))
        self.work_path = self.runtime_dir / "work.sock"
        self.settings = {"detect": {"input_px": INPUT_PX, "batch": 4, "device": "cpu", **detect}}
        self.beats: list[DetectorBeat] = []
        self._told: list[Answer] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._listening = wire.listen(self.work_path)
        self._lifeline, self._mine = os.pipe()
        self._live: dict[str, tuple[socket.socket, socket.socket, int]] = {}
        self._control: wire.Channel[DetectorBeat] | None = None

    def start(self) -> None:
        ours, theirs = wire.pair()
        settings = sealed("settings", json.dumps(self.settings).encode())
        given = [self._lifeline, settings, theirs.fileno(), self._listening.fileno()]
        names = ["--lifeline", "--settings", "--control", "--listen"]
        arguments = [text for name, fd in zip(names, given, strict=True) for text in (name, str(fd))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daemon.detect.process", *arguments],
            pass_fds=given,
            start_new_session=True,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        os.close(settings)
        self._control = wire.Channel(ours, FromDetectorControl)
        self.beats, self._told = [], []
        for camera in self._live:
            self._attach(camera)

    def camera(self, name: str) -> LiveChannel:
        """A worker of that camera, new or started again; its channel survives it."""
        if name not in self._live:
            self._live[name] = make_live_channel(self.settings["detect"]["input_px"])
            if self.process is not None:
                self._attach(name)
        worker_end, _, memfd = self._live[name]
        return LiveChannel(
            socket.socket(fileno=os.dup(worker_end.fileno())), memfd, self.settings["detect"]["input_px"]
        )

    def _attach(self, camera: str) -> None:
        _, detector_end, memfd = self._live[camera]
        assert self._control.send(Attach(camera=camera), [detector_end.fileno(), memfd])

    def use_model(self, request: str, weights: Path, sha256: str) -> None:
        assert self._control.send(UseModel(id=request, weights=str(weights), sha256=sha256))

    def told(self) -> list[Answer]:
        """Its answers to what it was asked."""
        self.beat()
        return self._told

    def detach(self, camera: str) -> None:
        assert self._control.send(Detach(camera=camera))

    def stop(self) -> int:
        self._control.send(Stop())
        return self.process.wait(10)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process.stderr.close()
        self._control.close()

    def beat(self) -> DetectorBeat | None:
        """The last beat."""
        while (received := self._control.receive()) is not None:
            (self.beats if isinstance(received[0], DetectorBeat) else self._told).append(received[0])
        return self.beats[-1] if self.beats else None

    def wait_until(self, state: str) -> DetectorBeat:
        def there() -> DetectorBeat | None:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            beat = self.beat()
            return beat if beat and beat.state == state else None

        return wait_for(there, f"the detector to be {state}")

    def die(self) -> None:
        """As if the supervisor were killed: its end of the lifeline closes."""
        os.close(self._mine)
        self._mine = -1

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.process is not None:
            self.process.stderr.close()
        if self._control is not None:
            self._control.close()
        for worker_end, detector_end, memfd in self._live.values():
            worker_end.close()
            detector_end.close()
            os.close(memfd)
        self._listening.close()
        os.close(self._lifeline)
        if self._mine >= 0:
            os.close(self._mine)
        shutil.rmtree(self.runtime_dir)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor whose detector has not been started."""
    held = Supervisor()
    yield held
    held.close()


@pytest.fixture
def running(supervisor: Supervisor) -> Supervisor:
    """A supervisor whose detector is warm."""
    supervisor.start()
    supervisor.wait_until("ready")
    return supervisor


@pytest.fixture(scope="module")
def lasting() -> Iterator[Supervisor]:
    """A warm detector for all tests of a file that leave it running."""
    held = Supervisor()
    held.start()
    held.wait_until("ready")
    yield held
    held.close()


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """The shipped picture of a drawn fire, 640×360."""
    return cv2.imread(str(REFERENCE_PICTURE))


@pytest.fixture(scope="session")
def frame(picture: np.ndarray) -> np.ndarray:
    """The same as a worker sends it: scaled to the detector's input."""
    return cv2.resize(picture, (INPUT_PX, INPUT_PX * 9 // 16), interpolation=cv2.INTER_AREA)


def put(channel: LiveChannel, image: np.ndarray, pts: int, original: tuple[int, int] = (1920, 1080)) -> bool:
    """Writes a frame to a free buffer and announces it; False when there is none."""
    free = channel.free_buffer()
    if free is None:
        return False
    index, memory = free
    memory[: image.size] = image.reshape(-1)
    return channel.announce(index, (image.shape[1], image.shape[0]), original, "run", pts)


def answers(channel: LiveChannel, count: int, within_s: float = 20) -> list[FrameDone]:
    """The next so many answers to frames."""
    found: list[FrameDone] = []

    def there() -> bool:
        found.extend(each for each in channel.receive() if isinstance(each, FrameDone))
        return len(found) >= count

    wait_for(there, f"{count} answers", within_s)
    return found


def meet(channel: LiveChannel) -> DetectorHello:
    """Waits for a new detector's hello."""
    found: list[DetectorHello] = []

    def there() -> bool:
        found.extend(each for each in channel.receive() if isinstance(each, DetectorHello))
        return bool(found)

    wait_for(there, "a detector")
    return found[-1]


@pytest.fixture
def worker() -> Any:
    """What a fake worker does: put, answers, meet."""

    class Does:
        put = staticmethod(put)
        answers = staticmethod(answers)
        meet = staticmethod(meet)
        wait_for = staticmethod(wait_for)

    return Does
