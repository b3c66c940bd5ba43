# SPDX-License-Identifier: AGPL-3.0-or-later
"""What going back must not claim: a flame that the detector missed at first was there all the same, and a glimpse was one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.analyst.analysing import go_back
from daemon.analyst.foreign import read_recording
from daemon.analyst.recording import RecordedRun
from daemon.clock import NS, host_clocks
from daemon.domain import Detection, Evidence, FrameTime, ModelInfo
from daemon.ids import new_id
from daemon.ingest.concluding import subject_of
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.origin.doubt import Doubt
from daemon.origin.record import Analysis
from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.flame import Flame
from tests.origin.drawn import as_sent, wall

FPS, SECONDS, GROWN, SIZE = 10, 6, 50, (320, 240)
BEGIN_NS = 1_795_449_909 * NS
MODEL = ModelInfo("cd" * 32, "another", "none", 320)
FIRE = Detection("fire", 0.6, (140.0, 108.0, 180.0, 152.0))
FOOT, BITS, BIT_PX = (160, 150), 7, 16
PLAN = WorkerPlan(
    camera="hall", url="", version="0.1.0", recorder_socket="", input_px=320, thresholds={"fire": 0.3, "smoke": 0.35}
)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A flame that burns from a picture on and is twice as high in the end; marks in a corner count the pictures."""
    folder, room = tmp_path_factory.mktemp("films"), np.asarray(cv2.resize(wall(), SIZE), np.uint8)

    def film(onset: int) -> Path:
        path = folder / f"{onset}.mp4"
        if path.exists():
            return path
        with Encoder(path, Target(CODECS["h264"], SIZE, Fraction(FPS), FPS, 2_000_000)) as encoder:
            for number in range(SECONDS * FPS):
                picture = as_sent(room, number, quality=95)
                if number >= onset:
                    Flame(1).draw(picture, FOOT, 80 if number >= GROWN else 40, number / FPS)
                for bit in range(BITS):
                    picture[-BIT_PX:, bit * BIT_PX : (bit + 1) * BIT_PX] = 200 * (number >> bit & 1)
                encoder.add(av.VideoFrame.from_ndarray(picture, format="bgr24"))
        return path

    return film


def come_back_a_minute_later(packets: Sequence[Packet]) -> None:
    """As a run of their own."""
    before = packets[0].run
    assert isinstance(before, RecordedRun)
    assert before.record is not None
    minute_ns = 60 * NS
    times = {pts: replace(time, captured_at_ns=time.captured_at_ns + minute_ns) for pts, time in before.times.items()}
    record = replace(before.record, id=new_id())
    run = replace(before, id=record.id, record=record, offset_ns=before.offset_ns + minute_ns, times=times)
    for packet in packets:
        packet.run = run


def analysed(path: Path, seen: Callable[[int], bool], damaged: int = 0, away: int = 0) -> Analysis:
    """By a detector that sees the flame in those pictures; confirmed by the last one.

    The first so many are damaged, or came a minute before the others.
    """
    with path.open("rb") as file:
        packets = read_recording(file, "hall", new_id(), BEGIN_NS, host_clocks()).packets
    for packet in packets[:damaged]:
        packet.corrupt = True
    if away:
        come_back_a_minute_later(packets[away:])
    run = packets[-1].run.record
    assert run is not None
    last = max(packets, key=lambda each: each.pts or 0)
    evidence = Evidence(
        new_id(), "hall", "first_confirmed", run.id, last.pts or 0, run.time_base,
        FrameTime(last.run.time_of(last).captured_at_ns, 0.05, 0.03, True, False), *SIZE, (FIRE,), new_id(), MODEL,
        PLAN.thresholds, "no", ("bt709", "limited"), "0.1.0",
    )  # fmt: skip

    def detect(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
        marks = [pixels[-BIT_PX:, bit * BIT_PX : (bit + 1) * BIT_PX].mean() > 100 for bit in range(BITS)]
        return ((FIRE,) if seen(sum(lit << bit for bit, lit in enumerate(marks))) else ()), MODEL

    subject = subject_of(evidence, (0.44, 0.45, 0.56, 0.63), ["fire"], source="clip")
    return go_back(subject, packets, PLAN, detect, host_clocks()).analysis


def frame_of(at_ns: int) -> int:
    return round((at_ns - BEGIN_NS) * FPS / NS)


def test_a_flame_that_the_detector_saw_late_is_in_doubt(filmed: Callable[[int], Path]) -> None:
    """It burned all along: the first sighting stays what it is, and nobody says that it was clean before."""
    analysis = analysed(filmed(0), lambda number: number >= 42)
    assert frame_of(analysis.first_visible.at_ns) == 42, "not when it shows something new"
    assert analysis.ended == "clean"
    assert analysis.doubt == Doubt(("looks_the_same",), None)


def test_a_flame_that_was_new_is_not_in_doubt(filmed: Callable[[int], Path]) -> None:
    """Clean for 3 s, and then a flame where there was none."""
    analysis = analysed(filmed(42), lambda number: number >= 42)
    assert (frame_of(analysis.first_visible.at_ns), analysis.ended, analysis.doubt) == (42, "clean", None)


def test_a_glimpse_is_told(filmed: Callable[[int], Path]) -> None:
    """A frame that showed it 1.5 s before, and 14 that did not: it may have been there since then."""
    analysis = analysed(filmed(20), lambda number: number == 20 or number >= 35)
    assert frame_of(analysis.first_visible.at_ns) == 35
    assert analysis.doubt is not None
    assert "glimpsed" in analysis.doubt.why
    assert frame_of(analysis.chain[0].at_ns) == 20
    assert analysis.chain[0].sighting


def test_a_record_that_is_too_short_is_told(filmed: Callable[[int], Path]) -> None:
    """Two clean seconds since it began say little of the time before."""
    analysis = analysed(filmed(20), lambda number: number >= 20)
    assert frame_of(analysis.first_visible.at_ns) == 20
    assert analysis.last_clean is not None
    assert (analysis.ended, analysis.doubt) == ("record_begins", Doubt(("record_begins",), None))
    assert analysed(filmed(0), lambda _: True).doubt is None, "already burning: there is nothing left to doubt"


def test_where_nothing_before_could_be_looked_at_nobody_says_that_it_burned(filmed: Callable[[int], Path]) -> None:
    """Three damaged seconds show nothing: neither a fire, nor that there was none."""
    analysis = analysed(filmed(0), lambda _: True, damaged=30)
    assert frame_of(analysis.first_visible.at_ns) == 30
    assert (analysis.last_clean, analysis.doubt) == (None, Doubt(("record_begins",), None))


def test_a_hole_just_before_it_is_told(filmed: Callable[[int], Path]) -> None:
    """The camera was away for a minute, and back for 1.2 s when it burned: perhaps since the last frame before that."""
    away = 30
    analysis = analysed(filmed(42), lambda number: number >= 42, away=away)
    assert analysis.doubt == Doubt(("unwatched",), BEGIN_NS + (away - 1) * NS // FPS)
    assert analysis.ended == "clean"
