# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's clip: its own bitstream from the ring's beginning until some time after its last confirmed incident.

    ring ──from a number on, a fragment a turn──▶ fragmented MP4 ──▶ outbox ──▶ recorder

A clip is of one camera, one run and one connection to the recorder; it serves all incidents that run meanwhile, its own and
those of other cameras of its site. What waits, waits in the ring alone: nothing is muxed that cannot be sent, and what the
ring lost is a hole, which ends a clip.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from daemon.clips.mp4 import Sample, fragment, header
from daemon.clock import NS, Clocks
from daemon.domain import Clip, ClipCause, ClipClosed, Incident
from daemon.ids import new_id
from daemon.ingest.live_run import LiveRun
from daemon.ingest.outbox import Outbox
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.ring import Ring
from daemon.messages import ClipEnded, ClipFragment

CUT_AFTER_NS = 3 * NS // 4  # a fragment of now is cut at the next turn: with a tick of 0.25 s, within a second
LONGEST_S = 1  # of a fragment, in the camera's time
MOST_BYTES = 8_000_000  # of a fragment, except that one picture can have more
LATE_NS = 2 * NS  # how long after its moment the last packet may still come
LAST_NS = 2 * NS - NS // 40  # how old the newest frame that is kept may be while it burns; times are rounded

_ENDED: ClipClosed = "ended"

log = logging.getLogger("firewitness.clipping")


@dataclass(slots=True)
class _Open:
    """The clip that is being written."""

    clip: Clip
    run: LiveRun
    head: bytes
    """Until it is sent with the first fragment."""
    last_dts: int
    last_duration: int
    number: int = 0
    bytes: int = 0
    incidents: list[str] = field(default_factory=list)
    sibling_of: list[str] = field(default_factory=list)
    behind: int = 0
    """Number of the packet behind the last one that was taken."""
    key_pts: int = 0
    """Of the last key frame that was taken."""
    whole: bool = False
    """Its run is over: what was left out since its last key frame is taken too."""

    def serve(self, incident: str, *, own: bool) -> None:
        """From now on it serves that one too."""
        served = self.incidents if own else self.sibling_of
        if incident not in served:
            served.append(incident)

    def takes_rest(self, packet: Packet) -> bool:
        """Whether it was left out and is taken now; not what needs a frame before the key frame, as a leading B-frame does."""
        return self.whole and packet.pts is not None and packet.pts > self.key_pts


@dataclass(slots=True)
class _Served:
    """An incident that the clip serves; moments are on CLOCK_MONOTONIC."""

    own: bool
    """Of this camera; else of another one of its site."""
    least_ns: int
    """The clip goes on for it until then, however early it is over."""
    until_ns: int | None = None
    """Until when the clip goes on for it; None while it runs."""


class Clipping:
    """One camera's. Idle, it costs a comparison a turn."""

    def __init__(self, plan: WorkerPlan, clocks: Clocks, ring: Ring, outbox: Outbox) -> None:
        self._plan, self._clocks, self._ring, self._outbox = plan, clocks, ring, outbox
        self._serving: dict[str, _Served] = {}
        self._open: _Open | None = None
        self._cause: ClipCause = "confirmed"
        self._next = self._durable = 0
        """Numbers of packets in the ring: the next to take, and before which all is durable."""
        self._full_until_ns = 0
        self._finished = False
        self._patience_ns, self._last = LATE_NS, _ENDED
        self._unacknowledged: deque[tuple[str, int]] = deque()
        """(id, number of the packet behind it) of what was given to the outbox."""

    def busy(self, *, ready: bool) -> bool:
        """Whether a turn has something to do now: the ring's past is not muxed yet."""
        if not self._serving or self._finished or not ready or not self._has_room():
            return False
        packet = self._ring.packet(max(self._next, self._ring.first))
        if packet is None or packet.run.record is None:
            return False
        return self._clocks.monotonic_ns() - packet.emitted_ns > LONGEST_S * NS + CUT_AFTER_NS

    @property
    def goes_on(self) -> bool:
        """Whether something of it is not durable yet, or is still to come."""
        return bool(self._serving)

    def films(self, mono_ns: int, within_ns: int = LAST_NS) -> bool:
        """Whether the clip takes a frame of that moment, which is just now, or one that is less than `within_ns` older.

        Not while it is so far behind, with the ring's past or where the recorder is slow, that its frames are not durable in time.
        """
        key = self._ring.newest_key
        if self._open is None or self._finished or key is None:
            return False
        if mono_ns <= self._full_until_ns:
            waiting = self._ring.packet(self._durable)
            return waiting is not None and mono_ns - waiting.emitted_ns < LAST_NS
        key_ns = key.run.at_mono_ns(key)
        return key_ns is not None and mono_ns - key_ns < within_ns

    def incident(self, incident: Incident) -> None:
        """An incident of this camera has changed its state."""
        now_ns = self._clocks.monotonic_ns()
        served = self._serving.get(incident.id)
        if incident.state == "confirmed" and (served is None or served.until_ns is not None):
            self._serve(incident.id, "confirmed", now_ns, round(self._plan.clip_max_s * NS))
        elif incident.state != "confirmed" and served is not None:
            served.until_ns = now_ns + round(self._plan.clip_after_s * NS)

    def site_burns(self, incidents: Sequence[str]) -> None:
        """These run on other cameras of its site now, and no others."""
        now_ns = self._clocks.monotonic_ns()
        for id_, served in self._serving.items():
            if not served.own and served.until_ns is None and id_ not in incidents:
                served.until_ns = max(now_ns, served.least_ns)
        for id_ in incidents:
            if id_ not in self._serving or self._serving[id_].until_ns is not None:
                self._serve(id_, "sibling", now_ns, round(self._plan.sibling_s * NS))

    def _serve(self, incident: str, cause: ClipCause, now_ns: int, full_ns: int) -> None:
        if not self._serving or self._finished or now_ns > self._full_until_ns:
            self._close("incident")
            self._next = self._durable = self._ring.first
            self._cause, self._finished = cause, False
        own, least_ns = cause == "confirmed", now_ns + full_ns
        self._serving[incident] = _Served(own, least_ns)
        self._full_until_ns = max(self._full_until_ns, least_ns)
        if self._open is not None:
            self._open.serve(incident, own=own)

    def stop(self) -> None:
        """The worker is to end: what is in the ring is the last."""
        now_ns = self._clocks.monotonic_ns()
        self._patience_ns, self._last = 0, "stop"
        for served in self._serving.values():
            served.until_ns = min(served.until_ns or now_ns, now_ns)

    def begin_anew(self) -> None:
        """There is another connection to the recorder: it has closed the clip, and what is not durable is sent again."""
        self._note_durable()
        self._outbox.withdraw_clips()
        if self._open is not None or self._unacknowledged:
            self._unacknowledged.clear()
            self._open, self._finished = None, False
            self._cause = "recorder" if self._durable >= self._ring.first else "hole"
            self._next = self._ring.gop_of(self._durable)

    def turn(self, *, ready: bool) -> bool:
        """Muxes at most one fragment, where the recorder takes it; returns whether something waits to be sent."""
        if not self._serving:
            return False
        self._note_durable()
        if self._finished:
            if not self._unacknowledged:
                self._serving.clear()
            return False
        if not ready or not self._has_room():
            return False
        before = len(self._unacknowledged)
        self._advance()
        return len(self._unacknowledged) > before

    def _advance(self) -> None:
        until_ns = self._until_ns()
        if self._next < self._ring.first:
            if self._open is not None:
                self._close("hole")
                self._cause = "hole"
            self._next = self._ring.first
        packets = self._ring.numbered_from(self._next)
        if packets and (until_ns is None or packets[0].emitted_ns <= until_ns):
            if self._open is None:
                packets = self._begin(packets)
            elif packets[0].run is not self._open.run:
                self._end_run(self._open, "run")
                return
            if packets and self._open is not None:
                self._mux(self._open, packets, until_ns)
        elif packets or self._is_over(until_ns):
            self._close(self._last)
            self._finished = True
        elif self._open is not None and not self._ring.goes_on:
            self._end_run(self._open, "run" if self._ring.available else "hole")

    def _end_run(self, open_: _Open, cause: Literal["run", "hole"]) -> None:
        """Nothing more comes of its run. Where only key frames were taken, the last pictures are, too: they may be of a loss."""
        if not open_.whole and self._ring.first <= open_.behind < self._next:
            open_.whole, self._next = True, open_.behind
            return
        self._close(cause)
        self._cause = cause

    def _until_ns(self) -> int | None:
        """When the last of its incidents is over for it; None while one runs."""
        latest = 0
        for served in self._serving.values():
            if served.until_ns is None:
                return None
            latest = max(latest, served.until_ns)
        return latest

    def _is_over(self, until_ns: int | None) -> bool:
        """Whether no packet of its time can come any more."""
        return until_ns is not None and self._clocks.monotonic_ns() >= until_ns + self._patience_ns

    def _begin(self, packets: list[Packet]) -> list[Packet]:
        """Opens a clip with the first key frame of a run that was told; the packets from there on."""
        while packets and not (packets[0].key and packets[0].pts is not None and packets[0].run.record is not None):
            if packets[0].run.record is None and packets[0].run is packets[-1].run:
                return []  # nothing of it has been decoded yet: soon
            packets = packets[1:]
            self._next += 1
        if not packets:
            return []
        first = packets[0]
        run, record = first.run, first.run.record
        assert record is not None
        assert first.pts is not None
        dts = first.dts if first.dts is not None else first.pts
        clip = Clip(
            id=new_id(),
            camera=self._plan.camera,
            run=run.id,
            time_base=record.time_base,
            codec=run.codec,
            width_px=record.width_px,
            height_px=record.height_px,
            first_dts=dts,
            cause=self._cause,
            drill=self._plan.drill,
            version=self._plan.version,
        )
        try:
            head = header(clip, (first.data, run.extradata or b""))
        except ValueError as error:
            log.warning("no clip from a key frame: %s", error)
            self._next += 1
            return []
        step = max(1, run.interval_ns() * record.time_base[1] // record.time_base[0] // NS)
        self._open = _Open(clip, run, head, dts - 1, step)
        for id_, served in self._serving.items():
            if served.until_ns is None or first.emitted_ns <= served.until_ns:
                self._open.serve(id_, own=served.own)
        log.info("clip %s begins, %s", clip.id, self._cause)
        return packets

    def _mux(self, open_: _Open, packets: Sequence[Packet], until_ns: int | None) -> None:
        """The next fragment, once it is whole."""
        second = LONGEST_S * open_.clip.time_base[1] // open_.clip.time_base[0]
        taken: list[tuple[Packet, int]] = []
        dts, size, passed, next_dts = open_.last_dts, 0, 0, None
        behind, key_pts = open_.behind, open_.key_pts
        whole = self._is_over(until_ns) or self._clocks.monotonic_ns() - packets[0].emitted_ns > CUT_AFTER_NS
        for packet in packets:
            if packet.run is not open_.run or (until_ns is not None and packet.emitted_ns > until_ns):
                whole = True
                break
            if packet.key or packet.emitted_ns <= self._full_until_ns or open_.takes_rest(packet):
                next_dts = max(_dts(packet, dts + open_.last_duration), dts + 1)
                if taken and (next_dts - taken[0][1] >= second or size + len(packet.data) > MOST_BYTES):
                    whole = True
                    break
                dts, next_dts = next_dts, None
                taken.append((packet, dts))
                size += len(packet.data)
                if packet.key and packet.pts is not None:
                    key_pts = packet.pts
                behind = self._next + passed + 1
            passed += 1
        if whole:
            self._next += passed
            open_.behind, open_.key_pts = behind, key_pts
            if taken:
                self._send(open_, taken, next_dts)

    def _send(self, open_: _Open, taken: Sequence[tuple[Packet, int]], next_dts: int | None) -> None:
        samples = _samples(open_, taken, next_dts)
        clock = open_.run.clock
        assert clock is not None
        time = clock.time_of(open_.run.nanoseconds(samples[-1].pts), self._clocks.synchronisation())
        content = fragment(
            open_.clip, open_.number + 1, samples, time, open_.incidents, open_.head, sibling_of=open_.sibling_of
        )
        message = ClipFragment(
            id=new_id(),
            clip=open_.clip,
            from_byte=open_.bytes,
            incidents=tuple(open_.incidents),
            frames=len(samples),
            first_pts=min(sample.pts for sample in samples),
            last_pts=max(sample.pts for sample in samples),
            first_at_ns=min(sample.at_ns for sample in samples),
            last_at_ns=max(sample.at_ns for sample in samples),
            sibling_of=tuple(open_.sibling_of),
        )
        open_.number, open_.bytes, open_.head = open_.number + 1, open_.bytes + len(content), b""
        open_.last_dts, open_.last_duration = samples[-1].dts, samples[-1].duration
        self._outbox.clip(message, content)
        self._unacknowledged.append((message.id, self._next))

    def _close(self, closed: ClipClosed) -> None:
        if self._open is None:
            return
        if self._open.number:
            message = ClipEnded(id=new_id(), clip=self._open.clip.id, closed=closed)
            self._outbox.clip(message)
            self._unacknowledged.append((message.id, self._next))
            log.info("clip %s ends, %s: %d bytes", self._open.clip.id, closed, self._open.bytes)
        self._open = None

    def _note_durable(self) -> None:
        while self._unacknowledged and not self._outbox.holds(self._unacknowledged[0][0]):
            self._durable = self._unacknowledged.popleft()[1]

    def _has_room(self) -> bool:
        """A clip must not push out what the detector sees."""
        return self._outbox.bytes < self._plan.unacked_bytes // 2


def _dts(packet: Packet, expected: int) -> int:
    """FFmpeg does not know it of a stream's first packets; without B-frames it is the PTS."""
    if packet.dts is not None:
        return packet.dts
    return packet.pts if packet.pts is not None else expected


def _samples(open_: _Open, taken: Sequence[tuple[Packet, int]], next_dts: int | None) -> list[Sample]:
    clock = open_.run.clock
    assert clock is not None
    samples: list[Sample] = []
    duration = open_.last_duration
    following = [dts for _, dts in taken[1:]] + [next_dts]
    for (packet, dts), after in zip(taken, following, strict=True):
        duration = after - dts if after is not None else duration  # the last one's is a guess: the next fragment tells
        pts = packet.pts if packet.pts is not None else dts
        at_ns = clock.at_utc_ns(open_.run.nanoseconds(pts))
        samples.append(Sample(packet.data, pts, dts, duration, packet.key, packet.corrupt, at_ns))
    return samples
