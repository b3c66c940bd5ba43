# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's process: its loop, which never blocks, and the sockets to supervisor, detector and recorder.

Its reader thread alone waits for the camera (daemon/ingest/reader.py), so that beats, acknowledgements and commands go
on whatever the camera does. Started by the forkserver; docs/ingest.md tells who owns what.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from daemon import lifeline
from daemon.clock import NS, Clocks, host_clocks
from daemon.detect.live import LiveChannel
from daemon.domain import Run
from daemon.errors import PeerGone
from daemon.ingest.capturing import Capturing
from daemon.ingest.clipping import Clipping
from daemon.ingest.colour import Converter
from daemon.ingest.condition import Condition, Signs, Watch, judge
from daemon.ingest.frames import Picture
from daemon.ingest.going_back import GoingBack
from daemon.ingest.incidents import Findings, How, Incidents
from daemon.ingest.looking import Looking, Moment
from daemon.ingest.outbox import Outbox
from daemon.ingest.patrol import Patrol
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.recorder_link import RecorderLink
from daemon.ingest.references import References
from daemon.ingest.showing import Seen, Showing
from daemon.ingest.site import Site
from daemon.log import set_up
from daemon.messages import Capture, RunBegan, SiteBurns, StillTaken, Stop, ToWorker, WorkerBeat
from daemon.redaction import redactor
from daemon.storage.still import encode
from daemon.wire import Channel

TICK_NS = NS // 4
BEAT_NS = NS
FLUSH_NS = 8 * NS // 10  # at a stop: the recorder gets what it can take in this time
EX_SUPERVISOR_GONE = 70

log = logging.getLogger("firewitness.worker")


class Descriptors(NamedTuple):
    """What a worker is given, in the order in which they travel with `Fork`."""

    lifeline: int
    control: int
    live: int
    live_memory: int


class Worker:
    """Packets in; pictures to the detector; records to the recorder; a beat every second."""

    def __init__(self, plan: WorkerPlan, control: socket.socket, live: LiveChannel, clocks: Clocks) -> None:
        self._plan, self._clocks = plan, clocks
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._control: Channel[Capture | SiteBurns | Stop] = Channel(control, ToWorker)
        self._converter = Converter()
        self._incidents = Incidents(plan)
        self._showing = Showing(live, clocks, self._converter, plan.sub_stream_px)
        self._looking = Looking(plan, self._wake_fd, clocks, self._showing, self._incidents)
        self._patrol = Patrol(plan, clocks)
        self._link = RecorderLink(plan.recorder_socket, plan.camera, Outbox(plan.unacked_bytes))
        self._references = References(plan, clocks, self._converter, self._link.outbox)
        self._capturing = Capturing(plan, clocks, self._converter, self._looking.main.frames, self._link.outbox)
        # a converter of its own: scaling to other sizes in turn would make FFmpeg's scalers anew each time
        ring, outbox = self._looking.main.frames.ring, self._link.outbox
        self._going_back = GoingBack(plan, clocks, Converter(), ring, outbox)
        self._clipping = Clipping(plan, clocks, ring, outbox)
        self._site = Site(plan, self._converter, self._clipping, outbox)
        self._watch = Watch(plan.max_interval_s)
        self._watched_ns = 0
        self._told_run: Run | None = None
        self._stop_at_ns: int | None = None
        self._next_beat_ns = 0
        self._selector = selectors.DefaultSelector()
        self._followed: set[Channel[Any]] = set()

    def run(self) -> None:
        """Returns when it was told to stop and has told the recorder what it could."""
        self._watch_for(self._wake_fd, self._take_packets)
        self._watch_for(self._control, self._take_command)
        self._watch_for(self._showing.live, self._take_answers)
        self._showing.live.hello()
        next_tick_ns = 0
        while not self._done():
            wait_s = 0.0 if self._busy() else max(0.0, (next_tick_ns - self._clocks.monotonic_ns()) / NS)
            for key, _ in self._selector.select(min(wait_s, TICK_NS / NS)):
                key.data()
            self._look()
            if self._clipping.turn(ready=self._link.ready):
                self._link.flush()
            if self._clocks.monotonic_ns() >= next_tick_ns:
                next_tick_ns = self._clocks.monotonic_ns() + TICK_NS
                self._tick()
        self._looking.close()
        self._patrol.close()
        self._going_back.close()
        self._link.close()

    def _busy(self) -> bool:
        """Whether there is something to do without waiting for anybody."""
        watching = self._looking.busy or self._capturing.busy or self._going_back.busy
        return (self._stop_at_ns is None and watching) or self._clipping.busy(ready=self._link.ready)

    def _done(self) -> bool:
        if self._stop_at_ns is None:
            return False
        told = not self._link.outbox and not self._clipping.goes_on
        return told or self._clocks.monotonic_ns() >= self._stop_at_ns

    def _watch_for(self, source: Any, handler: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, handler)

    def _tick(self) -> None:
        now_ns = self._clocks.monotonic_ns()
        if self._stop_at_ns is None:
            self._looking.tick()
        self._take_packets()
        self._showing.live.hello()
        if self._link.attempt():
            now_utc_ns = self._clocks.wall_ns()
            present = (*self._incidents.present(now_utc_ns), *self._capturing.present(now_utc_ns))
            self._link.outbox.restate(present)
            self._clipping.begin_anew()
        self._link.flush()
        self._take_patrolled()
        self._going_back.take()
        self._follow_links()
        quiet_ns = round(2 * self._plan.max_interval_s * NS)
        if self._incidents.active and now_ns - self._showing.analysed_ns > quiet_ns:
            self._record(self._incidents.time_passes(now_ns, self._clocks.wall_ns()), None)
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_NS
            self._beat(now_ns)

    def _follow_links(self) -> None:
        """Watches the connections of now, to the recorder and to the detector's work channel, not those before."""
        present = {
            self._link.channel: self._take_acknowledgements,
            self._patrol.channel: self._take_patrolled,
            self._going_back.channel: self._take_gone_back,
        }
        for gone in self._followed - present.keys():  # first: a new one can have the number of one that was closed
            self._selector.unregister(gone)
        for new in present.keys() - self._followed - {None}:
            self._watch_for(new, present[new])
        self._followed = {each for each in present if each is not None}

    # ------------------------------------------------------------------ what comes

    def _take_packets(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:  # a tick, not a wake
            pass
        self._looking.take_packets()

    def _take_command(self) -> None:
        while (received := self._control.receive()) is not None:
            if isinstance(received[0], Capture):
                self._capturing.begin(received[0])
            elif isinstance(received[0], SiteBurns):
                self._site.burns(received[0].incidents)
            elif self._stop_at_ns is None:
                self._stop_at_ns = self._clocks.monotonic_ns() + FLUSH_NS
                self._clipping.stop()
                log.info("stopping")

    def _take_acknowledgements(self) -> None:
        self._link.receive()
        self._link.flush()
        self._follow_links()

    def _take_answers(self) -> None:
        for seen in self._showing.answers():
            if self._stop_at_ns is None:
                self._seen(seen)

    def _take_patrolled(self) -> None:
        patrolled = self._patrol.take()
        self._follow_links()
        if patrolled is not None and self._stop_at_ns is None and not self._incidents.active:
            picture, detections, model, standing = patrolled
            self._incidents.standing = standing
            if places := self._incidents.counting(detections, picture.size_px, "patrol"):
                self._patrol.bore_out(places)
                self._record(self._incidents.analysed(picture, detections, model, "patrol"), picture)

    def _take_gone_back(self) -> None:
        self._going_back.take()
        self._follow_links()

    # ------------------------------------------------------------------ what follows

    def _look(self) -> None:
        if self._stop_at_ns is not None:
            return
        for picture in self._looking.look():
            if picture.run is not self._told_run:
                self._told_run = picture.run
                self._link.outbox.run(RunBegan(run=picture.run))
            self._references.came(picture)
            self._capturing.came(picture)
            self._site.came(picture, burning=bool(self._incidents.confirmed))
            quiet = not self._incidents.active and self._looking.is_healthy("main")
            if quiet and self._patrol.is_due(picture.size_px):
                self._patrol.begin(picture, self._converter.full(picture.frame, picture.colour))
                self._follow_links()
        self._capture_on()
        self._go_back_on()

    def _capture_on(self) -> None:
        under_way = self._capturing.incident_id
        if self._capturing.turn():
            self._link.flush()
        if under_way != self._capturing.incident_id:
            self._beat(
                self._clocks.monotonic_ns()
            )  # at once: the next one may be asked for as soon as this one is over

    def _go_back_on(self) -> None:
        """Live frames go first."""
        if self._going_back.busy and not self._looking.busy:
            if self._going_back.turn():
                self._link.flush()
            self._follow_links()

    def _seen(self, seen: Seen) -> None:
        """The detector has looked at a picture."""
        self._note_watched(seen)
        if seen.view.stream == "sub":
            self._looking.sub_seen(seen)
            return
        how: How = "whole" if seen.view.tile is None else "native"
        filmed = self._clipping.films(seen.picture.mono_ns)
        findings = self._incidents.analysed(seen.picture, seen.detections, seen.model, how, filmed=filmed)
        self._looking.main_seen(seen)
        self._record(findings, seen.picture)
        self._follow_hints(seen)

    def _follow_hints(self, seen: Seen) -> None:
        """While all is quiet."""
        picture = seen.picture
        if self._incidents.active or not self._looking.is_healthy("main"):
            return
        if hints := self._patrol.worth_a_look(seen.hints, picture):
            self._patrol.follow(hints, picture, self._converter.full(picture.frame, picture.colour))
            self._follow_links()

    def _note_watched(self, seen: Seen) -> None:
        """Watched is what showed the whole picture, one of now, and could have been stored as the main stream's frame."""
        picture = seen.picture
        moment = Moment(picture.run, picture.pts) if seen.view.stream == "main" else self._looking.moment_of(picture)
        if moment is None or seen.view.tile is not None or not self._link.storing:
            return
        if not self._looking.is_healthy(seen.view.stream):
            return
        if picture.mono_ns > self._watched_ns:  # in catching up, the sub-stream may have watched later ones already
            self._watched_ns = picture.mono_ns
            self._watch.watched(moment.run.id, moment.pts, picture.time.captured_at_ns, picture.mono_ns)

    def _record(self, findings: Findings, picture: Picture | None) -> None:
        for change in findings.changes:
            self._link.outbox.incident(change)
            self._clipping.incident(change.incident)
            log.info("incident %s: %s", change.incident.id, change.incident.state)
        if findings.stills and picture is not None:
            pixels = self._converter.full(picture.frame, picture.colour)
            for wanted in findings.stills:
                jpeg = encode(pixels, wanted.evidence)
                self._incidents.kept(wanted, len(jpeg))
                self._link.outbox.still(StillTaken(evidence=wanted.evidence), jpeg, wanted.rank)
            self._confirmed(findings)
        if any(each.incident.state == "confirmed" for each in findings.changes):
            self._beat(self._clocks.monotonic_ns())  # at once: the site's other cameras are to keep their pictures
        if self._incidents.active:
            self._patrol.break_off()
        self._looking.decide()
        self._link.flush()

    def _confirmed(self, findings: Findings) -> None:
        """For what has just been confirmed."""
        confirmed = {each.incident.id: each.incident for each in findings.changes if each.incident.state == "confirmed"}
        for wanted in findings.stills:
            if wanted.evidence.kind == "first_confirmed" and wanted.evidence.incident in confirmed:
                self._going_back.confirmed(confirmed[wanted.evidence.incident], wanted.evidence)

    def _condition(self, now_ns: int) -> Condition:
        connection, frames = self._looking.main.connection, self._looking.main.frames
        announced, undecoded = self._showing.oldest_ns, frames.undecoded_since_ns
        signs = Signs(
            connection=connection.condition,
            health=frames.health.condition,
            disk=self._link.disk,
            detector_ready=self._showing.live.ready and not self._showing.failed,
            announced_s=(now_ns - announced) / NS if announced is not None else None,
            packet_s=connection.silent_s() if connection.state == "streaming" else None,
            undecoded_s=(now_ns - undecoded) / NS if undecoded is not None else None,
            analysed_s=(now_ns - self._showing.analysed_ns) / NS,
        )
        condition = judge(signs, self._plan.read_timeout_s, self._plan.max_interval_s)
        fallback = self._looking.fallback
        if condition.reason != "ok" or fallback is None:
            return condition
        return Condition(
            "ok", f"detection runs on the main stream: the sub-stream is {fallback.reason}, {fallback.detail}"
        )

    def _beat(self, now_ns: int) -> None:
        main, sub = self._looking.main, self._looking.sub
        self._looking.check_clock()
        judged = self._condition(now_ns)
        condition = replace(judged, detail=redactor.clean(judged.detail))
        self._link.watermark(self._watch.watermark(condition, self._clocks.wall_ns(), now_ns))
        run, ring = self._told_run, main.frames.ring
        self._control.send(
            WorkerBeat(
                state=main.connection.state,
                since_mono_ns=main.connection.since_ns,
                condition=condition.reason,
                detail=condition.detail,
                packet_mono_ns=main.connection.packet_ns,
                watched_at_ns=self._watch.at_ns,
                width_px=run.width_px if run else 0,
                height_px=run.height_px if run else 0,
                codec=run.codec if run else "",
                ring_bytes=ring.bytes,
                ring_s=ring.seconds(),
                ring_available=ring.available,
                unacked_bytes=self._link.outbox.bytes,
                frames_watched=self._watch.frames,
                frames_replaced=self._showing.replaced,
                reconnects=main.connection.reconnects,
                incident=self._incidents.most_advanced,
                confirmed=self._incidents.confirmed,
                frames_analysed=self._showing.analysed,
                interval_s=self._showing.longest_interval_s(),
                stills_dropped=self._link.outbox.stills_dropped,
                camera_clock_offset_s=main.frames.camera_clock_offset_s(),
                sub_state=sub.connection.state if sub else "",
                sub_condition=sub.condition.reason if sub else "",
                capture=self._capturing.incident_id,
            )
        )


def main(plan: WorkerPlan, descriptors: Descriptors) -> int:
    """The life of a worker; returns its exit status. The descriptors are its own."""
    if plan.credentials is not None:
        redactor.know(plan.credentials.username, plan.credentials.password)
    set_up("worker", plan.camera)
    lifeline.watch(descriptors.lifeline)
    try:
        live = LiveChannel(socket.socket(fileno=descriptors.live), descriptors.live_memory, plan.input_px)
        os.close(descriptors.live_memory)
        Worker(plan, socket.socket(fileno=descriptors.control), live, host_clocks()).run()
    except PeerGone:
        return EX_SUPERVISOR_GONE
    except Exception as error:
        log.critical("%s", one_line(error))
        return 1
    return 0


def one_line(error: Exception) -> str:
    """An error in one line, with its place."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {os.path.basename(frame[0].filename)}:{frame[0].lineno}" if frame else ""
    return f"{type(error).__name__}{place}: {error}".replace("\n", " ")
