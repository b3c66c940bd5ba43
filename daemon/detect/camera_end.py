# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detector's end of one camera's live channel: whose frames count, and where they lie."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from daemon.detect.inference import LiveFrame
from daemon.detect.live import BUFFERS, buffer_bytes
from daemon.detect.peer import Peer
from daemon.domain import Box, Detection, ModelInfo
from daemon.errors import MessageError
from daemon.ids import new_id
from daemon.memory import map_shared
from daemon.messages import DetectorHello, FrameDone, FrameWaiting, ToDetectorLive, WorkerHello
from daemon.wire import Channel


class CameraEnd(Peer[WorkerHello | FrameWaiting]):
    """One camera. `detector` is new with every attachment, so that a worker cannot take an old hello for a new one."""

    def __init__(self, camera: str, sock: socket.socket, memfd: int, input_px: int) -> None:
        """Takes over the socket; maps the memory, whose descriptor stays the caller's. Raises MessageError."""
        super().__init__(Channel(sock, ToDetectorLive))
        self.camera = camera
        self.detector = new_id()
        self._worker: str | None = None
        self._input_px = input_px
        size = buffer_bytes(input_px)
        if os.fstat(memfd).st_size != BUFFERS * size:
            raise MessageError(f"camera {camera}: its buffers are not of the detector's input size, {input_px} px")
        every = np.frombuffer(map_shared(memfd), np.uint8)
        self._buffers = [every[at : at + size] for at in range(0, BUFFERS * size, size)]

    def say_hello(self, model: ModelInfo) -> None:
        """Raises PeerGone."""
        self.say(DetectorHello(detector=self.detector, model=model))

    def meet(self, hello: WorkerHello) -> None:
        """From now on only this worker's frames count."""
        self._worker = hello.worker

    def is_current(self, message: FrameWaiting | LiveFrame) -> bool:
        """Whether it is between the two of now."""
        return (message.worker, message.detector) == (self._worker, self.detector)

    def frame(self, message: FrameWaiting) -> LiveFrame | None:
        """The frame that was announced; None when no such picture can lie in a buffer."""
        width, height = message.width_px, message.height_px
        size = width * height * 3
        if not (
            0 <= message.buffer < BUFFERS
            and width > 0
            and height > 0
            and size <= len(self._buffers[0])
            and 0 <= message.input_px <= self._input_px
            and message.original_width_px > 0
            and message.original_height_px > 0
        ):
            return None
        return LiveFrame(
            camera=self.camera,
            worker=message.worker,
            detector=message.detector,
            buffer=message.buffer,
            picture=self._buffers[message.buffer][:size].reshape(height, width, 3),
            original_px=(message.original_width_px, message.original_height_px),
            run=message.run,
            pts=message.pts,
            input_px=message.input_px,
        )


def done(frame: LiveFrame | FrameWaiting, outcome: str) -> FrameDone:
    """The answer that gives the buffer of a frame back in which nothing was looked for."""
    return FrameDone(
        worker=frame.worker,
        detector=frame.detector,
        buffer=frame.buffer,
        run=frame.run,
        pts=frame.pts,
        outcome=outcome,
    )


def answered(frame: LiveFrame, outcome: str, found: Sequence[Detection], hints: Sequence[Box]) -> FrameDone:
    """What was seen in a frame, with boxes in pixels of the original."""
    return msgspec.structs.replace(
        done(frame, outcome),
        detections=tuple(replace(each, box=_in_original(frame, each.box)) for each in found),
        hints=tuple(_in_original(frame, each) for each in hints),
    )


def _in_original(frame: LiveFrame, box: Box) -> Box:
    height, width = frame.picture.shape[:2]
    x_scale, y_scale = frame.original_px[0] / width, frame.original_px[1] / height
    x1, y1, x2, y2 = box
    return round(x1 * x_scale, 2), round(y1 * y_scale, 2), round(x2 * x_scale, 2), round(y2 * y_scale, 2)
