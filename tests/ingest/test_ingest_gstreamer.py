# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker on GStreamer's RTSP server, of which none is ours: so that both ends cannot share a misunderstanding."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.clock import NS
from daemon.ingest.plan import Credentials
from tests.ingest.worker_under_test import FIRE, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("gst_server.py")
NEEDS = 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer'
BARS = ((255, 255, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 0, 255), (0, 0, 255), (255, 0, 0))
"""BGR, from the left, in the upper two thirds of the picture."""
USER, PASSWORD = "viewer", "p:w?#% s"
TICKS = 90_000


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        missing = subprocess.run([SYSTEM_PYTHON, "-c", NEEDS], capture_output=True, check=False, timeout=60).returncode
    except FileNotFoundError:
        missing = 1
    if missing:
        text = f"{SYSTEM_PYTHON} has no GStreamer RTSP server (Debian: python3-gi gir1.2-gst-rtsp-server-1.0)"
        if os.environ.get("FIREWITNESS_CI"):
            pytest.fail(text)
        pytest.skip(text)


@contextmanager
def served(codec: str, size: tuple[int, int], fps: int, *credentials: str) -> Iterator[str]:
    """The address of a camera that sends colour bars."""
    command = [SYSTEM_PYTHON, str(SERVER), codec, *(str(each) for each in (*size, fps)), *credentials]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


DEFAULT = [("h264", "tcp", (640, 360), 15, True), ("h265", "udp", (1280, 720), 10, False)]
LONG = [
    (codec, transport, size, fps, guarded)
    for codec in ("h264", "h265")
    for transport in ("tcp", "udp")
    for size, fps in (((640, 360), 15), ((1280, 720), 10), ((1920, 1080), 5))
    for guarded in (False, True)
    if (codec, transport, size, fps, guarded) not in DEFAULT
]


@pytest.mark.parametrize(
    ("codec", "transport", "size", "fps", "guarded"),
    [*DEFAULT, *(pytest.param(*each, marks=pytest.mark.slow) for each in LONG)],
)
def test_a_camera_that_is_not_ours(
    codec: str, transport: str, size: tuple[int, int], fps: int, guarded: bool, start: Start
) -> None:
    """One run of the right codec and size; frames every max_interval, then stills with right colours, times and clock."""
    credentials = Credentials(USER, PASSWORD) if guarded else None
    with served(codec, size, fps, *(credentials.username, credentials.password) if credentials else ()) as url:
        before_ns = time.time_ns()
        worker = start(url, transport=transport, credentials=credentials, patrol_s=0.0)
        worker.until(lambda: len(worker.got.looked) >= 3, "key frames", 40)
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 6, "stills", 40)
        worker.until(lambda: worker.beat and worker.beat.camera_clock_offset_s is not None, "its clock", 40)
        assert worker.beat is not None
        assert abs(worker.beat.camera_clock_offset_s or 0) < 0.5
        run = worker.got.runs[0]
        assert len(worker.got.runs) == 1
        assert (run.codec, (run.width_px, run.height_px)) == ({"h264": "h264", "h265": "hevc"}[codec], size)
        steps = np.diff([each.message.pts for each in worker.got.looked])
        assert (steps > 0).all()
        assert np.abs(steps / (TICKS / fps) - np.rint(steps / (TICKS / fps))).max() < 0.05
        for evidence, jpeg in worker.got.stills:
            assert before_ns - NS < evidence.time.captured_at_ns < time.time_ns()
            assert evidence.damage == ("no" if codec == "h264" else "not_known")
            check_bars(jpeg, size)


def check_bars(jpeg: bytes, size: tuple[int, int]) -> None:
    """The colours that GStreamer has drawn, in the middle of each bar."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (size[1], size[0], 3)
    for place, colour in enumerate(BARS):
        x, y = round((place + 0.5) * size[0] / len(BARS)), size[1] // 3
        assert np.abs(pixels[y, x].astype(int) - colour).max() <= 8, (place, pixels[y, x], colour)


def test_refused_by_a_server_that_is_not_ours(start: Start) -> None:
    """Wrong credentials are `refused`, whoever asks for them."""
    with served("h264", (640, 360), 15, USER, PASSWORD) as url:
        worker = start(url, credentials=Credentials(USER, "wrong"))
        worker.until(lambda: worker.condition == "refused", "refused", 30)
