# SPDX-License-Identifier: AGPL-3.0-or-later
"""The asking end of the work channel, for the web process and the command line; knows no model and no runtime."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.errors import MessageError, PeerGone
from daemon.ids import new_id
from daemon.memory import sealed
from daemon.messages import WorkAnswer, WorkRequest
from daemon.wire import Channel, connect

# The detector answers by the deadline; this much later it is taken for gone.
_GRACE_S = 2.0
_LOOK_AGAIN_S = 0.1


class _Waiting:
    """A request that has not been answered."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.answer: WorkAnswer | None = None


class _Connection:
    """One connection and its reader thread, which ends with it."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._channel: Channel[WorkAnswer] = Channel(self._socket, WorkAnswer)
        self._sending = threading.Lock()
        self._changing = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self.gone = False
        self._reader = threading.Thread(target=self._read, name="work-answers", daemon=True)
        self._reader.start()

    def ask(self, request: WorkRequest, memory: int, give_up_s: float) -> WorkAnswer:
        """Sends and waits. Raises PeerGone when the connection ends meanwhile or the request cannot be sent in time."""
        waiting = _Waiting()
        with self._changing:
            if self.gone:
                raise PeerGone("the detector's connection has ended")
            self._waiting[request.id] = waiting
        try:
            self._send(request, memory, give_up_s)
            waiting.answered.wait(max(0.0, give_up_s - time.monotonic()))
        finally:
            with self._changing:
                self._waiting.pop(request.id, None)
        if waiting.answer is None:
            raise PeerGone("the detector ended" if self.gone else "the detector did not answer in time")
        return waiting.answer

    def close(self) -> None:
        """Ends it; its reader closes the socket, since it may be waiting on it."""
        with self._sending:
            if not self.gone:
                self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    def _send(self, request: WorkRequest, memory: int, give_up_s: float) -> None:
        with self._sending:
            while self.gone or not self._channel.send(request, [memory]):
                if self.gone or time.monotonic() >= give_up_s:
                    raise PeerGone("the detector takes no requests")
                room = select.poll()
                room.register(self._channel.fileno(), select.POLLOUT)
                room.poll(_LOOK_AGAIN_S * 1000)

    def _read(self) -> None:
        something = select.poll()
        something.register(self._channel.fileno(), select.POLLIN)
        try:
            while something.poll():
                while (received := self._channel.receive()) is not None:
                    self._deliver(received[0])
        except (PeerGone, MessageError):
            pass  # the same to those who wait: no answer will come on this connection
        finally:
            self._end()

    def _deliver(self, answer: WorkAnswer) -> None:
        with self._changing:
            waiting = self._waiting.get(answer.id)
        if waiting is not None:  # else it gave up
            waiting.answer = answer
            waiting.answered.set()

    def _end(self) -> None:
        with self._changing:
            self.gone = True
            for waiting in self._waiting.values():
                waiting.answered.set()
        with self._sending:
            self._channel.close()


class WorkClient:
    """Asks the detector about pictures: from any number of threads, over one connection, made anew when it ends."""

    def __init__(self, path: Path) -> None:
        """`path` is work.sock in the runtime directory; nothing is connected before the first request."""
        self._path = path
        self._connecting = threading.Lock()
        self._connection: _Connection | None = None

    def detect(
        self, image: NDArray[np.uint8], *, floor: float, kind: str = "post", deadline_s: float = 10.0
    ) -> WorkAnswer:
        """The detector's answer to one BGR picture (height, width, 3), uint8.

        `kind` is post, going_back, analyse or patrol; the deadline is from now. Never raises for what the detector
        does or fails to do: without one, or when it dies meanwhile, the outcome is not_ready.
        """
        height, width = image.shape[:2]
        now_s = time.monotonic()
        request = WorkRequest(
            id=new_id(),
            kind=kind,
            deadline_mono_ns=round((now_s + deadline_s) * 1e9),
            width_px=width,
            height_px=height,
            floor=floor,
        )
        memory = sealed("work", np.ascontiguousarray(image).data)
        try:
            return self._connected().ask(request, memory, now_s + deadline_s + _GRACE_S)
        except PeerGone as error:
            return WorkAnswer(id=request.id, outcome="not_ready", detail=str(error))
        finally:
            os.close(memory)

    def close(self) -> None:
        """Ends the connection; what is pending is answered not_ready."""
        with self._connecting:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _connected(self) -> _Connection:
        with self._connecting:
            if self._connection is None or self._connection.gone:
                self._connection = _Connection(self._path)
            return self._connection
