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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--camera", "hall=none.mp4"], "none.mp4 cannot be read (No such file or directory)"),
        (["--camera", "hall=."], "cannot be read (Is a directory)"),
        (["--camera", "hall=a", "--camera", "hall=b"], "--camera hall: each name may stand once"),
        (
            ["--camera", "hall=a", "--clock-offset", "yard=1"],
            "--clock-offset yard: there is no such camera; there are hall",
        ),
        (["--camera", "hall=a", "--host", "0.0.0.0"], "on loopback only, such as 127.0.0.1, not on '0.0.0.0'"),
        (["--camera", "hall=a", "--truth", "none/truth.jsonl"], "No such file or directory: 'none/truth.jsonl'"),
        (["--camera", "hall=a", "--clock-offset", "hall=late"], "'hall=late' is neither NAME=SECONDS nor NAME=none"),
        (["--camera", "hall=a", "--size", "640"], "'640' is not WIDTHxHEIGHT, such as 1280x720"),
        (["--camera", "hall=a", "--fps", "1/0"], "'1/0' is no rate of pictures, such as 25 or 30000/1001"),
        (["--camera", "hall=a", "--gop", "0"], "'0' is no whole number from 1 on"),
        (["--camera", "hall=a", "--bitrate", "M"], "'M' is no bit rate, such as 3M, 800k or 500000"),
        (["--camera", "hall=a", "--port", "99999"], "'99999' is no port, from 0 to 65535"),
    ],
)
def test_a_mistake_in_the_farms_arguments_is_a_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """What is wrong, and 2; no traceback."""
    command = [sys.executable, "-m", "daemon.simulate.farm", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    answer = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr.rstrip().endswith(sentence)
    assert "Traceback" not in answer.stderr
