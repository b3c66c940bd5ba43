# SPDX-License-Identifier: AGPL-3.0-or-later
"""The work channel and the process's life, with a real detector process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from daemon import wire
from daemon.detect.detector import FireDetector
from daemon.detect.tiling import tile_side_px
from daemon.detect.work import WorkClient
from daemon.ids import new_id
from daemon.memory import sealed, shared
from daemon.messages import WorkAnswer, WorkRequest
from tests.detect.conftest import wait_for


def varied(picture: np.ndarray, count: int) -> list[np.ndarray]:
    """Pictures of several sizes, each with the fire at its own place."""
    images = []
    for n in range(count):
        moved = np.roll(picture, (-2 * n, -8 * n), axis=(0, 1))
        images.append(cv2.resize(moved, ((640, 360), (800, 600), (500, 500), (1280, 720))[n % 4]))
    return images


@pytest.fixture
def client(lasting: Any) -> Any:
    """A client of a warm detector."""
    made = WorkClient(lasting.work_path)
    yield made
    made.close()


def test_the_asking_end_is_light() -> None:
    """The web process imports it: no runtime and no network comes with it."""
    code = (
        "import sys; import daemon.detect.work;"
        "heavy = {'openvino', 'onnxruntime', 'torch', 'cv2', 'onnx', 'av'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_64_different_pictures_at_once_each_get_their_own_answer(client: WorkClient, picture: np.ndarray) -> None:
    """Concurrent callers get exactly what a detector of their own would have said."""
    images = varied(picture, 64)
    bare = FireDetector(device="cpu", input_px=320, batch=4, closer=True)
    bare.warm()  # as the process has: a size that is prepared is computed in another order
    expected = bare.detect(images, 0.1)
    assert len(set(expected)) > 40
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda image: client.detect(image, deadline_s=30, floor=0.1), images))
    assert [answer.outcome for answer in answers] == ["analysed"] * 64
    assert [answer.detections for answer in answers] == expected
    assert answers[0].model == bare.info
    assert answers[0].inference_ms > 0


def test_each_answer_keeps_to_its_own_floor(client: WorkClient, picture: np.ndarray) -> None:
    """Requests of different floors share batches and not each other's floor."""
    with ThreadPoolExecutor(16) as pool:
        floors = [0.01, 0.3, 0.99, 0.05] * 4
        answers = list(pool.map(lambda floor: client.detect(picture, floor=floor), floors))
    for floor, answer in zip(floors, answers, strict=True):
        assert all(each.confidence >= floor for each in answer.detections)
    assert len(answers[0].detections) >= len(answers[1].detections) >= 1
    assert answers[2].detections == ()


def test_what_cannot_be_done_in_time_is_refused_at_once(client: WorkClient, picture: np.ndarray) -> None:
    """With a queue in front of it, a request with a short deadline is told "overloaded" long before that passes."""
    large = cv2.resize(picture, (1920, 1080))
    with ThreadPoolExecutor(100) as pool:
        patient = [pool.submit(client.detect, large, floor=0.1, deadline_s=60.0) for _ in range(80)]
        refused = []
        while not all(each.done() for each in patient):
            began_s = time.monotonic()
            answer = client.detect(picture, floor=0.1, deadline_s=0.05)
            if answer.outcome == "overloaded":
                refused.append((time.monotonic() - began_s, answer.detail))
        assert all(each.result().outcome == "analysed" for each in patient)
    assert refused
    assert any("it would take" in detail for _, detail in refused)


def test_more_than_the_cap_is_refused(lasting: Any, picture: np.ndarray) -> None:
    """What nobody can have waiting is refused by kind; the others are not touched by it."""
    sock = wire.connect(lasting.work_path)
    channel: wire.Channel[WorkAnswer] = wire.Channel(sock, WorkAnswer)
    channel.settimeout(20)
    for _ in range(60):
        _ask(channel, picture, kind="patrol")
    outcomes = [channel.receive()[0].outcome for _ in range(60)]
    assert outcomes.count("overloaded") > 0
    assert outcomes.count("analysed") >= 16
    _ask(channel, picture, kind="post")
    assert channel.receive()[0].outcome == "analysed"
    channel.close()


def _ask(channel: wire.Channel[Any], picture: np.ndarray, memory: int | None = None, **changed: Any) -> None:
    fields = {
        "id": new_id(),
        "kind": "post",
        "deadline_mono_ns": time.monotonic_ns() + 30 * 10**9,
        "width_px": picture.shape[1],
        "height_px": picture.shape[0],
        "floor": 0.1,
    }
    own = sealed("test", picture.tobytes()) if memory is None else memory
    channel.send(WorkRequest(**{**fields, **changed}), [own])
    os.close(own)


def _unsealed(picture: np.ndarray) -> int:
    memory = shared("test", picture.size)
    os.write(memory, picture.tobytes())
    return memory


def test_pictures_that_cannot_be_trusted_are_refused(lasting: Any, picture: np.ndarray) -> None:
    """Memory that can still change, of another size than said, or for an unknown kind is not looked at."""
    channel: wire.Channel[WorkAnswer] = wire.Channel(wire.connect(lasting.work_path), WorkAnswer)
    channel.settimeout(20)
    for says, changed in (
        ("can still change", {"memory": _unsealed(picture)}),
        ("no memfd", {"memory": os.open("/etc/hostname", os.O_RDONLY)}),
        ("is said to be", {"width_px": 641}),
        ("is said to be", {"width_px": -640, "height_px": -360}),
        ("unknown kind", {"kind": "magic"}),
    ):
        _ask(channel, picture, **changed)
        answer = channel.receive()[0]
        assert (answer.outcome, says in answer.detail) == ("failed", True), answer
    channel.send(WorkRequest(id="x", kind="post", deadline_mono_ns=2**62, width_px=1, height_px=1, floor=0.1))
    assert "0 descriptors" in channel.receive()[0].detail
    _ask(channel, picture)
    assert channel.receive()[0].outcome == "analysed"
    channel.close()


def test_tiles_are_looked_at_whatever_may_be_uploaded(supervisor: Any) -> None:
    """`api.max_pixels` is about POST; a small one must not refuse the patrol, and still refuses what is larger than a tile."""
    supervisor.settings["api"] = {"max_pixels": 1024}
    supervisor.start()
    supervisor.wait_until("ready")
    client = WorkClient(supervisor.work_path)
    side_px = tile_side_px(supervisor.settings["detect"]["input_px"])
    answers = [
        client.detect(np.zeros((side_px, width, 3), np.uint8), kind="patrol", deadline_s=20, floor=0.1)
        for width in (side_px, side_px + 1)
    ]
    client.close()
    assert [each.outcome for each in answers] == ["analysed", "failed"]


def test_descriptors_do_not_leak(lasting: Any, client: WorkClient, picture: np.ndarray) -> None:
    """After many pictures, good and bad, the process holds as many descriptors and mappings as before."""

    def held() -> tuple[int, int]:
        base = f"/proc/{lasting.process.pid}"
        maps = Path(f"{base}/maps").read_text()
        return len(os.listdir(f"{base}/fd")), maps.count("memfd:")

    client.detect(picture, floor=0.1)
    before = held()
    channel: wire.Channel[WorkAnswer] = wire.Channel(wire.connect(lasting.work_path), WorkAnswer)
    channel.settimeout(20)
    for _ in range(30):
        client.detect(picture, floor=0.1)
        _ask(channel, picture, memory=_unsealed(picture))
        channel.receive()
    channel.close()
    client.detect(picture, floor=0.1)
    assert held()[0] <= before[0]
    assert held()[1] <= before[1] + 1


def test_garbage_ends_only_its_own_connection(lasting: Any, client: WorkClient, picture: np.ndarray) -> None:
    """Who sends what is no message is let go; the others are served."""
    intruder = wire.connect(lasting.work_path)
    intruder.send(b"\xc1 nonsense")
    intruder.settimeout(10)
    assert intruder.recv(100) == b""
    intruder.close()
    assert client.detect(picture, floor=0.1).outcome == "analysed"


def test_who_leaves_before_the_answer_disturbs_nobody(lasting: Any, client: WorkClient, picture: np.ndarray) -> None:
    """A connection that closes with requests pending takes them with it."""
    for _ in range(5):
        channel: wire.Channel[WorkAnswer] = wire.Channel(wire.connect(lasting.work_path), WorkAnswer)
        for _ in range(20):
            _ask(channel, picture)
        channel.close()
    assert client.detect(picture, floor=0.1, deadline_s=20).outcome == "analysed"


def test_another_user_is_refused(running: Any) -> None:
    """A peer that is neither root nor the daemon's own uid gets no answer."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    os.chmod(running.runtime_dir, 0o755)
    os.chmod(running.work_path, 0o666)
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(10);"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); s.connect(sys.argv[1]); assert s.recv(10) == b''"
    )
    command = [sys.executable, "-c", code, str(running.work_path)]
    done = subprocess.run(command, capture_output=True, timeout=30, cwd="/")
    assert done.returncode == 0, done.stderr.decode()


def test_the_detectors_death_answers_what_was_pending(running: Any, picture: np.ndarray) -> None:
    """After kill -9 with requests pending each is told not_ready at once; the next one reaches the next detector."""
    large = cv2.resize(picture, (1920, 1080))
    client = WorkClient(running.work_path)
    client.detect(picture, floor=0.1)
    connection = client._connection
    assert connection is not None
    running.process.send_signal(signal.SIGSTOP)  # until all are pending: what is asked later is the next detector's
    with ThreadPoolExecutor(40) as pool:
        pending = [pool.submit(client.detect, large, floor=0.1, deadline_s=50.0) for _ in range(40)]
        wait_for(lambda: len(connection._waiting) == 40, "requests of all threads")
        running.kill()
        killed_s = time.monotonic()
        outcomes = {each.result(10).outcome for each in pending}
        assert time.monotonic() - killed_s < 5
    assert outcomes <= {"analysed", "not_ready"}
    assert "not_ready" in outcomes
    running.start()
    running.wait_until("ready")
    assert client.detect(picture, floor=0.1).outcome == "analysed"
    client.close()


def test_nobody_listening_is_not_ready(tmp_path: Any, picture: np.ndarray) -> None:
    """Without a daemon the answer is not_ready, not an exception."""
    client = WorkClient(tmp_path / "work.sock")
    answer = client.detect(picture, floor=0.1)
    assert answer.outcome == "not_ready"
    assert "No such file" in answer.detail
    client.close()


def test_while_loading_it_is_not_ready(supervisor: Any, picture: np.ndarray, worker: Any) -> None:
    """From the first moment requests are answered, with not_ready; once warm, they are analysed."""
    supervisor.start()
    client = WorkClient(supervisor.work_path)
    first = client.detect(picture, floor=0.1, deadline_s=20)
    assert (first.outcome, first.detail) == ("not_ready", "the model is being loaded")
    worker.wait_for(lambda: client.detect(picture, floor=0.1).outcome == "analysed", "the model", 20)
    client.close()


def test_weights_that_cannot_be_trusted_are_said_and_not_crashed_over(
    picture: np.ndarray, tmp_path: Any, make: Any
) -> None:
    """With a wrong hash the process stays, says so in its beat, answers not_ready, and ends when told."""
    supervisor = make(weights_sha256="0" * 64)
    supervisor.start()
    beat = supervisor.wait_until("failed")
    assert "not the weights expected" in beat.detail
    client = WorkClient(supervisor.work_path)
    answer = client.detect(picture, floor=0.1)
    assert answer.outcome == "not_ready"
    assert "not the weights expected" in answer.detail
    client.close()
    assert supervisor.stop() == 0


@pytest.fixture
def make() -> Any:
    """Supervisors with settings of their own."""
    from_fixture = sys.modules[next(name for name in sys.modules if name.endswith("detect.conftest"))]
    made: list[Any] = []

    def one(**detect: Any) -> Any:
        made.append(from_fixture.Supervisor(**detect))
        return made[-1]

    yield one
    for each in made:
        each.close()


def test_stop_ends_it_and_so_does_the_supervisors_death(running: Any) -> None:
    """Stop: with status 0; the lifeline's end: at once."""
    assert running.stop() == 0
    running.process.stderr.close()
    running._control.close()
    running.start()
    running.die()
    assert running.process.wait(10) == 70


def test_ctrl_c_is_the_supervisors(lasting: Any, client: WorkClient, picture: np.ndarray) -> None:
    """An interrupt that reaches the detector does not end it."""
    lasting.process.send_signal(signal.SIGINT)
    assert client.detect(picture, floor=0.1).outcome == "analysed"


def test_the_beat_tells_what_it_does(running: Any, frame: np.ndarray, worker: Any) -> None:
    """Once a second: state, model, counts and the median of its batches."""
    channel = running.camera("hall")
    channel.hello()
    worker.meet(channel)
    worker.put(channel, frame, 1)
    worker.answers(channel, 1)
    client = WorkClient(running.work_path)
    client.detect(frame, floor=0.1)
    beat = worker.wait_for(
        lambda: (beat := running.beat()) and beat.live_images and beat.work_images and beat, "a beat"
    )
    assert (beat.state, beat.live_images, beat.work_images, beat.work_pending) == ("ready", 1, 1, 0)
    assert beat.batch_ms > 0
    assert "OpenVINO" in beat.detail or "ONNX" in beat.detail
    client.close()
    channel.close()


def test_work_is_served_while_cameras_flood(lasting: Any, client: WorkClient, frame: np.ndarray, worker: Any) -> None:
    """With live frames always waiting, POST is answered, and the cameras are served meanwhile."""
    channels = [lasting.camera(f"c{n}") for n in range(12)]
    for channel in channels:
        channel.hello()
    ended = threading.Event()
    counts = [0]

    def flood() -> None:
        while not ended.is_set():
            for channel in channels:
                counts[0] += len(channel.receive())
                worker.put(channel, frame, 0)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(10):
            before = counts[0]
            assert client.detect(frame, floor=0.1, deadline_s=10).outcome == "analysed"
            worker.wait_for(lambda before=before: counts[0] > before, "live answers", 10)
    finally:
        ended.set()
        thread.join()
    for channel in channels:
        channel.close()


def test_idle_the_process_burns_nothing(lasting: Any, client: WorkClient, picture: np.ndarray) -> None:
    """With nothing to do, the whole process takes less than 2 % of a core."""
    for _ in range(5):
        client.detect(picture, floor=0.1)
    time.sleep(0.3)

    def cpu_s() -> float:
        fields = Path(f"/proc/{lasting.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    time.sleep(2)
    assert (cpu_s() - before) / 2 < 0.02


def test_settings_are_those_of_the_daemon(running: Any) -> None:
    """What the harness sends is what Settings.for_children makes: the process reads it whole and unchanged."""
    from daemon.settings import Settings

    text = Settings.model_validate(running.settings).for_children()
    assert json.loads(text)["detect"]["input_px"] == 320
    running.kill()
    running.settings = json.loads(text)
    running.start()
    running.wait_until("ready")
