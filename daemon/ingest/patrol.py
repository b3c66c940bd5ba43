# SPDX-License-Identifier: AGPL-3.0-or-later
"""The patrol: now and then one picture of the main stream is searched in tiles of its own resolution.

What is 10 px high in a 4K picture is 2 px high in the detector's input. The tiles go through the detector's work
channel, below everything else there, two at a time; where it is busy the round ends, and is counted. Between two rounds
tiles are looked at where the whole picture has a hint: a flame that is too small for it leaves a trace there. Of these
there are no more than a round has, so that hints can at most double what the patrol costs.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS, Clocks
from daemon.detect.hints import MOST_FOLLOWED, at_hints, tiles_at
from daemon.detect.rules import Zone
from daemon.detect.tiling import Found, Tile, in_picture, merged, small_ones, tiles_of
from daemon.domain import Box, Detection, ModelInfo
from daemon.ingest.asking import Asking
from daemon.ingest.frames import Picture
from daemon.ingest.hinted import Hinted
from daemon.ingest.likeness import APART_S
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.standing import Standing
from daemon.messages import WorkAnswer
from daemon.wire import Channel

log = logging.getLogger("firewitness.patrol")


class Patrolled(NamedTuple):
    """A picture that was searched, in all of its tiles or at its hints; boxes in its pixels."""

    picture: Picture
    detections: tuple[Detection, ...]
    model: ModelInfo
    standing: tuple[Zone, ...]
    """Where something was seen that stood there before, in this picture or in the last one that was searched whole."""


@dataclass(slots=True)
class _Round:
    """One picture being searched, whole or at its hints."""

    picture: Picture
    pixels: NDArray[np.uint8]
    todo: deque[Tile]
    open: int
    """Tiles without an answer."""
    hints: tuple[Box, ...] = ()
    """What the tiles are round; none where they cover the picture."""
    found: list[Found] = field(default_factory=list)
    model: ModelInfo | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """One tile of a round, at the detector."""

    tile: Tile
    pixels: NDArray[np.uint8]


class Patrol:
    """One camera's; never waits. `channel` is to be watched, and `take` called when it is readable, and now and then."""

    def __init__(self, plan: WorkerPlan, clocks: Clocks) -> None:
        self._input_px, self._clocks = plan.input_px, clocks
        self._asking: Asking[_Question] = Asking(plan.work_socket, "patrol", plan.floor, clocks)
        self._every_ns = round(plan.patrol_s * NS) if plan.work_socket else 0
        # not all cameras at once, which were started together
        self._next_ns = clocks.monotonic_ns() + round(random.random() * self._every_ns)
        self._round: _Round | None = None
        self._standing = Standing()
        self._hinted = Hinted(plan.input_px, plan.zones)
        self._tiles_left = 0
        """That may be looked at for hints until the next round."""
        self.rounds = 0
        """Pictures that were searched whole."""
        self.broken_off = 0
        """Rounds, and looks at hints, that the detector had no time for, or that something else ended."""

    @property
    def channel(self) -> Channel[WorkAnswer] | None:
        """For a selector; None while there is no connection."""
        return self._asking.channel

    def is_due(self, size_px: tuple[int, int]) -> bool:
        """Whether the next picture of that size is to be searched; never where one tile would be the scaled whole again."""
        if not self._every_ns or self._round is not None or self._clocks.monotonic_ns() < self._next_ns:
            return False
        return len(tiles_of(size_px, self._input_px)) > 1

    def begin(self, picture: Picture, pixels: NDArray[np.uint8]) -> None:
        """Begins a round with this picture, of which `pixels` are all, BGR."""
        self._next_ns = self._clocks.monotonic_ns() + self._every_ns
        tiles = tiles_of(picture.size_px, self._input_px)
        self._tiles_left = len(tiles)
        self._hinted.searched(picture)
        self._round = _Round(picture, pixels, deque(tiles), len(tiles))
        self._ask()

    def worth_a_look(self, hints: Sequence[Box], picture: Picture) -> list[Box]:
        """Those of a live frame's hints, boxes in its pixels, that are to be followed in it; to be asked of each while all is quiet.

        None before the first round: what stands there has to be known.
        """
        if not self.rounds or self._round is not None or len(tiles_of(picture.size_px, self._input_px)) == 1:
            return []
        worth = self._hinted.worth_a_look(hints, picture, self._now_s())
        return worth[: min(MOST_FOLLOWED, self._tiles_left)]

    def follow(self, hints: Sequence[Box], picture: Picture, pixels: NDArray[np.uint8]) -> None:
        """Looks at this picture, of which `pixels` are all, BGR, in the tiles at these hints."""
        tiles = tiles_at(hints, picture.size_px, self._input_px)
        self._tiles_left -= len(tiles)
        # a round compares with what was seen now, which has to be long enough ago by then
        self._next_ns = max(self._next_ns, self._clocks.monotonic_ns() + round(APART_S * NS))
        self._round = _Round(picture, pixels, deque(tiles), len(tiles), tuple(hints))
        self._ask()

    def bore_out(self, places: Sequence[Box]) -> None:
        """What was searched showed something that counts there (shares of the picture's height): hints of it are no mistake."""
        self._hinted.bore_out(places)

    def break_off(self) -> None:
        """Something is burning, or the detector has no time: the rest of the round, or of a look at hints, is let go."""
        if self._round is not None:
            self.broken_off += 1
            self._round = None
            self._asking.forget()

    def take(self) -> Patrolled | None:
        """Takes what has come and goes on; a picture that was searched to its last tile."""
        for question, answer in self._asking.take():
            self._answered(question.tile, answer)
        self._ask()
        current = self._round
        if current is None or current.open or current.model is None:
            return None
        self._round = None
        detections = self._searched(current)
        zones = self._standing.look(current.pixels, detections, whole=not current.hints)
        return Patrolled(current.picture, detections, current.model, zones)

    def close(self) -> None:
        """Ends its connection."""
        self._asking.close()

    def _searched(self, done: _Round) -> tuple[Detection, ...]:
        """What its tiles showed that they are for."""
        size_px = done.picture.size_px
        if not done.hints:
            self.rounds += 1
            return merged(small_ones(done.found), size_px)
        self._hinted.looked(done.hints, size_px, self._now_s())
        return merged(at_hints(done.found, done.hints, size_px), size_px)

    def _answered(self, tile: Tile, answer: WorkAnswer | None) -> None:
        current = self._round
        if current is None:
            return
        if answer is None or answer.model is None:
            log.debug("a round ends: the detector has no time")
            self.break_off()
            return
        current.open -= 1
        current.model = answer.model
        current.found += [(tile, each) for each in in_picture(tile, answer.detections)]

    def _ask(self) -> None:
        current = self._round
        while current is not None and current.todo and self._asking.has_room:
            tile = current.todo[0]
            if not self._asking.ask(_Question(tile, tile.of(current.pixels))):
                if self._asking.channel is None:
                    self.break_off()
                return
            current.todo.popleft()

    def _now_s(self) -> float:
        return self._clocks.monotonic_ns() / NS
