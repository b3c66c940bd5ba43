# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one would write from a tutorial: a thread a camera, cv2.VideoCapture, a prediction for each frame.

python -m benchmarks.tutorial PREDICTS SECONDS URL… → JSON: frames a second of each camera, CPU-seconds a minute, RSS. Each thread
has a network of its own with the shipped weights: PREDICTS is "firewitness" for the runtime that Firewitness takes here, or
"ultralytics" for that package's predict(), which needs the environment of `make setup VENV=.venv-train EXTRAS=train`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import psutil

from daemon.detect.detector import FireDetector
from daemon.detect.weights import read_weights
from daemon.domain import LABELS

WARM_UP_S = 10.0


Predict = Callable[[Any], object]


def firewitness() -> Predict:
    """Its FireDetector, for one thread."""
    detector = FireDetector(closer=True)
    return lambda frame: detector.detect([np.asarray(frame, np.uint8)], 0.3)


def ultralytics() -> Predict:
    """The package's own predict(), in PyTorch."""
    # A torchvision that fits a CPU-only torch is not on PyPI; suppression is the only thing that predict() takes from it.
    stand_in = types.ModuleType("torchvision")
    sys.modules["torchvision"] = stand_in
    from ultralytics import YOLO
    from ultralytics.utils.nms import TorchNMS

    from daemon.detect.runtime_torch import from_onnx

    vars(stand_in)["ops"] = types.SimpleNamespace(nms=TorchNMS.nms)
    model = YOLO("yolo11n.yaml", task="detect")
    model.model, _ = from_onnx(read_weights())
    model.model.names = dict(enumerate(LABELS))
    return lambda frame: model.predict(frame, verbose=False, conf=0.3)


PREDICTS: dict[str, Callable[[], Predict]] = {each.__name__: each for each in (firewitness, ultralytics)}


class Watcher(threading.Thread):
    """One camera: the loop of the tutorial."""

    def __init__(self, url: str, predicts: Callable[[], Predict]) -> None:
        super().__init__(daemon=True)
        self._url, self._predicts = url, predicts
        self.frames = 0

    def run(self) -> None:
        predict = self._predicts()
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG)
        while True:
            there, frame = capture.read()
            if not there:
                return
            predict(frame)
            self.frames += 1


def main() -> None:
    """Prints what was measured after the warm-up."""
    predicts, seconds, urls = PREDICTS[sys.argv[1]], float(sys.argv[2]), sys.argv[3:]
    watchers = [Watcher(url, predicts) for url in urls]
    for each in watchers:
        each.start()
    time.sleep(WARM_UP_S)
    before = [each.frames for each in watchers]
    began, cpu_s = time.monotonic(), time.process_time()
    time.sleep(seconds)  # the measured interval itself
    took_s = time.monotonic() - began
    rates = [(each.frames - was) / took_s for each, was in zip(watchers, before, strict=True)]
    used = (time.process_time() - cpu_s) * 60 / took_s
    print(json.dumps({"fps": rates, "cpu_s": used, "rss_mb": psutil.Process().memory_info().rss / 1e6}), flush=True)
    os._exit(0)  # the threads are inside native code, which does not survive the interpreter's end


if __name__ == "__main__":
    main()
