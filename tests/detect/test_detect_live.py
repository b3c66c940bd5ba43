# SPDX-License-Identifier: AGPL-3.0-or-later
"""The live channel, from the worker's end, with a real detector process; both sides are killed and restarted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon import shipped, wire
from daemon.detect.live import LiveChannel, make_live_channel
from daemon.domain import ModelInfo
from daemon.messages import DetectorHello, FrameDone, FrameWaiting, ToDetectorLive, WorkerHello

MODEL = ModelInfo("0" * 64, "model", "runtime", 320)


class FakeDetector:
    """The detector's end, by hand, to say things that a real one says only rarely."""

    def __init__(self) -> None:
        worker_end, self._end, self._memfd = make_live_channel(320)
        self.worker = LiveChannel(worker_end, self._memfd, 320)
        self.channel: wire.Channel[Any] = wire.Channel(self._end, ToDetectorLive)

    def hello(self, name: str) -> None:
        self.channel.send(DetectorHello(detector=name, model=MODEL))

    def heard(self) -> list[Any]:
        found = []
        while (received := self.channel.receive()) is not None:
            found.append(received[0])
        return found

    def done(self, message: FrameWaiting, **changed: Any) -> None:
        fields = {name: getattr(message, name) for name in ("worker", "detector", "buffer", "run", "pts")}
        self.channel.send(FrameDone(**{**fields, "outcome": "analysed", **changed}))

    def close(self) -> None:
        self.worker.close()
        self.channel.close()
        os.close(self._memfd)


@pytest.fixture
def fake() -> Any:
    """A worker and a detector that says what the test wants."""
    made = FakeDetector()
    yield made
    made.close()


def test_the_workers_end_is_light() -> None:
    """A worker imports it: no runtime, no cv2, no torch, no pydantic comes with it."""
    code = (
        "import sys; import daemon.detect.live, daemon.detect.rules;"
        "heavy = {'openvino', 'onnxruntime', 'torch', 'cv2', 'pydantic', 'flask', 'sqlalchemy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_without_a_detector_nothing_is_sent(fake: FakeDetector) -> None:
    """No hello, no buffer."""
    fake.worker.hello()
    assert not fake.worker.ready
    assert fake.worker.free_buffer() is None
    assert [type(each) for each in fake.heard()] == [WorkerHello]


def test_an_announced_buffer_is_not_given_again(fake: FakeDetector, frame: np.ndarray, worker: Any) -> None:
    """Three are announced, then none is free, until one comes back."""
    fake.hello("D1")
    fake.worker.receive()
    assert [worker.put(fake.worker, frame, pts) for pts in range(4)] == [True, True, True, False]
    announced = [each for each in fake.heard() if isinstance(each, FrameWaiting)]
    assert len({each.buffer for each in announced}) == 3
    fake.done(announced[1])
    assert [each.pts for each in fake.worker.receive()] == [1]
    assert fake.worker.free_buffer()[0] == announced[1].buffer


def test_a_new_detector_frees_what_the_old_one_had(fake: FakeDetector, frame: np.ndarray, worker: Any) -> None:
    """Its hello voids what was announced; late answers of the old one are not taken for the new one's."""
    fake.hello("D1")
    fake.worker.receive()
    for pts in range(3):
        worker.put(fake.worker, frame, pts)
    old = [each for each in fake.heard() if isinstance(each, FrameWaiting)]
    fake.hello("D2")
    assert [type(each) for each in fake.worker.receive()] == [DetectorHello]
    assert worker.put(fake.worker, frame, 10)
    fake.done(old[0])
    fake.done(old[1], detector="D2")
    assert fake.worker.receive() == []
    assert fake.worker.waiting == 1
    assert [type(each) for each in fake.heard()] == [WorkerHello, FrameWaiting]


def test_the_same_detectors_second_hello_frees_nothing(fake: FakeDetector, frame: np.ndarray, worker: Any) -> None:
    """A hello that crossed with an announcement must not make a buffer be written that is being read."""
    fake.hello("D1")
    fake.worker.receive()
    worker.put(fake.worker, frame, 1)
    fake.hello("D1")
    assert fake.worker.receive() == []
    assert fake.worker.waiting == 1


def test_an_answer_to_something_else_gives_no_buffer_back(fake: FakeDetector, frame: np.ndarray, worker: Any) -> None:
    """Another worker's, another frame's or an unknown buffer's answer changes nothing."""
    fake.hello("D1")
    fake.worker.receive()
    worker.put(fake.worker, frame, 1)
    message = fake.heard()[-1]
    for changed in ({"worker": "W0"}, {"pts": 7}, {"run": "other"}, {"buffer": 2}, {"buffer": 99}):
        fake.done(message, **changed)
    assert fake.worker.receive() == []
    assert fake.worker.waiting == 1


def test_a_detector_that_does_not_read_holds_up_nobody(fake: FakeDetector, frame: np.ndarray, worker: Any) -> None:
    """With a full socket announcing is refused, never waited for, and the hello is said once there is room."""
    fake.hello("D1")
    fake.worker.receive()
    while fake.worker._channel.send(WorkerHello(worker="filler")):
        pass
    began_s = time.monotonic()
    assert not worker.put(fake.worker, frame, 1)
    fake.hello("D2")
    fake.worker.receive()
    assert not worker.put(fake.worker, frame, 2)
    assert time.monotonic() - began_s < 1
    assert all(each.worker == "filler" for each in fake.heard()[1:])
    assert worker.put(fake.worker, frame, 3)
    assert [type(each) for each in fake.heard()] == [WorkerHello, FrameWaiting]


# ------------------------------------------------------------ the real process


def test_a_frame_is_answered_in_pixels_of_the_original(lasting: Any, frame: np.ndarray, worker: Any) -> None:
    """The drawn fire is found in a frame that was scaled down, where it is in the original."""
    channel = lasting.camera("hall")
    channel.hello()
    assert worker.meet(channel).model.sha256 in (shipped.SHA256, shipped.INT8_SHA256)
    assert worker.put(channel, frame, 7, (1280, 720))
    (done,) = worker.answers(channel, 1)
    assert (done.outcome, done.pts, done.run) == ("analysed", 7, "run")
    assert done.detections[0].label == "fire"
    x1, y1, x2, y2 = done.detections[0].box
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((944, 330), abs=25)
    channel.close()


def test_a_killed_detector_is_followed_by_the_next(running: Any, frame: np.ndarray, worker: Any) -> None:
    """After kill -9 with frames at hand: on the same sockets the next one answers; only the frames at hand are lost."""
    channels = [running.camera(name) for name in ("a", "b")]
    for channel in channels:
        channel.hello()
        worker.meet(channel)
    pts = 0
    for _ in range(3):
        for channel in channels:
            while worker.put(channel, frame, pts := pts + 1):
                pass
        running.kill()
        running.start()
        for channel in channels:
            worker.meet(channel)
            assert channel.waiting == 0
            pts += 1
            assert worker.put(channel, frame, pts)
            (done,) = worker.answers(channel, 1)
            assert (done.outcome, done.pts) == ("analysed", pts)
            assert done.detections
    for channel in channels:
        channel.close()


def test_a_restarted_worker_has_all_its_buffers(lasting: Any, frame: np.ndarray, worker: Any) -> None:
    """A worker that dies with all buffers announced is followed by one that gets only its own answers."""
    first = lasting.camera("hall")
    first.hello()
    worker.meet(first)
    for pts in range(3):
        worker.put(first, frame, pts)
    first.close()
    second = lasting.camera("hall")
    second.hello()
    worker.wait_for(lambda: second.receive() or second.ready, "a detector")
    seen: set[int] = set()
    for pts in range(100, 110):
        worker.wait_for(
            lambda pts=pts: seen.update(each.pts for each in second.receive()) or worker.put(second, frame, pts),
            "a buffer",
        )
    worker.wait_for(lambda: seen.update(each.pts for each in second.receive()) or 109 in seen, "the last frame")
    assert seen <= set(range(100, 110))
    assert second.waiting == 0
    second.close()


def test_newer_frames_replace_older_ones_and_none_is_lost_in_silence(
    lasting: Any, frame: np.ndarray, worker: Any
) -> None:
    """Each announced frame comes back exactly once, analysed or replaced, and the last one analysed."""
    channel = lasting.camera("hall")
    channel.hello()
    worker.meet(channel)
    outcomes: dict[int, str] = {}

    def collect() -> None:
        for done in channel.receive():
            assert done.pts not in outcomes
            outcomes[done.pts] = done.outcome

    for pts in range(60):
        worker.wait_for(lambda pts=pts: collect() or worker.put(channel, frame, pts), "a buffer")
    worker.wait_for(lambda: collect() or len(outcomes) == 60, "all answers")
    assert set(outcomes.values()) == {"analysed", "replaced"}
    assert outcomes[59] == "analysed"
    channel.close()


def test_a_worker_that_never_reads_stops_nobody(lasting: Any, frame: np.ndarray, worker: Any) -> None:
    """A stuck worker's socket fills; the other cameras and the detector's beat go on."""
    stuck, well = lasting.camera("stuck"), lasting.camera("well")
    for channel in (stuck, well):
        channel.hello()
        worker.meet(channel)
    hello = WorkerHello(worker=stuck.worker)
    for _ in range(3000):  # each is answered with a hello that nobody reads
        stuck._channel.send(hello)
    for pts in range(10):
        assert worker.put(well, frame, pts)
        assert worker.answers(well, 1, within_s=5)[0].outcome == "analysed"
    before = len(lasting.beats)
    worker.wait_for(lambda: lasting.beat() and len(lasting.beats) > before + 1, "beats", 5)
    stuck.close()
    well.close()


def test_a_worker_that_talks_nonsense_hurts_only_itself(lasting: Any, frame: np.ndarray, worker: Any) -> None:
    """Frames that cannot lie in a buffer are failed, garbage is skipped, and the other cameras go on."""
    mad, well = lasting.camera("mad"), lasting.camera("well")
    for channel in (mad, well):
        channel.hello()
        worker.meet(channel)
    for buffer, size in ((0, (5000, 5000)), (77, (10, 10)), (-1, (10, 10)), (1, (0, 10)), (1, (-5, -5))):
        assert mad.announce(buffer, size, (1920, 1080), "run", 1)
        assert [each.outcome for each in worker.answers(mad, 1)] == ["failed"]
    os.write(mad.fileno(), b"\xff not a message")
    os.write(mad.fileno(), b"\xff" * 1000)
    for channel in (well, mad):
        assert worker.put(channel, frame, 5)
        assert worker.answers(channel, 1)[0].outcome == "analysed"
        channel.close()


def test_a_detached_camera_may_come_back(lasting: Any, frame: np.ndarray, worker: Any) -> None:
    """Detached with frames announced and attached again to the same detector: all buffers are free again."""
    channel = lasting.camera("hall")
    channel.hello()
    worker.meet(channel)
    for pts in range(3):
        worker.put(channel, frame, pts)
    lasting.detach("hall")
    lasting._attach("hall")
    worker.meet(channel)
    assert worker.put(channel, frame, 50)
    assert worker.answers(channel, 1)[0].pts == 50
    channel.close()


def test_twenty_cameras_share_alike(lasting: Any, frame: np.ndarray, worker: Any) -> None:
    """With every camera always having a newer frame, none gets less than half of what another gets."""
    channels = [lasting.camera(f"c{n}") for n in range(20)]
    for channel in channels:
        channel.hello()
    for channel in channels:
        worker.wait_for(lambda channel=channel: channel.receive() or channel.ready, "a detector")
    served = [0] * len(channels)

    def turn() -> bool:
        for n, channel in enumerate(channels):
            served[n] += sum(
                1 for each in channel.receive() if isinstance(each, FrameDone) and each.outcome == "analysed"
            )
            worker.put(channel, frame, 0)
        return sum(served) >= 200

    worker.wait_for(turn, "200 answers")
    assert min(served) >= max(served) / 2, served
    for channel in channels:
        channel.close()


def test_another_model_takes_over_and_nobody_loses_a_frame(
    running: Any, frame: np.ndarray, worker: Any, tmp_path: Path
) -> None:
    """Frames that are shown without a pause are all answered; the new model is named before its first answer, and only then."""
    other = tmp_path / "other.onnx"
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(shipped.WEIGHTS))
    model.metadata_props.add(key="site", value="other")
    onnx.save(model, str(other))
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    channel = running.camera("hall")
    channel.hello()
    worker.meet(channel)
    before = channel.model.sha256
    running.use_model("broken", tmp_path / "missing.onnx", sha256)
    found: list[Any] = []
    shown = 0

    def go_on() -> bool:
        nonlocal shown
        shown += worker.put(channel, frame, shown)
        found.extend(channel.receive())
        return "right" in {each.id for each in running.told()} and isinstance(found[-1], FrameDone)

    worker.wait_for(running.told, "the refusal")
    assert "the weights cannot be read" in running.told()[0].error
    running.use_model("right", other, sha256)
    worker.wait_for(go_on, "the other model")
    worker.wait_for(lambda: found.extend(channel.receive()) or not channel.waiting, "the last answers")
    models = [each for each in found if isinstance(each, ModelInfo)]
    assert [each.sha256 for each in models] == [sha256]
    assert before != sha256
    answered = [each.pts for each in found if isinstance(each, FrameDone)]
    assert sorted(answered) == list(range(shown))
    assert running.told()[-1].error == ""
    assert running.wait_until("ready").model.sha256 == sha256
    channel.close()
