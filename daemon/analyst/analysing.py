# SPDX-License-Identifier: AGPL-3.0-or-later
"""One going back over packets of the past, from beginning to end, with a detector that is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from daemon.clock import Clocks
from daemon.detect.work import WorkClient
from daemon.domain import Detection, ModelInfo
from daemon.errors import DetectorError, FirewitnessError
from daemon.ingest.colour import Converter
from daemon.ingest.concluding import Outcome, Subject
from daemon.ingest.examination import Examination
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.snapshot import Snapshot

DEADLINE_S = 10.0
PATIENCE_S = 120.0  # with a detector that refuses one and the same picture

Detect = Callable[[NDArray[np.uint8]], tuple[Sequence[Detection], ModelInfo]]


def go_back(subject: Subject, packets: Sequence[Packet], plan: WorkerPlan, detect: Detect, clocks: Clocks) -> Outcome:
    """Also where a kill cut the clip before the confirming frame. Raises FirewitnessError, DetectorError."""
    evidence = subject.evidence
    whole = Snapshot.until(packets, evidence.run, evidence.pts)
    snapshot = whole or Snapshot.cut_before(packets, evidence.time.captured_at_ns)
    if snapshot is None:
        raise FirewitnessError("the clip holds nothing of before the incident was confirmed")
    examination = Examination(subject, snapshot, plan, Converter())
    while examination.outcome is None:
        examination.step()
        while examination.questions:
            question = examination.questions.popleft()
            detections, model = detect(np.ascontiguousarray(question.pixels))
            examination.answered(question, detections, model)
    outcome = examination.outcome
    return outcome._replace(analysis=replace(outcome.analysis, analysed_at_ns=clocks.wall_ns()))


def asking(client: WorkClient, floor: float) -> Detect:
    """The running daemon's detector, which goes on with live frames, and POST, and going back, before this.

    Detections below `floor` are not reported.
    """

    def detect(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
        until_s, pause_s = time.monotonic() + PATIENCE_S, 0.5
        while True:
            answer = client.detect(pixels, kind="analyse", deadline_s=DEADLINE_S, floor=floor)
            if answer.outcome == "analysed" and answer.model is not None:
                return answer.detections, answer.model
            if time.monotonic() > until_s:
                raise DetectorError(f"the detector answers {answer.outcome} {answer.detail}".rstrip())
            time.sleep(pause_s)
            pause_s = min(10.0, 2 * pause_s)

    return detect
