# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness bench`: how fast each runtime that is installed is on this host, and how many cameras that is."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from daemon import models
from daemon.commands import settings as settings_of
from daemon.detect import served
from daemon.detect.detector import FireDetector, reference_picture
from daemon.detect.model import Picture
from daemon.detect.runtimes import Host, choose, in_best_form, look, runtimes_for
from daemon.detect.weights import read_weights
from daemon.errors import DetectorError, SettingsError
from daemon.settings import DetectSettings

SPUN_OUT_S = 0.3  # what a runtime may spin after a batch
IDLE_S = 1.0


def run(options: argparse.Namespace) -> int:
    """0 when at least one runtime could be measured."""
    if not 0 < options.seconds <= 300:
        raise SettingsError("--seconds: more than 0, at most 300")
    settings = settings_of.of_or_defaults(options.config)
    if settings.storage.state_dir is not None:
        settings = models.applied(settings)
    detect = settings.detect
    if options.weights is not None:
        detect = detect.model_copy(update={"weights": options.weights, "weights_sha256": None})
    host = look()
    print(f"{'runtime':44} {'one picture: median, 95 %':>26} {'images/s':>9} {'cameras':>8} {'idle':>6}")
    measured = [_measure(path, runtime, detect, options.seconds) for path, runtime in _candidates(detect, host)]
    print(f"cameras: {served.in_words(detect)}, nothing burning; input {detect.input_px} px")
    return 0 if any(measured) else 2


def _candidates(detect: DetectSettings, host: Host) -> list[tuple[Path, str]]:
    """What `device: auto` would take first, then the others."""
    weights = read_weights(detect.weights, detect.weights_sha256, detect.allow_pickle)
    best, choice = in_best_form(weights, choose(host, detect.device, weights.format), host)
    others = [(weights.path, runtime) for runtime in runtimes_for(host, weights)]
    return [(best.path, choice.runtime), *(each for each in others if each != (best.path, choice.runtime))]


def _measure(path: Path, runtime: str, detect: DetectSettings, seconds: float) -> bool:
    try:
        detector = FireDetector(
            path, input_px=detect.input_px, batch=detect.batch, allow_pickle=detect.allow_pickle, runtime=runtime
        )
        detector.warm()
    except DetectorError as error:
        print(f"{runtime:44} {error}")
        return False
    picture = reference_picture()
    alone_s = _times_s(detector, [picture], seconds / 2, detect.floor)
    together_s = _times_s(detector, [picture] * detect.batch, seconds / 2, detect.floor)
    images_per_s = detect.batch * len(together_s) / sum(together_s)
    median_ms, late_ms = statistics.median(alone_s) * 1000, float(np.percentile(alone_s, 95)) * 1000
    tile = served.tile_picture(detect)
    tiles_s = _times_s(detector, [tile] * detect.batch, seconds / 2, detect.floor) if tile is not None else [0.0]
    cameras = served.cameras(1 / images_per_s, sum(tiles_s) / len(tiles_s) / detect.batch, detect)
    print(
        f"{detector.info.runtime:44} {median_ms:14.1f} ms, {late_ms:5.1f} ms {images_per_s:9.1f} {cameras:8} {_idle():6.1%}",
        flush=True,
    )
    return True


def _times_s(detector: FireDetector, pictures: Sequence[Picture], seconds: float, floor: float) -> list[float]:
    times: list[float] = []
    until_s = time.perf_counter() + seconds
    while not times or time.perf_counter() < until_s:
        began_s = time.perf_counter()
        detector.detect(pictures, floor)
        times.append(time.perf_counter() - began_s)
    return times


def _idle() -> float:
    """Of a core, while nothing is asked: a runtime whose threads spin while they wait shows here."""
    time.sleep(SPUN_OUT_S)
    before_s = time.process_time()
    time.sleep(IDLE_S)
    return (time.process_time() - before_s) / IDLE_S
