# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which of a live frame's hints are worth a look in native resolution: what is small, has changed, and is not in doubt; pure.

In any picture something is a little like a flame. What is so all the time stands there, looks as it did in the picture
before, and costs no look; what has changed and is no fire is left alone for a while once it was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from daemon.clock import NS
from daemon.detect.boxes import as_share_of_height
from daemon.detect.hints import HINT_FROM, is_small
from daemon.detect.rules import Zone, marked
from daemon.domain import Box, Detection
from daemon.ingest.colour import luma_of
from daemon.ingest.doubts import Doubts
from daemon.ingest.frames import Picture
from daemon.ingest.likeness import APART_S, around, looks_as_before

STALE_S = 30.0  # a picture from before that is older tells nothing: the light changes, and what stands would look new
MOST_DOUBTED = 32  # places: the cars of a car park leave hints at more than eight (docs/ingest.md)


class Hinted:
    """One camera's. Between calls it holds one decoded picture, 3 MB of 1080p: to convert it would cost more than all else here."""

    def __init__(self, input_px: int, zones: Sequence[Zone]) -> None:
        self._input_px, self._zones = input_px, zones
        self._before: Picture | None = None
        self._doubts = Doubts(MOST_DOUBTED)

    def searched(self, picture: Picture) -> None:
        """All of this picture is searched: nothing is worth a look in those that come so soon that a flame may look the same."""
        self._before = picture

    def worth_a_look(self, hints: Sequence[Box], picture: Picture, now_s: float) -> list[Box]:
        """Those of a picture's hints, boxes in its pixels, that are; none where there is no picture from before to compare.

        The caller looks at them in this picture or not at all: a look at least APART_S after the one before.
        """
        before = self._before
        if picture.damage == "yes" or (before is not None and 0 <= _since_s(picture, before) < APART_S):
            return []
        self._before = picture
        if before is None or not _can_be_compared(before, picture):
            return []
        self._doubts.time_passes(now_s)
        credible = [each for each in hints if self._is_credible(each, picture.size_px, now_s)]
        return _changed(credible, before, picture) if credible else []

    def looked(self, hints: Sequence[Box], size_px: tuple[int, int], now_s: float) -> None:
        """The tiles there were all looked at: these places are in doubt from now on, until `bore_out` says what was there."""
        for hint in hints:
            place = as_share_of_height(hint, size_px)
            if self._doubts.credible(place, now_s):  # one look, though two hints may be of the same place
                self._doubts.doubt(place, now_s)

    def bore_out(self, places: Sequence[Box]) -> None:
        """A look showed what counts there; places as shares of the picture's height."""
        self._doubts.lift(places)

    def _is_credible(self, hint: Box, size_px: tuple[int, int], now_s: float) -> bool:
        (fire,) = marked([Detection("fire", HINT_FROM, hint)], size_px, self._zones)
        doubted = not self._doubts.credible(as_share_of_height(hint, size_px), now_s)
        return is_small(hint, size_px, self._input_px) and fire.zone is None and not doubted


def _can_be_compared(before: Picture, now: Picture) -> bool:
    same_kind = before.size_px == now.size_px and before.damage != "yes"
    return same_kind and 0 <= _since_s(now, before) <= STALE_S


def _changed(hints: Sequence[Box], before: Picture, now: Picture) -> list[Box]:
    luma_before, luma = luma_of(before.frame), luma_of(now.frame)
    return [each for each in hints if not looks_as_before(around(each, luma_before), each, luma)]


def _since_s(picture: Picture, before: Picture) -> float:
    return (picture.mono_ns - before.mono_ns) / NS
