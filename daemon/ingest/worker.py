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
from typing import Any, NamedTuple
from urllib.parse import quote

from daemon import lifeline
from daemon.clock import NS, Clocks, host_clocks
from daemon.detect.live import LiveChannel
from daemon.domain import Run
from daemon.errors import PeerGone
from daemon.ingest.colour import Converter
from daemon.ingest.condition import Condition, Signs, Watch, judge
from daemon.ingest.connection import Connection
from daemon.ingest.frames import Frames, Picture
from daemon.ingest.incidents import Findings, Incidents
from daemon.ingest.outbox import Outbox
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.reader import Ended, Opened
from daemon.ingest.recorder_link import RecorderLink
from daemon.log import set_up
from daemon.messages import DetectorHello, FrameDone, RunBegan, StillTaken, Stop, ToWorker, WorkerBeat
from daemon.storage.still import encode
from daemon.wire import Channel

TICK_NS = NS // 4
BEAT_NS = NS
FLUSH_NS = 8 * NS // 10  # at a stop: the recorder gets what it can take in this time
SLICE = 8  # packets decoded before the loop looks at its sockets again
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
        self._plan, self._clocks, self._live = plan, clocks, live
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._control: Channel[Stop] = Channel(control, ToWorker)
        self._connection = Connection(plan, self._wake_fd, clocks.monotonic_ns)
        self._frames = Frames(plan, clocks)
        self._incidents = Incidents(plan)
        self._link = RecorderLink(plan.recorder_socket, plan.camera, Outbox(plan.unacked_bytes))
        self._watch = Watch(plan.max_interval_s)
        self._converter = Converter()
        self._announced: dict[tuple[str, int], tuple[Picture, int]] = {}
        self._told_run: Run | None = None
        self._replaced = 0
        self._analysed_ns = clocks.monotonic_ns()
        self._detector_failed = False
        self._stop_at_ns: int | None = None
        self._next_beat_ns = 0
        self._selector = selectors.DefaultSelector()
        self._linked: Channel[Any] | None = None

    def run(self) -> None:
        """Returns when it was told to stop and has told the recorder what it could."""
        self._watch_for(self._wake_fd, self._take_packets)
        self._watch_for(self._control, self._take_command)
        self._watch_for(self._live, self._take_answers)
        self._live.hello()
        next_tick_ns = 0
        while not self._done():
            busy = self._frames.waiting and not self._must_wait()
            wait_s = 0.0 if busy else max(0.0, (next_tick_ns - self._clocks.monotonic_ns()) / NS)
            for key, _ in self._selector.select(min(wait_s, TICK_NS / NS)):
                key.data()
            self._decode()
            if self._clocks.monotonic_ns() >= next_tick_ns:
                next_tick_ns = self._clocks.monotonic_ns() + TICK_NS
                self._tick()
        self._connection.close()
        self._link.close()

    def _done(self) -> bool:
        if self._stop_at_ns is None:
            return False
        return not self._link.outbox or self._clocks.monotonic_ns() >= self._stop_at_ns

    def _watch_for(self, source: Any, handler: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, handler)

    def _tick(self) -> None:
        now_ns = self._clocks.monotonic_ns()
        if self._stop_at_ns is None:
            self._connection.tick()
        self._take_packets()
        self._live.hello()
        if self._link.attempt():
            self._link.outbox.restate(self._incidents.present(self._clocks.wall_ns()))
        self._link.flush()
        self._follow_link()
        quiet_ns = round(2 * self._plan.max_interval_s * NS)
        if self._incidents.active and now_ns - self._analysed_ns > quiet_ns:
            self._record(self._incidents.time_passes(now_ns, self._clocks.wall_ns()), None)
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_NS
            self._beat(now_ns)

    def _follow_link(self) -> None:
        """Watches the recorder's connection of now instead of the one before."""
        if self._linked is self._link.channel:
            return
        if self._linked is not None:
            self._selector.unregister(self._linked)
        self._linked = self._link.channel
        if self._linked is not None:
            self._watch_for(self._linked, self._take_acknowledgements)

    # ------------------------------------------------------------------ what comes

    def _take_packets(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:  # a tick, not a wake
            pass
        for event in self._connection.events():
            if isinstance(event, Opened):
                self._frames.opened(event.codec, event.extradata, event.time_base)
            elif isinstance(event, Ended):
                self._frames.closed()
            else:
                self._frames.add(event)
        self._be_eager()

    def _take_command(self) -> None:
        while self._control.receive() is not None:  # Stop is all that there is
            if self._stop_at_ns is None:
                self._stop_at_ns = self._clocks.monotonic_ns() + FLUSH_NS
                log.info("stopping")

    def _take_acknowledgements(self) -> None:
        self._link.receive()
        self._link.flush()
        self._follow_link()

    def _take_answers(self) -> None:
        for message in self._live.receive():
            if isinstance(message, DetectorHello):
                self._announced.clear()
                self._analysed_ns = self._clocks.monotonic_ns()
                self._detector_failed = False
            else:
                self._frame_done(message)

    def _frame_done(self, done: FrameDone) -> None:
        picture, _ = self._announced.pop((done.run, done.pts), (None, 0))
        model = self._live.model
        if done.outcome == "replaced":
            self._replaced += 1
        self._detector_failed = done.outcome == "failed"
        if done.outcome != "analysed" or picture is None or model is None or self._stop_at_ns is not None:
            return
        self._analysed_ns = self._clocks.monotonic_ns()
        if self._link.storing:
            self._watch.watched(picture.run.id, picture.pts, picture.time.captured_at_ns, picture.mono_ns)
        self._record(self._incidents.analysed(picture, done.detections, model), picture)
        self._frames.eyes.active = self._incidents.active
        self._be_eager()

    def _be_eager(self) -> None:
        self._connection.be_eager(self._incidents.active or self._frames.eyes.all)

    # ------------------------------------------------------------------ what goes

    def _must_wait(self) -> bool:
        """In catching up, one frame at a time: a second would withdraw the first."""
        return self._frames.catching_up and self._live.waiting > 0

    def _decode(self) -> None:
        for _ in range(SLICE):
            if not self._frames.waiting or self._must_wait() or self._stop_at_ns is not None:
                return
            if (picture := self._frames.step()) is not None:
                self._announce(picture)

    def _announce(self, picture: Picture) -> None:
        if picture.run is not self._told_run:
            self._told_run = picture.run
            self._link.outbox.run(RunBegan(run=picture.run))
        free = self._live.free_buffer()
        if free is None:
            self._replaced += self._live.ready
            return
        index, buffer = free
        small = self._converter.small(picture.frame, picture.colour, self._plan.input_px)
        height, width = small.shape[:2]
        buffer[: small.size].reshape(small.shape)[:] = small
        original = (picture.run.width_px, picture.run.height_px)
        if self._live.announce(index, (width, height), original, picture.run.id, picture.pts):
            self._announced[(picture.run.id, picture.pts)] = (picture, self._clocks.monotonic_ns())
        else:
            self._replaced += 1

    def _record(self, findings: Findings, picture: Picture | None) -> None:
        for change in findings.changes:
            self._link.outbox.incident(change)
            log.info("incident %s: %s", change.incident.id, change.incident.state)
        if findings.stills and picture is not None:
            pixels = self._converter.full(picture.frame, picture.colour)
            for wanted in findings.stills:
                jpeg = encode(pixels, wanted.evidence)
                self._incidents.kept(wanted, len(jpeg))
                self._link.outbox.still(StillTaken(evidence=wanted.evidence), jpeg, wanted.rank)
        self._frames.eyes.active = self._incidents.active
        self._link.flush()

    def _condition(self, now_ns: int) -> Condition:
        announced = min((since for _, since in self._announced.values()), default=None)
        undecoded = self._frames.undecoded_since_ns
        streaming = self._connection.state == "streaming"
        signs = Signs(
            connection=self._connection.condition,
            disk=self._link.disk,
            detector_ready=self._live.ready and not self._detector_failed,
            announced_s=(now_ns - announced) / NS if announced is not None else None,
            packet_s=self._connection.silent_s() if streaming else None,
            undecoded_s=(now_ns - undecoded) / NS if undecoded is not None else None,
            analysed_s=(now_ns - self._analysed_ns) / NS,
        )
        return judge(signs, self._plan.read_timeout_s, self._plan.max_interval_s)

    def _beat(self, now_ns: int) -> None:
        self._frames.check_clock()
        condition = self._condition(now_ns)
        self._link.watermark(self._watch.watermark(condition, self._clocks.wall_ns(), now_ns))
        run, ring = self._told_run, self._frames.ring
        self._control.send(
            WorkerBeat(
                state=self._connection.state,
                since_mono_ns=self._connection.since_ns,
                condition=condition.reason,
                detail=condition.detail,
                packet_mono_ns=self._connection.packet_ns,
                watched_at_ns=self._watch.at_ns,
                width_px=run.width_px if run else 0,
                height_px=run.height_px if run else 0,
                codec=run.codec if run else "",
                ring_bytes=ring.bytes,
                ring_s=ring.seconds(),
                ring_available=ring.available,
                unacked_bytes=self._link.outbox.bytes,
                frames_watched=self._watch.frames,
                frames_replaced=self._replaced,
                reconnects=self._connection.reconnects,
                incident=self._incidents.most_advanced,
            )
        )


def main(plan: WorkerPlan, descriptors: Descriptors) -> int:
    """The life of a worker; returns its exit status. The descriptors are its own."""
    set_up(plan.camera)
    lifeline.watch(descriptors.lifeline)
    try:
        live = LiveChannel(socket.socket(fileno=descriptors.live), descriptors.live_memory, plan.input_px)
        os.close(descriptors.live_memory)
        Worker(plan, socket.socket(fileno=descriptors.control), live, host_clocks()).run()
    except PeerGone:
        return EX_SUPERVISOR_GONE
    except Exception as error:
        log.critical("%s", one_line(error, plan))
        return 1
    return 0


def one_line(error: Exception, plan: WorkerPlan) -> str:
    """An error in one line, with its place and without secrets."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {os.path.basename(frame[0].filename)}:{frame[0].lineno}" if frame else ""
    text = f"{type(error).__name__}{place}: {error}".replace("\n", " ")
    if plan.credentials is not None:
        for secret in (plan.credentials.password, plan.credentials.username):
            for form in {secret, quote(secret, safe="")} - {""}:
                text = text.replace(form, "…")
    return text
