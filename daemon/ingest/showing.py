# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shows pictures to the detector over the live channel, whole or as a native-resolution part, and brings back what it saw.

Boxes come back in pixels of the whole picture. Pictures of both streams share the channel; a picture is known by its
run and PTS, and no two runs share an id.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from daemon.clock import NS, Clocks
from daemon.detect.hints import MOST_TOLD, fires
from daemon.detect.live import LiveChannel
from daemon.detect.tiling import Tile, in_picture
from daemon.domain import Box, Detection, ModelInfo
from daemon.ingest.colour import Converter
from daemon.ingest.frames import Picture
from daemon.messages import DetectorHello, FrameDone


class View(NamedTuple):
    """Of which stream a picture is, and which part of it was shown: all of it, scaled, or a tile as it is."""

    stream: Literal["main", "sub"] = "main"
    tile: Tile | None = None


MAIN, SUB = View(), View("sub")


class Seen(NamedTuple):
    """The detector's answer to a picture."""

    picture: Picture
    view: View
    detections: tuple[Detection, ...]
    model: ModelInfo
    hints: tuple[Box, ...] = ()
    """Of a whole picture of the main stream: where fire may be, of all that was seen, the strongest first."""


class _Shown(NamedTuple):
    picture: Picture
    view: View
    at_ns: int


class Showing:
    """One camera's; for one thread."""

    def __init__(self, live: LiveChannel, clocks: Clocks, converter: Converter, sub_stream_px: int) -> None:
        self.live = live
        self._clocks = clocks
        self._converter = converter
        self._sub_px = min(sub_stream_px, live.input_px)
        self._shown: dict[tuple[str, int], _Shown] = {}
        self._analysed_mono_ns: int | None = None
        self._interval_ns: int | None = None
        self.analysed_ns = clocks.monotonic_ns()
        """When the detector last answered, or said hello."""
        self.failed = False
        """Whether the last answer was that it failed."""
        self._model: ModelInfo | None = None
        """Whose the next answer is."""
        self.analysed = 0
        self.replaced = 0

    @property
    def waits(self) -> bool:
        """Whether the detector has not answered yet: another picture now would withdraw the one before."""
        return self.live.waiting > 0

    @property
    def oldest_ns(self) -> int | None:
        """Since when the detector has had the oldest picture that has not come back."""
        return min((each.at_ns for each in self._shown.values()), default=None)

    def show(self, picture: Picture, view: View = MAIN) -> bool:
        """Hands the picture over; False when no buffer is free or no detector is there."""
        free = self.live.free_buffer()
        if free is None:
            self.replaced += self.live.ready
            return False
        index, buffer = free
        most_px = self._sub_px if view.stream == "sub" else self.live.input_px
        if view.tile is None:
            small, original = self._converter.small(picture.frame, picture.colour, most_px), picture.size_px
        else:
            small = view.tile.of(self._converter.full(picture.frame, picture.colour))
            original = (view.tile.width, view.tile.height)
        height, width = small.shape[:2]
        buffer[: small.size].reshape(small.shape)[:] = small
        if not self.live.announce(index, (width, height), original, picture.run.id, picture.pts, most_px):
            self.replaced += 1
            return False
        self._shown[(picture.run.id, picture.pts)] = _Shown(picture, view, self._clocks.monotonic_ns())
        return True

    def answers(self) -> list[Seen]:
        """What has been analysed since the last call."""
        found = []
        for message in self.live.receive():
            if isinstance(message, DetectorHello):
                self._shown.clear()
                self._model = message.model
                self.analysed_ns = self._clocks.monotonic_ns()
                self.failed = False
            elif isinstance(message, ModelInfo):
                self._model = message
            elif (seen := self._done(message)) is not None:
                found.append(seen)
        return found

    def longest_interval_s(self) -> float | None:
        """Between analysed frames that showed the whole picture, since the last call."""
        longest_ns, self._interval_ns = self._interval_ns, None
        return None if longest_ns is None else longest_ns / NS

    def _done(self, done: FrameDone) -> Seen | None:
        shown, model = self._shown.pop((done.run, done.pts), None), self._model
        self.replaced += done.outcome == "replaced"
        self.failed = done.outcome == "failed"
        if done.outcome != "analysed" or shown is None or model is None:
            return None
        self.analysed_ns = self._clocks.monotonic_ns()
        self.analysed += 1
        picture, view, _ = shown
        if view.tile is None:
            self._note_interval(picture.mono_ns)
            hints = (fires(done.detections) + done.hints)[:MOST_TOLD] if view.stream == "main" else ()
            return Seen(picture, view, done.detections, model, hints)
        return Seen(picture, view, in_picture(view.tile, done.detections), model)

    def _note_interval(self, mono_ns: int) -> None:
        if self._analysed_mono_ns is not None:
            self._interval_ns = max(mono_ns - self._analysed_mono_ns, self._interval_ns or 0)
        self._analysed_mono_ns = max(mono_ns, self._analysed_mono_ns or 0)
