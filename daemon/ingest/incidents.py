# SPDX-License-Identifier: AGPL-3.0-or-later
"""From analysed frames to incidents and the stills that are to be kept of them: applies daemon/detect/rules.py.

Gives records, makes no pictures and sends nothing. The rules number incidents; here the numbers get their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS
from daemon.detect.rules import Event, Role, RuleSettings, RuleState, Track, Zone, counting_places, observe, tick
from daemon.domain import MAX_DETECTIONS, Box, Detection, Evidence, Flicker, Incident, ModelInfo
from daemon.ids import new_id
from daemon.ingest.closeups import CloseUps
from daemon.ingest.frames import Picture
from daemon.ingest.keeping import Keeping, Rank
from daemon.ingest.plan import WorkerPlan
from daemon.messages import IncidentChanged

CLOSED = ("ended", "unconfirmed")

How = Literal["whole", "native", "patrol"]
"""How a picture was looked at: whole, scaled; a part of it in its own resolution, live; all of it so, or the places of its
hints, through the work channel."""


class Wanted(NamedTuple):
    """A still to make: its record, and how firmly it is to be kept."""

    evidence: Evidence
    rank: Rank
    role: Role


class Findings(NamedTuple):
    """What a frame, or time alone, has changed; the transitions come before the stills that name their incidents."""

    changes: tuple[IncidentChanged, ...] = ()
    stills: tuple[Wanted, ...] = ()


@dataclass(slots=True)
class _Known:
    """What the rules' numbers do not hold of an incident."""

    id: str
    first_suspect_at_ns: int
    first_confirmed_at_ns: int | None = None


class Incidents:
    """One camera's, from the worker's start to its end; runs come and go within."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._rules = plan.rules
        self._keeping = Keeping(plan.thinning, plan.suspect_bytes_per_hour)
        self._state = RuleState()
        self._close_ups = CloseUps(on=plan.flicker)
        self._known: dict[int, _Known] = {}
        self._native: dict[
            int, int
        ] = {}  # open, and begun by the patrol: how often in a row the whole picture showed it
        self._now_s = 0.0
        self.standing: tuple[Zone, ...] = ()
        """Where the patrol saw last, in a round or at hints since, what stood there before: no suspicion in its own resolution."""

    @property
    def active(self) -> bool:
        """Whether anything is suspected or confirmed."""
        return self._state.active

    @property
    def most_advanced(self) -> str:
        """The state of the most advanced open incident, or empty."""
        if self._state.confirmed is not None:
            return "confirmed"
        return "suspect" if self._state.active else ""

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Ids of the confirmed incidents that are open."""
        return tuple(self._known[each.number].id for each in self._state.tracks if each.state == "confirmed")

    @property
    def native_places(self) -> tuple[Box, ...]:
        """Where something is open that only native resolution shows, normalised."""
        return tuple(each.place for each in self._state.tracks if each.number in self._native)

    @property
    def others(self) -> bool:
        """Whether something is open that the whole picture shows."""
        return len(self._state.tracks) > len(self._native)

    def counting(
        self, detections: Sequence[Detection], size_px: tuple[int, int], how: How = "whole"
    ) -> tuple[Box, ...]:
        """Places of the detections that the rules would count, as shares of the picture's height."""
        return counting_places(detections, size_px, self._settings_for(how))

    def decoded(self, luma: NDArray[np.uint8], mono_ns: int) -> None:
        """A frame of the main stream was decoded, whether or not it is analysed: what is suspected is watched in it."""
        self._close_ups.came(luma, mono_ns / NS)

    def analysed(
        self,
        picture: Picture,
        detections: Sequence[Detection],
        model: ModelInfo,
        how: How = "whole",
        *,
        filmed: bool = True,
    ) -> Findings:
        """The detector has looked at a picture of the main stream; `filmed`: the clip has it, or one shortly before."""
        size_px = picture.size_px
        now_s = self._advance(picture.mono_ns)
        flickers = self._close_ups.flickers(now_s)
        seen = observe(self._state, detections, size_px, now_s, self._settings_for(how), flickers)
        self._state = seen.state
        self._close_ups.follow(seen.state.tracks)
        self._note_native(seen.events, how)
        changes = self._changes(seen.events, picture.time.captured_at_ns)
        stills = []
        for role in seen.roles:
            rank = self._keeping.decide(
                role.kind, role.track, now_s, self._place_of(role.track, size_px), filmed=filmed
            )
            if rank is not None:
                stills.append(Wanted(self._evidence(picture, role, seen.detections, model), rank, role))
        self._forget(seen.events)
        return Findings(changes, tuple(stills))

    def _settings_for(self, how: How) -> RuleSettings:
        if how == "whole" or not self.standing:
            return self._rules
        return replace(self._rules, zones=self._rules.zones + self.standing)

    def _note_native(self, events: Sequence[Event], how: How) -> None:
        if how == "patrol":
            self._native |= {event.track.number: 0 for event in events if event.track.state == "suspect"}
        if how == "whole":
            for number, in_row in tuple(self._native.items()):
                seen = in_row + 1 if number in self._state.sighted else 0
                self._native[number] = seen
                if seen >= self._plan.m:
                    del self._native[number]

    def _place_of(self, number: int, size_px: tuple[int, int]) -> Box:
        """Where an open incident is, as shares of the picture's height."""
        x1, y1, x2, y2 = next(each.place for each in self._state.tracks if each.number == number)
        aspect = size_px[0] / size_px[1]
        return x1 * aspect, y1, x2 * aspect, y2

    def kept(self, wanted: Wanted, size_bytes: int) -> None:
        """A still was made."""
        self._keeping.kept(wanted.role.kind, wanted.role.track, self._now_s, size_bytes)

    def time_passes(self, mono_ns: int, utc_ns: int) -> Findings:
        """No frame has been analysed for a while: ends what has not been seen for long enough."""
        self._state, events = tick(self._state, self._advance(mono_ns), self._rules)
        self._close_ups.follow(self._state.tracks)
        changes = self._changes(events, utc_ns)
        self._forget(events)
        return Findings(changes)

    def present(self, utc_ns: int) -> tuple[IncidentChanged, ...]:
        """The open incidents as they are now: for a recorder that may not know."""
        return tuple(self._change(track, utc_ns) for track in self._state.tracks)

    def _advance(self, mono_ns: int) -> float:
        # while a run settles, its clock may fall: the rules need an axis that only grows
        self._now_s = max(self._now_s, mono_ns / NS)
        return self._now_s

    def _changes(self, events: Sequence[Event], at_ns: int) -> tuple[IncidentChanged, ...]:
        return tuple(self._change(event.track, at_ns) for event in events)

    def _change(self, track: Track, at_ns: int) -> IncidentChanged:
        return IncidentChanged(id=new_id(), at_ns=at_ns, incident=self._incident(track, at_ns))

    def _incident(self, track: Track, at_ns: int) -> Incident:
        known = self._known.setdefault(track.number, _Known(new_id(), at_ns))
        if track.state == "confirmed" and known.first_confirmed_at_ns is None:
            known.first_confirmed_at_ns = at_ns
        return Incident(
            id=known.id,
            camera=self._plan.camera,
            state=track.state,
            first_suspect_at_ns=known.first_suspect_at_ns,
            first_confirmed_at_ns=known.first_confirmed_at_ns,
            ended_at_ns=at_ns if track.state in CLOSED else None,
            labels=track.labels,
            max_confidence=track.max_confidence,
            place=track.place,
            ignored_zones=track.ignored_zones,
            drill=self._plan.drill,
            reason=track.reason,
        )

    def _forget(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.track.state in CLOSED:
                self._keeping.closed(event.track.number)
                self._native.pop(event.track.number, None)
                del self._known[event.track.number]

    def _evidence(self, picture: Picture, role: Role, detections: Sequence[Detection], model: ModelInfo) -> Evidence:
        strongest = sorted(detections, key=lambda each: -each.confidence)[:MAX_DETECTIONS]
        return Evidence(
            id=new_id(),
            camera=self._plan.camera,
            kind=role.kind,
            run=picture.run.id,
            pts=picture.pts,
            time_base=picture.run.time_base,
            time=picture.time,
            width_px=picture.run.width_px,
            height_px=picture.run.height_px,
            detections=tuple(strongest),
            incident=self._known[role.track].id,
            model=model,
            thresholds=self._plan.thresholds,
            damage=picture.damage,
            colour=(picture.colour.matrix, picture.colour.range),
            version=self._plan.version,
            detections_omitted=len(detections) - len(strongest),
            drill=self._plan.drill,
            flicker=self._flicker(role),
        )

    def _flicker(self, role: Role) -> Flicker | None:
        """Of a suspect, or of the frame that confirmed it: later ones are kept whatever time says."""
        track = next((each for each in self._state.tracks if each.number == role.track), None)
        if track is None or (track.state != "suspect" and role.kind != "first_confirmed"):
            return None
        return track.flicker
