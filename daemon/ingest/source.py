# SPDX-License-Identifier: AGPL-3.0-or-later
"""One of a camera's streams: its connections and its frames, as one thing to take from."""

from __future__ import annotations

from daemon.clock import NS, Clocks
from daemon.ingest.connection import Connection
from daemon.ingest.frames import Frames
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.reader import Ended, Opened


class Source:
    """The main stream, or the sub-stream."""

    def __init__(self, plan: WorkerPlan, wake_fd: int, clocks: Clocks) -> None:
        self._clocks = clocks
        self._silence_s = plan.max_interval_s
        self.connection = Connection(plan, wake_fd, clocks.monotonic_ns)
        self.frames = Frames(plan, clocks)

    def take(self) -> None:
        """Takes over what the reader has brought."""
        for event in self.connection.events():
            if isinstance(event, Opened):
                self.frames.opened(event.codec, event.extradata, event.time_base)
            elif isinstance(event, Ended):
                self.frames.closed()
            else:
                self.frames.add(event)

    def arrives(self) -> bool:
        """Whether pictures come now, and can be decoded as far as is known."""
        undecoded_ns = self.frames.undecoded_since_ns
        if undecoded_ns is not None and self._clocks.monotonic_ns() - undecoded_ns > self._silence_s * NS:
            return False
        connection = self.connection
        return (
            connection.state == "streaming"
            and connection.packet_ns is not None
            and connection.silent_s() <= self._silence_s
        )
