# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watches a camera for some seconds and says what it sends; for whoever sets one up."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import av

from daemon.clock import NS, Clocks
from daemon.errors import CameraError
from daemon.ingest.colour import Colour, colour_of, tags_of
from daemon.ingest.decode import Decoded, Decoder
from daemon.ingest.demux import packets_of
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet
from daemon.ingest.parameters import parameter_sets
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.ring import PACKET_OVERHEAD_BYTES
from daemon.ingest.stream import Stream, open_stream, while_reading


class Gop(NamedTuple):
    """From one key frame to the next."""

    frames: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a camera sent while it was watched."""

    codec: str
    profile: str
    width_px: int
    height_px: int
    pixel_format: str
    tags: tuple[str | None, str | None]
    """Matrix and range as it says them; None what it does not say."""
    taken_as: Colour
    frames_per_s: float
    bits_per_s: float
    gops: tuple[Gop, ...]
    largest_bytes: int
    """The largest coded picture."""
    b_frames: bool
    clock_offset_s: float | None
    """Its clock minus this host's, where it sends it."""
    parameter_sets: int
    """How many different ones came with its key frames; 0: it sends them only when it is connected."""
    jumps: int
    """Of its timestamps, each of which would begin a run."""

    def ring_bytes(self, seconds: float) -> int:
        """What that many seconds take in the ring."""
        return round(seconds * (self.bits_per_s / 8 + self.frames_per_s * PACKET_OVERHEAD_BYTES))


@dataclass(slots=True)
class _Tally:
    """What is counted of the packets as they come."""

    run: LiveRun
    keys: list[tuple[int, int]] = field(default_factory=list)
    """Of each key frame of this run its place among the packets, and its PTS."""
    earlier_gops: tuple[Gop, ...] = ()
    total_bytes: int = 0
    largest_bytes: int = 0
    packets: int = 0
    first_pts_ns: int | None = None
    latest_pts_ns: int = 0
    before_ns: int = 0
    """What the timestamps went over before they jumped."""
    b_frames: bool = False
    jumps: int = 0
    sets: set[bytes] = field(default_factory=set)
    clock_offset_s: float | None = None
    shown: Decoded | None = None

    def add(self, packet: Packet) -> None:
        self.packets += 1
        self.total_bytes += len(packet.data)
        self.largest_bytes = max(self.largest_bytes, len(packet.data))
        if self.run.add(packet) == "pts":
            self._begin_again(packet)
        if packet.pts is None or self.run.clock is None:
            return
        if self.first_pts_ns is None:
            self.first_pts_ns = self.latest_pts_ns = packet.pts_ns
        self.b_frames |= packet.pts_ns < self.latest_pts_ns
        self.latest_pts_ns = max(self.latest_pts_ns, packet.pts_ns)
        if packet.key:
            self.keys.append((self.packets, packet.pts_ns))
            self.sets |= {parameter_sets(self.run.codec, packet.data) or b""} - {b""}
        if packet.camera_clock_ns is not None:
            self.clock_offset_s = (packet.camera_clock_ns - self.run.clock.at_utc_ns(packet.pts_ns)) / NS

    def _begin_again(self, packet: Packet) -> None:
        """The timestamps jumped: what follows is another run, and no GOP goes over from one to the other."""
        self.jumps += 1
        self.before_ns, self.first_pts_ns = self.spanned_ns(), None
        self.earlier_gops, self.keys = self.gops(), []
        self.run = LiveRun("pts", self.run.codec, self.run.time_base, self.run.clocks)
        self.run.add(packet)

    def spanned_ns(self) -> int:
        """From the first picture to the last."""
        return self.before_ns + (0 if self.first_pts_ns is None else self.latest_pts_ns - self.first_pts_ns)

    def gops(self) -> tuple[Gop, ...]:
        pairs = zip(self.keys, self.keys[1:], strict=False)
        return (*self.earlier_gops, *(Gop(later[0] - first[0], (later[1] - first[1]) / NS) for first, later in pairs))


def probe(plan: WorkerPlan, seconds: float, clocks: Clocks) -> Found:
    """Watches the plan's camera for that long; raises CameraError with the sentence why it cannot."""
    stream = open_stream(plan)
    with stream.container:
        context = stream.video.codec_context
        decoder = Decoder(context.name, context.extradata)
        tally = _Tally(LiveRun("connected", context.name, Fraction(stream.video.time_base or 1), clocks))
        _watch(stream, plan, seconds, clocks, tally, decoder)
    if tally.shown is None:
        raise CameraError("decode", f"the camera sent {tally.packets} pictures, and none could be decoded")
    return _found(tally, tally.shown, decoder)


def _watch(stream: Stream, plan: WorkerPlan, seconds: float, clocks: Clocks, tally: _Tally, decoder: Decoder) -> None:
    began_ns = clocks.monotonic_ns()
    try:
        for packet in packets_of(stream, plan.read_timeout_s, clocks.monotonic_ns):
            tally.add(packet)
            if packet.key and packet.pts is not None and tally.shown is None:
                tally.shown = decoder.key_frame(packet)
            if clocks.monotonic_ns() - began_ns > seconds * NS:
                return
    except (av.error.FFmpegError, OSError) as error:
        raise while_reading(error, plan) from None
    raise while_reading(EOFError(), plan)


def _found(tally: _Tally, shown: Decoded, decoder: Decoder) -> Found:
    frame = shown.frame
    spanned_s = tally.spanned_ns() / NS
    step_s = spanned_s / max(1, tally.packets - 1 - tally.jumps)
    return Found(
        codec=tally.run.codec,
        profile=decoder.profile,
        width_px=frame.width,
        height_px=frame.height,
        pixel_format=frame.format.name,
        tags=tags_of(frame),
        taken_as=colour_of(frame),
        frames_per_s=1 / step_s if step_s > 0 else 0.0,
        bits_per_s=tally.total_bytes * 8 / (spanned_s + step_s * (1 + tally.jumps)) if spanned_s > 0 else 0.0,
        gops=tally.gops(),
        largest_bytes=tally.largest_bytes,
        b_frames=tally.b_frames,
        clock_offset_s=tally.clock_offset_s,
        parameter_sets=len(tally.sets),
        jumps=tally.jumps,
    )
