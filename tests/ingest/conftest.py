# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of the ingest share: one forkserver, numbered charts to play, and workers that leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from daemon.ingest.forkserver import Forkserver
from daemon.simulate.chart import Chart, make_chart
from tests.ingest.work_under_test import FakeWork
from tests.ingest.worker_under_test import FPS, WorkerUnderTest


@contextmanager
def started_forkserver() -> Iterator[Forkserver]:
    """A forkserver with a lifeline of its own; gone at the end."""
    lifeline, held = os.pipe()
    server = Forkserver(lifeline)
    server.start()
    yield server
    server.close()
    os.close(lifeline)
    os.close(held)


@pytest.fixture(scope="session")
def forkserver() -> Iterator[Forkserver]:
    """One for all tests: what it loads takes a second."""
    with started_forkserver() as server:
        yield server


@pytest.fixture
def own_forkserver() -> Iterator[Forkserver]:
    """One that a test may kill."""
    with started_forkserver() as server:
        yield server


@pytest.fixture
def start(forkserver: Forkserver) -> Iterator[Callable[..., WorkerUnderTest]]:
    """Starts a worker on an address: `start(url, ring_s=5)`."""
    started: list[WorkerUnderTest] = []

    def make(url: str, **plan: Any) -> WorkerUnderTest:
        started.append(WorkerUnderTest(forkserver, url, **plan))
        return started[-1]

    yield make
    for each in started:
        each.clean()


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Twenty seconds of numbered pictures, 320 × 240 at 25 a second, a key frame every second."""
    path = tmp_path_factory.mktemp("chart") / "chart.mp4"
    return make_chart(path, size=(320, 240), fps=FPS, gop_s=1, seconds=20)


@pytest.fixture(scope="session")
def long_gop_chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """The same with a key frame every 5 s."""
    path = tmp_path_factory.mktemp("chart") / "long.mp4"
    return make_chart(path, size=(320, 240), fps=FPS, gop_s=5, seconds=20)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[FakeWork]:
    """A detector's work channel."""
    fake = FakeWork(tmp_path / "work.sock")
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def with_b_frames(chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The numbered chart with two B-frames between others, which are sent in another order than they are shown."""
    path = tmp_path_factory.mktemp("b") / "b.mp4"
    with av.open(str(chart.path)) as source, av.open(str(path), "w") as made:
        options = {"preset": "ultrafast", "crf": "10", "x264-params": "keyint=25:min-keyint=25:bframes=2:b-adapt=0"}
        stream = made.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height = chart.size
        for number, frame in enumerate(source.decode(video=0)):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            frame.pict_type = av.video.frame.PictureType.NONE
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return path
