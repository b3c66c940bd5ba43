# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that send garbage: others are watched as before, and their own workers come back with the first clean picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from daemon.simulate.bitstream import CODECS
from daemon.simulate.chart import Chart
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.truth import read_truth
from tests.ingest.worker_under_test import FIRE, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
MAX_INTERVAL_S = 2.0


@pytest.fixture(scope="module", params=["h264", pytest.param("hevc", marks=pytest.mark.slow)])
def snow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of noise with a key frame every second: many packets a picture."""
    path, chance = tmp_path_factory.mktemp("snow") / "snow.mp4", np.random.default_rng(1)
    target = Target(CODECS[request.param], (320, 240), Fraction(25), 25, 6_000_000, preset="ultrafast")
    with Encoder(path, target) as encoder:
        for _ in range(50):
            encoder.add(
                av.VideoFrame.from_ndarray(chance.integers(0, 255, (240, 320, 3), dtype=np.uint8), format="bgr24")
            )
    return path


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_packets_hurt_nobody_else(snow: Path, chart: Chart, count: int, start: Start, tmp_path: Path) -> None:
    """Cut, flipped and lied about, over TCP and UDP: the other camera keeps max_interval, and no worker dies of it."""
    truth = tmp_path / "truth.jsonl"
    with FarmThread([Camera("tcp", snow), Camera("udp", snow), Camera("watched", chart.path)], truth=truth) as farm:
        watched = start(farm.url("watched"), max_interval_s=MAX_INTERVAL_S, patrol_s=0.0)
        bad = [start(farm.url(name), transport=name, patrol_s=0.0) for name in ("tcp", "udp")]
        bad[0].detector.sees = lambda *_: (FIRE,)  # everything of it is decoded, which is the most that can go wrong
        everybody = [watched, *bad]

        def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
            def holds() -> object:
                for each in bad:
                    each.pump(0.01)
                return condition()

            watched.until(holds, what, seconds)

        wait_for(lambda: all(len(each.got.looked) >= 3 for each in everybody), "frames")
        began = len(watched.got.beats) + 1
        for name in ("tcp", "udp"):
            farm.command(name, "mutate", 0.5)
        wait_for(lambda: _mutated(truth) >= count, f"{count} mutated packets", 300)
        farm.command("*", "resume")
        seen = [len(each.got.looked) for each in bad]
        wait_for(lambda: all(len(w.got.looked) >= n + 3 for w, n in zip(bad, seen, strict=True)), "clean frames")
        wait_for(lambda: all(each.condition == "ok" for each in everybody), "all are well")
        assert not any(each.ended for each in everybody)
        during = watched.got.beats[began:]
        assert {beat.condition for beat in during} == {"ok"}
        assert max(beat.interval_s or 0.0 for beat in during) <= MAX_INTERVAL_S
        assert watched.got.runs[1:] == []


def _mutated(truth: Path) -> int:
    return sum(line.get("corrupted", 0) for line in read_truth(truth))
