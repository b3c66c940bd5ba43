# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which of a camera's streams keeps watch, what of it is decoded, and what of that the detector is shown.

Without sub-stream it is the main stream. With one, the main stream stays compressed in the ring but for a key frame
every few seconds, until the sub-stream shows something; only what the main stream then shows is evidence. Where the
sub-stream gives no pictures, the main stream keeps watch as without it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from daemon.clock import NS, Clocks
from daemon.domain import Run
from daemon.ingest.condition import OK, Condition
from daemon.ingest.eyes import GLANCE_NS
from daemon.ingest.focus import Focus
from daemon.ingest.frames import Picture
from daemon.ingest.incidents import Incidents
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.reader import Wake
from daemon.ingest.showing import SUB, Seen, Showing, View
from daemon.ingest.source import Source
from daemon.ingest.substream import SubStream
from daemon.ingest.suspicion import SecondLook, Suspicion

SLICE = 8  # packets decoded before the loop looks at its sockets again

log = logging.getLogger("firewitness.looking")


class Moment(NamedTuple):
    """A frame of the main stream that has come, decoded or not."""

    run: Run
    pts: int


class Looking:
    """One camera's. The loop calls `tick`, `take_packets`, `look`, and tells what the detector saw."""

    def __init__(self, plan: WorkerPlan, wake_fd: int, clocks: Clocks, showing: Showing, incidents: Incidents) -> None:
        self._clocks, self._showing, self._incidents = clocks, showing, incidents
        self._max_interval_ns = round(plan.max_interval_s * NS)
        self.main = Source(plan, wake_fd, clocks)
        self.main.frames.tell = incidents.decoded
        self.sub = SubStream(plan, wake_fd, clocks) if plan.detect_url is not None else None
        self._suspicion = Suspicion(plan.unconfirmed_after_s)
        self._second_look = SecondLook(plan.rules)
        self._focus = Focus(plan.input_px, plan.max_interval_s)

    def tick(self) -> None:
        """Connects, and lets suspicions age; raises StuckError when the main stream needs a new process."""
        self.main.connection.tick()
        if self.sub is not None:
            self.sub.tick()
        self._suspicion.time_passes(self._now_s())
        self._second_look.time_passes(self._now_s(), suspected=self._incidents.active)

    def check_clock(self) -> None:
        """Of both streams: what the sub-stream watched tells until when a camera was watched, by its frames' times."""
        for source in (self.main, self.sub):
            if source is not None:
                source.frames.check_clock()

    def take_packets(self) -> None:
        """Takes over what has come on both streams."""
        self.decide()
        self.main.take()
        if self.sub is not None:
            self.sub.take()

    def decide(self) -> None:
        """What is to be decoded from now on; to be called when incidents may have begun or ended."""
        eyes = self.main.frames.eyes
        if self._incidents.active:
            self._suspicion.shown()
        eyes.active = self._incidents.active or self._suspicion.active or self._second_look.active
        if self.sub is None:
            wake = Wake.PACKETS if eyes.active else Wake.KEYS
        else:
            # One at a time: a frame of the sub-stream would withdraw the main one that the detector has not taken.
            self.sub.frames.eyes.asleep = eyes.active and self.main.arrives()
            eyes.asleep = self.sub.keeps_watch()
            eyes.glance_ns = self._max_interval_ns if self._suspects_at_key_frames() else GLANCE_NS
            wake = Wake.PACKETS if eyes.active else Wake.NEVER if eyes.asleep else Wake.KEYS
        self.main.connection.wake_for(wake)

    @property
    def busy(self) -> bool:
        """Whether `look` has something to do now."""
        return self._main_has_work() or (self.sub is not None and self.sub.frames.waiting)

    def look(self) -> Iterator[Picture]:
        """Decodes a little and shows the detector what is worth it; gives the main stream's decoded pictures."""
        for _ in range(SLICE):
            if self._main_has_work():
                if (picture := self.main.frames.step()) is not None:
                    self._show_main(picture)
                    yield picture
            elif self.sub is not None and self.sub.frames.waiting:
                if (picture := self.sub.frames.step()) is not None:
                    self.sub.gave_picture()
                    if self.sub.frames.health.condition is OK:  # else it would only withdraw the main stream's
                        self._showing.show(picture, SUB)
            else:
                return

    def main_seen(self, seen: Seen) -> None:
        """The detector has looked at a frame of the main stream, and the rules have had it."""
        size_px, suspected = seen.picture.size_px, self._incidents.active
        whole = seen.detections if seen.view.tile is None else ()  # what only a tile shows, a second look would not see
        self._second_look.analysed(whole, size_px, self._now_s(), suspected=suspected)

    def sub_seen(self, seen: Seen) -> None:
        """The detector has looked at a frame of the sub-stream."""
        places = self._incidents.counting(seen.detections, seen.picture.size_px)
        if not places or self._incidents.active:
            return
        if not self.main.arrives():
            return  # nothing could be stored; its own condition says so
        if self._suspicion.hit(places, self._now_s()):
            log.info("the sub-stream shows something: looking at the main stream")
            self.main.frames.look_back(seen.picture.mono_ns)
        self.decide()

    def moment_of(self, picture: Picture) -> Moment | None:
        """The newest frame of the main stream, where it is of a sub-stream's picture's time: it could be stored."""
        if not self.main.arrives() or (newest := self.main.frames.newest_at()) is None:
            return None
        run, pts, mono_ns = newest
        return Moment(run, pts) if abs(mono_ns - picture.mono_ns) <= self._max_interval_ns else None

    def is_healthy(self, stream: str) -> bool:
        """Whether what that stream shows is a picture of now; and the main stream's too, of which evidence would be."""
        sources = [self.main, self.sub] if stream == "sub" else [self.main]
        return all(each is None or each.frames.health.condition is OK for each in sources)

    @property
    def fallback(self) -> Condition | None:
        """Why the main stream keeps watch although there is a sub-stream; None while it need not, or looks closely."""
        if self.sub is None or self.sub.keeps_watch() or self.main.frames.eyes.active:
            return None
        condition = self.sub.condition
        return None if condition.reason == "ok" else condition

    def close(self) -> None:
        """Asks the readers to end."""
        self.main.connection.close()
        if self.sub is not None:
            self.sub.connection.close()

    def _main_has_work(self) -> bool:
        """In catching up, one frame at a time: a second would withdraw the first."""
        frames = self.main.frames
        return frames.waiting and not (frames.catching_up and self._showing.waits)

    def _show_main(self, picture: Picture) -> None:
        eyes = self.main.frames.eyes
        if eyes.asleep and not eyes.active and not self._suspects_at_key_frames():
            return  # a glance: for its health, and for what is kept of a quiet camera
        tile = None
        if self._incidents.active:
            places = self._incidents.native_places
            tile = self._focus.next(places, self._incidents.others, picture.size_px, picture.mono_ns)
        self._showing.show(picture, View("main", tile))

    def _suspects_at_key_frames(self) -> bool:
        return self._suspicion.wants_key_frames(self._now_s())

    def _now_s(self) -> float:
        return self._clocks.monotonic_ns() / NS
