# SPDX-License-Identifier: AGPL-3.0-or-later
"""Places of a picture that were looked at for a sign that nothing bore out: left alone for 30 s, then 60 s … 10 min; pure.

There is a most of them: a picture full of lamps costs no more looks than that in half a minute, and a sign at one place
more waits until one of them is not doubted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.detect.rules import same_place
from daemon.domain import Box

FIRST_DOUBT_S = 30.0
LONGEST_DOUBT_S = 600.0


@dataclass(slots=True)
class _Doubt:
    """A place of which a sign came that nothing bore out."""

    place: Box
    until_s: float
    lasts_s: float


class Doubts:
    """One camera's; times are seconds on an axis that only grows, places are shares of the picture's height."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._doubts: list[_Doubt] = []

    def credible(self, place: Box, now_s: float) -> bool:
        """Whether a sign at that place is to be followed."""
        doubts = [each for each in self._doubts if now_s < each.until_s]
        return len(doubts) < self._most and not any(same_place(each.place, place) for each in doubts)

    def doubt(self, place: Box, now_s: float) -> None:
        """From now on that place is left alone, twice as long as the last time."""
        known = next((each for each in self._doubts if same_place(each.place, place)), None)
        if known is not None:
            known.lasts_s = min(2 * known.lasts_s, LONGEST_DOUBT_S)
            known.until_s = now_s + known.lasts_s
            return
        if len(self._doubts) >= self._most:
            self._doubts.remove(min(self._doubts, key=lambda each: each.until_s))
        self._doubts.append(_Doubt(place, now_s + FIRST_DOUBT_S, FIRST_DOUBT_S))

    def lift(self, places: Sequence[Box]) -> None:
        """Something was there after all."""
        self._doubts = [each for each in self._doubts if not any(same_place(each.place, place) for place in places)]

    def time_passes(self, now_s: float) -> None:
        """Forgets what nothing has renewed."""
        self._doubts = [each for each in self._doubts if now_s < each.until_s + LONGEST_DOUBT_S]
