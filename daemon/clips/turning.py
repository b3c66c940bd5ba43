# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames of a recording from elsewhere as its players show them: a phone films on its side, or mirrored, and marks it."""

from __future__ import annotations

import struct
from typing import NamedTuple, cast

import av
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame


class Mark(NamedTuple):
    """How a picture is to be shown: its rows as columns, then mirrored from left to right, then from top to bottom."""

    transposed: bool = False
    across: bool = False
    down: bool = False


def mark_of(frame: VideoFrame) -> Mark:
    """Of its display matrix (ISO/IEC 14496-12, 8.3.2); what is no quarter turn or mirroring counts as the nearest."""
    try:
        matrix = cast("SideDataContainer", frame.side_data)[Type.DISPLAYMATRIX]  # PyAV declares it as something else
    except KeyError:
        return Mark()
    right_right, right_down, _, down_right, down_down = struct.unpack_from("=5i", matrix)
    if abs(right_right) + abs(down_down) >= abs(right_down) + abs(down_right):
        return Mark(False, right_right < 0, down_down < 0)
    return Mark(True, down_right < 0, right_down < 0)


class Turning:
    """Shows frames as they are marked; their colours and times stay."""

    def __init__(self, mark: Mark) -> None:
        self._filters = [
            each
            for each, wanted in zip((("transpose", "cclock_flip"), ("hflip", None), ("vflip", None)), mark, strict=True)
            if wanted
        ]
        self.swaps_sides = mark.transposed
        self._graph: Graph | None = None
        self._of: tuple[int, int, str] | None = None

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
