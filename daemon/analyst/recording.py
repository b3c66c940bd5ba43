# SPDX-License-Identifier: AGPL-3.0-or-later
"""A stored clip as the packets of the run it holds, with the times that are written beside its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.video.frame import VideoFrame

from daemon.clips.reading import Fragment, Head, fragments, read_head
from daemon.clips.turning import Mark, Turning
from daemon.clock import Clocks
from daemon.domain import FrameTime, Run
from daemon.errors import FirewitnessError
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet

MOST_BYTES = 1_000_000_000  # of a clip in memory, up to the confirmation; ten minutes of 8 Mbit/s have 600 MB


@dataclass(slots=True, eq=False)
class RecordedRun(LiveRun):
    """A run that is over: its frames' times are known, but their order is that of PTS. A clock that settles or steps tells another."""

    times: dict[int, FrameTime] = field(default_factory=dict)
    offset_ns: int = 0
    """Added to a PTS it is a moment on the axis that all clips of an incident share: UTC, by the clocks of its last run."""
    turning: Turning = field(default_factory=lambda: Turning(Mark()))
    size_px: tuple[int, int] | None = None
    """As its container has it, before it is turned upright."""

    def at_mono_ns(self, packet: Packet) -> int | None:
        return packet.pts_ns + self.offset_ns if packet.pts in self.times else None

    def time_of(self, packet: Packet) -> FrameTime:
        assert packet.pts is not None
        return self.times[packet.pts]

    def coded_px(self) -> tuple[int, int] | None:
        return self.size_px

    def upright(self, frame: VideoFrame) -> VideoFrame:
        return self.turning.upright(frame)


def read_clip(path: Path, clocks: Clocks, ahead_ns: int = 0, until: tuple[str, int] | None = None) -> list[Packet]:
    """Its packets in the order of decoding; `ahead_ns` is added to its UTC on the axis. Raises FirewitnessError where it cannot be read.

    Not much further than to the frame of that run and PTS: a clip goes on for hours while it burns.
    """
    try:
        with path.open("rb") as file:
            head = read_head(file)
            run = _run_of(head, clocks)
            last_pts = until[1] if until is not None and until[0] == head.clip.run else None
            packets: list[Packet] = []
            size_bytes = 0
            for each in _wanted(fragments(file, head), last_pts):
                size_bytes += sum(frame.bytes for frame in each.frames)
                if size_bytes > MOST_BYTES:
                    raise FirewitnessError(f"{path} has more than {MOST_BYTES // 1_000_000} MB before the confirmation")
                packets += _packets(file, each, run)
            if packets:
                last = max(packets, key=lambda each: each.pts_ns)  # told last, when the clock had settled
                run.offset_ns = last.run.time_of(last).captured_at_ns - last.pts_ns + ahead_ns
            return packets
    except (OSError, ValueError) as error:
        raise FirewitnessError(f"{path} cannot be read: {error}") from error


def _wanted(found: Iterator[Fragment], last_pts: int | None) -> Iterator[Fragment]:
    """Up to the second that is wholly behind a frame: what is shown before it can be decoded after it."""
    behind = 0
    for each in found:
        yield each
        is_behind = last_pts is not None and min(frame.pts for frame in each.frames) > last_pts
        behind = behind + 1 if is_behind else 0
        if behind == 2:
            return


def _run_of(head: Head, clocks: Clocks) -> RecordedRun:
    clip = head.clip
    run = RecordedRun("recorded", clip.codec, Fraction(*clip.time_base), clocks, head.configuration, clip.run)
    run.record = Run(clip.run, clip.camera, 0, 0, clip.time_base, clip.codec, clip.width_px, clip.height_px, "recorded")
    return run


def _packets(file: BinaryIO, fragment: Fragment, run: RecordedRun) -> list[Packet]:
    made = []
    for frame in fragment.frames:
        file.seek(frame.offset)
        packet = Packet(
            file.read(frame.bytes), frame.pts, None,
            key=frame.key, emitted_ns=frame.at_ns, arrival_ns=None, corrupt=frame.corrupt,
        )  # fmt: skip
        packet.run = run
        packet.pts_ns = run.nanoseconds(frame.pts)
        run.times[frame.pts] = FrameTime(
            frame.at_ns, fragment.uncertainty_s, fragment.relative_uncertainty_s,
            fragment.clock_synchronised, fragment.settling,
        )  # fmt: skip
        made.append(packet)
    return made
