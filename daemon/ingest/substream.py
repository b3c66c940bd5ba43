# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's sub-stream, on which detection runs: another connection of the same worker, which may not hurt the first.

Nothing of it is stored, so its ring holds no more than the GOP that is needed to begin to decode in its middle.
"""

from __future__ import annotations

import logging

import msgspec

from daemon.clock import NS, Clocks
from daemon.ingest.condition import OK, Condition
from daemon.ingest.connection import StuckError
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.reader import Wake
from daemon.ingest.source import Source

RING_S = 0.5
RING_BYTES = 8_000_000

log = logging.getLogger("firewitness.substream")


class SubStream(Source):
    """Where `detect_url` is set. Its frames come with the loop's ticks: it never wakes the loop."""

    def __init__(self, plan: WorkerPlan, wake_fd: int, clocks: Clocks) -> None:
        assert plan.detect_url is not None
        own = msgspec.structs.replace(
            plan, url=plan.detect_url, max_interval_s=plan.interval_s, ring_s=RING_S, ring_bytes=RING_BYTES
        )
        super().__init__(own, wake_fd, clocks)
        self._silence_s = plan.max_interval_s
        self._picture_ns: int | None = None
        self._stuck = False
        self.frames.eyes.glance_ns = 0  # nothing of it is of use while the main stream is looked at
        self.connection.wake_for(Wake.NEVER)

    def tick(self) -> None:
        """Connects when it is time to. Where only a new process would help, the main stream goes on alone."""
        if self._stuck:
            return
        try:
            self.connection.tick()
        except StuckError as error:
            log.error("the sub-stream is given up until the worker's next start: %s", error)
            self._stuck = True

    def gave_picture(self) -> None:
        """One of its frames is on its way to the detector."""
        self._picture_ns = self._clocks.monotonic_ns()

    def keeps_watch(self) -> bool:
        """Whether it gave a picture within `max_interval`, so that the main stream need not be decoded."""
        if self._picture_ns is None or self.frames.health.condition is not OK:
            return False
        return self._clocks.monotonic_ns() - self._picture_ns <= self._silence_s * NS

    @property
    def condition(self) -> Condition:
        """ok, or why it gives no pictures, as of a main stream."""
        if self._stuck:
            return Condition("stalled", "the sub-stream's connection does not return")
        if self.connection.condition is not OK:
            return self.connection.condition
        if self.connection.silent_s() > self._silence_s:
            return Condition("stalled", f"no packet for {self.connection.silent_s():.0f} s")
        if not self.arrives():
            return Condition("decode", "nothing could be decoded")
        return self.frames.health.condition
