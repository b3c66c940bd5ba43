# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decides which analysed frames of an incident become stills; pure.

From the first suspicion every analysed frame, then by the thinning schedule. What stays unconfirmed is bounded by
`suspect_bytes_per_hour`, so that a lamp that flickers all night cannot fill the disk; an incident's first frame is
always kept. Confirming takes an incident's stills off that account.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from daemon.ingest.plan import ThinningPlan

HOUR_S = 3600.0
EARLY_S = 0.05  # frames do not fall on the schedule's ticks


class Rank(IntEnum):
    """What is let go first when the recorder cannot take any more (docs/seams.md)."""

    THINNED = 0
    """Thinned hits, and context."""
    HIT = 1
    FIRST = 2
    """first_suspect and first_confirmed."""


@dataclass(slots=True)
class _Course:
    """What has been kept of one incident."""

    first_s: float
    last_kept_s: float
    confirmed: bool = False


class Keeping:
    """One camera's; times are seconds on an axis that only grows."""

    def __init__(self, thinning: Sequence[ThinningPlan], suspect_bytes_per_hour: int) -> None:
        self._thinning = tuple(thinning)
        self._budget_bytes = suspect_bytes_per_hour
        self._courses: dict[int, _Course] = {}
        self._suspects: deque[tuple[float, int, int]] = deque()  # time, incident, bytes of what is unconfirmed
        self._suspect_bytes = 0

    def decide(self, kind: str, incident: int, now_s: float) -> Rank | None:
        """Whether this frame is kept as that kind of still of the incident, and how firmly; None: not."""
        if kind in {"first_suspect", "first_confirmed"}:
            if kind == "first_confirmed":
                self._confirm(incident)
            return Rank.FIRST
        course = self._courses.get(incident)
        if course is None:
            return None
        every_s = self._every_s(now_s - course.first_s)
        if every_s and now_s - course.last_kept_s < every_s - EARLY_S:
            return None
        self._forget_old(now_s)
        if not course.confirmed and self._suspect_bytes >= self._budget_bytes:
            return None
        return Rank.THINNED if every_s or kind == "context" else Rank.HIT

    def kept(self, kind: str, incident: int, now_s: float, size_bytes: int) -> None:
        """A still was made, as `decide` said."""
        course = self._courses.setdefault(incident, _Course(now_s, now_s))
        course.last_kept_s = now_s
        course.confirmed = course.confirmed or kind == "first_confirmed"
        if not course.confirmed:
            self._suspects.append((now_s, incident, size_bytes))
            self._suspect_bytes += size_bytes

    def closed(self, incident: int) -> None:
        """The incident is over; what stayed unconfirmed remains on the account."""
        self._courses.pop(incident, None)

    def _every_s(self, since_s: float) -> float:
        """Least distance of stills so long after the first suspicion; 0: every analysed frame."""
        return next((step.every_s for step in reversed(self._thinning) if since_s >= step.after_s), 0.0)

    def _confirm(self, incident: int) -> None:
        if incident in self._courses:
            self._courses[incident].confirmed = True
        self._suspects = deque(each for each in self._suspects if each[1] != incident)
        self._suspect_bytes = sum(size for *_, size in self._suspects)

    def _forget_old(self, now_s: float) -> None:
        while self._suspects and self._suspects[0][0] < now_s - HOUR_S:
            self._suspect_bytes -= self._suspects.popleft()[2]
