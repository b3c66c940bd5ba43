# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detector's I/O thread: control, live channels and work connections, none of which can hold up another.

It never computes and never waits for a peer; docs/seams.md is the contract of all three.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from daemon.detect.camera_end import CameraEnd, answered, done
from daemon.detect.inference import Detector, Inference, LiveFrame, Result, Switched, WorkPicture
from daemon.detect.letterbox import letterbox
from daemon.detect.peer import Peer
from daemon.detect.schedule import CAPS, Job
from daemon.domain import ModelInfo
from daemon.errors import MessageError, PeerGone
from daemon.memory import map_sealed
from daemon.messages import (
    Answer,
    Attach,
    Detach,
    DetectorBeat,
    FrameWaiting,
    Stop,
    ToDetector,
    UseModel,
    WorkAnswer,
    WorkerHello,
    WorkRequest,
)
from daemon.wire import Channel

_log = logging.getLogger("firewitness.detector")

_BEAT_S = 1.0
# A batch takes a second or two at most, closer looks included. One that takes longer than this is stuck; its silence is how
# the supervisor knows.
_STUCK_AFTER_S = 10.0
_ENDING_S = 3.0

Control = Attach | Detach | UseModel | Stop


class Service:
    """Runs until `Stop` or the supervisor's end."""

    def __init__(
        self,
        control: socket.socket,
        listening: socket.socket,
        make_inference: Callable[[Callable[[], None]], Inference],
        load_other: Callable[[Path, str], Detector],
        input_px: int,
        most_pixels: int,
    ) -> None:
        self._input_px = input_px
        self._load_other = load_other
        self._model: ModelInfo | None = None
        """Of the answers that are delivered now."""
        self._most_bytes = most_pixels * 3
        self._control: Peer[Control] = Peer(Channel(control, ToDetector))
        self._listening = listening
        self._listening.setblocking(False)
        self._cameras: dict[str, CameraEnd] = {}
        self._work: set[Peer[WorkRequest]] = set()
        self._stopping = False
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inference = make_inference(lambda: os.eventfd_write(self._wake_fd, 1))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ, self._hear_control)
        self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, self._results_are_there)

    def run(self) -> None:
        """Returns after `Stop`, with the batch at hand done. Raises PeerGone when the supervisor is gone."""
        self._inference.start()
        beat_due_s = 0.0
        while not self._stopping:
            now_s = time.monotonic()
            if now_s >= beat_due_s:
                self._beat()
                beat_due_s = now_s + _BEAT_S
            for key, events in self._selector.select(max(0.0, beat_due_s - time.monotonic())):
                key.data(key.fileobj, events)
        self._inference.stop(_ENDING_S)
        self._deliver()

    # ------------------------------------------------------------ supervisor

    def _beat(self) -> None:
        if self._inference.computing_s() > _STUCK_AFTER_S:
            return
        inference = self._inference
        self._control.say(
            DetectorBeat(
                state=inference.state,
                model=self._model or inference.model,
                detail=inference.detail,
                live_images=inference.live_images,
                work_images=inference.work_images,
                work_pending=inference.pending,
                batch_ms=inference.batch_ms,
            )
        )
        self._watch(self._control, self._hear_control)

    def _hear_control(self, peer: Peer[Control], events: int) -> None:
        peer.flush()
        for message, descriptors in peer.hear():
            try:
                if isinstance(message, Stop):
                    self._stopping = True
                elif isinstance(message, Detach):
                    self._detach(message.camera)
                elif isinstance(message, UseModel):
                    self._use(message)
                else:
                    self._attach(message.camera, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        self._watch(peer, self._hear_control)

    def _use(self, message: UseModel) -> None:
        load = partial(self._load_other, Path(message.weights), message.sha256)
        refusal = self._inference.use(message.id, load)
        if refusal is not None:
            self._control.say(Answer(id=message.id, error=refusal))

    def _attach(self, camera: str, descriptors: list[int]) -> None:
        self._detach(camera)
        if len(descriptors) != 2:
            _log.error("attached with %d descriptors, it needs 2", len(descriptors), extra={"camera": camera})
            return
        sock = socket.socket(fileno=os.dup(descriptors[0]))
        try:
            end = CameraEnd(camera, sock, descriptors[1], self._input_px)
        except MessageError as error:
            sock.close()
            _log.error("%s", error, extra={"camera": camera})
            return
        self._cameras[camera] = end
        self._selector.register(end, selectors.EVENT_READ, self._hear_camera)
        self._with_camera(end, self._say_hello)

    def _detach(self, camera: str) -> None:
        end = self._cameras.pop(camera, None)
        if end is not None:
            self._inference.forget(camera)
            self._selector.unregister(end)
            end.close()

    # ------------------------------------------------------------ live channels

    def _hear_camera(self, end: CameraEnd, events: int) -> None:
        self._with_camera(end, self._read_camera)

    def _with_camera(self, end: CameraEnd, act: Callable[[CameraEnd], None]) -> None:
        """Does something with a camera's channel; one that breaks is let go, and only that one."""
        if self._cameras.get(end.camera) is not end:
            return  # detached by a message of the same turn
        try:
            act(end)
            self._watch(end, self._hear_camera)
        except PeerGone:
            self._detach(end.camera)
        except MessageError as error:
            _log.error("not a message of the live channel: %s", error, extra={"camera": end.camera})

    def _say_hello(self, end: CameraEnd) -> None:
        if self._model is not None:
            end.say_hello(self._model)

    def _read_camera(self, end: CameraEnd) -> None:
        end.flush()
        for message, descriptors in end.hear():
            for descriptor in descriptors:
                os.close(descriptor)
            if isinstance(message, WorkerHello):
                end.meet(message)
                self._inference.withdraw(end.camera)
                self._say_hello(end)
            elif not end.is_current(message):
                self._say_hello(end)
            else:
                self._take_frame(end, message)

    def _take_frame(self, end: CameraEnd, message: FrameWaiting) -> None:
        frame = end.frame(message)
        if frame is None:
            _log.error("announced what cannot lie in a buffer: %s", message, extra={"camera": end.camera})
            end.say(done(message, "failed"))
            return
        older = self._inference.offer_frame(
            frame, letterbox((message.width_px, message.height_px), message.input_px or self._input_px).padded
        )
        if older is not None:
            end.say(done(older, "replaced"))

    # ------------------------------------------------------------ work channel

    def _accept(self, listening: socket.socket, events: int) -> None:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        channel: Channel[WorkRequest] = Channel(connection, WorkRequest)
        if channel.peer_uid() not in {0, os.getuid()}:
            _log.warning("uid %d asked for work and was refused", channel.peer_uid())
            channel.close()
            return
        peer = Peer(channel)
        self._work.add(peer)
        self._selector.register(peer, selectors.EVENT_READ, self._hear_work)

    def _hear_work(self, peer: Peer[WorkRequest], events: int) -> None:
        if peer not in self._work:
            return  # let go in the same turn
        try:
            peer.flush()
            for message, descriptors in peer.hear():
                try:
                    self._take_work(peer, message, descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
            self._watch(peer, self._hear_work)
        except PeerGone:
            self._let_go(peer)
        except MessageError as error:
            _log.error("not a message of the work channel, its sender is let go: %s", error)
            self._let_go(peer)

    def _take_work(self, peer: Peer[WorkRequest], request: WorkRequest, descriptors: list[int]) -> None:
        if self._inference.state != "ready":
            detail = self._inference.detail if self._inference.state == "failed" else "the model is being loaded"
            peer.say(WorkAnswer(id=request.id, outcome="not_ready", detail=detail))
            return
        try:
            job = self._job(peer, request, descriptors)
        except MessageError as error:
            peer.say(WorkAnswer(id=request.id, outcome="failed", detail=str(error)))
            return
        refusal = self._inference.offer_job(job)
        if refusal is not None:
            peer.say(WorkAnswer(id=request.id, outcome="overloaded", detail=refusal))

    def _job(self, peer: Peer[WorkRequest], request: WorkRequest, descriptors: list[int]) -> Job[WorkPicture]:
        width, height = request.width_px, request.height_px
        if request.kind not in CAPS:
            raise MessageError(f"work of an unknown kind {request.kind!r}; there are {', '.join(CAPS)}")
        if len(descriptors) != 1:
            raise MessageError(f"a request with {len(descriptors)} descriptors; it needs 1")
        memory = map_sealed(descriptors[0], self._most_bytes)
        if min(width, height) < 1 or len(memory) != width * height * 3:
            raise MessageError(f"a picture of {len(memory)} bytes that is said to be {width} × {height} × 3")
        picture = np.frombuffer(memory, np.uint8).reshape(height, width, 3)
        return Job(
            item=WorkPicture(request.id, picture, request.floor),
            kind=request.kind,
            shape=letterbox((width, height), self._input_px).padded,
            deadline_s=request.deadline_mono_ns / 1e9,
            bytes=len(memory),
            owner=peer,
        )

    def _let_go(self, peer: Peer[WorkRequest]) -> None:
        if peer in self._work:
            self._work.remove(peer)
            self._inference.drop(peer)
            self._selector.unregister(peer)
            peer.close()

    # ------------------------------------------------------------ from the inference thread

    def _results_are_there(self, wake_fd: int, events: int) -> None:
        os.eventfd_read(wake_fd)
        self._deliver()

    def _deliver(self) -> None:
        if self._model is None and self._inference.state == "ready":
            self._greet(self._inference.model)
        for result in self._inference.results():
            if isinstance(result, Switched):
                self._switched(result)
            elif isinstance(result.item, LiveFrame):
                self._answer_frame(result.item, result)
            else:
                self._answer_job(result.item, result)

    def _greet(self, model: ModelInfo | None) -> None:
        """What is answered from here on is this model's."""
        self._model = model
        for end in list(self._cameras.values()):
            self._with_camera(end, self._say_hello)

    def _switched(self, switched: Switched) -> None:
        if switched.model is not None:
            self._greet(switched.model)
            self._beat()  # before the answer: whoever asks for the status next is told of the new one
        self._control.say(Answer(id=switched.request, error=switched.error))
        self._watch(self._control, self._hear_control)

    def _answer_frame(self, frame: LiveFrame, result: Result) -> None:
        end = self._cameras.get(frame.camera)
        if end is None or not end.is_current(frame):
            return  # its worker is gone, and a new one has all buffers
        if result.outcome == "failed":
            _log.error("%s", result.detail, extra={"camera": frame.camera})
        self._with_camera(end, lambda end: end.say(answered(frame, result.outcome, result.detections, result.hints)))

    def _answer_job(self, job: Job[WorkPicture], result: Result) -> None:
        peer = job.owner
        if not isinstance(peer, Peer) or peer not in self._work:
            return  # who asked has gone
        answer = WorkAnswer(
            id=job.item.id,
            outcome="overloaded" if result.outcome == "late" else result.outcome,
            detections=result.detections,
            model=self._model,
            inference_ms=result.inference_ms,
            detail=result.detail,
        )
        try:
            peer.say(answer)
            self._watch(peer, self._hear_work)
        except PeerGone:
            self._let_go(peer)

    def _watch(self, peer: Peer[Any], callback: Callable[..., None]) -> None:
        """Asks for writability only while something is unsent."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.has_unsent else 0)
        key = self._selector.get_map().get(peer)
        if key is not None and key.events != wanted:
            self._selector.modify(peer, wanted, callback)
