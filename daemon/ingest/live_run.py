# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run while it goes on: what its packets need to become frames with a time. Its record is `daemon.domain.Run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from daemon.clock import NS, Clocks
from daemon.domain import FrameTime, Run
from daemon.ids import new_id
from daemon.ingest.packet import Packet
from daemon.ingest.run_clock import RunClock

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(slots=True, eq=False)
class LiveRun:
    """One run of one camera; `record` is there from its first decoded frame on."""

    cause: str
    codec: str
    time_base: Fraction
    clocks: Clocks
    extradata: bytes | None = None
    """Its connection's: without it, what is left of it in the ring may not be decodable."""
    id: str = field(default_factory=new_id)
    clock: RunClock | None = None
    record: Run | None = None
    _numerator_ns: int = field(init=False)
    _denominator: int = field(init=False)

    def __post_init__(self) -> None:
        self._numerator_ns = self.time_base.numerator * NS
        self._denominator = self.time_base.denominator

    def add(self, packet: Packet) -> str | None:
        """Makes the packet one of this run and lets its arrival count.

        Returns why a new run has to begin with it instead, if so.
        """
        packet.run = self
        if packet.pts is None:
            return None
        packet.pts_ns = self.nanoseconds(packet.pts)
        if self.clock is None:
            mono_ns = self.clocks.monotonic_ns()
            # Where its arrival is not known, the moment it was given out is the latest it can have come.
            arrival_ns = packet.arrival_ns if packet.arrival_ns is not None else packet.emitted_ns
            self.clock = RunClock(packet.pts_ns, arrival_ns, mono_ns, self.clocks.wall_ns())
            return None
        if packet.arrival_ns is None:
            return None
        return self.clock.add(packet.pts_ns, packet.arrival_ns)

    def at_mono_ns(self, packet: Packet) -> int | None:
        """The moment of a packet of this run on CLOCK_MONOTONIC; None where it has no PTS, or none had."""
        if packet.pts is None or self.clock is None:
            return None
        return self.clock.at_mono_ns(packet.pts_ns)

    def coded_px(self) -> tuple[int, int] | None:
        """Width and height, where only a container tells a decoder."""
        return None

    def upright(self, frame: VideoFrame) -> VideoFrame:
        """A frame of it as it is to be looked at: a camera of ours stands."""
        return frame

    def nanoseconds(self, pts: int) -> int:
        """A PTS of this run, which counts in its time base."""
        return pts * self._numerator_ns // self._denominator

    def time_of(self, packet: Packet) -> FrameTime:
        """When the frame was seen that this packet of the run holds."""
        assert self.clock is not None
        return self.clock.time_of(packet.pts_ns, self.clocks.synchronisation(), packet.camera_clock_ns)

    def interval_ns(self) -> int:
        """From frame to frame; 0 while it is not known."""
        return self.clock.interval_ns() if self.clock is not None else 0

    def describe(self, camera: str, width_px: int, height_px: int) -> Run:
        """Its record, made from its first decoded frame."""
        assert self.clock is not None
        self.record = Run(
            id=self.id,
            camera=camera,
            started_at_ns=self.clock.started_utc_ns,
            started_mono_ns=self.clock.started_mono_ns,
            time_base=(self.time_base.numerator, self.time_base.denominator),
            codec=self.codec,
            width_px=width_px,
            height_px=height_px,
            cause=self.cause,
        )
        return self.record
