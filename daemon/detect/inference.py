# SPDX-License-Identifier: AGPL-3.0-or-later
"""The inference thread: owns the network, takes batches from the schedule, and puts results for the I/O thread.

It touches no socket; the two threads share the schedule, under one lock that is never held while computing.
"""

from __future__ import annotations

import logging
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from daemon.detect.hints import HINT_FROM, fires
from daemon.detect.model import Picture
from daemon.detect.schedule import Batch, Job, Schedule
from daemon.domain import Box, Detection, ModelInfo
from daemon.errors import DetectorError

_log = logging.getLogger("firewitness.detector")

State = Literal["loading", "ready", "failed"]

_GIVE_UP_AFTER = 16  # pictures in a row that failed, one by one: a GPU context that is broken stays so
_MEDIAN_OF = 32


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """A camera's frame in the shared memory; its buffer is the detector's until it is answered."""

    camera: str
    worker: str
    detector: str
    buffer: int
    picture: Picture
    original_px: tuple[int, int]
    run: str
    pts: int
    input_px: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class WorkPicture:
    """A picture that somebody asked about."""

    id: str
    picture: Picture
    floor: float


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a frame or a job. outcome: analysed, failed or late."""

    item: LiveFrame | Job[WorkPicture]
    outcome: Literal["analysed", "failed", "late"]
    detections: tuple[Detection, ...] = ()
    hints: tuple[Box, ...] = ()
    """Of a frame: where fire may be, below the floor."""
    inference_ms: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Switched:
    """What became of a request to use another model: `model` is in use from here on, or `error` says why not."""

    request: str
    model: ModelInfo | None = None
    error: str = ""


class Detector(Protocol):
    """What the thread needs of a FireDetector."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def why(self) -> str: ...

    def warm(self) -> None: ...

    def adopt(self) -> None: ...

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]: ...


class Inference:
    """The thread and what it shares. `wake` is called from it whenever the I/O thread has something to look at."""

    def __init__(self, load: Callable[[], Detector], batch: int, floor: float, wake: Callable[[], None]) -> None:
        self.state: State = "loading"
        self.detail = ""
        self.model: ModelInfo | None = None
        self.live_images = 0
        self.work_images = 0
        self._load = load
        self._batch = batch
        self._floor = floor
        self._wake = wake
        self._changed = threading.Condition()
        self._schedule: Schedule[LiveFrame, WorkPicture] = Schedule(batch, images_per_s=1.0)
        self._results: deque[Result | Switched] = deque()
        self._candidate: tuple[str, Detector] | None = None
        self._choosing = False
        self._batch_ms: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._computing_since_s: float | None = None
        self._failed_in_row = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="inference", daemon=True)

    # ------------------------------------------------------------ for the I/O thread

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float) -> None:
        """Ends after the batch at hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(wait_s)

    @property
    def batch_ms(self) -> float:
        """Median of the last batches."""
        return statistics.median(self._batch_ms) if self._batch_ms else 0.0

    @property
    def pending(self) -> int:
        """Images of the work channel, waiting or being computed."""
        with self._changed:
            return self._schedule.work.pending

    def computing_s(self) -> float:
        """For how long the batch at hand has been computed; 0 while there is none."""
        since_s = self._computing_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def offer_frame(self, frame: LiveFrame, shape: tuple[int, int]) -> LiveFrame | None:
        """Puts a camera's newest frame; returns the one that it replaces."""
        with self._changed:
            older = self._schedule.live.offer(frame.camera, frame, shape)
            self._changed.notify()
        return older

    def withdraw(self, camera: str) -> None:
        """What a worker announced is void."""
        with self._changed:
            self._schedule.live.withdraw(camera)

    def forget(self, camera: str) -> None:
        """The camera is gone."""
        with self._changed:
            self._schedule.live.forget(camera)

    def offer_job(self, job: Job[WorkPicture]) -> str | None:
        """Takes the job, or says why it is refused at once."""
        with self._changed:
            refusal = self._schedule.work.offer(job, time.monotonic())
            self._changed.notify()
        return refusal

    def drop(self, owner: object) -> None:
        """Who asked has gone."""
        with self._changed:
            self._schedule.work.drop(owner)

    def use(self, request: str, load: Callable[[], Detector]) -> str | None:
        """Loads another detector beside the one at work and goes over to it between two batches; a Switched tells.

        Returns why that is not possible now.
        """
        if self._choosing:
            return "another model is being loaded; try again"
        self._choosing = True
        threading.Thread(target=self._prepare, args=(request, load), name="candidate", daemon=True).start()
        return None

    def results(self) -> list[Result | Switched]:
        """What was computed since the last call, in order."""
        found = []
        while self._results:
            found.append(self._results.popleft())
        return found

    # ------------------------------------------------------------ the thread

    def _main(self) -> None:
        try:
            detector = self._first()
            while (turn := self._next()) is not None:
                if not isinstance(turn, Batch):
                    detector = self._go_over(*turn)
                elif detector is not None:
                    self._compute(detector, turn)
        except BaseException:
            self._end_process()
            raise

    def _first(self) -> Detector | None:
        """None where it cannot be used: another model may still be."""
        try:
            detector = self._load()
            detector.warm()
        except Exception as error:  # a new process would load the same
            self.detail = _said(error)
            self.state = "failed"
            self._wake()
            return None
        self._ready(detector)
        return detector

    def _prepare(self, request: str, load: Callable[[], Detector]) -> None:
        """In a thread of its own, while the detector of now goes on."""
        try:
            detector = load()
            detector.warm()
        except Exception as error:
            self._results.append(Switched(request, error=_said(error)))
            self._choosing = False
            self._wake()
            return
        with self._changed:
            self._candidate = (request, detector)
            self._changed.notify()

    def _go_over(self, request: str, detector: Detector) -> Detector:
        detector.adopt()
        if self.state == "ready":
            self.detail, self.model = detector.why, detector.info
        else:
            self._ready(detector)
        self._results.append(Switched(request, detector.info))
        self._choosing = False
        self._wake()
        return detector

    def _ready(self, detector: Detector) -> None:
        began_s = time.monotonic()
        detector.detect([np.zeros((360, 640, 3), np.uint8)] * self._batch, self._floor)
        took_s = max(time.monotonic() - began_s, 1e-3)
        with self._changed:
            self._schedule.work.rate.images_per_s = self._batch / took_s
        self.detail, self.model = detector.why, detector.info
        self.state = "ready"
        self._wake()

    def _next(self) -> Batch[LiveFrame, WorkPicture] | tuple[str, Detector] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._candidate is not None or self._schedule.waiting())
            if self._stopping:
                return None
            candidate, self._candidate = self._candidate, None
            return candidate or self._schedule.next(time.monotonic())

    def _compute(self, detector: Detector, batch: Batch[LiveFrame, WorkPicture]) -> None:
        self._results.extend(Result(job, "late", detail="its deadline passed while it waited") for job in batch.late)
        pictures = [frame.picture for frame in batch.live] + [job.item.picture for job in batch.jobs]
        floors = [self._floor] * len(batch.live) + [job.item.floor for job in batch.jobs]
        least = min([HINT_FROM] * bool(batch.live) + floors, default=1.0)
        sides_px = [frame.input_px for frame in batch.live] + [0] * len(batch.jobs)
        began_s = self._computing_since_s = time.monotonic()
        answers = self._answers(detector, pictures, least, sides_px)
        self._computing_since_s = None
        took_ms = (time.monotonic() - began_s) * 1000
        if batch.jobs:
            with self._changed:
                self._schedule.work.done(len(batch.jobs), time.monotonic())
        items: list[LiveFrame | Job[WorkPicture]] = [*batch.live, *batch.jobs]
        for item, answer, floor in zip(items, answers, floors, strict=True):
            if isinstance(answer, str):
                self._results.append(Result(item, "failed", inference_ms=took_ms, detail=answer))
            else:
                strong = tuple(each for each in answer if each.confidence >= floor)
                hints = fires(answer[len(strong) :]) if isinstance(item, LiveFrame) else ()
                self._results.append(Result(item, "analysed", strong, hints, took_ms))
        self._count(batch, took_ms)
        self._wake()

    def _count(self, batch: Batch[LiveFrame, WorkPicture], took_ms: float) -> None:
        self.live_images += len(batch.live)
        self.work_images += len(batch.jobs)
        if batch.live or batch.jobs:
            self._batch_ms.append(took_ms)

    def _answers(
        self, detector: Detector, pictures: Sequence[Picture], floor: float, sides_px: Sequence[int]
    ) -> Sequence[tuple[Detection, ...] | str]:
        """Each picture's detections, or why it has none; after a failure each picture is tried alone."""
        if not pictures:
            return []
        try:
            answers = detector.detect(pictures, floor, sides_px)
        except (DetectorError, ValueError) as error:
            if len(pictures) > 1:
                alone = zip(pictures, sides_px, strict=True)
                return [self._answers(detector, [each], floor, [side_px])[0] for each, side_px in alone]
            self._failed_in_row += 1
            if self._failed_in_row >= _GIVE_UP_AFTER:
                raise
            return [str(error)]
        self._failed_in_row = 0
        return answers

    @staticmethod
    def _end_process() -> None:
        # A detector without its thread would look alive for ever; the supervisor starts a new one.
        _log.critical("the inference thread ended; the detector ends with it", exc_info=True)
        os._exit(1)


def _said(error: Exception) -> str:
    """Why a model cannot be used; one that has no sentence of its own is logged whole."""
    if not isinstance(error, DetectorError):
        _log.error("a model could not be loaded", exc_info=error)
    return str(error) or type(error).__name__
