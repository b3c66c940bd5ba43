# SPDX-License-Identifier: AGPL-3.0-or-later
"""A clip for the tests of what serves and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from daemon.clips.mp4 import Sample, fragment, header
from daemon.clock import NS
from daemon.domain import Clip, FrameTime
from daemon.ids import new_id

FPS, SECONDS = 10, 3
STEP = 90_000 // FPS


def clip_of(
    chart: Path,
    run: str,
    camera: str = "hall",
    at_ns: int = 1000 * NS,
    incidents: Sequence[str] = (),
    sibling_of: Sequence[str] = (),
    codec: str = "h264",
) -> tuple[Clip, bytes]:
    """The chart as a worker makes a clip of it, its first frame seen at `at_ns`."""
    cause = "sibling" if sibling_of else "confirmed"
    clip = Clip(new_id(), camera, run, (1, 90_000), codec, 320, 240, 0, cause, "0.1.0")
    with av.open(str(chart)) as source:
        annexb = BitStreamFilterContext(f"{codec}_mp4toannexb", source.streams.video[0])
        packets = (packet if packet.size else None for packet in source.demux(source.streams.video[0]))
        coded = [out for packet in packets for out in annexb.filter(packet)]
    samples = [
        Sample(bytes(packet), place * STEP, place * STEP, STEP, packet.is_keyframe, False, at_ns + place * NS // FPS)
        for place, packet in enumerate(coded)
    ]
    time, head = FrameTime(1, 0.1, 0.1, True, False), header(clip, [samples[0].data])
    return clip, fragment(clip, 1, samples, time, incidents, head, sibling_of)
