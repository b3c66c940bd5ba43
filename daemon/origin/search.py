# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which frames of the past are looked at, and which of them is the first that shows the fire; docs/origin.md, The search.

A state machine without clock, I/O or pixels: `wanted` names the frames to look at, `told` takes what the detector saw in
them, until nothing is wanted and there is a result. Frames are known by their place in time; the same search runs over
the ring and over a stored clip.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

from daemon.clock import NS
from daemon.detect.rules import same_place
from daemon.domain import Box, Detection

CLEAN_NS = 3 * NS
STEP_NS = NS // 2  # between frames that are looked at on the way to 3 clean seconds
FINE_NS = 3 * NS // 100  # least distance of those looked at one by one: all of 30 a second, half of 50
EDGE_NS = NS // 2  # so long every frame before the first sighting has to be clean
BEARS_OUT_NS = (NS // 5, NS)  # from first visible on, more than half of the frames of each are sightings
KEPT_LOOKS = 100  # of those allowed: for the way to the frame, once going back has used up the others

Ended = Literal["clean", "record_begins", "bound"]


class Frame(NamedTuple):
    """One frame that could be looked at, on an axis on which the frames are in order."""

    at_ns: int
    key: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What one frame showed at the place; `strongest` is a sighting where it has the lower threshold."""

    strongest: Detection | None
    sighting: bool
    detections: tuple[Detection, ...] = ()
    """All that the frame showed, wherever."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result; frames are named by their place in the sequence that was searched."""

    first_visible: int
    last_clean: int | None
    """None: it was burning already when the record begins."""
    glimpsed: int | None
    """The earliest frame before first visible that showed it as well, but was not borne out; None: there is none."""
    unwatched: int | None
    """The clean frame before a hole of 3 s or more that the 3 s before first visible reach into; None: there is no such hole."""
    ended: Ended
    clean_ns: int
    """For how long before first visible nothing but clean frames was seen."""
    looks: Mapping[int, Look]
    """Every frame that was looked at."""

    @property
    def chain(self) -> list[int]:
        """What was looked at from last clean on, or from where it was glimpsed, in order."""
        begin = min(place for place in (self.first_visible, self.last_clean, self.glimpsed) if place is not None)
        return sorted(place for place in self.looks if place >= begin)


class Search:
    """One going back, from the frame called `confirmed` to the first that shows the same.

    `detection` is what confirmed it, its box in pixels; `thresholds` are the lower ones. At most `most_looks` frames are
    asked for.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        confirmed: int,
        detection: Detection,
        thresholds: Mapping[str, float],
        most_looks: int = 300,
    ) -> None:
        self._frames = frames
        self._at = [each.at_ns for each in frames]
        self._fine = _thinned(self._at)
        self._confirmed, self._place = confirmed, detection.box
        self._last_box: Box | None = None
        self._thresholds, self._most = thresholds, most_looks
        self._looks: dict[int, Look | None] = {confirmed: Look(detection, sighting=True, detections=(detection,))}
        self._earliest = confirmed
        self._asked: tuple[int, ...] = ()
        self._ended: Ended | None = None
        self._rejected = -1
        self.result: Found | None = None
        self._go_on()

    @property
    def wanted(self) -> tuple[int, ...]:
        """The frames to look at next, in order of time; empty when there is a result."""
        return self._asked

    @property
    def place(self) -> Box:
        """Where the earliest sighting so far is: what comes next is looked for there."""
        look = self._looks[self._earliest]
        assert look is not None
        assert look.strongest is not None
        return look.strongest.box

    @property
    def done(self) -> int:
        """How many frames were looked at or could not be."""
        return len(self._looks) - 1

    def told(self, seen: Mapping[int, Sequence[Detection] | None]) -> None:
        """What all wanted frames showed, boxes in pixels of the whole; None: it could not be decoded, or is damaged."""
        for place in sorted(self._asked, reverse=True):  # later ones first: each hands its place on to the one before
            detections = seen[place]
            self._looks[place] = None if detections is None else self._judged(detections)
        self._go_on()

    def nothing_new_until(self, place: int) -> None:
        """The pixels say that sightings up to that frame show what was there before too: they are none, and it goes on."""
        for each, look in self._looks.items():
            if each <= place and look is not None and look.sighting:
                self._looks[each] = replace(look, sighting=False)
        self._ended, self.result = None, None
        self._go_on()

    def give_up(self) -> None:
        """A bound outside: the result is what is known by now."""
        self._ended = "bound"
        self._asked = ()
        self._conclude(self._candidate())

    # ------------------------------------------------------------------ what was seen

    def _judged(self, detections: Sequence[Detection]) -> Look:
        counting = [each for each in detections if each.label in self._thresholds and each.zone is None]
        near = [each for each in counting if self._at_place(each.box)]
        strongest = max(near, key=lambda each: each.confidence / self._thresholds[each.label], default=None)
        sighting = strongest is not None and strongest.confidence >= self._thresholds[strongest.label]
        if sighting and strongest is not None:
            self._last_box = strongest.box
        return Look(strongest, sighting, tuple(detections))

    def _at_place(self, box: Box) -> bool:
        return same_place(box, self._place) or (self._last_box is not None and same_place(box, self._last_box))

    def _sights(self, place: int) -> bool:
        look = self._looks.get(place)
        return look is not None and look.sighting

    # ------------------------------------------------------------------ what is next

    def _go_on(self) -> None:
        self._earliest = min(place for place in self._looks if self._sights(place))
        wanted = self._back() if self._ended != "bound" else []  # again when single frames have moved the beginning
        if not wanted:
            wanted = self._to_the_frame()
        self._asked = tuple(sorted(wanted))

    def _back(self) -> list[int]:
        """Frames before the earliest sighting; none when there were 3 clean seconds, or it can go no further."""
        at_ns = self._at[self._earliest]
        begin = bisect_right(self._at, at_ns - CLEAN_NS)
        if not any(place in self._looks for place in range(begin, self._earliest)):
            key = next((place for place in range(begin, self._earliest) if self._frames[place].key), None)
            wanted = [] if key is None else [key]
        else:
            wanted = []
        grid, reaches = self._grid()
        wanted = wanted or [place for place in grid if place not in self._looks]
        if not wanted:
            self._ended = "clean" if reaches else "record_begins"
        elif self.done + len(wanted) > self._most - KEPT_LOOKS:
            self._ended, wanted = "bound", []
        return wanted

    def _grid(self) -> tuple[list[int], bool]:
        """Frames at most a step apart that show whether the 3 s before the earliest sighting are clean; whether they reach so far."""
        until_ns = self._at[self._earliest] - CLEAN_NS
        grid: list[int] = []
        place = self._earliest
        while self._at[place] > until_ns:
            begin = bisect_left(self._at, self._at[place] - STEP_NS)
            within = [each for each in range(begin, place) if self._looks.get(each, 1) is not None]
            known = [each for each in within if each in self._looks]
            before = next((each for each in range(begin - 1, -1, -1) if self._looks.get(each, 1) is not None), None)
            following = known[0] if known else within[0] if within else before
            if following is None:
                return grid, False
            place = following
            grid.append(place)
        return grid, True

    def _to_the_frame(self) -> list[int]:
        """Frames round the earliest sighting that is not rejected; none once one bears out, which is the result."""
        while True:
            candidate = self._candidate()
            wanted = self._unseen(self._at[candidate] - EDGE_NS, self._at[candidate], after=self._rejected)
            wanted = wanted or self._unseen(self._at[candidate], self._at[candidate] + BEARS_OUT_NS[-1])
            if wanted and self.done + len(wanted) > self._most:
                self._ended, wanted = "bound", []
            if wanted:
                return wanted
            if self._bears_out(candidate) or candidate == self._confirmed:
                self._conclude(candidate)
                return []
            self._rejected = candidate

    def _candidate(self) -> int:
        return min(place for place in self._looks if place > self._rejected and self._sights(place))

    def _unseen(self, from_ns: int, to_ns: int, after: int = -1) -> list[int]:
        """Frames of an interval, its end included, up to the confirmation, that have not been looked at."""
        begin, end = bisect_left(self._at, from_ns), min(bisect_right(self._at, to_ns), self._confirmed)
        return [
            place for place in range(max(begin, after + 1), end) if place in self._fine and place not in self._looks
        ]

    def _bears_out(self, candidate: int) -> bool:
        for span_ns in BEARS_OUT_NS:
            end = bisect_right(self._at, self._at[candidate] + span_ns)
            looked = [place for place in range(candidate, end) if self._looks.get(place) is not None]
            if 2 * sum(self._sights(place) for place in looked) <= len(looked):
                return False
        return True

    def _conclude(self, first: int) -> None:
        looks = {place: look for place, look in self._looks.items() if look is not None}
        before = sorted((place for place in looks if place < first), reverse=True)
        last_clean = next((place for place in before if not looks[place].sighting), None)
        glimpsed = min((place for place in before if looks[place].sighting), default=None)
        clean_ns = 0
        for place in before:
            if looks[place].sighting:
                break
            clean_ns = self._at[first] - self._at[place]
        ended = self._ended or "bound"
        self.result = Found(first, last_clean, glimpsed, self._unwatched(first, before), ended, clean_ns, looks)

    def _unwatched(self, first: int, before: Sequence[int]) -> int | None:
        """Not one that last clean and first visible are the two ends of: that is what the uncertainty tells."""
        for later, place in pairwise(before):
            if self._at[first] - self._at[later] >= CLEAN_NS or not self._clean(later):
                return None
            if self._at[later] - self._at[place] >= CLEAN_NS:  # of frames that only were not asked for it is no hole
                return place if all(self._looks.get(each, 1) is None for each in range(place + 1, later)) else None
        return None

    def _clean(self, place: int) -> bool:
        return self._looks.get(place) is not None and not self._sights(place)


def _thinned(at_ns: Sequence[int]) -> frozenset[int]:
    """Frames that are at least FINE_NS apart."""
    kept: list[int] = []
    for place, moment in enumerate(at_ns):
        if not kept or moment - at_ns[kept[-1]] >= FINE_NS:
            kept.append(place)
    return frozenset(kept)
