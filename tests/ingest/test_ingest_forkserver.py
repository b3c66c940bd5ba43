# SPDX-License-Identifier: AGPL-3.0-or-later
"""The forkserver, and what its workers are made of: one thread before the fork, nothing heavy, nobody left behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from daemon.errors import PeerGone
from daemon.ingest.forkserver import Forkserver
from daemon.ingest.plan import Credentials
from daemon.simulate.chart import Chart
from daemon.simulate.farm import Camera, FarmThread
from tests.ingest.worker_under_test import WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
SECRET = "canary-4f1b"
NO_RTSP = "what answers at the camera's address does not speak RTSP, or closed the connection at once"


def test_it_has_one_thread_when_it_forks(forkserver: Forkserver, start: Start) -> None:
    """A fork of several threads can deadlock; numpy and OpenCV would start some."""
    worker = start("rtsp://127.0.0.1:9/none")
    assert len(os.listdir(f"/proc/{forkserver.pid}/task")) == 1
    worker.until(lambda: worker.condition == "unreachable", "a beat")
    assert len(os.listdir(f"/proc/{forkserver.pid}/task")) == 1


def test_a_worker_is_named_and_holds_nothing_but_its_own(forkserver: Forkserver, start: Start) -> None:
    """Its own session, its camera's name, no secret to be read from outside, none of the forkserver's descriptors."""
    worker = start("rtsp://127.0.0.1:9/none", credentials=Credentials("operator", SECRET))
    worker.until(lambda: worker.condition == "unreachable", "a beat")
    process = Path(f"/proc/{worker.pid}")
    assert os.getsid(worker.pid) == worker.pid
    assert (process / "comm").read_text().strip() == "fw-hall"
    assert SECRET not in (process / "cmdline").read_text()
    assert SECRET not in (process / "environ").read_text()
    assert worker.beat is not None
    assert SECRET not in worker.beat.detail
    inodes = {os.readlink(each) for each in Path(f"/proc/{forkserver.pid}/fd").iterdir() if int(each.name) > 2}
    held = {os.readlink(each) for each in (process / "fd").iterdir() if int(each.name) > 2}
    assert {each for each in inodes & held if each.startswith("socket:")} == set()


def test_a_worker_loads_nothing_heavy(chart: Chart, start: Start) -> None:
    """Neither torch nor the settings' model, the index or the web is mapped into it."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: worker.got.looked, "a frame")
        maps = Path(f"/proc/{worker.pid}/maps").read_text()
        for library in ("torch", "pydantic", "pysqlite3", "openvino", "onnxruntime"):
            assert library not in maps


def test_a_worker_is_small(chart: Chart, start: Start) -> None:
    """Well below 40 MB of its own besides its ring."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"))
        worker.until(lambda: len(worker.got.looked) >= 3, "frames")
        assert worker.beat is not None
        assert psutil.Process(worker.pid).memory_full_info().uss - worker.beat.ring_bytes < 40e6


def test_a_workers_pidfd_outlives_the_forkserver(own_forkserver: Forkserver) -> None:
    """After kill -9 of the forkserver its workers live on; the pidfd still names exactly that process."""
    worker = WorkerUnderTest(own_forkserver, "rtsp://127.0.0.1:9/none")
    try:
        worker.until(lambda: worker.beat, "a beat")
        os.kill(own_forkserver.pid, signal.SIGKILL)
        assert select.select([own_forkserver.pidfd], [], [], 5)[0]
        assert not own_forkserver.alive
        count = len(worker.got.beats)
        worker.until(lambda: len(worker.got.beats) >= count + 2, "beats all the same")
        with pytest.raises(PeerGone):
            own_forkserver.fork(worker.plan, [0, 0, 0, 0])
        signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
        assert select.select([worker.pidfd], [], [], 5)[0]
    finally:
        worker.clean()


def test_a_worker_ends_with_its_lifeline(own_forkserver: Forkserver) -> None:
    """Nobody outlives the supervisor, also when the forkserver died before."""
    worker = WorkerUnderTest(own_forkserver, "rtsp://127.0.0.1:9/none")
    try:
        worker.until(lambda: worker.beat, "a beat")
        os.kill(own_forkserver.pid, signal.SIGKILL)
        os.close(worker.lifeline_held)
        worker.lifeline_held = os.open(os.devnull, os.O_RDONLY)
        assert select.select([worker.pidfd], [], [], 2)[0]
    finally:
        worker.clean()


def test_the_forkserver_ends_with_its_lifeline_and_its_socket() -> None:
    """Either is enough."""
    lifeline, held = os.pipe()
    servers = [Forkserver(lifeline), Forkserver(lifeline)]
    for each in servers:
        each.start()
    servers[0].close()
    assert not servers[0].alive
    os.close(held)
    assert select.select([servers[1].pidfd], [], [], 10)[0]
    servers[1].close()
    os.close(lifeline)


def test_it_reaps_its_workers(forkserver: Forkserver, start: Start) -> None:
    """A dead worker leaves no zombie."""
    worker = start("rtsp://127.0.0.1:9/none")
    signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
    end = time.monotonic() + 5
    while psutil.pid_exists(worker.pid):
        assert time.monotonic() < end, "still there"
        time.sleep(0.02)


def test_a_crashing_worker_says_so_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """An error of ours ends the process, with one line that names it and holds no secret."""
    lifeline, held = os.pipe()
    server = Forkserver(lifeline)
    server.start()  # here, not in a fixture: pytest gives those another standard error
    credentials = Credentials("operator", SECRET)
    worker = WorkerUnderTest(server, "rtsp://127.0.0.1:9/none", active_fps=0.0, credentials=credentials)
    try:
        assert select.select([worker.pidfd], [], [], 5)[0]
        lines = [line for line in capfd.readouterr().err.splitlines() if "hall" in line]
        assert len(lines) == 1
        assert "ZeroDivisionError" in lines[0]
        assert SECRET not in lines[0]
    finally:
        worker.clean()
        server.close()
        os.close(lifeline)
        os.close(held)


def test_a_stepped_wall_clock_begins_a_run(chart: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run, on every camera; order inside it does not suffer, and its times are those of the new clock."""
    offsets = tmp_path / "clock.json"
    offsets.write_text('{"wall_s": 0}')
    monkeypatch.setenv("FIREWITNESS_TEST_CLOCK", str(offsets))
    monkeypatch.setenv("FIREWITNESS_TESTING", "1")
    lifeline, held = os.pipe()
    server = Forkserver(lifeline)
    server.start()
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = WorkerUnderTest(server, farm.url("hall"))
        try:
            worker.until(lambda: len(worker.got.looked) >= 2, "frames")
            offsets.write_text('{"wall_s": -3600}')
            worker.until(lambda: len(worker.got.runs) >= 2, "another run")
            first, second = worker.got.runs
            assert second.cause == "clock"
            assert second.started_at_ns < first.started_at_ns
            assert second.started_mono_ns > first.started_mono_ns
        finally:
            worker.clean()
            server.close()
            os.close(lifeline)
            os.close(held)


def test_a_stopped_forkserver_holds_nobody_up(own_forkserver: Forkserver) -> None:
    """Once it has answered, who asks waits 3 s and no longer; it is killed, since its answer would come too late."""
    worker = WorkerUnderTest(own_forkserver, "rtsp://127.0.0.1:9/none")
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.kill(own_forkserver.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(PeerGone, match="3 s"):
            own_forkserver.fork(worker.plan, [null, null, null, null])
        assert time.monotonic() - began < 5
        assert select.select([own_forkserver.pidfd], [], [], 5)[0]
    finally:
        os.close(null)
        worker.clean()


def test_a_strangers_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `daemon` where the daemon happens to be started is not its code."""
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    lifeline, held = os.pipe()
    server = Forkserver(lifeline)
    server.start()
    try:
        worker = WorkerUnderTest(server, "rtsp://127.0.0.1:9/none")
        try:
            worker.until(lambda: worker.beat, "a beat")
        finally:
            worker.clean()
    finally:
        server.close()
        os.close(lifeline)
        os.close(held)


# ------------------------------------------------------------------ time-outs


class Server:
    """A listener that does not speak RTSP."""

    def __init__(self, trickle: bytes = b"") -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.connections: list[socket.socket] = []
        self._trickle = trickle

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.socket.getsockname()[1]}/hall"

    def serve(self) -> bool:
        """Accepts, and sends a few bytes to everyone; for use as a condition that is never met."""
        try:
            self.connections.append(self.socket.accept()[0])
        except BlockingIOError:
            pass
        for each in self.connections:
            try:
                each.sendall(self._trickle)
            except OSError:
                pass
        return False

    def close(self) -> None:
        for each in [self.socket, *self.connections]:
            each.close()


@pytest.mark.parametrize(
    "trickle", [b"", b"\r\n", b"RTSP/1.0 200 OK\r\nX: "], ids=["silent", "newlines", "half answers"]
)
def test_a_server_that_is_no_camera_cannot_hold_the_worker(start: Start, trickle: bytes) -> None:
    """One that accepts and says nothing, or trickles bytes for ever, is given up when the time is over."""
    server = Server(trickle)
    worker = start(server.url, open_timeout_s=1.0, read_timeout_s=1.0)
    began = time.monotonic()
    try:
        worker.until(lambda: server.serve() or (worker.beat and worker.beat.reconnects >= 1), "the time-out", 15)
        assert time.monotonic() - began < 5
        assert worker.condition == "unreachable"
        expected = NO_RTSP if trickle == b"\r\n" else "the camera did not answer within 1 s"
        assert worker.got.beats[-1].detail == expected
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "condition", "detail"),
    [
        (b"RTSP/1.0 404 Not Found", "unreachable", "the camera has no such stream"),
        (b"RTSP/1.0 401 Unauthorized", "refused", "the camera refuses the credentials"),
        (b"RTSP/1.0 403 Forbidden", "refused", "the camera refuses the credentials"),
        (b"RTSP/1.0 503 Service Unavailable", "unreachable", "the camera answers that it cannot serve now"),
    ],
)
def test_what_a_camera_answers_is_told_in_plain_words(start: Start, answer: bytes, condition: str, detail: str) -> None:
    """Each answer that ends the attempt has its sentence."""
    server = Server(answer + b"\r\nCSeq: 1\r\n\r\n")
    worker = start(server.url)
    try:
        worker.until(lambda: server.serve() or (worker.beat and worker.beat.reconnects >= 1), "the answer")
        assert (worker.condition, worker.got.beats[-1].detail) == (condition, detail)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("rtsp://127.0.0.1:9/hall", "the camera cannot be reached: nothing listens at its address and port"),
        ("rtsp://camera.invalid/hall", "the camera cannot be reached: its host's name is not known"),
    ],
)
def test_what_the_network_says_is_told_in_plain_words(start: Start, url: str, detail: str) -> None:
    """A closed port and a name that nobody knows are different things to mend."""
    worker = start(url)
    worker.until(lambda: worker.beat and worker.beat.reconnects >= 1, "it", 30)
    assert (worker.condition, worker.got.beats[-1].detail) == ("unreachable", detail)


def test_nobody_there_is_unreachable_at_once(start: Start) -> None:
    """A refused connection is no reason to wait for a time-out."""
    worker = start("rtsp://127.0.0.1:9/hall")
    worker.until(lambda: worker.condition == "unreachable" and worker.beat and worker.beat.reconnects >= 2, "it", 6)
