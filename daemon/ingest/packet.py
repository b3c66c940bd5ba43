# SPDX-License-Identifier: AGPL-3.0-or-later
"""One coded picture as it came, copied out of FFmpeg: its packets' buffers belong to a pool and must not be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.ingest.live_run import LiveRun


class Packet:
    """Times in the stream's time base; arrival on CLOCK_MONOTONIC, None where it is not known or would be false."""

    __slots__ = ("arrival_ns", "camera_clock_ns", "corrupt", "data", "dts", "emitted_ns", "key", "pts", "pts_ns", "run")

    run: LiveRun
    pts_ns: int
    """PTS in nanoseconds. Both are set once the worker's loop has taken it over, the latter where there is a PTS."""

    def __init__(
        self,
        data: bytes,
        pts: int | None,
        dts: int | None,
        *,
        key: bool,
        emitted_ns: int,
        arrival_ns: int | None,
        corrupt: bool = False,
        camera_clock_ns: int | None = None,
    ) -> None:
        self.data = data
        self.pts = pts
        self.dts = dts
        self.key = key
        self.emitted_ns = emitted_ns
        """When FFmpeg gave it out."""
        self.arrival_ns = arrival_ns
        """When its first byte came."""
        self.corrupt = corrupt
        self.camera_clock_ns = camera_clock_ns
