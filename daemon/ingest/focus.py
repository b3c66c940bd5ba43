# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which part of the next active frame the detector is shown, while something is open that only native resolution shows.

The places in turn, a second each: its native-resolution tile in every frame but one, in which the whole picture is
shown; so m of n can be reached there, and the rest of the picture is watched all the while. Where something is open that
the whole picture shows, tile and whole take turns. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from daemon.clock import NS
from daemon.detect.tiling import Tile, tile_around
from daemon.domain import Box

WHOLE_EVERY_S = 1.0
EARLY_NS = NS // 20


class Focus:
    """One camera's; moments are the frames' on CLOCK_MONOTONIC."""

    def __init__(self, input_px: int, max_interval_s: float) -> None:
        self._input_px = input_px
        self._whole_step_ns = round(min(WHOLE_EVERY_S, max_interval_s) * NS) - EARLY_NS
        self._whole_ns: int | None = None
        self._was_whole = False
        self._turn = 0

    def next(self, places: Sequence[Box], others: bool, size_px: tuple[int, int], mono_ns: int) -> Tile | None:
        """The tile to show of this frame; None: the whole picture. `others`: whether the whole picture shows something."""
        if not places:
            self._whole_ns = None
            return None
        if self._whole_ns is None:  # the patrol has just looked at the whole picture
            self._whole_ns, self._was_whole = mono_ns, False
        due = mono_ns - self._whole_ns >= self._whole_step_ns
        if not self._was_whole and (due or others):
            self._whole_ns, self._was_whole = mono_ns, True
            self._turn += 1
            return None
        self._was_whole = False
        return tile_around(places[self._turn % len(places)], size_px, self._input_px)
