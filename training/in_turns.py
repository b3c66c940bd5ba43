# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two weights files on one core, in turns, so that what else the host does hits both alike; by the daemon's own runtime."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from daemon.detect.runtimes import Choice, load
from daemon.detect.weights import Weights

ROUNDS, AT_ONCE = 60, 3


def in_turns(one: Weights, other: Weights, size_px: tuple[int, int]) -> tuple[float, float]:
    """CPU milliseconds a picture of each (medians), network alone, at one size (height, width), in OpenVINO."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # OpenVINO makes as many threads as it may use cores
    try:
        runtimes = [load(Choice("openvino", "in turns"), each) for each in (one, other)]
        picture = np.random.default_rng(0).integers(0, 255, (1, *size_px, 3), dtype=np.uint8)
        for each in runtimes:
            each.prepare(size_px)
            each.infer(picture)
        took: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for each, times in zip(runtimes, took, strict=True):
                times += [_cpu_ms(lambda each=each: each.infer(picture)) for _ in range(AT_ONCE)]  # type: ignore[misc]
    finally:
        os.sched_setaffinity(0, allowed)
    return statistics.median(took[0]), statistics.median(took[1])


def _cpu_ms(do: Callable[[], object]) -> float:
    began_s = time.process_time()
    do()
    return (time.process_time() - began_s) * 1000
