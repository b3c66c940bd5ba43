# SPDX-License-Identifier: AGPL-3.0-or-later
"""The last packets of a camera, within a cap in seconds and one in bytes; it always begins at a key frame."""

from __future__ import annotations

from collections import deque
from itertools import islice

from daemon.clock import NS
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet

NO_KEY_S = 30.0  # an intra-refresh stream never has one
PACKET_OVERHEAD_BYTES = 250  # measured: what a Packet, its numbers and its place in the deque cost besides the data


class Ring:
    """Whole GOPs only: the one that would become headless is dropped whole.

    `available` is false while a GOP that is larger than the cap passes, or when no key frame has come for 30 s.
    """

    def __init__(self, most_s: float, most_bytes: int) -> None:
        self._most_ns = round(most_s * NS)
        self._most_bytes = most_bytes
        self._packets: deque[Packet] = deque()
        self._gops: deque[int] = deque()  # how many packets each GOP in the ring has
        self._open = False  # whether the newest GOP goes on
        self._no_key_since_ns: int | None = None
        self.bytes = 0
        self.available = True
        self.added = 0
        """How many packets it has taken in all: packets are numbered from 0 on."""

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: Packet) -> None:
        """Appends a packet and lets go of what is beyond the caps."""
        if packet.key:
            self.available, self._open, self._no_key_since_ns = True, True, packet.emitted_ns
            self._gops.append(0)
        else:
            self._note_missing_key(packet.emitted_ns)
            if not self._open:
                return
        self._packets.append(packet)
        self._gops[-1] += 1
        self.added += 1
        self.bytes += len(packet.data) + PACKET_OVERHEAD_BYTES
        self._drop_old(packet.emitted_ns)

    def seconds(self) -> float:
        """From the first packet to the last."""
        return (self._packets[-1].emitted_ns - self._packets[0].emitted_ns) / NS if self._packets else 0.0

    def current_gop(self) -> list[Packet]:
        """The newest key frame and what has come since; empty when there is none, or it was interrupted."""
        count = self._gops[-1] if self._open else 0
        return list(islice(self._packets, len(self._packets) - count, None))

    def gops_since(self, run: LiveRun, pts_ns: int) -> list[Packet]:
        """From the GOP in which a moment of that run lies until now; empty when there is none, or it was interrupted."""
        if not self._open:
            return []
        end, count = len(self._packets), 0
        for length in reversed(self._gops):
            first = self._packets[end - count - length]
            if count and first.run is not run:
                break
            count += length
            if first.pts is None or first.pts_ns <= pts_ns:
                break
        return list(islice(self._packets, end - count, None))

    @property
    def goes_on(self) -> bool:
        """Whether what comes now is kept."""
        return self.available and self._open

    @property
    def newest_key(self) -> Packet | None:
        """The head of the GOP that goes on; None where what comes now is not kept."""
        return self._packets[-self._gops[-1]] if self.goes_on else None

    def number_at(self, emitted_ns: int) -> int:
        """The number of the key frame from which all can be decoded that was given out since that moment."""
        number = self.added - len(self._packets)
        end = len(self._packets)
        for length in reversed(self._gops):
            end -= length
            if self._packets[end].emitted_ns <= emitted_ns:
                return number + end
        return number

    def numbered_from(self, number: int) -> list[Packet]:
        """What is still there of the packets from that number on."""
        first = self.added - len(self._packets)
        return list(islice(self._packets, max(number - first, 0), None))

    @property
    def first(self) -> int:
        """The number of the oldest packet that is still there, a key frame."""
        return self.added - len(self._packets)

    def gop_of(self, number: int) -> int:
        """The number of the key frame with which that packet's GOP begins, or of the oldest where it is gone."""
        first = self.added
        for length in reversed(self._gops):
            first -= length
            if first <= number:
                break
        return first

    def packet(self, number: int) -> Packet | None:
        """None where it is gone, or has not come yet."""
        place = number - self.first
        return self._packets[place] if 0 <= place < len(self._packets) else None

    def interrupt(self) -> None:
        """What comes next does not continue the newest GOP: another connection."""
        self._open, self._no_key_since_ns = False, None

    def _note_missing_key(self, now_ns: int) -> None:
        if self._no_key_since_ns is None:
            self._no_key_since_ns = now_ns
        if now_ns - self._no_key_since_ns > NO_KEY_S * NS:
            self.available = False

    def _drop_old(self, now_ns: int) -> None:
        while len(self._gops) > 1 and (self.bytes > self._most_bytes or self._second_gop_suffices(now_ns)):
            self._drop_gop()
        if self.bytes > self._most_bytes:  # one GOP alone is too large: no part of it can be decoded without its head
            self._packets.clear()
            self._gops.clear()
            self.bytes, self.available, self._open = 0, False, False

    def _second_gop_suffices(self, now_ns: int) -> bool:
        # dropping the first GOP as soon as its head is too old would leave less than most_s for most of the time
        return now_ns - self._packets[self._gops[0]].emitted_ns >= self._most_ns

    def _drop_gop(self) -> None:
        for _ in range(self._gops.popleft()):
            self.bytes -= len(self._packets.popleft().data) + PACKET_OVERHEAD_BYTES
