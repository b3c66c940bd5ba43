# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the search's result to the stills and the analysis, in slices: decoding again what is needed as pixels.

Place and component from what changed against the last clean frames, growth from the boxes, arrival from both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS
from daemon.detect.rules import lower_thresholds, same_place
from daemon.domain import MAX_DETECTIONS, Box, Detection, Evidence, EvidenceKind, FrameTime, ModelInfo
from daemon.ids import new_id
from daemon.ingest.colour import Converter, colour_of
from daemon.ingest.decode import Decoded
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.rewinding import Rewinding
from daemon.ingest.snapshot import Snapshot
from daemon.origin.arrival import ArrivalMap
from daemon.origin.changed import Change, CleanView
from daemon.origin.components import component_of
from daemon.origin.doubt import Doubt, doubt_about
from daemon.origin.growth import extent
from daemon.origin.place import Place, place_of
from daemon.origin.record import (
    Analysis,
    Arrival,
    Compared,
    Component,
    Extent,
    FirstVisible,
    LastClean,
    Link,
    thinned,
)
from daemon.origin.search import EDGE_NS, Found, Look
from daemon.origin.view import View, compare
from daemon.storage.still import encode

CLEAN_FRAMES = 5  # spread over the clean seconds: what the place looked like before
ARRIVAL_FRAMES = 24  # of the chain, compared with the clean ones
AGAIN_NS = 2 * NS // 5  # so much later a flame looks otherwise
LONGEST_PX = 1920  # side of the pictures that are compared

Pixels = NDArray[np.uint8]


class Subject(NamedTuple):
    """What is gone back from: the still that confirmed it, and which of its detections did."""

    evidence: Evidence
    detection: Detection
    source: str = "ring"
    times: str = "measured"


def subject_of(
    evidence: Evidence, place: Sequence[float], labels: Sequence[str], source: str = "ring", times: str = "measured"
) -> Subject:
    """Of the still that confirmed an incident at a normalised place: the strongest of its detections there."""
    width, height = evidence.width_px, evidence.height_px
    box: Box = (place[0] * width, place[1] * height, place[2] * width, place[3] * height)
    there = [each for each in evidence.detections if each.zone is None and same_place(each.box, box)]
    counting = [each for each in there if each.confidence >= evidence.thresholds.get(each.label, 1.1)]
    lost = Detection(labels[0] if labels else "fire", max(evidence.thresholds.values(), default=0.0), box)
    return Subject(evidence, max(counting, key=lambda each: each.confidence, default=lost), source, times)


class Outcome(NamedTuple):
    """What is to be kept."""

    analysis: Analysis
    stills: tuple[tuple[Evidence, bytes], ...]


class Concluding:
    """`outcome` is there once `step` was called often enough, or `nothing_new_until`: the search has to go on."""

    def __init__(
        self,
        subject: Subject,
        found: Found,
        snapshot: Snapshot,
        rewinding: Rewinding,
        plan: WorkerPlan,
        converter: Converter,
        model: ModelInfo,
        may_doubt: bool = True,
    ) -> None:
        self._may_doubt = may_doubt
        self._subject, self._found, self._snapshot, self._rewinding = subject, found, snapshot, rewinding
        self._plan, self._converter, self._model = plan, converter, model
        self._size_px = subject.evidence.width_px, subject.evidence.height_px
        self._lower = lower_thresholds(subject.evidence.thresholds, plan.floor)
        self._stills: list[tuple[Evidence, bytes]] = []
        self._slices = self._run()
        self.outcome: Outcome | None = None
        self.nothing_new_until: int | None = None
        """Up to that frame the sightings' pixels are as they were before: no fire, but what looks like one."""

    def step(self) -> None:
        """One slice."""
        try:
            next(self._slices)
        except StopIteration as end:
            self.outcome = end.value

    # ------------------------------------------------------------------ the way

    def _run(self) -> Generator[None, None, Outcome | None]:
        found = self._found
        clean = self._clean_places()
        pictures: dict[int, Pixels] = {}
        for place, decoded in self._decoded({*clean, found.first_visible}):
            if decoded is not None:
                pictures[place] = self._small(decoded)
                self._keep(place, decoded)
            yield
        before = [pictures[place] for place in clean if place in pictures]
        view = CleanView.of(before) if before else None
        yield
        first = pictures.get(found.first_visible)
        where = self._place(found.first_visible, view, first)
        yield
        if self._may_doubt and first is not None and not where.refined:
            self.nothing_new_until = yield from self._nothing_new(view, first)
            if self.nothing_new_until is not None:
                return None
        component = self._component(where, view.median if view is not None else first)
        pictures.clear()
        yield
        arrival = yield from self._arrival(view)
        doubt = doubt_about(
            burning_already=found.last_clean is None and found.ended == "record_begins" and self._begins_with_it(),
            ended=found.ended,
            glimpsed_ns=None if found.glimpsed is None else self._time(found.glimpsed).captured_at_ns,
            unwatched_ns=None if found.unwatched is None else self._time(found.unwatched).captured_at_ns,
            looks_the_same=view is not None and first is not None and not where.refined,
        )
        return Outcome(self._analysis(where, component, arrival, doubt), tuple(self._stills))

    def _begins_with_it(self) -> bool:
        """Whether first visible is about the first frame that is held: of earlier ones that cannot be decoded nobody knows."""
        return self._at_ns(self._found.first_visible) - self._at_ns(0) < EDGE_NS

    def _decoded(self, places: Iterable[int]) -> Generator[tuple[int, Decoded | None]]:
        self._rewinding.want(places)
        while self._rewinding.busy:
            rewound = self._rewinding.step()
            yield rewound if rewound is not None else (-1, None)

    def _clean_places(self) -> list[int]:
        """The last clean frame and some before it."""
        looks = self._found.looks
        clean = [at for at in sorted(looks) if at < self._found.first_visible and not looks[at].sighting]
        if len(clean) <= CLEAN_FRAMES:
            return clean
        return [clean[round(step * (len(clean) - 1) / (CLEAN_FRAMES - 1))] for step in range(CLEAN_FRAMES)]

    def _small(self, decoded: Decoded) -> Pixels:
        colour = colour_of(decoded.frame, self._plan.matrix, self._plan.colour_range)
        return np.ascontiguousarray(self._converter.small(decoded.frame, colour, LONGEST_PX))

    def _nothing_new(self, view: CleanView | None, first: Pixels) -> Generator[None, None, int | None]:
        """Of the sightings from first visible on, the last that shows nothing new; None where the first may be a fire.

        Only what stands still is nothing new: what moved among the clean frames too may be a flame that was too weak for a sighting there.
        Without clean frames the first sighting stands for them, and is doubted only when nothing moves in it. What is new stays, so
        that the sightings between can be halved.
        """
        seen = (place for place, look in self._found.looks.items() if look.sighting)
        sightings = sorted(place for place in seen if self._snapshot.holds(place))
        sightings = sightings[sightings.index(self._found.first_visible) :]
        begin = 0
        if view is not None:
            view = view.steady()
            if self._place(self._found.first_visible, view, first).refined:
                return None
            yield
        else:
            view = CleanView.of([first])
            later = [each for each in sightings if self._at_ns(each) - self._at_ns(sightings[0]) >= AGAIN_NS]
            for place in later[:2]:
                if (yield from self._is_new(view, place)):
                    return None
            if len(later) < 3:
                return None
            begin = sightings.index(later[1])
        if not (yield from self._is_new(view, sightings[-1])):
            return None
        end = len(sightings) - 1
        while end - begin > 1:
            middle = (begin + end) // 2
            if (yield from self._is_new(view, sightings[middle])):
                end = middle
            else:
                begin = middle
        return sightings[begin] if begin < end else None

    def _is_new(self, view: CleanView, place: int) -> Generator[None, None, bool]:
        """Whether a sighting's pixels are other ones than before; what cannot be decoded has the benefit of the doubt."""
        picture = None
        for at, decoded in self._decoded({place}):
            if decoded is not None and at == place:
                picture = self._small(decoded)
            yield
        if picture is None or picture.shape != view.median.shape:
            return True
        return self._place(place, view, picture).refined

    def _place(self, frame: int, view: CleanView | None, picture: Pixels | None) -> Place:
        """Of a sighting, in pixels of the frame."""
        detection = self._strongest(frame)
        if view is None or picture is None or picture.shape != view.median.shape:
            return place_of(detection, None)
        scale = picture.shape[1] / self._size_px[0]
        place = place_of(_resized(detection, scale), view.change(picture))
        return _place_resized(place, 1 / scale)

    def _component(self, place: Place, picture: Pixels | None) -> Component:
        """`picture` is what the camera shows now, best without passers-by."""
        outlines = self._plan.components
        if not outlines:
            return component_of(place, outlines, self._size_px, None)
        drawn_on, sha256 = _read_picture(self._plan.components_view)
        if drawn_on is None or picture is None:
            seen = View("cannot_tell", "the picture that the components were drawn on cannot be compared")
        else:
            seen = compare(drawn_on, picture)
        compared = Compared(seen.verdict, seen.offset_share, sha256)
        return replace(component_of(place, outlines, self._size_px, seen), view=compared)

    def _arrival(self, view: CleanView | None) -> Generator[None, None, tuple[Arrival, ...]]:
        found = self._found
        shown = [place for place in found.chain if place >= found.first_visible and found.looks[place].sighting]
        wanted = set(thinned(shown, found.first_visible, ARRIVAL_FRAMES))
        changes: dict[int, Change] = {}
        sides: dict[int, tuple[int, int]] = {}
        for place, decoded in self._decoded(wanted):
            if decoded is not None:
                picture = self._small(decoded)
                sides[place] = picture.shape[1], picture.shape[0]
                if view is not None and picture.shape == view.median.shape:
                    changes[place] = _mask_only(view.change(picture))
            yield
        arrival = ArrivalMap()
        for place in sorted(sides):
            after_s = (self._at_ns(place) - self._at_ns(found.first_visible)) / NS
            scale = sides[place][0] / self._size_px[0]
            detections = [_resized(each, scale) for each in _outside_zones(found.looks[place])]
            change = changes.get(place)
            arrival.told(after_s, detections, sides[place], self._lower, None if change is None else change.mask)
            yield
        return arrival.cells

    # ------------------------------------------------------------------ what is kept

    def _keep(self, place: int, decoded: Decoded) -> None:
        """A still of the last clean frame or of the first that shows it; what confirmed it is kept already."""
        kinds: dict[int | None, EvidenceKind] = {
            self._found.last_clean: "last_clean", self._found.first_visible: "first_visible"
        }  # fmt: skip
        kind = kinds.get(place)
        if kind is None or place == len(self._snapshot.frames) - 1:
            return
        look = self._found.looks[place]
        colour = colour_of(decoded.frame, self._plan.matrix, self._plan.colour_range)
        told = self._subject.evidence
        strongest = sorted(look.detections, key=lambda each: -each.confidence)[:MAX_DETECTIONS]
        run = decoded.packet.run.record
        assert run is not None
        evidence = Evidence(
            id=new_id(),
            camera=told.camera,
            kind=kind,
            run=run.id,
            pts=decoded.packet.pts or 0,
            time_base=run.time_base,
            time=self._snapshot.time_of(place),
            width_px=told.width_px,
            height_px=told.height_px,
            detections=tuple(strongest),
            incident=told.incident,
            model=self._model,
            thresholds=self._lower,
            damage=decoded.damage,
            colour=(colour.matrix, colour.range),
            version=self._plan.version,
            detections_omitted=len(look.detections) - len(strongest),
            drill=told.drill,
            times=told.times,
        )
        self._stills.append((evidence, encode(self._converter.full(decoded.frame, colour), evidence)))

    def _analysis(
        self, place: Place, component: Component, arrival: tuple[Arrival, ...], doubt: Doubt | None
    ) -> Analysis:
        found, told = self._found, self._subject.evidence
        chain = thinned(found.chain, found.first_visible)
        return Analysis(
            id=new_id(),
            incident=told.incident or "",
            camera=told.camera,
            source=self._subject.source,
            times=self._subject.times,
            analysed_at_ns=0,
            model=self._model,
            thresholds=self._lower,
            confirmed_at_ns=told.time.captured_at_ns,
            first_visible=self._first_visible(place),
            last_clean=self._last_clean(),
            clean_s=found.clean_ns / NS,
            doubt=doubt,
            ended=found.ended,
            looks=len(found.looks),
            component=component,
            chain=tuple(self._link(each, found.looks[each]) for each in chain),
            growth=tuple(self._extent(each, found.looks[each]) for each in chain if each >= found.first_visible),
            arrival=arrival,
            version=self._plan.version,
            drill=told.drill,
        )

    def _first_visible(self, place: Place) -> FirstVisible:
        first, last = self._found.first_visible, self._found.last_clean
        time = self._time(first)
        distance_s = 0.0 if last is None else (self._at_ns(first) - self._at_ns(last)) / NS
        is_confirmed = self._is_confirmed(first)
        told, packet = self._subject.evidence, None if is_confirmed else self._snapshot.packet(first)
        run, pts = (told.run, told.pts) if packet is None else (_run_of(packet), packet.pts or 0)
        return FirstVisible(
            at_ns=time.captured_at_ns,
            uncertainty_s=time.uncertainty_s + distance_s,
            relative_uncertainty_s=time.relative_uncertainty_s + distance_s,
            run=run,
            pts=pts,
            label=place.label,
            confidence=self._strongest(first).confidence,
            box=place.box,
            point=place.point_px,
            evidence=self._subject.evidence.id if is_confirmed else self._still("first_visible"),
        )

    def _last_clean(self) -> LastClean | None:
        if self._found.last_clean is None:
            return None
        packet = self._snapshot.packet(self._found.last_clean)
        return LastClean(
            at_ns=self._snapshot.time_of(self._found.last_clean).captured_at_ns,
            run=packet.run.record.id if packet.run.record else "",
            pts=packet.pts or 0,
            evidence=self._still("last_clean"),
        )

    def _still(self, kind: EvidenceKind) -> str | None:
        return next((evidence.id for evidence, _ in self._stills if evidence.kind == kind), None)

    def _strongest(self, place: int) -> Detection:
        strongest = self._found.looks[place].strongest
        assert strongest is not None
        return strongest

    def _link(self, place: int, look: Look) -> Link:
        strongest, at_ns = look.strongest, self._time(place).captured_at_ns
        if strongest is None:
            return Link(at_ns, None, 0.0, sighting=False)
        return Link(at_ns, strongest.label, strongest.confidence, look.sighting)

    def _extent(self, place: int, look: Look) -> Extent:
        at_ns = self._time(place).captured_at_ns
        return extent(at_ns, _outside_zones(look), self._size_px, self._lower)

    def _is_confirmed(self, place: int) -> bool:
        return place == len(self._snapshot.frames) - 1

    def _time(self, place: int) -> FrameTime:
        """That of what confirmed it is on record already, and its packet may be lost."""
        return self._subject.evidence.time if self._is_confirmed(place) else self._snapshot.time_of(place)

    def _at_ns(self, place: int) -> int:
        return self._snapshot.frames[place].at_ns


def _read_picture(path: str) -> tuple[Pixels | None, str | None]:
    """A picture as it is stored, BGR24, and its file's SHA-256; None for what cannot be read."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return None, None
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), how) if content else None
    return None if picture is None else np.asarray(picture, np.uint8), hashlib.sha256(content).hexdigest()


def _run_of(packet: Packet) -> str:
    return packet.run.record.id if packet.run.record is not None else ""


def _outside_zones(look: Look) -> list[Detection]:
    """Not where fire is meant to be."""
    return [each for each in look.detections if each.zone is None]


def _resized(detection: Detection, scale: float) -> Detection:
    x1, y1, x2, y2 = detection.box
    return replace(detection, box=(x1 * scale, y1 * scale, x2 * scale, y2 * scale))


def _place_resized(place: Place, scale: float) -> Place:
    x1, y1, x2, y2 = place.box
    (x, y), (across, down) = place.point_px, place.sigma_px
    box = (x1 * scale, y1 * scale, x2 * scale, y2 * scale)
    return Place(place.label, box, (x * scale, y * scale), (across * scale, down * scale), place.refined)


def _mask_only(change: Change) -> Change:
    """What the arrival needs of it: the rest is as large again."""
    empty = np.zeros((0, 0), np.uint8)
    return Change(change.mask, empty, empty)
