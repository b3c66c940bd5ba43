# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker's end of the live channel: hands a camera's newest frame to the detector and never waits for it.

It knows nothing of models or rules. The handshake, and why either side may be killed at any time, is in docs/seams.md.
"""

from __future__ import annotations

import os
import socket

import numpy as np
from numpy.typing import NDArray

from daemon.domain import ModelInfo
from daemon.ids import new_id
from daemon.memory import map_shared, shared
from daemon.messages import DetectorHello, FrameDone, FrameWaiting, ToWorkerFromDetector, WorkerHello
from daemon.wire import Channel, pair

BUFFERS = 3  # one in a batch, one that waits, one to write


def buffer_bytes(input_px: int) -> int:
    """Size of one buffer: the largest BGR24 picture that fits input_px × input_px."""
    return input_px * input_px * 3


def make_live_channel(input_px: int) -> tuple[socket.socket, socket.socket, int]:
    """For the supervisor: the worker's end, the detector's end and the memfd of the three buffers.

    All three are the caller's to keep and to close; they outlive restarts of both sides.
    """
    memory = shared("live", BUFFERS * buffer_bytes(input_px))
    try:
        worker_end, detector_end = pair()
    except OSError:
        os.close(memory)
        raise
    return worker_end, detector_end, memory


class LiveChannel:
    """One worker's side; for one thread. Owns the socket, copies nothing but the picture that is written into it.

    All methods raise PeerGone when the supervisor, who holds the other end too, is gone.
    """

    def __init__(self, sock: socket.socket, memfd: int, input_px: int) -> None:
        self.worker = new_id()
        self.model: ModelInfo | None = None
        self.input_px = input_px
        self._channel: Channel[DetectorHello | FrameDone] = Channel(sock, ToWorkerFromDetector)
        self._detector: str | None = None
        self._hello_due = True
        self._announced: dict[int, tuple[str, int]] = {}
        every = np.frombuffer(map_shared(memfd), np.uint8)
        size = buffer_bytes(input_px)
        self._buffers = [every[at : at + size] for at in range(0, BUFFERS * size, size)]

    def fileno(self) -> int:
        """For a selector: readable when `receive` has something."""
        return self._channel.fileno()

    @property
    def ready(self) -> bool:
        """Whether a warm detector has said hello; `model` is then its model."""
        return self._detector is not None

    @property
    def waiting(self) -> int:
        """How many announced frames have not come back."""
        return len(self._announced)

    def hello(self) -> None:
        """Says who is here; call it once at the start. Said again by itself until the detector's socket takes it."""
        if self._hello_due and self._channel.send(WorkerHello(worker=self.worker)):
            self._hello_due = False

    def free_buffer(self) -> tuple[int, NDArray[np.uint8]] | None:
        """A buffer to write the next frame to: its index and its bytes, input_px² × 3, uint8.

        None while the detector has all three, or none is ready. The same buffer is given until it is announced.
        """
        if self._detector is None:
            return None
        free = next((index for index in range(BUFFERS) if index not in self._announced), None)
        return None if free is None else (free, self._buffers[free])

    def announce(
        self,
        index: int,
        size_px: tuple[int, int],
        original_px: tuple[int, int],
        run: str,
        pts: int,
        input_px: int = 0,
    ) -> bool:
        """Says that buffer `index` holds a BGR24 frame of size_px (width, height), rows without padding.

        Boxes come back in pixels of original_px; `input_px` is as in FrameWaiting. False: the detector's socket is
        full, and the buffer still free.
        """
        self.hello()
        if self._detector is None or self._hello_due:
            return False
        said = self._channel.send(
            FrameWaiting(
                worker=self.worker,
                detector=self._detector,
                buffer=index,
                width_px=size_px[0],
                height_px=size_px[1],
                original_width_px=original_px[0],
                original_height_px=original_px[1],
                run=run,
                pts=pts,
                input_px=input_px,
            )
        )
        if said:
            self._announced[index] = (run, pts)
        return said

    def receive(self) -> list[DetectorHello | ModelInfo | FrameDone]:
        """What has come for this worker since the last call, in order; never waits.

        A DetectorHello is given only when it is a new detector's: what was announced before is lost, and every
        buffer is free again. A ModelInfo says whose answers follow, where
        the detector of now has changed its model. A FrameDone is given only for a frame that this worker announced to the detector of now.
        """
        found: list[DetectorHello | ModelInfo | FrameDone] = []
        while (received := self._channel.receive()) is not None:
            message, _ = received
            if isinstance(message, DetectorHello):
                before = self.model
                if self._meet(message):
                    found.append(message)
                elif message.model != before:
                    found.append(message.model)
            elif self._is_mine(message):
                del self._announced[message.buffer]
                found.append(message)
        return found

    def close(self) -> None:
        """Closes the socket; the memory goes with the last reference to a buffer."""
        self._channel.close()

    def _meet(self, hello: DetectorHello) -> bool:
        # A detector answers each WorkerHello, so the one we know may say hello again while it holds our frames.
        # After a model change it does, between the answers of the one and of the other.
        if hello.detector == self._detector:
            self.model = hello.model
            return False
        self._detector, self.model = hello.detector, hello.model
        self._announced.clear()
        self._hello_due = True  # a new detector does not know us
        self.hello()
        return True

    def _is_mine(self, done: FrameDone) -> bool:
        return (done.worker, done.detector) == (self.worker, self._detector) and self._announced.get(done.buffer) == (
            done.run,
            done.pts,
        )
