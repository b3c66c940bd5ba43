# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker's connection to the recorder: sends what the outbox holds, for ever anew, and never waits.

docs/seams.md tells the order; the recorder's death, a full socket or a full disk only make the outbox grow.
"""

from __future__ import annotations

import os
import socket

from daemon.errors import PeerGone
from daemon.ids import new_id
from daemon.ingest.outbox import Outbox
from daemon.memory import sealed
from daemon.messages import Ack, RecorderHello, RecorderState, ToWorkerFromRecorder, Watermark
from daemon.wire import Channel


class RecorderLink:
    """One camera's; `attempt` is to be called now and then, the rest when the selector says so."""

    def __init__(self, path: str, camera: str, outbox: Outbox) -> None:
        self.outbox = outbox
        self.disk = "ok"
        """What the recorder last said of the disk."""
        self._path = path
        self._hello = RecorderHello(camera=camera, worker=new_id())
        self._channel: Channel[Ack | RecorderState] | None = None
        self._welcome = False

    @property
    def channel(self) -> Channel[Ack | RecorderState] | None:
        """For a selector; None while there is no connection."""
        return self._channel

    @property
    def storing(self) -> bool:
        """Whether what is made now can be stored, as far as is known."""
        return self.disk == "ok" and self.outbox.dropped is None

    @property
    def ready(self) -> bool:
        """Whether the recorder takes what is sent now."""
        return self._channel is not None and self._welcome and self.disk == "ok"

    def attempt(self) -> bool:
        """Connects, where it is not; returns whether there is a new connection."""
        if self._channel is not None:
            return False
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        try:
            connection.connect(self._path)
        except OSError:  # nobody listens, or their backlog is full: later
            connection.close()
            return False
        self._channel = Channel(connection, ToWorkerFromRecorder)
        self._welcome = False
        self.outbox.resend()
        if not self._send(self._hello):
            self._lose()
            return False
        return True

    def receive(self) -> None:
        """Takes what came."""
        if self._channel is None:
            return
        try:
            while self._channel is not None and (received := self._channel.receive()) is not None:
                self._handle(received[0])
        except PeerGone:
            self._lose()

    def flush(self) -> None:
        """Sends what can be sent now, in order."""
        if not self.ready:
            return
        if self.outbox.dropped is not None and self._send(self.outbox.dropped):
            self.outbox.dropped = None
        for record in self.outbox.unsent():
            descriptors = [sealed("evidence", record.content)] if record.content is not None else []
            try:
                sent = self._send(record.message, descriptors)
            finally:
                for each in descriptors:
                    os.close(each)
            if not sent:
                return
            self.outbox.mark_sent(record)

    def watermark(self, watermark: Watermark) -> None:
        """Tells the recorder how far the camera was watched; lost when it cannot be said now."""
        if self._welcome:
            self._send(watermark)

    def close(self) -> None:
        """Ends the connection."""
        self._lose()

    def _handle(self, message: Ack | RecorderState) -> None:
        if isinstance(message, Ack):
            self.outbox.acknowledge(message.ids)
            return
        if message.disk == "ok" and self.disk != "ok":
            self.outbox.resend()  # what it could not store it has not kept
        self.disk = message.disk
        self._welcome = True

    def _send(self, message: object, descriptors: list[int] | None = None) -> bool:
        if self._channel is None:
            return False
        try:
            return self._channel.send(message, descriptors or [])  # type: ignore[arg-type]
        except PeerGone:
            self._lose()
            return False

    def _lose(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel, self._welcome = None, False
