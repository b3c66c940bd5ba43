# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decides which analysed frames of an incident become stills; pure.

From the first suspicion every analysed frame, then by the thinning schedule; once it is confirmed and its clip leaves frames
out, at least one every 2 s. A lamp that flickers all night cannot fill
the disk. What stays unconfirmed is held, in any hour, to

- `suspect_bytes_per_hour` of hits and context;
- as many bytes again of first frames; beyond those still one a minute for each place, and eight a minute in all (as
  many places as the rules suspect at once), so that another place's first frame is kept.

Each of the two may be passed by the still that fills it: with stills of s bytes at P ≤ 8 places that makes 2 ×
(suspect_bytes_per_hour + s) + 60 × P × s bytes an hour. Confirming takes an incident's stills off both accounts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import takewhile
from typing import NamedTuple

from daemon.detect.rules import MAX_SUSPECTS, same_place
from daemon.domain import Box
from daemon.ingest.plan import ThinningPlan

HOUR_S = 3600.0
MINUTE_S = 60.0
EARLY_S = 0.05  # frames do not fall on the schedule's ticks
LAST_S = 2.0  # how old the last frame that is kept of a fire may be


class Rank(IntEnum):
    """What is let go first when the recorder cannot take any more (docs/seams.md)."""

    REFERENCE = 0
    THINNED = 1
    """Thinned hits, and context."""
    MANUAL = 2
    HIT = 3
    FIRST = 4
    """first_suspect and first_confirmed."""


@dataclass(slots=True)
class _Course:
    """What has been kept of one incident; `place` is where it began."""

    place: Box
    first_s: float
    last_kept_s: float
    confirmed: bool = False


class _Kept(NamedTuple):
    """A still of what is unconfirmed."""

    at_s: float
    incident: int
    bytes: int
    place: Box


class _Account:
    """The stills of one sort that were kept within the hour of incidents that are unconfirmed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._kept: deque[_Kept] = deque()

    def add(self, kept: _Kept) -> None:
        self._kept.append(kept)
        self.bytes += kept.bytes

    def confirm(self, incident: int) -> None:
        """What proves to be a fire is not on the lamps' account."""
        self._kept = deque(each for each in self._kept if each.incident != incident)
        self.bytes = sum(each.bytes for each in self._kept)

    def forget_old(self, now_s: float) -> None:
        while self._kept and self._kept[0].at_s < now_s - HOUR_S:
            self.bytes -= self._kept.popleft().bytes

    def since(self, at_s: float) -> Iterator[_Kept]:
        """Those kept after that moment."""
        return takewhile(lambda each: each.at_s > at_s, reversed(self._kept))


class Keeping:
    """One camera's; times are seconds on an axis that only grows, places are normalised to the picture's height."""

    def __init__(self, thinning: Sequence[ThinningPlan], suspect_bytes_per_hour: int) -> None:
        self._thinning = tuple(thinning)
        self._budget_bytes = suspect_bytes_per_hour
        self._courses: dict[int, _Course] = {}
        self._firsts, self._others = _Account(), _Account()

    def decide(self, kind: str, incident: int, now_s: float, place: Box, *, filmed: bool = True) -> Rank | None:
        """Whether this frame is kept as that kind of still of the incident, and how firmly; None: not.

        `place` is where the incident is: (x1, y1, x2, y2) as shares of the picture's height. `filmed`: its clip has this
        frame, or one shortly before it.
        """
        if kind == "first_confirmed":
            self._courses.setdefault(incident, _Course(place, now_s, now_s))  # one sighting can be enough to confirm
            self._confirm(incident)
            return Rank.FIRST
        self._firsts.forget_old(now_s)
        self._others.forget_old(now_s)
        if kind == "first_suspect":
            self._courses[incident] = _Course(place, now_s, now_s)
            return Rank.FIRST if self._has_room_for_first(place, now_s) else None
        return self._decide_later(kind, incident, now_s, filmed=filmed)

    def kept(self, kind: str, incident: int, now_s: float, size_bytes: int) -> None:
        """A still was made, as `decide` said."""
        course = self._courses[incident]
        course.last_kept_s = now_s
        if not course.confirmed:
            account = self._firsts if kind == "first_suspect" else self._others
            account.add(_Kept(now_s, incident, size_bytes, course.place))

    def closed(self, incident: int) -> None:
        """The incident is over; what stayed unconfirmed remains on the account."""
        self._courses.pop(incident, None)

    def _has_room_for_first(self, place: Box, now_s: float) -> bool:
        if self._firsts.bytes < self._budget_bytes:
            return True
        recent = list(self._firsts.since(now_s - MINUTE_S))
        return len(recent) < MAX_SUSPECTS and not any(same_place(each.place, place) for each in recent)

    def _decide_later(self, kind: str, incident: int, now_s: float, *, filmed: bool) -> Rank | None:
        """Of a hit or context."""
        course = self._courses[incident]
        every_s = self._every_s(now_s - course.first_s)
        if course.confirmed and not filmed:  # the camera may be lost in this fire
            every_s = min(every_s, LAST_S)
        if every_s and now_s - course.last_kept_s < every_s - EARLY_S:
            return None
        if not course.confirmed and self._others.bytes >= self._budget_bytes:
            return None
        return Rank.THINNED if every_s or kind == "context" else Rank.HIT

    def _every_s(self, since_s: float) -> float:
        """Least distance of stills so long after the first suspicion; 0: every analysed frame."""
        return next((step.every_s for step in reversed(self._thinning) if since_s >= step.after_s), 0.0)

    def _confirm(self, incident: int) -> None:
        self._courses[incident].confirmed = True
        self._firsts.confirm(incident)
        self._others.confirm(incident)
