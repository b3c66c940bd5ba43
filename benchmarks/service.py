# SPDX-License-Identifier: AGPL-3.0-or-later
"""What POST /fire_detector carries: 1, 8, 32 and 128 callers, with cameras running and without, beside plain Flask services.

    python -m benchmarks.service [SECONDS]

All in one run, with one 1280×720 JPEG. SECONDS (8) is what each pair of service and number of callers is measured for. Aims: at 32
callers at least 90 % of the bare detector; nobody waits past the deadline, whoever cannot be served in time is told so; and cameras
keep detect.max_interval meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import cv2
import numpy as np
import requests

from benchmarks import film
from benchmarks.cameras import played
from benchmarks.detector import BATCH, INPUT_PX, bare
from daemon.detect.detector import REFERENCE_PICTURE, FireDetector
from tests.system.daemon_under_test import Daemon, port_of, reserved_port, wait_for

CALLERS = (1, 8, 32, 128)
SECONDS = 8.0
CAMERAS = 4
MAX_INTERVAL_S = 2.0
AIM = 0.90
PROCESSES = min(os.cpu_count() or 1, 8)


class Measured(NamedTuple):
    """One service under one number of callers."""

    per_s: float
    latency_s: tuple[float, float, float] | None
    refused: int
    refused_p95_s: float | None
    failed: list[str]


def upload(folder: Path) -> Path:
    """The picture that all send."""
    path = folder / "upload.jpg"
    picture = cv2.resize(np.asarray(cv2.imread(str(REFERENCE_PICTURE))), (1280, 720))
    assert cv2.imwrite(str(path), picture, (cv2.IMWRITE_JPEG_QUALITY, 90))
    return path


def under(url: str, callers: int, seconds: float, picture: Path) -> Measured:
    command = [sys.executable, "-m", "benchmarks.callers", url, str(callers), str(seconds), str(picture)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    answered, refused = found["answered_s"], found["refused_s"]
    return Measured(
        len(answered) / found["seconds"], _percentiles(answered), len(refused),
        (_percentiles(refused) or (0, None))[1], found["failed"],
    )  # fmt: skip


def _percentiles(values: list[float]) -> tuple[float, float, float] | None:
    if len(values) < 2:
        return None
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


@contextmanager
def plain(*command: str) -> Iterator[str]:
    """A plain service's URL, once it answers."""
    reserved = reserved_port()
    port = port_of(reserved)
    process = subprocess.Popen(
        [sys.executable, *(part.format(port=port) for part in command)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/fire_detector"
    try:
        wait_for(lambda: _answers(url), 60, f"an answer of {' '.join(command)}")
        yield url
    finally:
        process.terminate()
        process.wait(20)
        reserved.close()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 405
    except requests.RequestException:
        return False


@contextmanager
def firewitness(cameras: dict[str, Any]) -> Iterator[Daemon]:
    daemon = Daemon()
    daemon.configure(cameras, detect={"batch": BATCH, "input_px": INPUT_PX, "max_interval": MAX_INTERVAL_S})
    daemon.start()
    try:
        daemon.wait_ready(90)
        if all(camera.get("enabled", True) for camera in cameras.values()):
            wait_for(lambda: _all_watched(daemon), 60, "all cameras are watched")
        yield daemon
    finally:
        daemon.stop()
        daemon.clean()


def _all_watched(daemon: Daemon) -> bool:
    cameras = (daemon.status() or {"cameras": {}})["cameras"].values()
    return bool(cameras) and all(each.get("frames_watched", 0) > 3 for each in cameras)


class Watched:
    """Polls the longest interval between analysed frames of any camera; a thread of its own while services are called."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._done = daemon, threading.Event()
        self.longest_s = 0.0
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._done.wait(0.7):  # a beat a second tells the longest of its second
            for camera in (self._daemon.status() or {"cameras": {}})["cameras"].values():
                self.longest_s = max(self.longest_s, camera.get("interval_s") or 0.0)

    def close(self) -> float:
        self._done.set()
        self._thread.join()
        return self.longest_s


def bare_per_s(detector: FireDetector, picture: Path) -> float:
    image = np.asarray(cv2.imread(str(picture)), np.uint8)
    return median(bare(detector, image) for _ in range(3))


def run(seconds: float) -> list[str]:
    folder = film.folder()
    picture = upload(folder)
    detector = FireDetector(input_px=INPUT_PX, batch=BATCH, closer=True)
    detector.warm()
    alone = [bare_per_s(detector, picture)]
    found: dict[str, list[Measured]] = {}

    def measure(name: str, url: str) -> None:
        found[name] = [under(url, callers, seconds, picture) for callers in CALLERS]
        print(f"{name}: {[round(each.per_s, 1) for each in found[name]]}", file=sys.stderr, flush=True)

    with firewitness({"away": {"url": "rtsp://127.0.0.1:9/none", "enabled": False}}) as daemon:
        measure("Firewitness", daemon.url("/fire_detector"))
    alone.append(bare_per_s(detector, picture))
    quiet = film.quiet(folder)
    with (
        played({f"c{number}": quiet for number in range(CAMERAS)}) as urls,
        firewitness({name: {"url": url} for name, url in urls.items()}) as daemon,
    ):
        time.sleep(5)  # past the first seconds of each run, which decode more
        watched = Watched(daemon)
        measure(f"Firewitness, {CAMERAS} cameras running", daemon.url("/fire_detector"))
        longest_s = watched.close()
    ways: dict[str, Callable[[], Any]] = {
        "Flask, one thread": lambda: plain("-m", "benchmarks.plain_service", "{port}", "single"),
        "Flask, threads": lambda: plain("-m", "benchmarks.plain_service", "{port}", "threads"),
        f"Flask, {PROCESSES} processes": lambda: plain(
            "-m", "gunicorn", "-w", str(PROCESSES), "-b", "127.0.0.1:{port}", "--no-control-socket",
            "benchmarks.plain_service:app",
        ),
    }  # fmt: skip
    for name, way in ways.items():
        with way() as url:
            measure(name, url)
    alone.append(bare_per_s(detector, picture))
    return table(found, alone, longest_s, detector.why, seconds)


def table(
    found: dict[str, list[Measured]], alone: list[float], longest_s: float, why: str, seconds: float
) -> list[str]:
    base = median(alone)
    lines = [
        f"{why}; {INPUT_PX} px; one 1280×720 JPEG; {seconds:g} s each. The bare detector, in batches of {BATCH}: {base:.1f} images/s "
        f'({min(alone):.1f}–{max(alone):.1f} before, between and after). Refused: told "overloaded"; failed: neither.',
        "",
        "| | callers | answers/s | ÷ bare | p50 s | p95 s | p99 s | refused (p95 s) | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, measured in found.items():
        for callers, each in zip(CALLERS, measured, strict=True):
            share = f"{each.per_s / base:.2f}"
            share = f"**{share}** (aim ≥ {AIM})" if (name, callers) == ("Firewitness", 32) else share
            times = " | ".join(f"{value:.2f}" for value in each.latency_s) if each.latency_s else "– | – | –"
            refused = (
                f"{each.refused} ({each.refused_p95_s:.2f})" if each.refused_p95_s is not None else str(each.refused)
            )
            lines.append(
                f"| {name} | {callers} | {each.per_s:.1f} | {share} | {times} | {refused} | {_reasons(each.failed)} |"
            )
    lines += ["", f"Longest interval between analysed frames of any camera under all of this: **{longest_s:.2f} s** "
              f"(`detect.max_interval` {MAX_INTERVAL_S:g} s)."]  # fmt: skip
    return lines


def _reasons(failed: list[str]) -> str:
    return ", ".join(f"{count} {why}" for why, count in Counter(failed).most_common()) or "0"


def rows() -> list[str]:
    """The table, in Markdown."""
    return run(SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS, help=f"of each measurement ({SECONDS:g})")
    print("\n".join(run(parser.parse_args().seconds)))
