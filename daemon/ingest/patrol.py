# SPDX-License-Identifier: AGPL-3.0-or-later
"""The patrol: now and then one picture of the main stream is searched in tiles of its own resolution.

What is 10 px high in a 4K picture is 2 px high in the detector's input. The tiles go through the detector's work
channel, below everything else there, two at a time; where it is busy the round ends, and is counted.
"""

from __future__ import annotations

import logging
import os
import random
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS, Clocks
from daemon.detect.rules import Zone
from daemon.domain import Detection, ModelInfo
from daemon.errors import MessageError, PeerGone
from daemon.ids import new_id
from daemon.ingest.asking import connected
from daemon.ingest.frames import Picture
from daemon.ingest.standing import Standing
from daemon.ingest.tiles import Tile, in_picture, is_larger, merged, tiles_of
from daemon.memory import sealed
from daemon.messages import WorkAnswer, WorkRequest
from daemon.wire import Channel

AT_ONCE = 2  # tiles at the detector: one computed, one waits
DEADLINE_S = 10.0  # of a tile; beyond it the detector refuses
SILENT_S = 5.0  # later than that, it is gone
FLOOR = 0.1  # detections below it are not reported

log = logging.getLogger("firewitness.patrol")


class Patrolled(NamedTuple):
    """A picture all of whose tiles were searched; boxes in its pixels."""

    picture: Picture
    detections: tuple[Detection, ...]
    model: ModelInfo
    standing: tuple[Zone, ...]
    """Where something was seen that stood there before."""


@dataclass(slots=True)
class _Round:
    """One picture being searched."""

    picture: Picture
    pixels: NDArray[np.uint8]
    todo: deque[Tile]
    asked: dict[str, Tile] = field(default_factory=dict)
    asked_ns: int = 0
    found: list[tuple[Tile, Detection]] = field(default_factory=list)
    model: ModelInfo | None = None


class Patrol:
    """One camera's; never waits. `channel` is to be watched, and `take` called when it is readable."""

    def __init__(self, path: str, tile_px: int, every_s: float, clocks: Clocks) -> None:
        self._path, self._tile_px, self._clocks = path, tile_px, clocks
        self._every_ns = round(every_s * NS)
        # not all cameras at once, which were started together
        self._next_ns = clocks.monotonic_ns() + round(random.random() * self._every_ns)
        self._round: _Round | None = None
        self._standing = Standing()
        self.channel: Channel[WorkAnswer] | None = None
        self.rounds = 0
        """Pictures that were searched whole."""
        self.broken_off = 0
        """Rounds that the detector had no time for, or that something else ended."""

    def is_due(self, size_px: tuple[int, int]) -> bool:
        """Whether the next picture of that size is to be searched; never where nothing is lost by scaling it."""
        if not self._every_ns or not self._path or self._round is not None or not is_larger(size_px, self._tile_px):
            return False
        return self._clocks.monotonic_ns() >= self._next_ns

    def begin(self, picture: Picture, pixels: NDArray[np.uint8]) -> None:
        """Begins a round with this picture, of which `pixels` are all, BGR."""
        self._next_ns = self._clocks.monotonic_ns() + self._every_ns
        self._round = _Round(picture, pixels, deque(tiles_of(picture.size_px, self._tile_px)))
        self._ask()

    def break_off(self) -> None:
        """Something is burning, or the picture is no picture: the rest of the round is not worth its time."""
        if self._round is not None:
            self.broken_off += 1
            self._round = None

    def tick(self) -> None:
        """Goes on where the channel had no room, and gives up a detector that does not answer."""
        if self._round is None:
            return
        silent_ns = self._clocks.monotonic_ns() - self._round.asked_ns
        if self._round.asked and silent_ns > (DEADLINE_S + SILENT_S) * NS:
            self._hang_up()
        else:
            self._ask()

    def take(self) -> Patrolled | None:
        """What has come; a picture that was searched to its last tile."""
        try:
            while self.channel is not None and (received := self.channel.receive()) is not None:
                answer, descriptors = received
                for each in descriptors:
                    os.close(each)
                self._answered(answer)
        except (PeerGone, MessageError):
            self._hang_up()
        self._ask()
        current = self._round
        if current is None or current.todo or current.asked or current.model is None:
            return None
        self._round = None
        self.rounds += 1
        detections = merged(current.found, current.picture.size_px)
        return Patrolled(current.picture, detections, current.model, self._standing.look(current.pixels, detections))

    def close(self) -> None:
        """Ends its connection."""
        if self.channel is not None:
            self.channel.close()
        self.channel = None

    def _answered(self, answer: WorkAnswer) -> None:
        current = self._round
        tile = current.asked.pop(answer.id, None) if current is not None else None
        if current is None or tile is None:  # of a round that was broken off
            return
        if answer.outcome != "analysed" or answer.model is None:
            log.debug("a round ends: %s %s", answer.outcome, answer.detail)
            self.break_off()
            return
        current.model = answer.model
        current.found += [(tile, each) for each in in_picture(tile, answer.detections)]

    def _ask(self) -> None:
        current = self._round
        if current is None:
            return
        try:
            while current.todo and len(current.asked) < AT_ONCE and self._sent(current, current.todo[0]):
                current.todo.popleft()
        except PeerGone:
            self._hang_up()

    def _sent(self, current: _Round, tile: Tile) -> bool:
        if self.channel is None:
            self.channel = Channel(connected(self._path), WorkAnswer)
        now_ns = self._clocks.monotonic_ns()
        request = WorkRequest(
            id=new_id(),
            kind="patrol",
            deadline_mono_ns=now_ns + round(DEADLINE_S * NS),
            width_px=tile.width,
            height_px=tile.height,
            floor=FLOOR,
        )
        memory = sealed("patrol", np.ascontiguousarray(tile.of(current.pixels)).data)
        try:
            if not self.channel.send(request, [memory]):
                return False
        finally:
            os.close(memory)
        current.asked[request.id] = tile
        current.asked_ns = now_ns
        return True

    def _hang_up(self) -> None:
        self.break_off()
        self.close()
