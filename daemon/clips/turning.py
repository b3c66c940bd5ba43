# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames of a recording from elsewhere as its players show them: a phone films on its side and marks by how much to turn."""

from __future__ import annotations

import av
from av.filter import Graph
from av.video.frame import VideoFrame

_FILTERS = {90: (("transpose", "cclock"),), 180: (("hflip", None), ("vflip", None)), 270: (("transpose", "clock"),)}


def quarter_turns(frame: VideoFrame) -> int:
    """How far its mark asks for, counter-clockwise: 0, 90, 180 or 270; what is no quarter turn counts as the nearest."""
    return round(frame.rotation / 90) * 90 % 360


class Turning:
    """Turns frames by so many degrees counter-clockwise; their colours and times stay."""

    def __init__(self, degrees: int) -> None:
        self._filters = _FILTERS.get(degrees, ())
        self._graph: Graph | None = None
        self._of: tuple[int, int, str] | None = None

    @property
    def swaps_sides(self) -> bool:
        return len(self._filters) == 1

    def upright(self, frame: VideoFrame) -> VideoFrame:
        if not self._filters:
            return frame
        of = (frame.width, frame.height, frame.format.name)
        if self._graph is None or self._of != of:
            self._graph, self._of = self._made(frame), of
        self._graph.push(frame)
        turned = self._graph.pull()
        assert isinstance(turned, VideoFrame)
        return turned

    def _made(self, frame: VideoFrame) -> Graph:
        graph = av.filter.Graph()
        last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
        for name, argument in self._filters:
            following = graph.add(name, argument) if argument else graph.add(name)
            last.link_to(following)
            last = following
        last.link_to(graph.add("buffersink"))
        graph.configure()
        return graph
