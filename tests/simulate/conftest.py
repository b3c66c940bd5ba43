# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of the simulated cameras share: a small numbered chart, and a client that reads its numbers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from daemon.simulate.chart import Chart, make_chart

FPS = 25
GOP_FRAMES = 10


@dataclass(frozen=True)
class Seen:
    """One picture as a client got it."""

    number: int | None  # None: not readable
    digest: str
    pts_s: float
    arrived_ns: int  # CLOCK_MONOTONIC
    size: tuple[int, int]
    brightness: float


def seen(frame: av.VideoFrame) -> Seen:
    """What a test wants to know of a decoded frame."""
    arrived_ns = time.monotonic_ns()
    try:
        number: int | None = Chart.read_frame_number(frame.to_ndarray(format="bgr24", threads=1))
    except ValueError:
        number = None
    planes = frame.to_ndarray(format="yuv420p", threads=1)
    luma = planes[: frame.height]
    digest = hashlib.sha256(planes.tobytes()).hexdigest()
    return Seen(number, digest, frame.time or 0.0, arrived_ns, (frame.width, frame.height), float(np.mean(luma)))


class Client:
    """One connection to a camera; iterating gives what is seen, for ever or to the end of the stream."""

    def __init__(self, url: str, transport: str = "tcp", timeout_s: float = 3.0) -> None:
        options = {"rtsp_transport": transport, "timeout": str(round(timeout_s * 1e6)), "analyzeduration": "1"}
        self.container: Any = av.open(url, options=options, timeout=(timeout_s, timeout_s))
        self.container.streams.video[0].codec_context.thread_count = 1

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[Seen]:
        return map(seen, self.container.decode(video=0))

    def take(self, count: int) -> list[Seen]:
        """The next pictures."""
        return list(islice(self, count))

    def until(self, wanted: Callable[[Seen], bool], limit: int = 150) -> list[Seen]:
        """The next pictures up to the first that is wanted; fails after `limit`."""
        pictures: list[Seen] = []
        for picture in self:
            pictures.append(picture)
            if wanted(picture):
                return pictures
            if len(pictures) == limit:
                break
        raise AssertionError(f"not among {len(pictures)} pictures: {[picture.number for picture in pictures]}")


@pytest.fixture(scope="session")
def client() -> type[Client]:
    """The client's class."""
    return Client


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Six seconds of a numbered chart, 320 × 240 at 25 pictures a second, a key frame every 10."""
    path = tmp_path_factory.mktemp("chart") / "chart.mp4"
    return make_chart(path, size=(320, 240), fps=FPS, gop_s=GOP_FRAMES / FPS, seconds=6)


@pytest.fixture(scope="session")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """One second of the same."""
    path = tmp_path_factory.mktemp("brief") / "brief.mp4"
    return make_chart(path, size=(320, 240), fps=FPS, gop_s=GOP_FRAMES / FPS, seconds=1)


@pytest.fixture(scope="session")
def truth_of_file(chart: Chart) -> dict[int, str]:
    """The digest of each picture of the chart's file by its number."""
    with av.open(str(chart.path)) as container:
        pictures = [seen(frame) for frame in container.decode(video=0)]
    return {place: picture.digest for place, picture in enumerate(pictures) if picture.number == place}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder for what a farm has to encode."""
    return tmp_path / "cache"
