# SPDX-License-Identifier: AGPL-3.0-or-later
"""The packets of a moment as frames in the order of their time; it shares their bytes with the ring, and copies none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.domain import FrameTime
from daemon.ingest.packet import Packet
from daemon.origin.search import Frame

_NONE = -1


@dataclass(slots=True, eq=False)
class Snapshot:
    """Whole GOPs in decoding order, the last one up to where the snapshot ends."""

    packets: list[Packet]
    gops: list[range] = field(default_factory=list)
    """Which packets each GOP has."""
    frames: list[Frame] = field(default_factory=list)
    """Those that can be looked at: with a time, of a run that is on record."""
    _packet_of: list[int] = field(default_factory=list)
    _gop_of: list[int] = field(default_factory=list)

    @classmethod
    def until(cls, packets: Sequence[Packet], run: str, pts: int) -> Snapshot | None:
        """Up to the frame with that run's id and PTS, which is its last; None where it is not among them."""
        moment = next((each for each in reversed(packets) if each.pts == pts and _run_id(each) == run), None)
        if moment is None:
            return None
        begin = packets.index(moment)
        behind = (place for place in range(begin, len(packets)) if packets[place].run is moment.run)
        end = max(place for place in behind if (packets[place].pts or 0) <= pts or place == begin)
        made = cls(list(packets[: end + 1]))  # what is shown before it can be decoded after it
        keys = [place for place, packet in enumerate(made.packets) if packet.key]
        made.gops = [range(begin, end) for begin, end in zip(keys, [*keys[1:], len(made.packets)], strict=True)]
        found = []
        for number, gop in enumerate(made.gops):
            for place in gop:
                at_ns = _at_ns(made.packets[place])
                if at_ns is not None:
                    found.append((at_ns, place, number))
        last_ns = _at_ns(moment)
        found = sorted(each for each in found if last_ns is not None and each[0] <= last_ns)
        made.frames = [Frame(at_ns, made.packets[place].key) for at_ns, place, _ in found]
        made._packet_of = [place for _, place, _ in found]
        made._gop_of = [number for _, _, number in found]
        return made if found else None

    @classmethod
    def cut_before(cls, packets: Sequence[Packet], at_ns: int) -> Snapshot | None:
        """Of packets that end before a confirming frame at that moment: it is the last one, and has none itself.

        None where there is nothing before it.
        """
        last = next((each for each in reversed(packets) if (_at_ns(each) or at_ns) < at_ns), None)
        run = _run_id(last) if last is not None else None
        made = cls.until(packets, run, last.pts) if last is not None and run and last.pts is not None else None
        if made is not None:
            made.frames.append(Frame(at_ns, key=False))
            made._packet_of.append(_NONE)
            made._gop_of.append(_NONE)
        return made

    def holds(self, place: int) -> bool:
        """Whether a frame can be decoded."""
        return self._packet_of[place] != _NONE

    def packet(self, place: int) -> Packet:
        """The packet that holds a frame."""
        return self.packets[self._packet_of[place]]

    def position(self, place: int) -> tuple[int, int]:
        """Of a frame: which GOP it is in, and which packet it is."""
        return self._gop_of[place], self._packet_of[place]

    def time_of(self, place: int) -> FrameTime:
        """When a frame was seen."""
        packet = self.packet(place)
        return packet.run.time_of(packet)


def _run_id(packet: Packet) -> str | None:
    return packet.run.record.id if packet.run.record is not None else None


def _at_ns(packet: Packet) -> int | None:
    """On CLOCK_MONOTONIC; None for what has no PTS, or is of a run that never showed a frame and is on no record."""
    return packet.run.at_mono_ns(packet) if packet.run.record is not None else None
