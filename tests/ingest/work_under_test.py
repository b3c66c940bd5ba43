# SPDX-License-Identifier: AGPL-3.0-or-later
"""A detector's work channel under test: answers at once with what a test says it sees."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from daemon import wire
from daemon.domain import Detection
from daemon.errors import PeerGone
from daemon.memory import map_sealed
from daemon.messages import WorkAnswer, WorkRequest
from tests.ingest.worker_under_test import MODEL


class FakeWork:
    """The detector's end of the work channel, in a thread: answers each tile with what `sees` says, unless `outcome` refuses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sees: Callable[[WorkRequest], Sequence[Detection]] = lambda _: ()
        self.outcome: Callable[[WorkRequest], str] = lambda _: "analysed"
        self.model = MODEL
        self.requests: list[WorkRequest] = []
        self.channels: list[wire.Channel[WorkRequest]] = []
        self.pixels: list[np.ndarray] = []
        self._listening = wire.listen(path)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                end = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._read, args=(end,), daemon=True).start()

    def _read(self, end: socket.socket) -> None:
        channel: wire.Channel[WorkRequest] = wire.Channel(end, WorkRequest)
        channel.settimeout(None)
        self.channels.append(channel)
        try:
            while (received := channel.receive()) is not None:
                self._answer(channel, *received)
        except (PeerGone, OSError):
            channel.close()

    def _answer(self, channel: wire.Channel[WorkRequest], request: WorkRequest, descriptors: list[int]) -> None:
        (memory,) = descriptors
        with map_sealed(memory, 1 << 24) as mapped:
            pixels = np.frombuffer(bytes(mapped), np.uint8)
        os.close(memory)
        self.requests.append(request)
        self.pixels.append(pixels.reshape(request.height_px, request.width_px, 3))
        outcome = self.outcome(request)
        found = tuple(self.sees(request)) if outcome == "analysed" else ()
        model = self.model if outcome == "analysed" else None
        channel.send(WorkAnswer(id=request.id, outcome=outcome, detections=found, model=model))

    def close(self) -> None:
        self._listening.close()
