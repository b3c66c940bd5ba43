# SPDX-License-Identifier: AGPL-3.0-or-later
"""One connection of the detector, written to without ever waiting: what the peer does not take is kept, up to a cap."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from daemon.wire import Channel

Received = TypeVar("Received")

# More than a peer that reads can have outstanding; of one that does not read, the oldest answers are dropped.
MOST_UNSENT = 512
# Read at one go, so that a peer that floods does not keep the loop from the others.
MOST_AT_ONCE = 32


class Peer(Generic[Received]):
    """A channel with an outbox; for the I/O thread alone."""

    def __init__(self, channel: Channel[Received]) -> None:
        self._channel = channel
        self._unsent: deque[msgspec.Struct] = deque(maxlen=MOST_UNSENT)

    def fileno(self) -> int:
        return self._channel.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether to wait for the socket to become writable, and then `flush`."""
        return bool(self._unsent)

    def say(self, message: msgspec.Struct) -> None:
        """Sends now or later, in order. Raises PeerGone."""
        self._unsent.append(message)
        self.flush()

    def flush(self) -> None:
        """Sends what the socket takes. Raises PeerGone."""
        while self._unsent and self._channel.send(self._unsent[0]):
            self._unsent.popleft()

    def hear(self) -> Iterator[tuple[Received, list[int]]]:
        """Some of what has come, with its descriptors, one by one. Raises PeerGone, MessageError."""
        for _ in range(MOST_AT_ONCE):
            received = self._channel.receive()
            if received is None:
                return
            yield received

    def close(self) -> None:
        self._channel.close()
