# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images a second of the bare FireDetector and through the shared detector process, by both channels.

    python -m benchmarks.detector

The rounds alternate, so that what else the machine does meets all alike; the median and the spread are told. Aim: the
shared process reaches at least 95 % of the bare detector.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon import wire
from daemon.detect.detector import REFERENCE_PICTURE, FireDetector
from daemon.detect.live import LiveChannel, make_live_channel
from daemon.detect.work import WorkClient
from daemon.memory import sealed
from daemon.messages import Attach, DetectorBeat, FrameDone, Stop

BATCH = 8
INPUT_PX = 640
CAMERAS = 3 * BATCH  # so that a whole batch waits while one is computed
ASKERS = 2 * BATCH
ROUNDS = 5
ROUND_S = 1.4
FLOOR = 0.1
AIM = 0.95

Picture = NDArray[np.uint8]


class Shared:
    """The detector process, held as the supervisor holds it."""

    def __init__(self) -> None:
        self.runtime_dir = Path(tempfile.mkdtemp(dir="/tmp"))
        self._listening = wire.listen(self.runtime_dir / "work.sock")
        lifeline, self._mine = os.pipe()
        ours, theirs = wire.pair()
        settings = sealed("settings", json.dumps({"detect": {"batch": BATCH, "input_px": INPUT_PX}}).encode())
        given = {
            "lifeline": lifeline,
            "settings": settings,
            "control": theirs.fileno(),
            "listen": self._listening.fileno(),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "daemon.detect.process", *(f"--{name}={fd}" for name, fd in given.items())],
            pass_fds=list(given.values()),
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        os.close(settings)
        os.close(lifeline)
        self._control: wire.Channel[DetectorBeat] = wire.Channel(ours, DetectorBeat)
        self._control.settimeout(30)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        while (received := self._control.receive()) is not None:
            beat = received[0]
            if beat.state == "failed":
                raise SystemExit(beat.detail)
            if beat.state == "ready":
                self._control.settimeout(0)
                return

    def camera(self, name: str) -> LiveChannel:
        """A fake camera's channel, greeted by the detector."""
        worker_end, detector_end, memfd = make_live_channel(INPUT_PX)
        self._control.send(Attach(camera=name), [detector_end.fileno(), memfd])
        detector_end.close()
        channel = LiveChannel(worker_end, memfd, INPUT_PX)
        os.close(memfd)
        channel.hello()
        while not channel.ready:
            channel.receive()
            time.sleep(0.001)
        return channel

    def close(self) -> None:
        self._control.send(Stop())
        self._process.wait(10)
        self._control.close()
        self._listening.close()
        os.close(self._mine)
        shutil.rmtree(self.runtime_dir)


def bare(detector: FireDetector, picture: Picture) -> float:
    """Images a second of the detector alone, in full batches."""
    count, began_s = 0, time.monotonic()
    while (took_s := time.monotonic() - began_s) < ROUND_S:
        detector.detect([picture] * BATCH, FLOOR)
        count += BATCH
    return count / took_s


class Live:
    """Fake cameras that each always have a newer frame."""

    def __init__(self, shared: Shared, picture: Picture) -> None:
        self._picture = picture
        self._cameras = [shared.camera(f"camera{n}") for n in range(CAMERAS)]
        self._selector = selectors.DefaultSelector()
        for camera in self._cameras:
            self._selector.register(camera, selectors.EVENT_READ)

    def round(self) -> float:
        """Images a second between two answers, since answers come a batch at a time."""
        for camera in self._cameras:
            self._announce(camera)
        _, began_s = self._take(0.5, announce=True)
        count, ended_s = self._take(ROUND_S, announce=True)
        while any(camera.waiting for camera in self._cameras):
            self._take(0.05, announce=False)
        return count / (ended_s - began_s)

    def _take(self, for_s: float, announce: bool) -> tuple[int, float]:
        """Answers taken within so long, and when the last came."""
        count, last_s, until_s = 0, 0.0, time.monotonic() + for_s
        while (left_s := until_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                camera: Any = key.fileobj
                for done in camera.receive():
                    if isinstance(done, FrameDone) and done.outcome == "analysed":
                        count, last_s = count + 1, time.monotonic()
                    if announce:
                        self._announce(camera)
        return count, last_s

    def _announce(self, camera: LiveChannel) -> None:
        free = camera.free_buffer()
        if free is not None:
            index, memory = free
            memory[: self._picture.size] = self._picture.reshape(-1)
            height, width = self._picture.shape[:2]
            camera.announce(index, (width, height), (1920, 1080), "run", 0)


def work(client: WorkClient, picture: Picture) -> float:
    """Images a second of many askers at once, each asking again when it is answered."""
    counts = [0] * ASKERS
    until_s = time.monotonic() + ROUND_S

    def ask(place: int) -> None:
        while time.monotonic() < until_s:
            answer = client.detect(picture, deadline_s=30, floor=FLOOR)
            assert answer.outcome == "analysed", answer
            counts[place] += 1

    began_s = time.monotonic()
    threads = [threading.Thread(target=ask, args=(place,)) for place in range(ASKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began_s)


BASELINE = {
    "bare, one look": "bare",
    "live channel": "bare",
    "work channel": "bare",
    "work channel, 1280×720": "bare, 1280×720",
}


def run() -> dict[str, Any]:
    """Measures; returns images a second as medians and spreads, and the shares of the bare detector."""
    frame: Picture = np.asarray(cv2.imread(str(REFERENCE_PICTURE)), np.uint8)
    upload: Picture = np.asarray(cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_LINEAR), np.uint8)
    detector, once = (FireDetector(input_px=INPUT_PX, batch=BATCH, closer=closer) for closer in (True, False))
    detector.warm()
    once.warm()
    shared = Shared()
    client = WorkClient(shared.runtime_dir / "work.sock")
    live = Live(shared, frame)
    measures: dict[str, Callable[[], float]] = {
        "bare": lambda: bare(detector, frame),
        "bare, one look": lambda: bare(once, frame),
        "live channel": live.round,
        "work channel": lambda: work(client, frame),
        "bare, 1280×720": lambda: bare(detector, upload),
        "work channel, 1280×720": lambda: work(client, upload),
    }
    found: dict[str, list[float]] = {name: [] for name in measures}
    try:
        for _ in range(ROUNDS):
            for name, measure in measures.items():
                found[name].append(measure())
    finally:
        client.close()
        shared.close()
    return {"runtime": detector.why, "images_per_s": found, "shares": {name: _shares(found, name) for name in BASELINE}}


def _shares(found: dict[str, list[float]], channel: str) -> list[float]:
    """Round by round, so that what else the machine did cancels out."""
    return [shared / alone for shared, alone in zip(found[channel], found[BASELINE[channel]], strict=True)]


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def rows() -> list[str]:
    """The table, in Markdown."""
    result = run()
    lines = [
        f"{result['runtime']}; {INPUT_PX} px, batch {BATCH}, {ROUNDS} alternating rounds; median (least–most).",
        "",
        f"| | images/s | ÷ bare, round by round (aim ≥ {AIM}) |",
        "| --- | --- | --- |",
    ]
    for name, each in result["images_per_s"].items():
        share = f"**{_spread(result['shares'][name], '.2f')}**" if name in result["shares"] else ""
        lines.append(f"| {name} | {_spread(each, '.1f')} | {share} |")
    return lines


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("\n".join(rows()))
