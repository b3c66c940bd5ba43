# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's connections, one after the other and for ever: when to connect, and what the state is meanwhile.

connecting ─ opened → streaming ─ ended → waiting ─ backoff → connecting, and connecting ─ failed → waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from daemon.clock import NS
from daemon.domain import WorkerState
from daemon.errors import CameraError, FirewitnessError
from daemon.ingest.backoff import Backoff
from daemon.ingest.condition import OK, Condition
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.reader import Crashed, Ended, Opened, Reader, Wake

LASTING_S = 10.0  # a stream that lasted as long was a success; one that flaps keeps its backoff
STUCK_S = 10.0  # beyond twice the time-outs, FFmpeg does not come back by itself
RESOLVING_S = 60.0  # besides, while connecting: nothing ends the look-up of a name in a network that is gone

log = logging.getLogger("firewitness.connection")


class StuckError(FirewitnessError):
    """FFmpeg does not return in spite of all time-outs: only a new process helps."""


class Connection:
    """Starts a reader, takes what it brings, and starts the next when it has ended."""

    def __init__(self, plan: WorkerPlan, wake_fd: int, now_ns: Callable[[], int]) -> None:
        self._plan = plan
        self._wake_fd = wake_fd
        self._now_ns = now_ns
        self._backoff = Backoff()
        self._reader: Reader | None = None
        self._wake = Wake.KEYS
        self._due_ns = 0
        self.condition = Condition("unreachable", "not connected yet")
        self.packet_ns: int | None = None
        """Arrival of this connection's last packet."""
        self.reconnects = 0
        self._enter("waiting", now_ns())
        self._due_ns = self.since_ns

    def wake_for(self, wake: Wake) -> None:
        """For which packets the loop is to be woken."""
        self._wake = wake
        if self._reader is not None:
            self._reader.wake = wake

    def tick(self) -> None:
        """Connects when it is time to; raises StuckError when only a new process helps."""
        now_ns = self._now_ns()
        if self.state == "waiting":
            if now_ns >= self._due_ns:
                self._connect()
            return
        longest_s = 2 * max(self._plan.open_timeout_s, self._plan.read_timeout_s) + STUCK_S
        longest_s += RESOLVING_S if self.state == "connecting" else 0.0
        if self.silent_s() > longest_s:
            raise StuckError(f"the connection has been {self.state} without a sign for {longest_s:g} s")
        if self.state == "streaming" and now_ns - self.since_ns > LASTING_S * NS:
            self._backoff.succeeded()

    def silent_s(self) -> float:
        """Since the last packet, or since the state was entered."""
        return (self._now_ns() - max(self.since_ns, self.packet_ns or 0)) / NS

    def events(self) -> Iterator[Opened | Packet | Ended]:
        """What has come since the last call, in order. Raises what the reader's thread failed with."""
        while self._reader is not None and (event := self._reader.take()) is not None:
            if isinstance(event, Crashed):
                raise event.error
            if isinstance(event, Packet):
                # what FFmpeg held back comes out at a time-out: that is no sign of the camera
                self.packet_ns = event.arrival_ns if event.arrival_ns is not None else event.emitted_ns
                self.condition = OK
            elif isinstance(event, Opened):
                self.condition = Condition("stalled", "the camera has sent no picture yet")
                # when it was opened, not when this loop comes to it: its first packets may have arrived by then
                self._enter("streaming", event.at_mono_ns)
                log.info("connected, %s", event.codec)
            else:
                self._failed(event.error)
            yield event

    def close(self) -> None:
        """Asks the reader to end; it may still be blocked for its time-outs."""
        if self._reader is not None:
            self._reader.close()

    def _connect(self) -> None:
        if self._plan.no_password:
            self._failed(CameraError("refused", self._plan.no_password))
            return
        self._enter("connecting", self._now_ns())
        self.packet_ns = None
        self._reader = Reader(self._plan, self._wake_fd, self._plan.ring_bytes // 4, self._now_ns)
        self._reader.wake = self._wake
        self._reader.start()

    def _failed(self, error: CameraError) -> None:
        wait_s = self._backoff.after(error.reason)
        if (error.reason, str(error)) != (self.condition.reason, self.condition.detail):
            log.warning("%s: %s; trying again in %.0f s", error.reason, error, wait_s)
        self.condition = Condition(error.reason, str(error))
        self.reconnects += 1
        self._reader = None
        self._enter("waiting", self._now_ns())
        self._due_ns = self.since_ns + round(wait_s * NS)

    def _enter(self, state: WorkerState, at_ns: int) -> None:
        self.state: WorkerState = state
        self.since_ns = at_ns
