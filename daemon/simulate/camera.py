# SPDX-License-Identifier: AGPL-3.0-or-later
"""A simulated camera: what it is told to be (`Camera`), and its life on the wall clock (`LiveCamera`).

It runs whether or not anybody watches; a viewer joins at the next key frame. Picture n of pass p has the RTP time
p × the clip's length + its time in the clip, so that timestamps rise through every pass.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from daemon.simulate.bitstream import CLOCK_RATE
from daemon.simulate.clip import Clip
from daemon.simulate.encoder import Encoding
from daemon.simulate.faults import Faults, checked_command
from daemon.simulate.library import Library
from daemon.simulate.rtp import AccessUnit, Sent, goodbye, sender_report
from daemon.simulate.truth import TruthLog
from daemon.simulate.viewer import Viewer

LATE_LIMIT_S = 1.0  # behind its clock a camera skips ahead, as a live source must


@dataclass(frozen=True, slots=True)
class Camera:
    """What one camera of a farm is to play, and how."""

    name: str
    source: str | Path
    encoding: Encoding = field(default_factory=Encoding)
    at_end: Literal["loop", "once", "hold"] = "loop"  # once: close the connections; hold: the last picture for ever
    clock_offset: float | None = 0.0  # seconds added to the time in sender reports; None: no reports
    report_interval: float = 5.0  # seconds between sender reports
    join_anywhere: bool = False  # send to a viewer at once instead of from the next key frame on
    wait_for_viewer: bool = False  # start the clip at the first PLAY
    seed: int = 1  # of SSRC, sequence numbers, damage and loss


class Reel:
    """Runs through a clip again and again; times count on through the passes."""

    def __init__(self, clip: Clip, start_ticks: int = 0) -> None:
        self.clip = clip
        self.loop = 0
        self._start_ticks = start_ticks
        self._place = 0

    def next(self) -> tuple[AccessUnit, int, int, int]:
        """The next access unit, its pass, and in the camera's ticks when it is sent and when shown."""
        unit, loop = self.clip.units[self._place], self.loop
        offset = self._start_ticks + loop * self.clip.duration_ticks
        self._place += 1
        if self._place == len(self.clip.units):
            self._place, self.loop = 0, loop + 1
        return unit, loop, offset + unit.decode_ticks, offset + unit.display_ticks


class LiveCamera:
    """A camera that runs: sends its clip, or what a fault has put in its place, to whoever watches."""

    def __init__(self, camera: Camera, library: Library, truth: TruthLog, clip: Clip) -> None:
        self.camera, self.clip = camera, clip
        self.faults = Faults()
        self.viewers: list[Viewer] = []
        self._library, self._truth = library, truth
        self._reel = Reel(clip)
        self._overlay: Reel | None = None  # a still shown in place of the clip
        self._overlay_ending = False
        self._shows = "clip"
        self._chance = random.Random(camera.seed)
        self._units_sent = self._packets_sent = self._bytes_sent = 0
        self._reported_at_s = 0.0
        self._epoch_s = 0.0  # when tick 0 of the camera's clock was, on the monotonic one
        self._shown_frame = 0
        self._watched = asyncio.Event()
        self._new_stream_identity()
        self._note_clip()

    def _new_stream_identity(self) -> None:
        self.ssrc = self._chance.getrandbits(32)
        self._sequence = self._chance.getrandbits(16)
        self._rtp_base = self._chance.getrandbits(31)

    async def run(self) -> None:
        """Plays until cancelled, or to the clip's end where that is the camera's end."""
        end_still = None
        if self.camera.at_end == "hold":
            end_still = await self._library.still(self.clip, len(self.clip.units) - 1)
        if self.camera.wait_for_viewer:
            await self._watched.wait()
        self._epoch_s = time.monotonic()
        while True:
            unit, loop, due, shown = self._reel.next()
            if loop and self._reel.clip is self.clip:
                if self.camera.at_end == "once":
                    self._finish()
                    return
                if end_still is not None and self._overlay is None:
                    self._show(end_still, "hold")
            await self._sleep_until(due)
            self._emit(unit, loop, shown)

    async def _sleep_until(self, due_ticks: int) -> None:
        wait_s = self._epoch_s + due_ticks / CLOCK_RATE - time.monotonic()
        if wait_s < -LATE_LIMIT_S:
            self._epoch_s -= wait_s
            self._rtp_base += round(-wait_s * CLOCK_RATE)
            self.note("late", seconds=round(-wait_s, 3))
        elif wait_s > 0:
            await asyncio.sleep(wait_s)

    def _finish(self) -> None:
        for viewer in self._playing():
            viewer.send_report(goodbye(self.ssrc))
        self.note("end")
        self.faults.refusing = True
        self.close_viewers()

    def _playing(self) -> list[Viewer]:
        return [viewer for viewer in self.viewers if viewer.playing]

    def close_viewers(self) -> None:
        """Closes every connection that watches this camera."""
        for viewer in list(self.viewers):
            viewer.close()
        self.viewers.clear()

    def start_playing(self, viewer: Viewer) -> None:
        """What PLAY does; a sender report follows with the next picture."""
        viewer.playing = True
        self._reported_at_s = 0.0
        self._watched.set()

    def _picture_to_send(self, unit: AccessUnit) -> AccessUnit:
        if self._overlay is not None and self._overlay_ending and unit.key:
            self._overlay, self._shows = None, "clip"
        if self._overlay is None:
            self._shown_frame = unit.frame
            return unit
        return self._overlay.next()[0]

    def _emit(self, unit: AccessUnit, loop: int, shown_ticks: int) -> None:
        unit = self._picture_to_send(unit)
        if self.faults.stalled:
            return
        if viewers := self._viewers_for(unit):
            self._send(unit, viewers, loop, (self._rtp_base + shown_ticks) & 0xFFFFFFFF)
        self._sequence = (self._sequence + len(unit.starts)) & 0xFFFF

    def _viewers_for(self, unit: AccessUnit) -> list[Viewer]:
        chosen = [viewer for viewer in self._playing() if unit.key or not viewer.waiting_for_key]
        for viewer in chosen:
            viewer.waiting_for_key = False
        return chosen

    def _send(self, unit: AccessUnit, viewers: list[Viewer], loop: int, timestamp: int) -> None:
        stamped = unit.stamped(self._sequence, timestamp, self.ssrc)
        burst, lost, corrupted = self.faults.apply(stamped, self._chance)
        for viewer in viewers:
            viewer.send_media(burst)
        self._truth.write(
            self.camera.name,
            source=self._shows,
            frame=self._shown_frame,
            loop=loop,
            key=unit.key,
            rtp=timestamp,
            ssrc=self.ssrc,
            viewers=len(viewers),
            packets=len(unit.starts),
            lost=lost,
            corrupted=corrupted,
        )
        self._units_sent += 1
        self._packets_sent += len(burst.starts)
        self._bytes_sent += len(burst.wire)
        self._report_when_due()

    def _report_when_due(self) -> None:
        now_s, offset_s = time.monotonic(), self.camera.clock_offset
        if offset_s is None or now_s < self._reported_at_s + self.camera.report_interval:
            return
        self._reported_at_s = now_s
        sent = Sent(self.ssrc, self._packets_sent, self._bytes_sent)
        rtp_time = self._rtp_base + round((now_s - self._epoch_s) * CLOCK_RATE)
        report = sender_report(sent, time.time() + offset_s, rtp_time, self.camera.name)
        for viewer in self._playing():
            viewer.send_report(report)

    async def command(self, name: str, value: object = None) -> None:
        """Injects one fault of COMMANDS; ValueError for what is none."""
        checked_command(name, value)
        faults = self.faults
        match name:
            case "stall":
                faults.stalled = True
            case "silent":
                faults.stalled = faults.silent = True
            case "drop":
                self.close_viewers()
            case "refuse":
                faults.refusing = True
                self.close_viewers()
            case "freeze":
                present = self._shown_frame
                self._show(await self._library.still(self.clip, present), "freeze")
                self._shown_frame = present  # pictures went on while the still was encoded
            case "black":
                self._show(await self._library.still(self.clip, None), "black")
            case "corrupt":
                faults.corrupt = float(str(value))
            case "mutate":
                faults.mutate = float(str(value))
            case "loss":
                faults.loss = float(str(value))
            case "jump":
                self._rtp_base += round(float(str(value)) * CLOCK_RATE)
            case "restart":
                self._new_stream_identity()
                self._reported_at_s = 0.0
            case "change":
                await self._change(Path(str(value)))
            case "resume":
                self._resume()
        self.note(name, value=value)

    async def _change(self, source: Path) -> None:
        clip = await self._library.load(source, Encoding())
        now_ticks = round((time.monotonic() - self._epoch_s) * CLOCK_RATE)
        self.clip, self._reel = clip, Reel(clip, now_ticks + round(CLOCK_RATE / clip.rate))
        self._note_clip()

    def _resume(self) -> None:
        if self.faults.stalled:  # the next picture sent must need no earlier one
            for viewer in self.viewers:
                viewer.waiting_for_key = True
        self.faults = Faults()
        self._overlay_ending = True

    def _show(self, still: Clip, what: str) -> None:
        self._overlay, self._shows, self._overlay_ending = Reel(still), what, False

    def note(self, event: str, **details: object) -> None:
        """Puts an event into the truth log."""
        self._truth.write(self.camera.name, event=event, **details)

    def _note_clip(self) -> None:
        clip = self.clip
        self.note(
            "clip",
            file=clip.path,
            source_file=self.camera.source,
            codec=clip.codec.name,
            width=clip.width_px,
            height=clip.height_px,
            fps=float(clip.rate),
            frames=len(clip.units),
            seconds=clip.duration_ticks / CLOCK_RATE,
        )

    def state(self) -> dict[str, object]:
        """What the camera is doing now, for JSON."""
        return {
            "source": str(self.camera.source),
            "playing": str(self.clip.path),
            "viewers": len(self._playing()),
            "units_sent": self._units_sent,
            "bytes_sent": self._bytes_sent,
            "frame": self._shown_frame,
            "loop": self._reel.loop,
            "shows": self._shows,
            **asdict(self.faults),
        }
