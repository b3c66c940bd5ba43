# SPDX-License-Identifier: AGPL-3.0-or-later
"""A true recorder process on real sockets, and a test's own worker and supervisor to talk to it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pysqlite3.dbapi2 as sqlite

from daemon import wire
from daemon.clock import host_clocks
from daemon.domain import Detection, Evidence, FrameTime, Incident, ModelInfo, Run
from daemon.errors import PeerGone
from daemon.ids import new_id
from daemon.memory import sealed
from daemon.messages import (
    Ack,
    Answer,
    ClipEnded,
    ClipFragment,
    Command,
    FromRecorderControl,
    IncidentChanged,
    Message,
    RecorderBeat,
    RecorderHello,
    RecorderState,
    RunBegan,
    StillTaken,
    Stop,
    ToWorkerFromRecorder,
    Watermark,
)
from daemon.settings import Settings
from daemon.storage import still
from tests.storage.store_kit import ClipWriter

MODEL = ModelInfo("ab" * 32, "firewitness-11n", "openvino", 640)
PATIENCE_S = 30.0


def wait_for(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Waits until the condition gives something true, and returns it."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {patience_s} s for {what}")


@dataclass
class Host:
    """A store and a recorder that may be started again and again; its listening socket lives on, as the supervisor's."""

    folder: Path
    root: Path = field(init=False)
    cameras: dict[str, dict[str, Any]] = field(default_factory=lambda: {"hall": {}, "yard": {}})
    detect: dict[str, Any] = field(default_factory=lambda: {"max_interval": 0.5})
    storage: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.folder / "store"
        self.runtime_dir = Path(tempfile.mkdtemp(dir="/tmp", prefix="fw"))
        self.listening = wire.listen(self.runtime_dir / "recorder.sock")
        self.log = self.folder / "recorder.log"
        self.beats: list[RecorderBeat] = []
        self.workers: list[Worker] = []
        self._process: subprocess.Popen[bytes] | None = None

    def settings(self) -> Settings:
        cameras = {name: {"url": f"rtsp://127.0.0.1/{name}"} | more for name, more in self.cameras.items()}
        storage = {"root": str(self.root), "state_dir": str(self.folder / "state"), "reserve": 0} | self.storage
        return Settings.model_validate({"cameras": cameras, "detect": self.detect, "storage": storage})

    def start(self) -> None:
        reading, self._lifeline = os.pipe()
        descriptor = sealed("settings", self.settings().for_children().encode())
        ours, theirs = wire.pair()
        given = {
            "lifeline": reading,
            "settings": descriptor,
            "control": theirs.fileno(),
            "listen": self.listening.fileno(),
        }
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daemon.storage.recorder", *arguments],
                pass_fds=list(given.values()),
                stderr=log,
                env=os.environ | self.environment,
            )
        os.close(reading)
        os.close(descriptor)
        theirs.close()
        self.control: wire.Channel[Any] = wire.Channel(ours, FromRecorderControl)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._ended()

    def stop(self) -> int:
        """The word to stop; the exit status."""
        assert self._process is not None
        self.control.send(Stop())
        status = self._process.wait(20)
        self._ended()
        return status

    def terminate(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(20)
        self._ended()
        return status

    def cut_lifeline(self) -> int:
        assert self._process is not None
        os.close(self._lifeline)
        self._lifeline = os.open(os.devnull, os.O_RDONLY)
        status = self._process.wait(20)
        self._ended()
        return status

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait(20)
        self._process = None
        self.control.close()
        os.close(self._lifeline)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        if self._process is not None:
            self.kill()
        self.listening.close()
        shutil.rmtree(self.runtime_dir)

    # ---- the supervisor's end

    def ask(self, name: str, **arguments: Any) -> Answer:
        command = Command(id=new_id(), name=name, arguments=arguments)
        self.control.send(command)
        answer: Answer = wait_for(lambda: self._answer(command.id), f"the answer to {name}")
        return answer

    def _answer(self, id_: str) -> Answer | None:
        while received := self.control.receive():
            if isinstance(received[0], Answer) and received[0].id == id_:
                return received[0]
            self._keep(received[0])
        return None

    def _keep(self, message: Message) -> None:
        if isinstance(message, RecorderBeat):
            self.beats.append(message)

    def beat(
        self, condition: Callable[[RecorderBeat], bool], what: str, patience_s: float = PATIENCE_S
    ) -> RecorderBeat:
        """The first beat from now on that is as wanted."""
        self.beats.clear()

        def look() -> RecorderBeat | None:
            while received := self.control.receive():
                self._keep(received[0])
            return next((beat for beat in self.beats if condition(beat)), None)

        found: RecorderBeat = wait_for(look, what, patience_s)
        return found

    # ---- what is in the store

    def rows(self, query: str, *values: Any) -> list[Any]:
        connection = sqlite.connect(f"file:{self.root}/index.sqlite?mode=ro", uri=True)
        try:
            return list(connection.execute(query, values).fetchall())
        finally:
            connection.close()

    def lines(self) -> list[dict[str, Any]]:
        """The ledger."""
        files = sorted((self.root / "ledger").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [line["body"] for line in self.lines() if line["kind"] == kind]

    def parts(self) -> list[Path]:
        return list(self.root.rglob("*.part"))

    def check_stored(self, acknowledged: dict[str, str]) -> None:
        """Everything acknowledged, id → SHA-256, is in file, line and row."""
        rows = dict(self.rows("SELECT id, sha256 FROM evidence"))
        paths = dict(self.rows("SELECT id, path FROM evidence"))
        lines = {body["id"]: body["sha256"] for body in self.bodies("stored")}
        for id_, sha256 in acknowledged.items():
            assert rows.get(id_) == sha256
            assert lines.get(id_) == sha256
            assert hashlib.sha256((self.root / paths[id_]).read_bytes()).hexdigest() == sha256
        previous = "0" * 64
        for number, line in enumerate((self.root / "ledger").glob("*.jsonl").__next__().read_bytes().splitlines(), 1):
            parsed = json.loads(line)
            assert (parsed["seq"], parsed["prev"]) == (number, previous)
            previous = hashlib.sha256(line).hexdigest()


class Worker:
    """A camera's worker as docs/seams.md has it: keeps what is not acknowledged, connects again, sends again."""

    def __init__(self, host: Host, camera: str = "hall", size: tuple[int, int] = (64, 48)) -> None:
        self.host, self.camera, self.name, self.size = host, camera, new_id(), size
        self.unacknowledged: dict[str, tuple[Message, bytes | None]] = {}
        self.acknowledged: dict[str, str] = {}
        """Id → SHA-256 of the still: what the recorder has promised."""
        self.states: list[str] = []
        self.run = new_id()
        self.frames = 0
        self._pending: list[str] = []
        self._channel: wire.Channel[Any] | None = None
        self._number = 0
        host.workers.append(self)

    # ---- the connection

    def connect(self) -> None:
        self.close()
        sock = wire.connect(self.host.runtime_dir / "recorder.sock")
        self._channel = wire.Channel(sock, ToWorkerFromRecorder)
        self._channel.send(RecorderHello(camera=self.camera, worker=self.name))
        self._pending = list(self.unacknowledged)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def raw(self, message: Message, *descriptors: int) -> None:
        """Sends anything."""
        assert self._channel is not None
        self._channel.settimeout(5)
        self._channel.send(message, descriptors)
        self._channel.settimeout(0)

    def hear_out(self) -> None:
        """Takes what a recorder that is gone had said, and lets go of it.

        A peer that was killed with messages unread leaves ECONNRESET in front of what it had sent (unix(7)): only the
        second time it is the end. Left there, its promises would count as those of the recorder that comes after it.
        """
        for _ in range(2):
            with suppress(PeerGone):
                self.listen()
        self.close()

    def ended(self) -> bool:
        """Whether the recorder has closed the connection."""
        try:
            self.listen()
        except PeerGone:
            return True
        return False

    def listen(self) -> None:
        """Takes what the recorder says."""
        assert self._channel is not None
        while received := self._channel.receive():
            message, _ = received
            if isinstance(message, RecorderState):
                self.states.append(message.disk)
            elif isinstance(message, Ack):
                for id_ in message.ids:
                    said, jpeg = self.unacknowledged.pop(id_, (None, None))
                    if isinstance(said, StillTaken) and jpeg is not None:
                        self.acknowledged[id_] = hashlib.sha256(jpeg).hexdigest()

    def pump(self) -> None:
        """Sends what waits, as far as the recorder takes it, and listens; connects again when the recorder is gone."""
        try:
            if self._channel is None:
                self.connect()
            assert self._channel is not None
            self.listen()
            while self._pending and (self._pending[0] not in self.unacknowledged or self._send(self._pending[0])):
                self._pending.pop(0)
        except PeerGone:
            self.close()

    def _send(self, id_: str) -> bool:
        assert self._channel is not None
        if len(self.unacknowledged) - len(self._pending) >= 32:
            return False
        message, jpeg = self.unacknowledged[id_]
        descriptor = None if jpeg is None else sealed("still", jpeg)
        try:
            return self._channel.send(message, [] if descriptor is None else [descriptor])
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def settle(self, patience_s: float = PATIENCE_S) -> None:
        """Until everything is acknowledged."""

        def done() -> bool:
            self.pump()
            return not self.unacknowledged

        wait_for(done, "acknowledgements", patience_s)

    # ---- what it says

    def _keep(self, id_: str, message: Message, jpeg: bytes | None = None) -> None:
        self.unacknowledged[id_] = (message, jpeg)
        self._pending.append(id_)

    def began(self) -> None:
        now = host_clocks()
        run = Run(self.run, self.camera, now.wall_ns(), now.monotonic_ns(), (1, 90000), "h264", *self.size, "connected")
        self._keep(run.id, RunBegan(run=run))

    def evidence(self, **changes: Any) -> Evidence:
        self._number += 1
        evidence = Evidence(
            id=new_id(), camera=self.camera, kind="hit", run=self.run, pts=self._number * 3600, time_base=(1, 90000),
            time=FrameTime(time.time_ns(), 0.05, 0.03, True, False), width_px=self.size[0], height_px=self.size[1],
            detections=(Detection("fire", 0.5, (1, 2, 30, 40)),), incident=None, model=MODEL, thresholds={"fire": 0.3},
            damage="no", colour=("bt709", "limited"), version="0.1.0",
        )  # fmt: skip
        return replace(evidence, **changes)

    def jpeg(self, evidence: Evidence) -> bytes:
        noise = np.random.default_rng(self._number).integers(0, 255, (self.size[1], self.size[0], 3), dtype=np.uint8)
        return still.encode(noise, evidence)

    def take(self, **changes: Any) -> Evidence:
        """A still."""
        evidence = self.evidence(**changes)
        self._keep(evidence.id, StillTaken(evidence=evidence), self.jpeg(evidence))
        return evidence

    def film(self, writer: ClipWriter, seconds: int, closed: str = "", size_bytes: int = 40) -> None:
        """Parts of a clip, and its end where that is given."""
        for _ in range(seconds):
            step, id_ = writer.next(size_bytes), new_id()
            message = ClipFragment(
                id=id_, clip=step.clip, from_byte=step.from_byte, incidents=step.incidents, frames=step.span.frames,
                first_pts=step.span.first_pts, last_pts=step.span.last_pts, first_at_ns=step.span.first_at_ns,
                last_at_ns=step.span.last_at_ns, sibling_of=step.sibling_of,
            )  # fmt: skip
            self._keep(id_, message, step.data)
        if closed:
            id_ = new_id()
            self._keep(id_, ClipEnded(id=id_, clip=writer.clip.id, closed=closed))

    def incident(self, state: str, **changes: Any) -> Incident:
        now_ns = time.time_ns()
        made = Incident(new_id(), self.camera, state, now_ns, None, None, ("fire",), 0.5, (0.1, 0.1, 0.2, 0.2))
        incident = replace(made, **changes)
        id_ = new_id()
        self._keep(id_, IncidentChanged(id=id_, at_ns=now_ns, incident=incident))
        return incident

    def watermark(self, condition: str = "ok", watched: bool = True, **changes: Any) -> None:
        """One now, of a frame watched just now."""
        clocks = host_clocks()
        self.frames += watched
        seen = {
            "run": self.run, "pts": self.frames, "watched_at_ns": clocks.wall_ns(),
            "watched_mono_ns": clocks.monotonic_ns(), "in_row": self.frames,
        } if watched else {}  # fmt: skip
        values = {"at_ns": clocks.wall_ns(), "condition": condition, "frames_watched": self.frames} | seen | changes
        self.raw(Watermark(**values))

    def watching(self) -> Watching:
        """Watches well in the background until the end of the with."""
        return Watching(self)


class Watching:
    """Says a watermark every 0.1 s."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._end = worker, threading.Event()
        self._thread = threading.Thread(target=self._go)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._end.wait(0.1):
            try:
                self._worker.watermark()
            except (PeerGone, AssertionError):
                self._worker.connect()
