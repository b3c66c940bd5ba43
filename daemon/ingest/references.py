# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reference stills: one small picture every `storage.reference_interval`, so that what the detector missed has its minutes.

Taken of a frame that is decoded anyway, with whatever the detector is doing: they are there to tell what it did not say.
"""

from __future__ import annotations

from daemon.clock import NS, Clocks
from daemon.ingest.colour import Converter
from daemon.ingest.frames import Picture
from daemon.ingest.keeping import Rank
from daemon.ingest.outbox import Outbox
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.unanalysed import record_of
from daemon.messages import StillTaken
from daemon.storage.still import encode

MOST_PX = 960  # on the longer side
QUALITY = 80


class References:
    """One camera's. The first is taken of its first picture: that a camera is back is worth one."""

    def __init__(self, plan: WorkerPlan, clocks: Clocks, converter: Converter, outbox: Outbox) -> None:
        self._plan, self._clocks, self._converter, self._outbox = plan, clocks, converter, outbox
        self._every_ns = round(plan.reference_s * NS)
        self._due_ns = clocks.monotonic_ns()

    def came(self, picture: Picture) -> None:
        """A picture of the main stream was decoded: keeps it where one is due."""
        now_ns = self._clocks.monotonic_ns()
        if not self._every_ns or now_ns < self._due_ns:
            return
        self._due_ns += self._every_ns  # not from now on: pictures come late, and that must not add up
        if self._due_ns <= now_ns:
            self._due_ns = now_ns + self._every_ns
        pixels = self._converter.small(picture.frame, picture.colour, MOST_PX)
        height_px, width_px = pixels.shape[:2]
        evidence = record_of(self._plan, picture, "reference", size_px=(width_px, height_px))
        self._outbox.still(StillTaken(evidence=evidence), encode(pixels, evidence, QUALITY), Rank.REFERENCE)
