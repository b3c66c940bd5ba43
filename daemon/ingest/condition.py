# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker tells of having watched: the last watched frame, and why there is no newer one. Pure.

Gaps are the recorder's to make; from here come their beginnings and the first cause known.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.clock import NS
from daemon.messages import Watermark

SILENT_S = 5.0  # an announced frame that has not come back by then: the detector is not slow but away


@dataclass(frozen=True, slots=True)
class Condition:
    """ok, or a gap reason with its sentence."""

    reason: str = "ok"
    detail: str = ""
    since_at_ns: int | None = None
    """When it began, where that is known to be before it was found."""


OK = Condition()


@dataclass(frozen=True, slots=True)
class Signs:
    """What the worker sees at one moment; durations in seconds, None where there is nothing to count."""

    connection: Condition = OK
    """What the reader says: unreachable, refused, stalled or decode."""
    disk: str = "ok"
    detector_ready: bool = True
    announced_s: float | None = None
    """Age of the oldest announced frame that has not come back."""
    health: Condition = OK
    """What the picture itself says: frozen or no_picture."""
    packet_s: float | None = None
    """Since the last packet, or since the connection was opened."""
    undecoded_s: float | None = None
    """Since the first packet that gave no frame where one was due."""
    analysed_s: float | None = None
    """Since the last answer of the detector, or since it said hello."""


def judge(signs: Signs, read_timeout_s: float, max_interval_s: float) -> Condition:
    """The first cause, from the camera on along a frame's way."""
    if signs.connection.reason != "ok":
        return signs.connection
    if signs.packet_s is not None and signs.packet_s > read_timeout_s:
        return Condition("stalled", f"no packet for {signs.packet_s:.0f} s")
    if signs.undecoded_s is not None and signs.undecoded_s > max_interval_s:
        return Condition("decode", f"nothing could be decoded for {signs.undecoded_s:.0f} s")
    if signs.health.reason != "ok":
        return signs.health
    if not signs.detector_ready:
        return Condition("detector", "no detector is ready")
    if signs.announced_s is not None and signs.announced_s > max(SILENT_S, 2 * max_interval_s):
        return Condition("detector", f"the detector has not answered for {signs.announced_s:.0f} s")
    if signs.announced_s is not None and signs.analysed_s is not None and signs.analysed_s > 2 * max_interval_s:
        return Condition("overload", f"the detector takes {signs.analysed_s:.1f} s a frame")
    if signs.disk != "ok":
        return Condition("disk", f"the store is {signs.disk}")
    return OK


class Watch:
    """Counts the frames that were watched: analysed, their picture healthy, their record storable."""

    def __init__(self, max_interval_s: float) -> None:
        self._longest_ns = round(2 * max_interval_s * NS)
        self.frames = 0
        self.at_ns: int | None = None
        self._mono_ns: int | None = None
        self._run: str | None = None
        self._pts: int | None = None
        self._in_row = 0
        self._interval_ns: int | None = None

    def watched(self, run: str, pts: int, at_ns: int, mono_ns: int) -> None:
        """A frame was watched; times are the frame's."""
        if self._mono_ns is not None:
            interval_ns = mono_ns - self._mono_ns
            self._interval_ns = max(interval_ns, self._interval_ns or 0)
            self._in_row = self._in_row + 1 if interval_ns <= self._longest_ns else 1
        else:
            self._in_row = 1
        self.frames += 1
        self.at_ns, self._mono_ns, self._run, self._pts = at_ns, mono_ns, run, pts

    def watermark(self, condition: Condition, at_ns: int, mono_ns: int) -> Watermark:
        """What to tell the recorder now; begins a new interval to measure."""
        if condition.since_at_ns is not None or (
            self._mono_ns is not None and mono_ns - self._mono_ns > self._longest_ns
        ):
            self._in_row = 0
        interval_ns, self._interval_ns = self._interval_ns, None
        return Watermark(
            at_ns=at_ns,
            condition=condition.reason,
            detail=condition.detail,
            run=self._run,
            pts=self._pts,
            watched_at_ns=self.at_ns,
            watched_mono_ns=self._mono_ns,
            frames_watched=self.frames,
            in_row=self._in_row,
            interval_s=interval_ns / NS if interval_ns is not None else None,
            since_at_ns=condition.since_at_ns,
        )
