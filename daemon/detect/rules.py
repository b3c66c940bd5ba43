# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the detections of one camera's frames to suspects and incidents: pure functions, no clock, no I/O.

    suspect ── m of the last n frames at its place ──▶ confirmed ── quiet ──▶ ended
       └────── quiet ──▶ unconfirmed

Time as evidence (daemon/detect/flicker.py) says something of each suspect's place, of fire alone: smoke does not
flicker. At one that is held, or waits, sightings of fire alone do not confirm for as long; at a small
one of fire alone that flickers, what the detector is half as sure of counts as a sighting too.

Each suspect has its place, so that a lamp at one place neither delays nor confirms a fire at another. A detection
belongs to

1. the confirmed incident at its place, the earliest confirmed of several; else
2. the suspects at its place: it is a sighting for each of them, since boxes of one fire jump; else
3. the earliest confirmed incident that is open: fire spreads; else
4. a new suspect.

A suspect whose place has come to be that of a confirmed incident is not confirmed beside it: what is seen there belongs
to the incident, and the suspect fades. One at another place is confirmed as an incident of its own. Incidents are
numbered from 1 by state; the caller maps numbers to ids. Tested with random frames in tests/detect/test_rules.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from daemon.detect.boxes import as_share_of_height, centre, longer_side, normalised
from daemon.domain import LABELS, Box, Detection, EvidenceKind, Flicker

WEAK_SHARE = 0.5  # of the threshold: enough where it flickers, and what is certain later begins there
WEAK_LONGEST = 0.1  # of the picture's width: of what is larger the detector is sure by itself, if it burns
MAX_SUSPECTS = 8  # places a camera can suspect at once: bounds the state of a picture full of lamps

Point = tuple[float, float]
TrackState = Literal["suspect", "confirmed", "unconfirmed", "ended"]


@dataclass(frozen=True, slots=True)
class Zone:
    """Where fire is meant to be: normalised corners, and the labels that it marks."""

    name: str
    polygon: tuple[Point, ...]
    labels: tuple[str, ...] = LABELS

    def holds(self, point: Point) -> bool:
        """Whether a normalised point lies inside, by the even-odd rule."""
        x, y = point
        inside = False
        for (x1, y1), (x2, y2) in zip(self.polygon, (*self.polygon[1:], self.polygon[0]), strict=True):
            if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                inside = not inside
        return inside


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What one camera's rules go by; the fields' meanings are those of detect.* in config.yaml."""

    thresholds: Mapping[str, float]
    """Confidence from which a detection counts, per label; a label without one never counts."""
    m: int = 3
    n: int = 5
    within_s: float = 10.0
    unconfirmed_after_s: float = 10.0
    ended_after_s: float = 30.0
    zones: tuple[Zone, ...] = ()


class Sighting(NamedTuple):
    """A frame in which a suspect or an incident was seen."""

    frame: int
    """Its number."""
    at_s: float
    smoke: bool
    """Whether as smoke too, of which time says nothing."""


@dataclass(frozen=True, slots=True)
class Track:
    """A suspect or a confirmed incident; times are those that the caller gave with the frames."""

    number: int
    state: TrackState
    first_s: float
    last_s: float
    """Its last sighting."""
    place: Box
    """Where it was last seen, normalised 0..1."""
    labels: tuple[str, ...]
    max_confidence: float
    confirmed_s: float | None = None
    sightings: tuple[Sighting, ...] = ()
    """The last, at most n."""
    ignored_zones: tuple[str, ...] = ()
    """Zones that had detections while it was open."""
    flicker: Flicker | None = None
    """What time said of its place last; None where it was never asked."""

    @property
    def withheld(self) -> bool:
        """Whether it is not to be confirmed now, however often fire alone is seen."""
        return self.flicker is not None and self.flicker.says in ("held", "waits")

    @property
    def reason(self) -> str:
        """What time said of it, in words, where it weighed; else empty."""
        if self.flicker is None or self.flicker.says == "open" or (self.withheld and self.confirmed_s is not None):
            return ""  # what is confirmed although its flames are held is so by its smoke
        return f"{self.flicker.says}: {', '.join(self.flicker.reasons)}"


@dataclass(frozen=True, slots=True)
class RuleState:
    """Everything the rules remember of a camera; carried over from run to run."""

    frame: int = 0
    """Analysed frames so far."""
    next_number: int = 1
    tracks: tuple[Track, ...] = ()
    """The open ones, by number."""
    sighted: tuple[int, ...] = ()
    """Numbers of those that the last frame showed."""

    @property
    def active(self) -> bool:
        """Whether anything is suspected or confirmed, so that the camera is to be looked at closely."""
        return bool(self.tracks)

    @property
    def confirmed(self) -> Track | None:
        """The earliest confirmed incident that is open."""
        return min((each for each in self.tracks if each.state == "confirmed"), key=_standing, default=None)


class Event(NamedTuple):
    """A transition: `track` is as it is after it, `track.state` says to what."""

    at_s: float
    track: Track


class Role(NamedTuple):
    """What a frame is to an incident: the kind of still to keep, and the incident's number."""

    kind: EvidenceKind
    track: int


class Observation(NamedTuple):
    """What a frame changed. `detections` are those given, in the same order, with their zones marked."""

    state: RuleState
    events: tuple[Event, ...]
    detections: tuple[Detection, ...]

    @property
    def roles(self) -> tuple[Role, ...]:
        """The most important first: one for each incident that this frame began or confirmed, else one hit or context.

        Empty when nothing is open: the frame need not be kept.
        """
        firsts: dict[int, EvidenceKind] = {}
        for event in self.events:
            if event.track.state == "confirmed":
                firsts[event.track.number] = "first_confirmed"
            elif event.track.state == "suspect":
                firsts[event.track.number] = "first_suspect"
        if firsts:
            # "first_confirmed" sorts before "first_suspect"
            return tuple(sorted((Role(kind, number) for number, kind in firsts.items())))
        shown = [each for each in self.state.tracks if each.number in self.state.sighted]
        if shown:
            return (Role("hit", min(shown, key=_importance).number),)
        if self.state.tracks:
            return (Role("context", min(self.state.tracks, key=_importance).number),)
        return ()

    @property
    def role(self) -> Role | None:
        """The most important of `roles`; None: the frame need not be kept."""
        return self.roles[0] if self.roles else None


def observe(
    state: RuleState,
    detections: Sequence[Detection],
    size_px: tuple[int, int],
    now_s: float,
    settings: RuleSettings,
    flickers: Mapping[int, Flicker] | None = None,
) -> Observation:
    """One analysed frame of `size_px` (width, height), with boxes in its pixels, also those below the thresholds.

    `now_s` is the frame's time, on an axis that only grows and that all calls for this camera share, also over runs.
    `flickers`: what time says of suspects, by number; without one a suspect is confirmed by its sightings alone.
    """
    state, closed = tick(_judged(state, flickers or {}), now_s, settings)
    marked = tuple(_mark(each, size_px, settings.zones) for each in detections)
    counting = _counting(marked, settings)
    counting.sort(key=lambda each: -each.confidence)
    seen = [_Seen(each, normalised(each.box, size_px)) for each in counting if each.zone is None]
    weak = [_Seen(each, normalised(each.box, size_px)) for each in _weak(marked, settings) if each.zone is None]
    zones = frozenset(each.zone for each in counting if each.zone is not None)
    frame = _Frame(state, now_s, size_px[0] / size_px[1], settings, zones)
    elsewhere = frame.feed(seen, weak)
    frame.confirm()
    frame.place_rest(elsewhere)
    frame.confirm()
    return Observation(frame.result(), (*closed, *frame.events), marked)


def tick(state: RuleState, now_s: float, settings: RuleSettings) -> tuple[RuleState, tuple[Event, ...]]:
    """Time passes, also without frames: ends what has not been seen for long enough."""
    kept: list[Track] = []
    events: list[Event] = []
    for track in state.tracks:
        quiet_s = now_s - track.last_s
        if track.state == "suspect" and quiet_s >= settings.unconfirmed_after_s:
            events.append(Event(now_s, replace(track, state="unconfirmed")))
        elif track.state == "confirmed" and quiet_s >= settings.ended_after_s:
            events.append(Event(now_s, replace(track, state="ended")))
        else:
            kept.append(track)
    return (replace(state, tracks=tuple(kept), sighted=()) if events else state), tuple(events)


def marked(detections: Sequence[Detection], size_px: tuple[int, int], zones: Sequence[Zone]) -> tuple[Detection, ...]:
    """The same, with the ignore zones that they lie in; boxes in pixels of a picture of that size."""
    return tuple(_mark(each, size_px, zones) for each in detections)


def counting_places(
    detections: Sequence[Detection], size_px: tuple[int, int], settings: RuleSettings
) -> tuple[Box, ...]:
    """Boxes, as shares of the picture's height, of those detections that would begin or go on with something: above
    threshold, not rejected, in no ignore zone.
    """
    counting = _counting([_mark(each, size_px, settings.zones) for each in detections], settings)
    return tuple(as_share_of_height(each.box, size_px) for each in counting if each.zone is None)


def lower_thresholds(thresholds: Mapping[str, float], floor: float = 0.0) -> dict[str, float]:
    """Those that make a sighting, from those that count; below `floor` the detector reports nothing."""
    return {label: max(floor, WEAK_SHARE * value) for label, value in thresholds.items()}


def _weak(detections: Sequence[Detection], settings: RuleSettings) -> list[Detection]:
    """Those that count at a place that flickers, and nowhere else."""
    lower = lower_thresholds(settings.thresholds)
    return [
        each
        for each in detections
        if not each.rejected and lower.get(each.label, math.inf) <= each.confidence < settings.thresholds[each.label]
    ]


def _judged(state: RuleState, flickers: Mapping[int, Flicker]) -> RuleState:
    """With what time says now of suspects; a confirmed incident keeps that with which it was confirmed."""
    tracks = tuple(
        replace(each, flicker=flickers.get(each.number)) if each.state == "suspect" else each for each in state.tracks
    )
    return replace(state, tracks=tracks)


def _counting(detections: Sequence[Detection], settings: RuleSettings) -> list[Detection]:
    return [
        each
        for each in detections
        if not each.rejected and each.confidence >= settings.thresholds.get(each.label, math.inf)
    ]


def same_place(one: Box, other: Box, aspect: float = 1.0) -> bool:
    """Whether two boxes overlap, or their centres lie within one box size: the longer side of the larger box.

    `aspect` is the picture's width ÷ height when the boxes are normalised, so that lengths compare along both axes.
    """
    if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]:
        return True
    return _distance(one, other, aspect) <= max(longer_side(one, aspect), longer_side(other, aspect))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A detection that counts, with its normalised box."""

    detection: Detection
    box: Box


@dataclass(slots=True)
class _Frame:
    """The work on one frame; what was open before is in `tracks`, by number."""

    before: RuleState
    now_s: float
    aspect: float
    settings: RuleSettings
    zones: frozenset[str]
    """Ignore zones that have detections in this frame."""
    events: list[Event] = field(default_factory=list)
    tracks: dict[int, Track] = field(init=False)
    sighted: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    next_number: int = field(init=False)
    number: int = field(init=False)

    def __post_init__(self) -> None:
        self.tracks = {
            each.number: replace(each, ignored_zones=tuple(sorted(self.zones | {*each.ignored_zones})))
            for each in self.before.tracks
        }
        self.next_number = self.before.next_number
        self.number = self.before.frame + 1

    def feed(self, seen: Sequence[_Seen], weak: Sequence[_Seen]) -> list[_Seen]:
        """Gives each detection to what is open at its place, weak ones where it flickers; returns those elsewhere."""
        places = dict(self.tracks)  # as they were before this frame: the order of detections must not matter
        given: dict[int, list[_Seen]] = {}
        elsewhere = []
        for each in seen:
            at = [track for track in places.values() if same_place(each.box, track.place, self.aspect)]
            owners = sorted((track for track in at if track.state == "confirmed"), key=_standing)[:1] or at
            for track in owners:
                given.setdefault(track.number, []).append(each)
            if not owners:
                elsewhere.append(each)
        for each in weak:
            for track in places.values():
                if self._bears_weak(track) and same_place(each.box, track.place, self.aspect):
                    given.setdefault(track.number, []).append(each)
        for number, mine in given.items():
            nearest = min(mine, key=lambda each: _distance(each.box, places[number].place, self.aspect))
            self._sight(number, mine, nearest.box)
        return elsewhere

    def _bears_weak(self, track: Track) -> bool:
        """Whether what the detector is half as sure of counts at its place: not where smoke is seen too, whose plume is as restless."""
        flickers = track.flicker is not None and track.flicker.says == "flickers"
        small = longer_side(track.place, self.aspect) <= WEAK_LONGEST * self.aspect
        return track.state == "suspect" and track.labels == ("fire",) and flickers and small

    def confirm(self) -> None:
        """Confirms the suspects that were seen often enough, the oldest first."""
        for track in sorted(self.tracks.values(), key=lambda each: each.number):
            if track.state != "suspect" or track.number not in self.sighted:
                continue
            if self._recent(track) < self.settings.m:
                continue
            running = (each for each in self.tracks.values() if each.state == "confirmed")
            if not any(same_place(track.place, each.place, self.aspect) for each in running):
                confirmed = replace(track, state="confirmed", confirmed_s=self.now_s)
                self.tracks[track.number] = confirmed
                self.events.append(Event(self.now_s, confirmed))

    def place_rest(self, elsewhere: Sequence[_Seen]) -> None:
        """What is at no known place: joins the earliest confirmed incident, or begins suspects, the strongest first."""
        running = self.result().confirmed
        if running is not None and elsewhere:
            moved = running.number not in self.sighted
            self._sight(running.number, elsewhere, elsewhere[0].box if moved else running.place)
            return
        for each in elsewhere:
            beside = [n for n in sorted(self.begun) if same_place(each.box, self.tracks[n].place, self.aspect)]
            if beside:
                self._sight(beside[0], [each], self.tracks[beside[0]].place)
            elif self._make_room():
                self._begin(each)

    def result(self) -> RuleState:
        """The state after this frame."""
        return RuleState(
            frame=self.number,
            next_number=self.next_number,
            tracks=tuple(self.tracks[number] for number in sorted(self.tracks)),
            sighted=tuple(sorted(self.sighted)),
        )

    def _begin(self, seen: _Seen) -> None:
        number = self.next_number
        self.next_number += 1
        self.tracks[number] = Track(
            number, "suspect", self.now_s, self.now_s, seen.box, (), 0.0, ignored_zones=tuple(sorted(self.zones))
        )
        self.begun.add(number)
        self._sight(number, [seen], seen.box)
        self.events.append(Event(self.now_s, self.tracks[number]))

    def _sight(self, number: int, seen: Sequence[_Seen], place: Box) -> None:
        track = self.tracks[number]
        shown = {each.detection.label for each in seen}
        before = track.sightings
        if before and before[-1].frame == self.number:
            shown |= {"smoke"} if before[-1].smoke else set()
            before = before[:-1]
        sightings = (*before, Sighting(self.number, self.now_s, "smoke" in shown))[-self.settings.n :]
        self.tracks[number] = replace(
            track,
            last_s=max(track.last_s, self.now_s),
            place=place,
            labels=tuple(sorted({*track.labels, *shown})),
            max_confidence=max(track.max_confidence, *(each.detection.confidence for each in seen)),
            sightings=sightings,
        )
        self.sighted.add(number)

    def _recent(self, track: Track) -> int:
        oldest, since_s = self.number - self.settings.n, self.now_s - self.settings.within_s
        recent = (each for each in track.sightings if each.frame > oldest and each.at_s >= since_s)
        return sum(1 for each in recent if each.smoke or not track.withheld)

    def _make_room(self) -> bool:
        """Whether one more suspect may begin; at the cap the oldest goes, those not seen just now first."""
        suspects = [each for each in self.tracks.values() if each.state == "suspect"]
        if len(suspects) < MAX_SUSPECTS:
            return True
        leaving = [each for each in suspects if each.number not in self.begun]
        if not leaving:  # the frame alone fills the cap with stronger ones; its still shows the rest
            return False
        oldest = min(leaving, key=lambda each: (each.number in self.sighted, each.number))
        del self.tracks[oldest.number]
        self.sighted.discard(oldest.number)
        self.events.append(Event(self.now_s, replace(oldest, state="unconfirmed")))
        return True


def _standing(track: Track) -> tuple[float, int]:
    return (track.confirmed_s if track.confirmed_s is not None else math.inf, track.number)


def _importance(track: Track) -> tuple[float, int]:
    """Confirmed before suspected; of suspects the youngest, whose hits are not yet thinned."""
    return (*_standing(track)[:1], -track.number if track.confirmed_s is None else track.number)


def _mark(detection: Detection, size_px: tuple[int, int], zones: Sequence[Zone]) -> Detection:
    middle = centre(normalised(detection.box, size_px))
    name = next((each.name for each in zones if detection.label in each.labels and each.holds(middle)), None)
    return replace(detection, zone=name)


def _distance(one: Box, other: Box, aspect: float) -> float:
    (x1, y1), (x2, y2) = centre(one), centre(other)
    return math.hypot((x1 - x2) * aspect, y1 - y2)
