# SPDX-License-Identifier: AGPL-3.0-or-later
"""The thread that reads one connection: it alone may block in FFmpeg, so that the worker's loop never does.

It copies packets into a queue and wakes the loop for those that matter now; everything else is decided there.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

import av

from daemon.errors import CameraError
from daemon.ingest.demux import packets_of
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.stream import Stream, open_stream, while_reading

FULL_PAUSE_S = 0.05


class Wake(IntEnum):
    """For what the loop is woken at once; what else comes is taken with its next tick."""

    NEVER = 0
    KEYS = 1
    PACKETS = 2


class Opened(NamedTuple):
    """The camera answered: what follows is its pictures."""

    codec: str
    extradata: bytes | None
    time_base: Fraction
    at_mono_ns: int
    """Before the first of them arrived."""


class Ended(NamedTuple):
    """The connection is over; the thread ends with it."""

    error: CameraError


class Crashed(NamedTuple):
    """A fault of ours, in the reader: the worker ends with it, and is started anew."""

    error: Exception


Event = Opened | Packet | Ended | Crashed


class Reader:
    """Reads until the connection ends. `take` gives what came, in order; `wake_fd` (an eventfd) says when to look.

    It holds at most `most_bytes` of packets that were not taken: then it stops reading, and the camera has to wait.
    """

    def __init__(
        self, plan: WorkerPlan, wake_fd: int, most_bytes: int, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._plan = plan
        self._now_ns = now_ns
        self._wake_fd = wake_fd
        self._most_bytes = most_bytes
        self._queue: deque[Event] = deque()
        self._put_bytes = self._taken_bytes = 0  # each written by one thread only, so no lock
        self._closing = False
        self.wake = Wake.KEYS
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Connects and reads, in a thread of its own."""
        self._thread.start()

    def take(self) -> Event | None:
        """The oldest event that was not taken."""
        if not self._queue:
            return None
        event = self._queue.popleft()
        if isinstance(event, Packet):
            self._taken_bytes += len(event.data)
        return event

    def close(self) -> None:
        """Asks the thread to end: at the next packet, or when FFmpeg's time-out has passed."""
        self._closing = True

    def _run(self) -> None:
        try:
            stream = open_stream(self._plan)
            with stream.container:
                self._put(_opened(stream, self._now_ns()))
                self._pump(stream)
        except CameraError as error:
            self._put(Ended(error))
        except Exception as error:
            self._put(Crashed(error))

    def _pump(self, stream: Stream) -> None:
        try:
            for packet in packets_of(stream, self._plan.read_timeout_s, self._now_ns):
                self._wait_for_room()
                if self._closing:
                    return
                self._put_bytes += len(packet.data)
                self._queue.append(packet)
                if self.wake is Wake.PACKETS or (packet.key and self.wake is Wake.KEYS):
                    os.eventfd_write(self._wake_fd, 1)
        except (av.error.FFmpegError, OSError, EOFError) as error:
            raise while_reading(error, self._plan) from None
        raise while_reading(EOFError(), self._plan)

    def _put(self, event: Event) -> None:
        self._queue.append(event)
        os.eventfd_write(self._wake_fd, 1)

    def _wait_for_room(self) -> None:
        while self._put_bytes - self._taken_bytes > self._most_bytes and not self._closing:
            time.sleep(FULL_PAUSE_S)


def _opened(stream: Stream, at_mono_ns: int) -> Opened:
    context = stream.video.codec_context
    time_base = Fraction(stream.video.time_base or Fraction(1, 90_000))
    return Opened(context.name, context.extradata, time_base, at_mono_ns)
