# SPDX-License-Identifier: AGPL-3.0-or-later
"""CPU-seconds of going back over 60 s of 1080p25, besides inference; and what other cameras notice of it.

The detector is played: it says for each frame, at no cost, what the course of the fire is to be. Everything else is what the
worker does: decoding, scaling, cutting tiles, changed pixels, place, growth, arrival, stills.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from benchmarks import film
from benchmarks.cameras import played
from daemon.clock import NS, host_clocks
from daemon.domain import Detection, Evidence, ModelInfo
from daemon.ids import new_id
from daemon.ingest.colour import Converter
from daemon.ingest.concluding import Subject
from daemon.ingest.examination import Examination
from daemon.ingest.live_run import LiveRun
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.snapshot import Snapshot
from tests.system.daemon_under_test import Daemon, wait_for

SECONDS = 60
OTHERS = 3
MODEL = ModelInfo("0" * 64, "played", "none", 640)
BOX = (1419.0, 500.0, 1470.0, 624.0)  # of the drawn flame, at 1.5 times its size
SEEN = Detection("fire", 0.4, BOX)
COURSES: dict[str, Callable[[int, random.Random], bool]] = {
    "burns for 5 s": lambda place, chance: place >= 55 * film.FPS,
    "burns for 30 s": lambda place, chance: place >= 30 * film.FPS,
    "burns for 30 s, visible in 70 % of the frames": lambda place, chance: (
        place >= 30 * film.FPS and chance.random() < 0.7
    ),
    "burnt before the record begins": lambda place, chance: True,
    "a lamp that the detector takes for fire in 30 % of the frames": lambda place, chance: chance.random() < 0.3,
}


@dataclass
class Cost:
    """Of one going back."""

    cpu_s: float
    looks: int
    pictures: int
    packets: int
    longest_step_s: float
    error_frames: int
    ended: str


def recorded(folder: Path) -> list[Packet]:
    """60 s of packets of one run, as the ring holds them."""
    path = film.film(folder / "sixty-1080p25.mp4", [*[(50.0, 70.0)] * 2, (0.0, 20.0)])
    clocks = host_clocks()
    packets: list[Packet] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        run = LiveRun("connected", "h264", Fraction(stream.time_base or 1), clocks, stream.codec_context.extradata)
        begin_ns = clocks.monotonic_ns() - SECONDS * NS
        for coded in container.demux(stream):
            if coded.pts is None:
                continue
            at_ns = begin_ns + round(coded.pts * run.time_base * NS)
            packet = Packet(
                bytes(coded), coded.pts, coded.dts, key=coded.is_keyframe, emitted_ns=at_ns, arrival_ns=at_ns
            )
            run.add(packet)
            packets.append(packet)
        run.describe("hall", stream.width, stream.height)
    return packets


def go_back(packets: list[Packet], shows: Callable[[int, random.Random], bool]) -> Cost:
    """All of it but inference."""
    last = packets[-1]
    run = last.run
    assert run.record is not None
    plan = WorkerPlan(camera="hall", url="", version="0", recorder_socket="", thresholds={"fire": 0.3, "smoke": 0.35})
    evidence = Evidence(
        new_id(), "hall", "first_confirmed", run.record.id, last.pts or 0, run.record.time_base, run.time_of(last),
        run.record.width_px, run.record.height_px, (SEEN,), new_id(), MODEL, plan.thresholds, "no",
        ("bt709", "limited"), "0",
    )  # fmt: skip
    chance = random.Random(1)
    shown = [shows(place, chance) for place in range(len(packets))]
    cpu_s, longest_s = time.process_time(), 0.0
    snapshot = Snapshot.until(packets, run.record.id, last.pts or 0)
    assert snapshot is not None
    examination = Examination(Subject(evidence, SEEN), snapshot, plan, Converter())
    while examination.outcome is None:
        step_s = time.process_time()
        examination.step()
        longest_s = max(longest_s, time.process_time() - step_s)
        while examination.questions:
            question = examination.questions.popleft()
            examination.answered(question, _played(question, shown[question.place]), MODEL)
    analysis = examination.outcome.analysis
    places = {each.pts: place for place, each in enumerate(packets)}
    truth = next((place for place, each in enumerate(shown) if each), len(packets) - 1)
    return Cost(
        cpu_s=time.process_time() - cpu_s,
        looks=analysis.looks,
        pictures=examination.pictures,
        packets=examination.packets,
        longest_step_s=longest_s,
        error_frames=places[analysis.first_visible.pts] - truth,
        ended=analysis.ended,
    )


def _played(question: Any, seen: bool) -> tuple[Detection, ...]:
    """In pixels of the picture that was asked about."""
    if not seen:
        return ()
    scale = question.pixels.shape[1] / question.tile.width
    x1, y1, x2, y2 = BOX
    left, top = question.tile.left, question.tile.top
    return (Detection("fire", 0.4, ((x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale)),)


def measure_all() -> dict[str, Cost]:
    """Each course once."""
    with tempfile.TemporaryDirectory() as folder:
        packets = recorded(Path(folder))
        return {name: go_back(packets, shows) for name, shows in COURSES.items()}


@dataclass
class Beside:
    """What three quiet cameras notice while a fourth one goes back."""

    took_s: float
    longest_interval_s: float
    gaps: list[str]


def beside() -> Beside:
    """A daemon with its own detector: the longest time between two analysed frames of any quiet camera meanwhile."""
    folder = film.folder()
    files = {f"c{number}": film.quiet(folder) for number in range(1, OTHERS + 1)}
    files["c0"] = film.film(folder / "once-1080p25.mp4", [(50.0, 70.0), (50.0, 70.0), (0.0, 20.0)])
    daemon = Daemon()
    with played(files) as urls:
        daemon.configure({name: {"url": url} for name, url in urls.items()})
        daemon.start()
        try:
            daemon.wait_ready(90)
            wait_for(lambda: "going back" in daemon.log, 120, "a confirmed fire")
            began_s, longest_s = time.monotonic(), 0.0
            while "first visible" not in daemon.log:
                assert time.monotonic() - began_s < 120, daemon.log
                status = daemon.status() or {"cameras": {}}
                told = [each["interval_s"] or 0.0 for name, each in status["cameras"].items() if name != "c0"]
                longest_s = max([longest_s, *told])
                time.sleep(0.2)
            took_s = time.monotonic() - began_s
            gaps = [each["reason"] for each in daemon.get("/api/v1/gaps")["items"] if each["to"] is None]
            return Beside(took_s, longest_s, gaps)
        finally:
            daemon.stop()
            daemon.clean()


def rows() -> list[str]:
    """The table, and a sentence."""
    found, others = measure_all(), beside()
    lines = [
        "| going back over 60 s of 1080p25 (3 Mbit/s, a key frame every 2 s), without inference | CPU-seconds (aim ≤ 20) | "
        "frames looked at | pictures for the detector | packets decoded | longest step, CPU-s | frames off | ended |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, cost in found.items():
        lines.append(
            f"| {name} | {cost.cpu_s:.1f} | {cost.looks} | {cost.pictures} | {cost.packets} | {cost.longest_step_s:.2f} | "
            f"{'–' if cost.ended == 'bound' else cost.error_frames} | {cost.ended} |"
        )
    told = ", ".join(others.gaps) or "no gap"
    return [
        *lines,
        "",
        f"A daemon with its own detector and {OTHERS} quiet cameras beside the burning one: going back took {others.took_s:.1f} s; the "
        f"longest time between two analysed frames of a quiet camera meanwhile was {others.longest_interval_s:.2f} s "
        f"(detect.max_interval 2 s, of which key frames every 2 s use all), and there was {told}.",
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("\n".join(rows()))
