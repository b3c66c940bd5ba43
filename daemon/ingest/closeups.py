# SPDX-License-Identifier: AGPL-3.0-or-later
"""Close-ups of what is suspected, out of every frame that is decoded while it is, and what time says of them; pure.

While anything is suspected all frames are decoded anyway, of which the detector is shown five a second; the others are
looked at here, at the suspects' places only. Nothing is kept of a quiet camera but a reduced picture a minute: how its
places looked before. docs/time-as-evidence.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.detect.boxes import holds_centre
from daemon.detect.flicker import (
    HELD_S,
    HOLE_S,
    SMALL_PX,
    WINDOW_S,
    CloseUp,
    Window,
    alike,
    close_up,
    judge,
    window_of,
)
from daemon.detect.rules import Track
from daemon.domain import Box, Flicker

LEAST_STEP_S = 1 / 32  # of 50 or 60 frames a second every other one: twice as many tell no more
LARGER = 1.6  # a place that has become so much larger, or smaller, is watched anew
BEFORE_EVERY_S = 60.0
MOST_BEFORE = 3
BEFORE_PX = 960  # longer side of the pictures from before, as reference stills have
BEFORE_AGE_S = 30.0  # at least so long before a suspicion
LEAST_BEFORE_PX = 6  # of a close-up in them: less tells nothing


class _Taken(NamedTuple):
    at_s: float
    close_up: CloseUp


class _Before(NamedTuple):
    """How everything looked, reduced."""

    at_s: float
    luma: NDArray[np.uint8]


@dataclass(slots=True)
class _Watched:
    """A suspect's place."""

    since_s: float
    place: Box
    taken: deque[_Taken] = field(default_factory=deque)
    window: Window | None = None
    size_px: tuple[int, int] = (0, 0)
    as_before: float | None = None
    held: Flicker | None = None
    held_s: float = 0.0
    said: Flicker | None = None
    said_s: float = 0.0

    def take(self, luma: NDArray[np.uint8], at_s: float) -> bool:
        """Whether these are the first close-ups of the place."""
        size_px = luma.shape[1], luma.shape[0]
        hole = bool(self.taken) and at_s - self.taken[-1].at_s > HOLE_S
        if self.window is None or size_px != self.size_px or hole:
            self.window, self.size_px = window_of(self.place, size_px), size_px
            self.taken.clear()
        elif self.taken and at_s - self.taken[-1].at_s < LEAST_STEP_S:
            return False
        first = not self.taken
        self.taken.append(_Taken(at_s, close_up(luma, self.window)))
        while at_s - self.taken[0].at_s > WINDOW_S:
            self.taken.popleft()
        return first

    def follow(self, place: Box) -> None:
        """Goes on at the same place, or begins anew where the suspect has moved on or has another size."""
        grown = _longer(place) / max(_longer(self.place), 1e-6)
        if not holds_centre(self.place, place) or not 1 / LARGER <= grown <= LARGER:
            self.place, self.window = place, None
            self.taken.clear()
            self.as_before = None

    def flicker(self, now_s: float) -> Flicker | None:
        """What time says. While it begins anew and no frame has come yet, what was withheld just before still is."""
        if self.taken:
            self.said, self.said_s = self._judged(now_s), now_s
            return self.said
        withheld = self.said is not None and self.said.says in ("held", "waits") and now_s - self.said_s < HELD_S
        return self.said if withheld else None

    def _judged(self, now_s: float) -> Flicker:
        close_ups = np.stack([each.close_up for each in self.taken])
        times = np.array([each.at_s for each in self.taken])
        longer_px = max(
            (self.place[2] - self.place[0]) * self.size_px[0], (self.place[3] - self.place[1]) * self.size_px[1]
        )
        found = judge(close_ups, times, longer_px < SMALL_PX, now_s - self.since_s, self.as_before)
        if found.says == "held":
            self.held, self.held_s = found, now_s
        elif self.held is not None and found.says != "flickers" and now_s - self.held_s < HELD_S:
            return replace(found, says="held", reasons=(*self.held.reasons, "until just now"))
        return found


class CloseUps:
    """One camera's, over all its runs. Times are seconds on the axis of the rules. Where it is off, it says nothing."""

    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._watched: dict[int, _Watched] = {}
        self._before: deque[_Before] = deque(maxlen=MOST_BEFORE)

    def follow(self, tracks: Sequence[Track]) -> None:
        """What is open now: suspects that were seen as fire are watched, each at its place."""
        if not self._on:
            return
        suspects = {each.number: each for each in tracks if each.state == "suspect" and "fire" in each.labels}
        self._watched = {number: each for number, each in self._watched.items() if number in suspects}
        for number, track in suspects.items():
            if number in self._watched:
                self._watched[number].follow(track.place)
            else:
                self._watched[number] = _Watched(track.first_s, track.place)

    def came(self, luma: NDArray[np.uint8], at_s: float) -> None:
        """A whole frame was decoded: its luma (height, width), and its time, which may go back in catching up."""
        if not self._watched:
            if self._on:
                self._keep(luma, at_s)
            return
        for each in self._watched.values():
            if each.taken and at_s <= each.taken[-1].at_s:
                continue
            if each.take(luma, at_s):
                each.as_before = self._as_before(each)

    def flickers(self, now_s: float) -> dict[int, Flicker]:
        """By the suspects' numbers; none of one of which no frame has come."""
        said = {number: each.flicker(now_s) for number, each in self._watched.items()}
        return {number: each for number, each in said.items() if each is not None}

    def _keep(self, luma: NDArray[np.uint8], at_s: float) -> None:
        if self._before and at_s - self._before[-1].at_s < BEFORE_EVERY_S:
            return
        scale = min(1.0, BEFORE_PX / max(luma.shape))
        size = round(luma.shape[1] * scale), round(luma.shape[0] * scale)
        self._before.append(_Before(at_s, np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)))

    def _as_before(self, watched: _Watched) -> float | None:
        """The best correlation of a place's first close-up with the pictures from before; None where there is none."""
        now, found = watched.taken[0].close_up, []
        for before in self._before:
            window = window_of(watched.place, (before.luma.shape[1], before.luma.shape[0]))
            if (
                watched.since_s - before.at_s >= BEFORE_AGE_S
                and min(window[2] - window[0], window[3] - window[1]) >= LEAST_BEFORE_PX
            ):
                found.append(alike(now, close_up(before.luma, window)))
        return max(found, default=None)


def _longer(place: Box) -> float:
    return max(place[2] - place[0], place[3] - place[1])
