# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a sign that is no incident leads to: how long the main stream is decoded for it, and how a lamp wears that out; pure.

A sign is a hit on the sub-stream; or, while all is quiet, a sighting on the main stream: weaker than what counts.

    sign ──▶ suspicion, for at most `lasts_s`: the whole main stream is decoded
              ├─ the main stream shows it ──▶ an incident, which goes on by its own rules
              └─ it does not ──▶ doubt at that place, for 30 s, then 60 s … 10 min

A hit of the sub-stream at a place in doubt makes the main stream's key frames be looked at, as those of a camera without sub-stream: the
main stream still decides, at a twentieth of the cost. A hit at any other place is a suspicion as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daemon.detect.rules import MAX_SUSPECTS, RuleSettings, counting_places, lower_thresholds
from daemon.domain import Box, Detection
from daemon.ingest.doubts import Doubts

SECOND_LOOK_S = 3.0
"""How long a sighting on the main stream makes it be looked at closely: a fire that has begun shows more of itself."""


class Suspicion:
    """One camera's; times are seconds on an axis that only grows, places are shares of the picture's height."""

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._since_s: float | None = None
        self._places: list[Box] = []
        self._doubts = Doubts(MAX_SUSPECTS)
        self._key_frames_until_s: float | None = None

    @property
    def active(self) -> bool:
        """Whether the whole main stream is to be decoded."""
        return self._since_s is not None

    def wants_key_frames(self, now_s: float) -> bool:
        """Whether the main stream's key frames are to be analysed."""
        return self._key_frames_until_s is not None and now_s < self._key_frames_until_s

    def hit(self, places: Sequence[Box], now_s: float) -> bool:
        """Signs came of these places. Returns whether a suspicion begins with them."""
        if self._since_s is not None or not places:
            return False
        credible = [place for place in places if self._doubts.credible(place, now_s)]
        if credible:
            self._since_s, self._places = now_s, credible[:MAX_SUSPECTS]
            return True
        self._key_frames_until_s = now_s + self._lasts_s
        return False

    def shown(self) -> None:
        """The main stream shows something: its incident decides from here on."""
        if self._since_s is not None:
            self._doubts.lift(self._places)
        self._since_s = None

    def time_passes(self, now_s: float) -> None:
        """Ends a suspicion that the main stream did not bear out, and forgets doubts that nothing has renewed."""
        if self._since_s is not None and now_s - self._since_s >= self._lasts_s:
            self._since_s = None
            for place in self._places:
                self._doubts.doubt(place, now_s)
        self._doubts.time_passes(now_s)


class SecondLook:
    """While nothing is suspected of a stream: a sighting makes it be looked at closely for SECOND_LOOK_S."""

    def __init__(self, settings: RuleSettings) -> None:
        self._lower = replace(settings, thresholds=lower_thresholds(settings.thresholds))
        self._suspicion = Suspicion(SECOND_LOOK_S)

    @property
    def active(self) -> bool:
        """Whether it is to be looked at closely now."""
        return self._suspicion.active

    def analysed(
        self, detections: Sequence[Detection], size_px: tuple[int, int], now_s: float, *, suspected: bool
    ) -> None:
        """A frame was looked at, with that in it, in its pixels; `suspected`: something is open, now or because of it."""
        self.time_passes(now_s, suspected=suspected)
        if not suspected:
            self._suspicion.hit(counting_places(detections, size_px, self._lower), now_s)

    def time_passes(self, now_s: float, *, suspected: bool) -> None:
        """Ends the look after its time, and when something is suspected: incidents go on by their own rules."""
        if suspected:
            self._suspicion.shown()
        self._suspicion.time_passes(now_s)
