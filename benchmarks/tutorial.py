# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one would write from a tutorial: a thread a camera, cv2.VideoCapture, a prediction for each frame.

python -m benchmarks.tutorial SECONDS URL… → JSON: frames a second of each camera, CPU-seconds a minute, RSS. Each thread
has a detector of its own, the same weights and runtime as Firewitness'.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import cv2
import numpy as np
import psutil

from daemon.detect.detector import FireDetector

WARM_UP_S = 10.0


class Watcher(threading.Thread):
    """One camera: the loop of the tutorial."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.frames = 0

    def run(self) -> None:
        detector = FireDetector()
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG)
        while True:
            there, frame = capture.read()
            if not there:
                return
            detector.detect([np.asarray(frame, np.uint8)], 0.3)
            self.frames += 1


def main() -> None:
    """Prints what was measured after the warm-up."""
    seconds, urls = float(sys.argv[1]), sys.argv[2:]
    watchers = [Watcher(url) for url in urls]
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
