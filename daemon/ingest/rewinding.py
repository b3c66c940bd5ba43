# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decodes single frames of a snapshot, GOP by GOP, one packet at a time, with a decoder of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from daemon.ingest.decode import Decoded, Decoder
from daemon.ingest.live_run import LiveRun
from daemon.ingest.snapshot import Snapshot


class Rewound(NamedTuple):
    """A wanted frame; None where it could not be decoded, or came out damaged."""

    place: int
    decoded: Decoded | None


class Rewinding:
    """`want` frames, then `step` until nothing is left to do; the newest GOP first, each only as far as it is needed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._wanted: dict[int, dict[int, int]] = {}  # GOP → packet → frame
        self._gop: int | None = None
        self._next = self._end = 0
        self._decoder: Decoder | None = None
        self._run: LiveRun | None = None
        self._out: list[Rewound] = []
        self.packets = 0
        """Decoded so far."""

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._wanted or self._out)

    def want(self, places: Iterable[int]) -> None:
        """Frames to be decoded; not while others are."""
        for place in places:
            if not self._snapshot.holds(place):
                self._out.append(Rewound(place, None))
                continue
            gop, packet = self._snapshot.position(place)
            self._wanted.setdefault(gop, {})[packet] = place

    def forget(self) -> None:
        """What was wanted is not wanted any more."""
        self._wanted.clear()
        self._out.clear()
        self._gop = None

    def step(self) -> Rewound | None:
        """Decodes one packet, or gives the next of what came out."""
        if not self._out and self._wanted:
            self._decode()
        return self._out.pop(0) if self._out else None

    def _decode(self) -> None:
        if self._gop is None:
            self._begin(max(self._wanted))
        assert self._gop is not None
        assert self._decoder is not None
        wanted = self._wanted[self._gop]
        packet = self._snapshot.packets[self._next]
        found = self._decoder.next(packet)
        self.packets += 1
        self._next += 1
        if self._next == self._end:
            found += self._decoder.rest()
        places = {id(self._snapshot.packets[each]): each for each in wanted}
        for each in found:
            number = places.get(id(each.packet))
            if number is not None:
                good = None if each.damage == "yes" else each
                self._out.append(Rewound(wanted.pop(number), good))
        if self._next == self._end or not wanted:
            self._out += [Rewound(place, None) for place in wanted.values()]
            del self._wanted[self._gop]
            self._gop = None

    def _begin(self, gop: int) -> None:
        start = self._snapshot.gops[gop].start
        run = self._snapshot.packets[start].run
        if self._decoder is None or run is not self._run:
            self._decoder, self._run = Decoder(run.codec, run.extradata, run.coded_px()), run
        self._decoder.restart()
        # what is decoded after the last wanted one would only be thrown away
        self._gop, self._next, self._end = gop, self._needed_from(gop, start), max(self._wanted[gop]) + 1

    def _needed_from(self, gop: int, start: int) -> int:
        """An open GOP's leading frames, which are shown before its key frame, need the GOP before."""
        packets = self._snapshot.packets
        leading = any(packets[each].pts_ns < packets[start].pts_ns for each in self._wanted[gop])
        before = self._snapshot.gops[gop - 1] if leading and gop > 0 else None
        follows = before is not None and before.stop == start and packets[before.start].run is packets[start].run
        return before.start if before is not None and follows else start
