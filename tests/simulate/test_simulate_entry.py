# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulated camera as a process of its own: ready, watched, and gone when told or left alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.simulate.chart import make_chart
from daemon.simulate.recording import recording_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache in which the clip lies already: a chart, so that its numbers tell what is played."""
    make_chart(recording_path(tmp_path), size=(320, 240), fps=15, gop_s=2, seconds=8)
    return tmp_path


@contextmanager
def started(folder: Path, *more: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The process; killed at the end if it is still there."""
    command = [sys.executable, "-m", "daemon.simulate", "--cache", str(folder), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_plays_until_told_to_stop(number: signal.Signals, folder: Path, client: Any) -> None:
    """The URL is printed when it can be watched; the clip starts with its first viewer; a signal ends it within 1 s."""
    with started(folder) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("rtsp://127.0.0.1:")
        with client(url) as viewer:
            assert viewer.take(1)[0].number == 0
            asked_s = time.monotonic()
            process.send_signal(number)
            assert process.wait(5) == 0
            assert time.monotonic() - asked_s < 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_serves_a_socket_that_it_is_given(folder: Path, client: Any) -> None:
    """Whoever connects before the camera is ready waits in the backlog; nothing is printed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with started(folder, "--listen-fd", str(listening.fileno()), pass_fds=(listening.fileno(),)) as process:
            with client(f"rtsp://127.0.0.1:{port}/simulated") as viewer:
                assert viewer.take(1)[0].number == 0
            process.terminate()
            assert process.communicate(timeout=5) == ("", "")


def test_it_does_not_outlive_its_lifeline(folder: Path) -> None:
    """When the supervisor's end of the pipe closes, however, the process is gone within a second."""
    reading, writing = os.pipe()
    with started(folder, "--lifeline-fd", str(reading), pass_fds=(reading,)) as process:
        os.close(reading)
        assert process.stdout is not None
        assert process.stdout.readline()
        os.close(writing)
        assert process.wait(1) != 0


def test_drawing_can_be_broken_off(tmp_path: Path) -> None:
    """A signal while the clip is being drawn ends the process at once and leaves nothing half-made."""
    with started(tmp_path) as process:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.01)
        asked_s = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - asked_s < 1
    assert list(tmp_path.iterdir()) == []
