# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a camera was not watched: one state machine per camera, without clock and I/O.

Fed with what is known of the camera, it says which stretches of time were watched (`Watched`) and which were not
(`Gap`, whole at each change). By the design's rules:

- a gap begins at the last watched frame (frozen, no picture: when that began) once `limit` = 2 × detect.max_interval
  has passed without another, and ends with the third watched frame in a row that kept it;
- one gap is open per camera; its reason is the first cause that was known, and was not over before the gap was due;
- while nothing can be stored nothing counts as watched.

Durations are monotonic where both ends are known so. A wall clock that steps forward leaves a hole in UTC:
a gap `clock`. One that steps back makes UTC pass twice: then gaps and watched time are of both passes, and gaps win.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from daemon.domain import SILENT, Gap
from daemon.messages import StillsDropped, Watermark

FRAMES_IN_ROW = 3
_LONGEST_DETAIL = 500


class Now(NamedTuple):
    """One moment on both clocks, nanoseconds."""

    at_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A stretch of UTC that was watched."""

    camera: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Watched frames that a watermark told of; `at_ns` of the last."""

    camera: str
    at_ns: int
    count: int


Event = Gap | Watched | Frames


@dataclass(frozen=True, slots=True)
class Mark:
    """The last watched frame; or, of a camera never watched, the moment from which that is so."""

    at_ns: int
    mono_ns: int
    """Of this boot; of a frame of another one where it would be, by the wall clock at start (`mono_ns_of`)."""
    worker: str | None = None
    frames: int = 0
    """Watched by that worker until then."""
    in_row: int = 0
    run: str | None = None
    pts: int | None = None


class _Base(NamedTuple):
    worker: str | None
    frames: int


def mono_ns_of(at_ns: int, now: Now) -> int:
    """Where a moment of the past lies on the monotonic clock, for want of anything better by the wall clock of now."""
    return now.mono_ns - max(0, now.at_ns - at_ns)


class CameraWatch:
    """One camera. Every method returns what follows from what it was told, in order."""

    def __init__(
        self, camera: str, limit_ns: int, last: Mark, started: Now, now: Now, new_id: Callable[[], str]
    ) -> None:
        """`started`: when the recorder did, until which the daemon was dead; `now`: when its store was open."""
        self.camera = camera
        self.last = last
        self.open: Gap | None = None
        self._limit_ns = limit_ns
        self._new_id = new_id
        self._began_mono_ns = now.mono_ns
        self._open_mono_ns = last.mono_ns  # where the open gap begins
        self._settled_ns = last.at_ns  # before this nothing is changed any more: the end of the last closed gap
        self._worker: str | None = None
        self._heard_mono_ns: int | None = None  # the connected worker's last watermark
        self._cause: tuple[str, str] | None = None  # reason and detail, since the last watched frame
        self._since_ns: int | None = None  # when the condition of now began, where the worker says so
        self._blocked = False
        self._row_base = _Base(None, 0)  # frames of this worker up to here could not be stored
        self._longest_s = 0.0
        if self._idle_ns(started) > limit_ns:
            self._cause = ("daemon", "")

    # ---- what is told

    def resume(self, gap: Gap) -> None:
        """At start: the gap that was open when the daemon or the recorder ended."""
        self.open, self._settled_ns = gap, min(self._settled_ns, gap.from_at_ns)
        self._open_mono_ns = self.last.mono_ns - (self.last.at_ns - gap.from_at_ns)

    def disable(self, now: Now) -> list[Event]:
        """At start: the configuration says not to watch."""
        if self.open is not None and self.open.reason == "disabled":
            return []
        closed = self._close_now(now) if self.open is not None else []
        self._cause = ("disabled", "")
        return [*closed, *self._open_gap(now)]

    def enable(self, now: Now) -> list[Event]:
        """At start: the configuration says to watch; ends what it had switched off."""
        if self.open is None or self.open.reason != "disabled":
            return []
        return self._close_now(now)

    def hello(self, worker: str) -> None:
        """A worker connected."""
        self._worker, self._heard_mono_ns = worker, None
        if worker == self.last.worker and self._cause is not None and self._cause[0] == "daemon":
            self._cause = ("recorder", "")  # the worker lived on: only the recorder was gone

    def lost(self) -> None:
        """The worker's connection ended, and not because the recorder closed it."""
        self._worker = None
        self._blame("worker", "")

    def disk(self, state: str) -> None:
        """Whether something can be stored from now on."""
        self._blocked = state != "ok"
        if self._blocked:
            self._blame("disk", state)

    def watermark(self, mark: Watermark, now: Now) -> list[Event]:
        """What the connected worker knows."""
        self._heard_mono_ns = now.mono_ns
        events: list[Event] = []
        if self._blocked:
            self._row_base = _Base(self._worker, mark.frames_watched)
        else:
            events += self._frames(mark, now)
        self._since_ns = None
        if mark.condition != "ok":
            self._exonerate(mark.condition)
            self._blame(mark.condition, mark.detail)
            self._since_ns = mark.since_at_ns
            events += self._reach_back(mark.since_at_ns)
        return events + self.tick(now)

    def dropped(self, message: StillsDropped, reason: str) -> list[Event]:
        """The worker let stills go that could not be stored in time: what was seen then counts as not seen."""
        detail = f"{message.count} stills dropped"
        if self.open is not None:
            described = replace(self.open, detail=_joined(self.open.detail, detail))
            self.open = described
            return self._reach_back(message.from_at_ns) or [described]
        if message.to_at_ns <= self._settled_ns <= self.last.at_ns:
            return []
        self._cause = (reason, detail)
        self._row_base = _Base(self.last.worker, self.last.frames)
        return self._open_from(self._bounded(message.from_at_ns))

    def tick(self, now: Now) -> list[Event]:
        """Time passes."""
        if self.open is not None or now.mono_ns - self._began_mono_ns <= self._limit_ns:
            return []
        return self._open_gap(now) if self._idle_ns(now) > self._limit_ns else []

    def stop(self, now: Now) -> list[Event]:
        """The daemon ends: from the last watched frame on nothing is watched."""
        if self.open is not None:
            return []
        self._cause = ("daemon", "stopped")
        return self._open_gap(now)

    # ---- what follows

    def _frames(self, mark: Watermark, now: Now) -> list[Event]:
        count = mark.frames_watched - max(self._known_frames(self.last), self._known_frames(self._row_base))
        if mark.watched_at_ns is None or count <= 0:
            return []
        mono_ns = mono_ns_of(mark.watched_at_ns, now) if mark.watched_mono_ns is None else mark.watched_mono_ns
        new = Mark(mark.watched_at_ns, mono_ns, self._worker, mark.frames_watched, mark.in_row, mark.run, mark.pts)
        self._longest_s = max(self._longest_s if self.open else 0.0, mark.interval_s or 0.0)
        events: list[Event] = [Frames(self.camera, new.at_ns, count)]
        events += self._measured() if self.open is not None else self._go_on(new)
        if self.open is not None and self._row(new) >= FRAMES_IN_ROW:
            events += self._close(new)
        self.last = new
        self._cause, self._since_ns = None, None
        return events

    def _go_on(self, new: Mark) -> list[Event]:
        """From the last watched frame to a new one, no gap being open."""
        old = self.last
        elapsed_ns = new.mono_ns - old.mono_ns
        unbroken = new.worker == old.worker and old.in_row > 0 and new.in_row - old.in_row == new.frames - old.frames
        if elapsed_ns > self._limit_ns and not unbroken:
            self._blame("overload" if new.worker == old.worker else "worker", "")
            return self._open_from(old.at_ns)
        if new.at_ns - old.at_ns - elapsed_ns > self._limit_ns:
            return self._clock_gap(old.at_ns, new.at_ns)
        return [Watched(self.camera, old.at_ns, new.at_ns)] if new.at_ns > old.at_ns else []

    def _row(self, new: Mark) -> int:
        return min(new.in_row, new.frames - self._known_frames(self._row_base))

    def _known_frames(self, mark: Mark | _Base) -> int:
        return mark.frames if mark.worker == self._worker else 0

    def _measured(self) -> list[Event]:
        """An open gap `overload` gets its interval as soon as one was measured."""
        if self.open is None or self.open.reason != "overload" or self.open.detail or not self._longest_s:
            return []
        self.open = replace(self.open, detail=_interval(self._longest_s))
        return [self.open]

    def _open_gap(self, now: Now) -> list[Event]:
        """Opens the gap that the last watched frame is the beginning of."""
        if self._cause is None:
            self._cause = self._unexplained(now)
        since = self._since_ns
        if since is not None and since < self.last.at_ns:
            return self._open_from(self._bounded(since))
        return self._open_from(self.last.at_ns)

    def _open_from(self, from_ns: int) -> list[Event]:
        reason, detail = self._cause or ("worker", "")
        self.open = Gap(self._new_id(), self.camera, reason, from_ns, None, detail[:_LONGEST_DETAIL])
        self._open_mono_ns = self.last.mono_ns - (self.last.at_ns - from_ns)
        return [self.open]

    def _close(self, new: Mark) -> list[Event]:
        """Ends the open gap at a watched frame."""
        gap = self.open
        assert gap is not None
        if gap.reason == "overload" and self._longest_s:
            self.open = replace(gap, detail=_interval(self._longest_s))
        lasted_until_ns = gap.from_at_ns + max(0, new.mono_ns - self._open_mono_ns)
        if abs(new.at_ns - lasted_until_ns) <= self._limit_ns:
            return self._close_at(max(new.at_ns, gap.from_at_ns))
        closed = self._close_at(lasted_until_ns)
        return closed + (self._clock_gap(lasted_until_ns, new.at_ns) if new.at_ns > lasted_until_ns else [])

    def _close_now(self, now: Now) -> list[Event]:
        """Ends the open gap without a frame, so that one with another reason can follow."""
        assert self.open is not None
        closed = self._close_at(max(now.at_ns, self.open.from_at_ns))
        self.last = replace(self.last, at_ns=self._settled_ns, mono_ns=now.mono_ns, in_row=0)
        self._cause = None
        return closed

    def _close_at(self, to_ns: int) -> list[Event]:
        assert self.open is not None
        closed = replace(self.open, to_at_ns=to_ns)
        self.open, self._settled_ns = None, to_ns
        return [closed]

    def _clock_gap(self, from_ns: int, to_ns: int) -> list[Event]:
        """UTC that no frame can be of, since the wall clock went over it."""
        self._settled_ns = to_ns
        detail = f"the wall clock stepped by {(to_ns - from_ns) / 1e9:.1f} s"
        return [Gap(self._new_id(), self.camera, "clock", from_ns, to_ns, detail)]

    def _reach_back(self, from_ns: int | None) -> list[Event]:
        """The open gap proves to have begun earlier."""
        if self.open is None or from_ns is None or self._bounded(from_ns) >= self.open.from_at_ns:
            return []
        earlier_ns = self._bounded(from_ns)
        self._open_mono_ns -= self.open.from_at_ns - earlier_ns
        self.open = replace(self.open, from_at_ns=earlier_ns)
        return [self.open]

    # ---- what is known

    def _bounded(self, from_ns: int) -> int:
        """A beginning that does not reach into what is settled, nor beyond the last watched frame."""
        return min(max(from_ns, self._settled_ns), self.last.at_ns)

    def _idle_ns(self, now: Now) -> int:
        """How long nothing has been watched."""
        idle_ns = now.mono_ns - self.last.mono_ns
        if self._since_ns is not None:
            idle_ns += max(0, self.last.at_ns - self._since_ns)
        return idle_ns

    def _unexplained(self, now: Now) -> tuple[str, str]:
        talks = self._heard_mono_ns is not None and now.mono_ns - self._heard_mono_ns <= self._limit_ns
        if self._worker is None or not talks:
            return ("worker", "no word from it")
        return ("overload", "")

    def _exonerate(self, reason: str) -> None:
        """A worker tells causes from the camera on: when it tells one further along, the camera sends again.

        Otherwise a detector that never comes up would be called a camera's connecting, which took half a second.
        The interval that `overload` goes by spans the camera's absence as well, and proves nothing.
        """
        camera_was_silent = self._cause is not None and self._cause[0] in SILENT
        if self.open is None and camera_was_silent and reason not in (*SILENT, "overload"):
            self._cause = None

    def _blame(self, reason: str, detail: str) -> None:
        if self._cause is None:
            self._cause = (reason, detail)


def _interval(longest_s: float) -> str:
    return f"longest interval {longest_s:.1f} s"


def _joined(*details: str) -> str:
    return "; ".join(each for each in details if each)[-_LONGEST_DETAIL:]
