# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a hit on the sub-stream leads to: how long the main stream is decoded for it, and how a lamp wears that out; pure.

    hit ──▶ suspicion, for at most `lasts_s`: the whole main stream is decoded
              ├─ the main stream shows it ──▶ an incident, which goes on by its own rules
              └─ it does not ──▶ doubt at that place, for 30 s, then 60 s … 10 min

A hit at a place in doubt makes the main stream's key frames be looked at, as those of a camera without sub-stream: the
main stream still decides, at a twentieth of the cost. A hit at any other place is a suspicion as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.detect.rules import MAX_SUSPECTS, same_place
from daemon.domain import Box

FIRST_DOUBT_S = 30.0
LONGEST_DOUBT_S = 600.0


@dataclass(slots=True)
class _Doubt:
    """A place where the sub-stream showed what the main stream did not."""

    place: Box
    until_s: float
    lasts_s: float


class Suspicion:
    """One camera's; times are seconds on an axis that only grows, places are shares of the picture's height."""

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._since_s: float | None = None
        self._places: list[Box] = []
        self._doubts: list[_Doubt] = []
        self._key_frames_until_s: float | None = None

    @property
    def active(self) -> bool:
        """Whether the whole main stream is to be decoded."""
        return self._since_s is not None

    def wants_key_frames(self, now_s: float) -> bool:
        """Whether the main stream's key frames are to be analysed."""
        return self._key_frames_until_s is not None and now_s < self._key_frames_until_s

    def hit(self, places: Sequence[Box], now_s: float) -> bool:
        """The sub-stream shows something there. Returns whether a suspicion begins with it."""
        if self._since_s is not None or not places:
            return False
        credible = [place for place in places if self._credible(place, now_s)]
        if credible:
            self._since_s, self._places = now_s, credible[:MAX_SUSPECTS]
            return True
        self._key_frames_until_s = now_s + self._lasts_s
        return False

    def shown(self) -> None:
        """The main stream shows something: its incident decides from here on."""
        if self._since_s is not None:
            self._doubts = [each for each in self._doubts if not self._near(each.place, self._places)]
        self._since_s = None

    def time_passes(self, now_s: float) -> None:
        """Ends a suspicion that the main stream did not bear out, and forgets doubts that nothing has renewed."""
        if self._since_s is not None and now_s - self._since_s >= self._lasts_s:
            self._since_s = None
            for place in self._places:
                self._doubt(place, now_s)
        self._doubts = [each for each in self._doubts if now_s < each.until_s + LONGEST_DOUBT_S]

    def _credible(self, place: Box, now_s: float) -> bool:
        doubts = [each for each in self._doubts if same_place(each.place, place)]
        if not doubts:
            return len(self._doubts) < MAX_SUSPECTS
        return all(now_s >= each.until_s for each in doubts)

    def _doubt(self, place: Box, now_s: float) -> None:
        known = next((each for each in self._doubts if same_place(each.place, place)), None)
        if known is not None:
            known.lasts_s = min(2 * known.lasts_s, LONGEST_DOUBT_S)
            known.until_s = now_s + known.lasts_s
        elif len(self._doubts) < MAX_SUSPECTS:
            self._doubts.append(_Doubt(place, now_s + FIRST_DOUBT_S, FIRST_DOUBT_S))

    @staticmethod
    def _near(place: Box, others: Sequence[Box]) -> bool:
        return any(same_place(place, other) for other in others)
