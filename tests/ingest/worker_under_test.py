# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker under test: a real process and a real RTSP server, and this test at the far end of all its other sockets."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from daemon import wire
from daemon.detect.live import buffer_bytes, make_live_channel
from daemon.domain import Box, Detection, Evidence, ModelInfo, Run
from daemon.ingest.forkserver import Forkserver
from daemon.ingest.plan import WorkerPlan
from daemon.memory import map_sealed, map_shared
from daemon.messages import (
    Ack,
    Analysed,
    ClipEnded,
    ClipFragment,
    DetectorHello,
    FrameDone,
    FrameWaiting,
    IncidentChanged,
    RecorderHello,
    RecorderState,
    RunBegan,
    StillsDropped,
    StillTaken,
    Stop,
    ToDetectorLive,
    ToRecorder,
    Watermark,
    WorkerBeat,
    WorkerHello,
)
from daemon.origin.record import Analysis
from daemon.simulate.chart import Chart

INPUT_PX = 320
FPS = 25
MODEL = ModelInfo("0" * 64, "fake", "none", INPUT_PX)
FIRE = Detection("fire", 0.9, (40.0, 40.0, 80.0, 80.0))


@dataclass
class Looked:
    """One frame that the worker gave to the detector."""

    message: FrameWaiting
    number: int | None
    """The chart's picture number, where it can be read."""
    at_ns: int


@dataclass
class Got:
    """What the worker has said."""

    beats: list[WorkerBeat] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    hellos: list[RecorderHello] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    incidents: list[IncidentChanged] = field(default_factory=list)
    stills: list[tuple[Evidence, bytes]] = field(default_factory=list)
    analyses: list[Analysis] = field(default_factory=list)
    clips: dict[str, bytes] = field(default_factory=dict)
    """Clip → its bytes so far."""
    parts: list[ClipFragment] = field(default_factory=list)
    clips_ended: list[ClipEnded] = field(default_factory=list)
    watermarks: list[Watermark] = field(default_factory=list)
    dropped: list[StillsDropped] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    """Ids of all records but clips' as they came, those sent again included."""


class FakeRecorder:
    """The recorder's end: acknowledges at once, or not."""

    def __init__(self, got: Got) -> None:
        self.folder = tempfile.mkdtemp(prefix="fw", dir="/tmp")
        self.path = Path(self.folder) / "recorder.sock"
        self.listening = wire.listen(self.path)
        self.listening.setblocking(False)
        self.channel: wire.Channel[Any] | None = None
        self.acknowledges = True
        self.disk = "ok"
        self._got = got

    def accept(self) -> None:
        if self.channel is None:
            try:
                self.channel = wire.Channel(self.listening.accept()[0], ToRecorder)
            except BlockingIOError:
                return

    def say(self, disk: str) -> None:
        """Tells the state of the disk."""
        self.disk = disk
        assert self.channel is not None
        self.channel.send(RecorderState(disk=disk))

    def die(self) -> None:
        """What a kill -9 of the recorder looks like from here."""
        assert self.channel is not None
        self.channel.close()
        self.channel = None

    def serve(self) -> None:
        self.accept()
        while self.channel is not None and (received := self.channel.receive()) is not None:
            message, descriptors = received
            for each in descriptors:
                with map_sealed(each, 1 << 24) as content:
                    self._take(message, bytes(content))
                os.close(each)
            self._note(message)

    def _take(self, message: StillTaken | ClipFragment, content: bytes) -> None:
        if isinstance(message, StillTaken):
            self._got.stills.append((message.evidence, content))
            return
        before = self._got.clips.get(message.clip.id, b"")
        assert message.from_byte == len(before), "a clip has no holes"
        self._got.clips[message.clip.id] = before + content

    def _note(self, message: Any) -> None:
        got, ids = self._got, ()
        match message:
            case RecorderHello():
                got.hellos.append(message)
                self.say(self.disk)
            case Watermark():
                got.watermarks.append(message)
            case StillsDropped():
                got.dropped.append(message)
            case RunBegan():
                got.runs.append(message.run)
                ids = (message.run.id,)
            case IncidentChanged():
                got.incidents.append(message)
                ids = (message.id,)
            case ClipFragment():
                got.parts.append(message)
                ids = (message.id,)
            case ClipEnded():
                got.clips_ended.append(message)
                ids = (message.id,)
            case StillTaken():
                ids = (message.evidence.id,)
            case Analysed():
                got.analyses.append(message.analysis)
                ids = (message.analysis.id,)
        if not isinstance(message, ClipFragment | ClipEnded):
            got.order.extend(ids)
        if ids and self.acknowledges and self.channel is not None:
            self.channel.send(Ack(ids=ids))


class FakeDetector:
    """The detector's end: answers at once with what `sees` says, or holds everything."""

    def __init__(self, end: socket.socket, memory: int, got: Got) -> None:
        self.channel: wire.Channel[Any] = wire.Channel(end, ToDetectorLive)
        self.name = "detector-1"
        self.there = True
        self.answers = True
        self.sees: Callable[[FrameWaiting, int | None], Sequence[Detection]] = lambda *_: ()
        self.hints: Callable[[FrameWaiting], Sequence[Box]] = lambda _: ()
        self.held: list[FrameWaiting] = []
        size = buffer_bytes(INPUT_PX)
        self._memory = np.frombuffer(map_shared(memory), np.uint8).reshape(3, size)
        self._got = got

    def hello(self) -> None:
        self.channel.send(DetectorHello(detector=self.name, model=MODEL))

    def serve(self) -> None:
        while (received := self.channel.receive()) is not None:
            message = received[0]
            if not self.there:
                continue
            if isinstance(message, WorkerHello):
                self.hello()
            else:
                self._look(message)

    def _look(self, message: FrameWaiting) -> None:
        shape = (message.height_px, message.width_px, 3)
        picture = self._memory[message.buffer][: int(np.prod(shape))].reshape(shape)
        try:
            number: int | None = Chart.read_frame_number(picture)
        except ValueError:
            number = None
        self._got.looked.append(Looked(message, number, time.monotonic_ns()))
        if self.answers:
            self.answer(message, number)
        else:
            self.held.append(message)

    def answer(self, message: FrameWaiting, number: int | None = None, outcome: str = "analysed") -> None:
        self.channel.send(
            FrameDone(
                worker=message.worker,
                detector=self.name,
                buffer=message.buffer,
                run=message.run,
                pts=message.pts,
                outcome=outcome,
                detections=tuple(self.sees(message, number)) if outcome == "analysed" else (),
                hints=tuple(self.hints(message)),
            )
        )


class WorkerUnderTest:
    """The worker's process and everything around it."""

    def __init__(self, forkserver: Forkserver, url: str, **plan: Any) -> None:
        self.got = Got()
        self.recorder = FakeRecorder(self.got)
        worker_end, detector_end, memory = make_live_channel(INPUT_PX)
        self.detector = FakeDetector(detector_end, memory, self.got)
        lifeline, self.lifeline_held = os.pipe()
        ours, theirs = wire.pair()
        self.control: wire.Channel[Any] = wire.Channel(ours, WorkerBeat)
        self.plan = WorkerPlan(
            camera="hall",
            url=url,
            version="0.0.0",
            recorder_socket=str(self.recorder.path),
            input_px=INPUT_PX,
            **{
                "thresholds": {"fire": 0.5, "smoke": 0.5},
                "open_timeout_s": 2.0,
                "read_timeout_s": 2.0,
                "reference_s": 0.0,
                "flicker": False,  # charts stand still: what they are taken for burns all the same
                **plan,
            },
        )
        self.pid, self.pidfd = forkserver.fork(self.plan, [lifeline, theirs.fileno(), worker_end.fileno(), memory])
        os.close(lifeline)
        os.close(memory)
        theirs.close()
        worker_end.close()
        self.ended = False

    def pump(self, seconds: float = 0.05) -> None:
        """Serves all its sockets for that long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            with selectors.DefaultSelector() as selector:
                sources: list[Any] = [self.pidfd, self.control, self.detector.channel, self.recorder.listening]
                for each in [*sources, self.recorder.channel]:
                    if each is not None:
                        selector.register(each, selectors.EVENT_READ)
                if self.pidfd in [key.fd for key, _ in selector.select(left)]:
                    self.ended = True
            self._serve()
            if self.ended:
                return

    def until(self, condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        """Serves until the condition holds; fails with `what` was waited for."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds:g} s for {what}; last: {self.got.beats[-1:]}"
            self.pump()

    def stop(self) -> None:
        """Asks it to end."""
        self.control.send(Stop())

    def clean(self) -> None:
        """Ends it at once and lets go of everything."""
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for each in (self.control, self.detector.channel, self.recorder.listening, self.recorder.channel):
            if each is not None:
                each.close()
        os.close(self.pidfd)
        os.close(self.lifeline_held)
        shutil.rmtree(self.recorder.folder)

    def _serve(self) -> None:
        try:
            while (received := self.control.receive()) is not None:
                self.got.beats.append(received[0])
            self.detector.serve()
            self.recorder.serve()
        except wire.PeerGone:
            self.ended = True

    @property
    def beat(self) -> WorkerBeat | None:
        """The last one."""
        return self.got.beats[-1] if self.got.beats else None

    @property
    def condition(self) -> str:
        """As the last beat says."""
        return self.beat.condition if self.beat else ""
