# SPDX-License-Identifier: AGPL-3.0-or-later
"""From packets to pictures: ring, run, what has to be decoded, and the time of each frame that is worth analysing.

No sockets and no threads: packets in, pictures out, at the caller's pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from daemon.clock import NS, Clocks
from daemon.domain import FrameTime, Run
from daemon.ingest.colour import Colour, colour_of, luma_of
from daemon.ingest.decode import Decoded, Decoder
from daemon.ingest.eyes import Eyes, Look
from daemon.ingest.frame_num import is_idr
from daemon.ingest.health import Health, Moment
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet
from daemon.ingest.parameters import parameter_sets
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.ring import Ring

LATE_NS = NS // 2  # behind the newest packet by more than this, decoding is catching up
MOST_LATE_NS = 5 * NS  # behind by more, it goes on at the newest key frame
UNDECODABLE_KEYS = 3  # key frames in a row of which none decodes alone: an intra-refresh stream


class Picture(NamedTuple):
    """A frame that is to be analysed, with all that its record needs of it."""

    frame: VideoFrame
    run: Run
    pts: int
    mono_ns: int
    """Its time on CLOCK_MONOTONIC."""
    time: FrameTime
    damage: str
    colour: Colour
    key: bool = False
    """Whether it came as a key frame."""

    @property
    def size_px(self) -> tuple[int, int]:
        return self.run.width_px, self.run.height_px


class Frames:
    """One camera's stream, across its connections and runs."""

    def __init__(self, plan: WorkerPlan, clocks: Clocks) -> None:
        self._plan = plan
        self._clocks = clocks
        self.ring = Ring(plan.ring_s, plan.ring_bytes)
        self.eyes = Eyes(plan.max_interval_s, plan.active_fps)
        self.health = Health()
        self.tell: Callable[[NDArray[np.uint8], int], None] = _nobody
        """Who is told of every frame that is decoded and not known to be damaged: its luma, its moment (CLOCK_MONOTONIC)."""
        self.run: LiveRun | None = None
        self.undecoded_since_ns: int | None = None
        """Arrival of the first of the packets that gave no frame where one was due; None while all is well."""
        self._failed_keys = 0
        self._decoder: Decoder | None = None
        self._codec, self._time_base = "", Fraction(1, 90_000)
        self._extradata: bytes | None = None
        self._next_cause: str | None = None
        self._todo: deque[Packet] = deque()
        self._newest: Packet | None = None
        self._parameters: bytes | None = None

    def opened(self, codec: str, extradata: bytes | None, time_base: Fraction) -> None:
        """A new connection: what is decoded is forgotten, what is in the ring stays."""
        self._codec, self._time_base, self._extradata = codec, time_base, extradata
        self._decoder = Decoder(codec, extradata)
        self._todo.clear()
        self.ring.interrupt()
        self.undecoded_since_ns, self._failed_keys = None, 0
        self.eyes.trust_keys()
        self._next_cause, self._newest, self._parameters = "connected", None, None

    def closed(self) -> None:
        """The connection is over: what was not decoded yet will not be, and nothing continues what is in the ring."""
        self._todo.clear()
        self.ring.interrupt()

    def check_clock(self) -> None:
        """Ends the run when the wall clock has stepped; call it every second or so."""
        clock = self.run.clock if self.run is not None else None
        if clock is not None and clock.wall_stepped(self._clocks.monotonic_ns(), self._clocks.wall_ns()):
            self._next_cause = self._next_cause or "clock"

    def add(self, packet: Packet) -> None:
        """Takes over a packet; what it makes necessary to decode waits for `step`."""
        self._enter_run(packet)
        self.ring.add(packet)
        self._newest = packet
        if packet.pts is None:
            look = Look.FOLLOW if self.eyes.all else Look.PASS
        else:
            look = self.eyes.packet(packet.pts_ns, key=packet.key)
        if look is Look.KEY:
            self._begin_with([packet])
        elif look is Look.CATCH_UP:
            self._begin_with(self.ring.current_gop() or [packet])
        elif look is Look.FOLLOW:
            self._follow(packet)
        elif look is Look.REST:
            self._begin_with([])

    def look_back(self, mono_ns: int) -> None:
        """Something was seen at that moment: decodes from its GOP on, and everything from then on."""
        if self.eyes.all or self.run is None or self.run.clock is None:
            return
        pts_ns = self.run.clock.pts_at_ns(mono_ns)
        if packets := self.ring.gops_since(self.run, pts_ns):
            self.eyes.look_back(pts_ns)
            self._begin_with(packets)

    def newest_at(self) -> tuple[Run, int, int] | None:
        """Run, PTS and moment (CLOCK_MONOTONIC) of the newest packet, where the run has shown a frame already."""
        packet, run = self._newest, self.run
        if packet is None or packet.pts is None or run is None or run.clock is None:
            return None
        if packet.run is not run or run.record is None:
            return None
        return run.record, packet.pts, run.clock.at_mono_ns(packet.pts_ns)

    def camera_clock_offset_s(self) -> float | None:
        """The camera's clock minus this host's, by the newest packet; None where the camera does not send it."""
        packet = self._newest
        if packet is None or packet.camera_clock_ns is None or packet.pts is None or packet.run.clock is None:
            return None
        return (packet.camera_clock_ns - packet.run.clock.at_utc_ns(packet.pts_ns)) / NS

    @property
    def waiting(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._todo)

    @property
    def catching_up(self) -> bool:
        """Whether what is decoded next is behind what came last."""
        newest = self._newest
        return newest is not None and bool(self._todo) and newest.emitted_ns - self._todo[0].emitted_ns > LATE_NS

    def step(self) -> Picture | None:
        """Decodes the next packet; gives the frame that it made, where that is to be analysed."""
        if self._decoder is None or not self._todo:
            return None
        packet = self._todo.popleft()
        found = self._follow_on(packet) if self.eyes.all else self._alone(packet)
        return self._picture(found) if found is not None else None

    def _alone(self, packet: Packet) -> Decoded | None:
        assert self._decoder is not None
        found = self._decoder.key_frame(packet)
        self._note(packet, decoded=found is not None)
        if found is not None:
            self._examine(found)
            self._failed_keys = 0
            self.eyes.analysing(found.packet.pts_ns)
            return found
        # an IDR picture is damaged then; another is not there to be decoded alone
        if self._codec == "h264" and not is_idr(packet.data):
            self._failed_keys += 1
        if self._failed_keys >= UNDECODABLE_KEYS:
            self.eyes.keys_mislead()
        return None

    def _follow_on(self, packet: Packet) -> Decoded | None:
        assert self._decoder is not None
        frames = self._decoder.next(packet)
        self._note(packet, decoded=bool(frames))
        wanted = None
        for each in frames:
            self._examine(each)
            run = each.packet.run
            # What is left of an earlier run has another axis of PTS than the eyes go by.
            if run is self.run and self.eyes.wants(each.packet.pts_ns, run.interval_ns()):
                wanted = each
        return wanted

    def _examine(self, decoded: Decoded) -> None:
        frame, packet, damage = decoded
        clock = packet.run.clock
        if damage == "yes" or clock is None:
            return
        luma, mono_ns = luma_of(frame), clock.at_mono_ns(packet.pts_ns)
        if packet.key:
            self.health.look(luma, Moment(mono_ns, clock.at_utc_ns(packet.pts_ns)))
        self.tell(luma, mono_ns)

    def _note(self, packet: Packet, *, decoded: bool) -> None:
        if decoded:
            self.undecoded_since_ns = None
        elif self.undecoded_since_ns is None:
            self.undecoded_since_ns = packet.emitted_ns

    def _begin_with(self, packets: list[Packet]) -> None:
        self._todo = deque(packets)
        if self._decoder is not None:
            self._decoder.restart()

    def _follow(self, packet: Packet) -> None:
        if self._todo and packet.emitted_ns - self._todo[0].emitted_ns > MOST_LATE_NS:
            if not packet.key:
                # Without a key frame there is nowhere to go on; what waits is capped as the ring is.
                if sum(len(each.data) for each in self._todo) > self._plan.ring_bytes:
                    self._todo.clear()
                    self.eyes.restart()
                    return
            else:
                self._begin_with([])
        self._todo.append(packet)

    def _enter_run(self, packet: Packet) -> None:
        changed = self._changed(packet)
        cause = self._next_cause or changed
        if self.run is None or cause is not None:
            self._new_run(cause or "connected", packet)
            return
        if (broken := self.run.add(packet)) is not None:
            self._new_run(broken, packet)

    def _changed(self, packet: Packet) -> str | None:
        """Whether the camera sends other parameter sets than before on this connection."""
        sets = parameter_sets(self._codec, packet.data) if packet.key else None
        if sets is None:
            return None
        before, self._parameters = self._parameters, sets
        return "parameters" if before not in (None, sets) else None

    def _new_run(self, cause: str, packet: Packet) -> None:
        self._next_cause = None
        was_all = self.eyes.all
        self.run = LiveRun(cause, self._codec, self._time_base, self._clocks, self._extradata)
        self.eyes.restart()
        if was_all and cause != "connected" and not packet.key:
            self.eyes.go_on()
        self.run.add(packet)

    def _picture(self, decoded: Decoded) -> Picture:
        return picture_of(decoded, self._sized(decoded.packet, decoded.frame), self._plan)

    def _sized(self, packet: Packet, frame: VideoFrame) -> LiveRun:
        """The packet's run; a new one when the camera has changed its parameters within it."""
        run, record = packet.run, packet.run.record
        if record is None or (record.width_px, record.height_px) == (frame.width, frame.height):
            return run
        new = LiveRun("parameters", self._codec, self._time_base, self._clocks, self._extradata)
        for each in (packet, *(other for other in self._todo if other.run is run)):
            new.add(each)
        if self.run is run:
            self.run = new
        return new


def _nobody(luma: NDArray[np.uint8], mono_ns: int) -> None:
    """Nobody wants to be told."""


def picture_of(decoded: Decoded, run: LiveRun, plan: WorkerPlan) -> Picture:
    """The frame with all that its record needs; where it is the run's first, the run has its record from then on."""
    frame, packet, damage = decoded
    record = run.record or run.describe(plan.camera, frame.width, frame.height)
    assert run.clock is not None
    assert packet.pts is not None
    return Picture(
        frame=frame,
        run=record,
        pts=packet.pts,
        mono_ns=run.clock.at_mono_ns(packet.pts_ns),
        time=run.time_of(packet),
        damage=damage,
        colour=colour_of(frame, plan.matrix, plan.colour_range),
        key=packet.key,
    )
