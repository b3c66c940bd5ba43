# SPDX-License-Identifier: AGPL-3.0-or-later
"""The inference thread with detectors that fail, one by one or for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from daemon.detect.hints import HINT_FROM
from daemon.detect.inference import Inference, LiveFrame, Result, Switched, WorkPicture
from daemon.detect.schedule import Job
from daemon.domain import Detection, ModelInfo
from daemon.errors import DetectorError

SHAPE = (384, 640)
POISON = 255


class FakeDetector:
    """Answers with each picture's first value as the box; fails on POISON."""

    info = ModelInfo("0" * 64, "fake", "fake", 640)
    why = "fake"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def warm(self) -> None:
        """Nothing to warm."""

    def adopt(self) -> None:
        """Belongs to any thread."""

    def detect(
        self, images: Sequence[np.ndarray], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        self.gate.wait(10)
        self.batches.append(len(images))
        if any(image[0, 0, 0] == POISON for image in images):
            raise DetectorError("poisoned")
        return [(Detection("fire", 0.5, (float(image[0, 0, 0]), 0, 1, 1)),) for image in images]


def picture(value: int) -> np.ndarray:
    return np.full((1, 1, 3), value, np.uint8)


def frame(camera: str, value: int) -> LiveFrame:
    return LiveFrame(camera, "W", "D", 0, picture(value), (1, 1), "run", value)


def job(value: int, floor: float = 0.1) -> Job[WorkPicture]:
    return Job(WorkPicture(str(value), picture(value), floor), "post", SHAPE, time.monotonic() + 60, 3, "me")


class Rig:
    """An inference thread and what came out of it."""

    def __init__(self) -> None:
        self.detector = FakeDetector()
        self.woken = threading.Event()
        self.inference = Inference(lambda: self.detector, 4, 0.1, self.woken.set)
        self.inference.start()
        self.until(lambda: self.inference.state == "ready")
        self.detector.batches.clear()

    def until(self, condition: object) -> None:
        end_s = time.monotonic() + 10
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < end_s
            self.woken.wait(0.05)
            self.woken.clear()

    def results(self, count: int) -> list[Result]:
        found: list[Result] = []
        self.until(lambda: found.extend(self.inference.results()) or len(found) >= count)
        return found


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A thread that is ready."""
    made = Rig()
    yield made
    made.detector.gate.set()
    made.inference.stop(5)


def test_one_bad_picture_fails_alone(rig: Rig) -> None:
    """When a batch fails its pictures are tried one by one, and only the bad one has no answer."""
    rig.detector.gate.clear()
    rig.inference.offer_job(job(1))
    rig.until(lambda: rig.inference.computing_s() > 0)
    for value in (2, POISON, 3):
        rig.inference.offer_job(job(value))
    rig.detector.gate.set()
    found = {result.item.item.id: result for result in rig.results(4)}
    assert {name: result.outcome for name, result in found.items()} == {
        "1": "analysed", "2": "analysed", str(POISON): "failed", "3": "analysed",
    }  # fmt: skip
    assert found[str(POISON)].detail == "poisoned"
    assert found["3"].detections[0].box[0] == 3
    assert rig.detector.batches == [1, 3, 1, 1, 1]


def test_a_detector_that_always_fails_ends_the_process(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 16 pictures in a row the context is taken for broken; only a new process helps."""
    ended = threading.Event()
    monkeypatch.setattr(rig.inference, "_end_process", ended.set)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    for n in range(30):
        if rig.inference.offer_frame(frame("hall", POISON), SHAPE) is None and ended.wait(0.02):
            break
        assert n < 29
    assert ended.is_set()


def test_now_and_then_a_failure_does_not_end_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures between good pictures are answered as such, however many there are."""
    monkeypatch.setattr(rig.inference, "_end_process", lambda: pytest.fail("ended"))
    for n in range(40):
        rig.inference.offer_frame(frame("hall", POISON if n % 2 else 1), SHAPE)
        assert rig.results(1)[0].outcome == ("failed" if n % 2 else "analysed")


def test_while_a_batch_is_stuck_it_can_be_seen(rig: Rig) -> None:
    """The I/O thread sees for how long the batch at hand has been computed, and stops its beat by that."""
    rig.detector.gate.clear()
    rig.inference.offer_frame(frame("hall", 1), SHAPE)
    rig.until(lambda: rig.inference.computing_s() > 0.1)
    rig.detector.gate.set()
    rig.results(1)
    assert rig.inference.computing_s() == 0


def test_floors_are_each_jobs_own(rig: Rig) -> None:
    """Jobs share a batch computed with the lowest floor, and each is given what reaches its own."""
    rig.detector.gate.clear()
    for floor, value in ((0.1, 1), (0.1, 2), (0.9, 3), (0.5, 4)):
        rig.inference.offer_job(job(value, floor))
    rig.detector.gate.set()
    counts = {result.item.item.id: len(result.detections) for result in rig.results(4)}
    assert counts == {"1": 1, "2": 1, "3": 0, "4": 1}


def test_hints(rig: Rig) -> None:
    """Of a frame: fire too weak to report, the strongest sixteen; of a job nothing that it did not ask for."""
    floors: list[float] = []

    def detect(images: Sequence[np.ndarray], floor: float, *_: object) -> list[tuple[Detection, ...]]:
        floors.append(floor)
        sure = Detection("fire", 0.1, (9, 0, 1, 1))
        weak = [Detection("fire", 0.09 - at / 1000, (at, 0, 1, 1)) for at in range(20)]
        return [(sure, Detection("smoke", 0.095, (8, 0, 1, 1)), *weak)] * len(images)

    rig.detector.detect = detect  # type: ignore[method-assign, assignment]
    rig.inference.offer_frame(frame("hall", 1), SHAPE)
    (seen,) = rig.results(1)
    assert [each.box[0] for each in seen.detections] == [9]
    assert [each[0] for each in seen.hints] == [*range(16)]
    rig.inference.offer_job(job(2))
    (asked,) = rig.results(1)
    assert (len(asked.detections), asked.hints) == (1, ())
    assert floors == [HINT_FROM, 0.1]


def test_what_is_reported_is_told_once_however_low_the_floor() -> None:
    """Where detect.floor lies below all hints, they are among the detections."""
    detector, woken, floors = FakeDetector(), threading.Event(), list[float]()

    def detect(images: Sequence[np.ndarray], floor: float, *_: object) -> list[tuple[Detection, ...]]:
        floors.append(floor)
        return [tuple(Detection("fire", at, (at, 0, 1, 1)) for at in (0.03, 0.015))] * len(images)

    inference = Inference(lambda: detector, 4, 0.01, woken.set)
    inference.start()
    assert woken.wait(10)
    detector.detect = detect  # type: ignore[method-assign, assignment]
    woken.clear()
    assert inference.offer_frame(frame("hall", 1), SHAPE) is None
    assert woken.wait(10)
    (seen,) = inference.results()
    assert ([each.confidence for each in seen.detections], seen.hints, floors) == ([0.03, 0.015], (), [0.01])
    inference.stop(5)


def test_weights_that_cannot_be_loaded_are_said() -> None:
    """The sentence of the error is the state's detail, and the thread ends without ending the process."""

    def refuse() -> FakeDetector:
        raise DetectorError("these are not the weights expected")

    woken = threading.Event()
    inference = Inference(refuse, 4, 0.1, woken.set)
    inference.start()
    assert woken.wait(10)
    assert (inference.state, inference.detail) == ("failed", "these are not the weights expected")


@pytest.mark.parametrize("when", ["load", "warm"])
def test_what_a_library_raises_is_said_too(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process would load the same: it would be started again for ever, and nobody told why."""

    def fails() -> FakeDetector:
        raise RuntimeError("no such layer")

    monkeypatch.setattr(Inference, "_end_process", lambda _: pytest.fail("ended"))
    detector, woken = FakeDetector(), threading.Event()
    detector.warm = fails  # type: ignore[method-assign,assignment]
    inference = Inference(fails if when == "load" else lambda: detector, 4, 0.1, woken.set)
    inference.start()
    assert woken.wait(10)
    assert (inference.state, inference.detail) == ("failed", "no such layer")
    inference.stop(5)


class OtherDetector(FakeDetector):
    """Another model."""

    info = ModelInfo("1" * 64, "other", "fake", 640)


def test_another_model_takes_over_between_two_batches(rig: Rig) -> None:
    """What was offered before is answered by the one, what comes later by the other, and a Switched stands between."""
    rig.inference.offer_job(job(1))
    rig.results(1)
    other = OtherDetector()
    assert rig.inference.use("request", lambda: other) is None
    (switched,) = rig.results(1)
    assert switched == Switched("request", OtherDetector.info)
    rig.inference.offer_job(job(2))
    assert rig.results(1)[0].outcome == "analysed"
    assert (rig.detector.batches, other.batches) == ([1], [1])
    assert rig.inference.model == OtherDetector.info


def test_a_model_that_cannot_be_loaded_changes_nothing(rig: Rig) -> None:
    """The sentence comes back, the one of before goes on, and another can be tried; two at a time cannot."""
    gate = threading.Event()

    def broken() -> FakeDetector:
        gate.wait(10)
        raise DetectorError("not a model")

    assert rig.inference.use("first", broken) is None
    assert "being loaded" in (rig.inference.use("second", OtherDetector) or "")
    rig.inference.offer_job(job(1))
    assert rig.results(1)[0].outcome == "analysed"
    gate.set()
    assert rig.results(1) == [Switched("first", error="not a model")]
    assert rig.inference.model == FakeDetector.info
    assert rig.inference.use("third", OtherDetector) is None
    assert rig.results(1) == [Switched("third", OtherDetector.info)]


def test_another_model_helps_a_detector_that_could_not_start() -> None:
    """Weights that cannot be used are no dead end."""
    woken = threading.Event()

    def refuse() -> FakeDetector:
        raise DetectorError("no such weights")

    inference = Inference(refuse, 4, 0.1, woken.set)
    inference.start()
    assert woken.wait(10)
    assert (inference.state, inference.detail) == ("failed", "no such weights")
    woken.clear()
    assert inference.use("request", OtherDetector) is None
    assert woken.wait(10)
    assert (inference.state, inference.model) == ("ready", OtherDetector.info)
    inference.stop(5)
