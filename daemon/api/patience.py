# SPDX-License-Identifier: AGPL-3.0-or-later
"""gunicorn's master, worker and log with what they lack here: limits for slow clients, an end with the supervisor, our log.

The master has no thread of its own (it forks), so it looks at the lifeline once a turn of its loop; the worker watches
it by a thread like every other child.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

READ_WITHIN_S = (
    60.0  # a whole request, head and body; without it sixteen sleepy clients would hold every thread for ever
)
SEND_WITHIN_S = 30  # without a byte taken by the client
_LIFELINE_GONE = 70


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """A thread-pool worker that does not wait for ever for what a client sends or takes."""

    def handle(self, conn: Any) -> Any:
        """One request on one connection; gunicorn calls it from a thread of its pool."""
        sock: socket.socket = conn.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", SEND_WITHIN_S, 0))
        # Ends reading only: an answer that is being made can still be sent.
        timer = threading.Timer(READ_WITHIN_S, _end_reading, (sock,))
        timer.daemon = True
        timer.start()
        try:
            return super().handle(conn)
        finally:
            timer.cancel()


def _end_reading(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RD)
    except OSError:
        return  # it has been closed meanwhile


class OurLog(Logger):  # type: ignore[misc]
    """What gunicorn has to say goes where all goes (daemon/log.py)."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, which leaves at once when the supervisor is gone; its worker has seen it by itself."""

    def __init__(self, app: Any, lifeline: int) -> None:
        self._lifeline = lifeline
        super().__init__(app)

    def manage_workers(self) -> None:
        """Called once a turn of the loop, at least once a second."""
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        if poll.poll(0):
            os._exit(_LIFELINE_GONE)
        super().manage_workers()
