# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whoever watches a camera, and how packets get there: interleaved in the RTSP connection, or by UDP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from daemon.simulate.rtp import INTERLEAVED_BYTES, Burst, interleaved

UDP_BURST_PACKETS = 24  # sent at once: more overflow a receiver's default buffer
UDP_PAUSE_S = 0.001
UDP_QUEUE_PACKETS = 20_000


class Viewer(ABC):
    """One client of one camera."""

    def __init__(self, close: Callable[[], None], waiting_for_key: bool) -> None:
        self.close = close
        self.waiting_for_key = waiting_for_key
        self.playing = False

    @abstractmethod
    def send_media(self, burst: Burst) -> None:
        """Sends one picture, or drops it; never waits."""

    @abstractmethod
    def send_report(self, report: bytes) -> None:
        """Sends one RTCP packet, or drops it; never waits."""


class TcpViewer(Viewer):
    """RTP and RTCP interleaved with RTSP on one TCP connection."""

    def __init__(
        self,
        close: Callable[[], None],
        waiting_for_key: bool,
        transport: asyncio.WriteTransport,
        channel: int,
        buffer_limit_bytes: int,
        too_slow: Callable[[], None],
    ) -> None:
        super().__init__(close, waiting_for_key)
        self._transport, self._channel = transport, channel
        self._limit, self._too_slow = buffer_limit_bytes, too_slow

    def send_media(self, burst: Burst) -> None:
        """Queues the packets; a viewer that falls too far behind is cut off, as cameras do."""
        self._write(burst.on_channel(self._channel))

    def send_report(self, report: bytes) -> None:
        """Queues one report on the channel after the media's."""
        self._write(interleaved(self._channel + 1, report))

    def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._limit:
            self._too_slow()
            self._transport.abort()
            return
        self._transport.write(data)


class UdpViewer(Viewer):
    """RTP and RTCP on two UDP ports; big pictures leave in small bursts."""

    def __init__(
        self,
        close: Callable[[], None],
        waiting_for_key: bool,
        sockets: tuple[socket.socket, socket.socket],
        host: str,
        ports: tuple[int, int],
    ) -> None:
        super().__init__(close, waiting_for_key)
        self._media, self._reports = sockets
        self._media_address, self._report_address = (host, ports[0]), (host, ports[1])
        self._queue: deque[bytes] = deque(maxlen=UDP_QUEUE_PACKETS)
        self._pumping = False

    def send_media(self, burst: Burst) -> None:
        """Queues the packets and sends what may leave at once."""
        view = memoryview(burst.wire)
        self._queue.extend(bytes(view[start + INTERLEAVED_BYTES : end]) for start, end in burst.spans())
        if not self._pumping:
            self._pump()

    def send_report(self, report: bytes) -> None:
        """Sends one report to the client's RTCP port."""
        _send(self._reports, report, self._report_address)

    def _pump(self) -> None:
        for _ in range(min(UDP_BURST_PACKETS, len(self._queue))):
            _send(self._media, self._queue.popleft(), self._media_address)
        self._pumping = bool(self._queue)
        if self._pumping:
            asyncio.get_running_loop().call_later(UDP_PAUSE_S, self._pump)


def _send(sender: socket.socket, data: bytes, address: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):  # as on a network: the packet is gone
        sender.sendto(data, address)
