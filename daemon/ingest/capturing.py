# SPDX-License-Identifier: AGPL-3.0-or-later
"""A capture: the pictures from some time before it was asked for to some time after, as stills of a manual incident.

    ring ──packets, as they come──▶ todo ──own decoder, a few packets a turn──▶ every `every_s` a still ──▶ outbox

Its own decoder, and turns after the live frames' own, so that the camera is watched as before. It waits while the outbox
is half full. What it holds beside the ring is capped as the ring is; beyond that whole GOPs go unlooked at, and are
counted. While the ring cannot be used, it takes the pictures that are decoded for the detector.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from daemon.clock import NS, Clocks
from daemon.domain import Incident
from daemon.ids import new_id
from daemon.ingest.colour import Converter
from daemon.ingest.decode import Decoded, Decoder
from daemon.ingest.frames import Frames, Picture, picture_of
from daemon.ingest.keeping import Rank
from daemon.ingest.live_run import LiveRun
from daemon.ingest.outbox import Outbox
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.ring import PACKET_OVERHEAD_BYTES
from daemon.ingest.unanalysed import record_of
from daemon.messages import Capture, IncidentChanged, RunBegan, StillTaken
from daemon.storage.still import encode

PACKETS_A_TURN = 4
LATE_NS = 2 * NS  # how long after their moment the last pictures may still come
PATIENCE_NS = 120 * NS  # after its end it is given up, where decoding or the disk cannot follow
EARLY_NS = NS // 100  # timestamps are rounded
WHOLE_PICTURE = (0.0, 0.0, 1.0, 1.0)

log = logging.getLogger("firewitness.capturing")


@dataclass(slots=True)
class _Course:
    """One capture under way; moments are on CLOCK_MONOTONIC."""

    incident: Incident
    begin_ns: int
    end_ns: int
    every_ns: int
    position: int
    """Number of the ring's next packet."""
    due_ns: int
    """Moment of the next still."""
    todo: deque[Packet] = field(default_factory=deque)
    todo_bytes: int = 0
    decoder: Decoder | None = None
    run: LiveRun | None = None
    """Of the packet that was decoded last."""
    stills: int = 0
    skipped: int = 0
    """GOPs that were not looked at, and frames that belong to no run that was told."""


class Capturing:
    """One camera's; at most one capture at a time, which the supervisor sees to."""

    def __init__(self, plan: WorkerPlan, clocks: Clocks, converter: Converter, frames: Frames, outbox: Outbox) -> None:
        self._plan, self._clocks, self._converter = plan, clocks, converter
        self._frames, self._ring, self._outbox = frames, frames.ring, outbox
        self._course: _Course | None = None

    @property
    def incident_id(self) -> str:
        """Of the capture under way, or empty."""
        return self._course.incident.id if self._course is not None else ""

    @property
    def busy(self) -> bool:
        """Whether a turn has something to do now."""
        return self._course is not None and bool(self._course.todo) and self._has_room()

    def begin(self, asked: Capture) -> None:
        """Somebody asked for one."""
        if self._course is not None:
            self._end(self._course, "another one was asked for")
        now_ns, now_utc_ns = self._clocks.monotonic_ns(), self._clocks.wall_ns()
        before_ns = round(asked.before_s * NS)
        incident = Incident(
            id=asked.incident,
            camera=self._plan.camera,
            state="confirmed",
            first_suspect_at_ns=now_utc_ns - before_ns,
            first_confirmed_at_ns=now_utc_ns,
            ended_at_ns=None,
            labels=(),
            max_confidence=0.0,
            place=WHOLE_PICTURE,
            kind="manual",
            drill=self._plan.drill,
            reason=asked.reason,
        )
        begin_ns = now_ns - before_ns
        self._course = _Course(
            incident=incident,
            begin_ns=begin_ns,
            end_ns=now_ns + round(asked.after_s * NS),
            every_ns=round(asked.every_s * NS),
            position=self._ring.number_at(begin_ns),
            due_ns=begin_ns,
        )
        log.info("capture %s: %g s before now to %g s after", incident.id, asked.before_s, asked.after_s)
        self._tell(incident, now_utc_ns)

    def present(self, utc_ns: int) -> tuple[IncidentChanged, ...]:
        """Its incident as it is now: for a recorder that may not know."""
        if self._course is None:
            return ()
        return (IncidentChanged(id=new_id(), at_ns=utc_ns, incident=self._course.incident),)

    def came(self, picture: Picture) -> None:
        """A picture of the main stream was decoded for the detector."""
        course = self._course
        if course is not None and not self._ring.goes_on and not course.todo and _is_due(course, picture.mono_ns):
            self._keep(course, picture)

    def turn(self) -> bool:
        """Decodes a little, and keeps at most one picture; returns whether something waits to be sent for it."""
        course = self._course
        if course is None:
            return False
        self._take_up(course)
        kept = False
        for _ in range(PACKETS_A_TURN):
            if kept or not course.todo or not self._has_room():
                break
            for picture in self._decode(course, self._take_next(course)):
                self._keep(course, picture)
                kept = True
        over_ns = self._clocks.monotonic_ns() - course.end_ns
        if over_ns > PATIENCE_NS:
            self._end(course, "decoding or the disk did not follow")
        elif over_ns > LATE_NS and not course.todo:
            self._end(course, "")
        return kept or self._course is None

    def _take_up(self, course: _Course) -> None:
        """What has come into the ring since, up to its end."""
        if course.position == self._ring.added:
            return
        for packet in self._ring.numbered_from(course.position):
            if packet.emitted_ns <= course.end_ns + LATE_NS:
                course.todo.append(packet)
                course.todo_bytes += len(packet.data) + PACKET_OVERHEAD_BYTES
        course.position = self._ring.added
        while course.todo and course.todo_bytes > self._plan.ring_bytes:
            self._skip_gop(course)

    def _skip_gop(self, course: _Course) -> None:
        self._take_next(course)
        while course.todo and not course.todo[0].key:
            self._take_next(course)
        course.skipped += 1
        course.decoder = course.run = None

    def _take_next(self, course: _Course) -> Packet:
        packet = course.todo.popleft()
        course.todo_bytes -= len(packet.data) + PACKET_OVERHEAD_BYTES
        return packet

    def _decode(self, course: _Course, packet: Packet) -> Iterator[Picture]:
        """The frames that come out with this packet and are to be kept."""
        run = packet.run
        if packet.key and run is not course.run:
            course.decoder = Decoder(run.codec, run.extradata)
        if course.decoder is None:  # the rest of a GOP whose head is gone
            return
        course.run = run
        for each in course.decoder.next(packet):
            clock = each.packet.run.clock
            if clock is not None and _is_due(course, clock.at_mono_ns(each.packet.pts_ns)):
                yield from self._told(course, each)

    def _told(self, course: _Course, decoded: Decoded) -> Iterator[Picture]:
        """The frame as a picture of a run that the recorder knows in its order; none where it does not."""
        run, frame = decoded.packet.run, decoded.frame
        is_new = run.record is None
        of_size = run.record is None or (run.record.width_px, run.record.height_px) == (frame.width, frame.height)
        if not of_size or (is_new and run is not self._frames.run):  # told now, it would stand behind later ones
            course.skipped += 1
            return
        picture = picture_of(decoded, run, self._plan)
        if is_new:
            self._outbox.run(RunBegan(run=picture.run))
        yield picture

    def _keep(self, course: _Course, picture: Picture) -> None:
        evidence = record_of(self._plan, picture, "manual", course.incident.id)
        jpeg = encode(self._converter.full(picture.frame, picture.colour), evidence)
        self._outbox.still(StillTaken(evidence=evidence), jpeg, Rank.MANUAL)
        course.stills += 1
        while course.due_ns <= picture.mono_ns + EARLY_NS:  # a fixed step: what comes late must not add up
            course.due_ns += course.every_ns

    def _has_room(self) -> bool:
        """What somebody asked for must not push out what the detector sees."""
        return self._outbox.bytes < self._plan.unacked_bytes // 2

    def _end(self, course: _Course, why: str) -> None:
        self._course = None
        asked_for, now_utc_ns = course.incident, self._clocks.wall_ns()
        planned_ns = asked_for.first_suspect_at_ns + course.end_ns - course.begin_ns
        ended_ns = min(planned_ns, max(now_utc_ns, asked_for.first_confirmed_at_ns or 0))
        self._tell(replace(asked_for, state="ended", ended_at_ns=ended_ns), now_utc_ns)
        left_out = f"; {course.skipped} GOPs or frames left out" if course.skipped else ""
        log.info(
            "capture %s: %d stills%s%s",
            course.incident.id, course.stills, left_out, f"; ended early: {why}" if why else "",
        )  # fmt: skip

    def _tell(self, incident: Incident, at_ns: int) -> None:
        self._outbox.incident(IncidentChanged(id=new_id(), at_ns=at_ns, incident=incident))


def _is_due(course: _Course, mono_ns: int) -> bool:
    return course.begin_ns <= mono_ns <= course.end_ns and mono_ns >= course.due_ns - EARLY_NS
