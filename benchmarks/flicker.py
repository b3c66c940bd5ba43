# SPDX-License-Identifier: AGPL-3.0-or-later
"""What time says of drawn look-alikes and drawn fires, before a detector that takes all of them for fires.

    python -m benchmarks.flicker [NAME …]

prints the tables of docs/time-as-evidence.md. The detector of the first is sure of everything in every frame, that of the
second only now and then, and otherwise half as sure: no weights play a part.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.lookalikes import SEED, Scene, backdrop, film, scenes
from daemon.clock import NS
from daemon.detect.rules import Track
from daemon.domain import Box, Detection
from daemon.ingest.closeups import CloseUps
from daemon.settings import DetectSettings
from training.clips import Player, frames
from training.folders import Pixels

THRESHOLDS = {"fire": 0.3, "smoke": 0.35}
SURE, HALF_SURE = 0.6, 0.2
SURE_EVERY = 40  # frames: of a detector that hovers below its threshold


class Errs:
    """A detector that takes a scene for a fire wherever it is, with boxes that jitter as boxes do."""

    def __init__(self, scene: Scene, confidence: Callable[[int], float]) -> None:
        self._scene, self._confidence = scene, confidence
        self._chance = np.random.default_rng(SEED)
        self._paper = backdrop(scene.night)
        self.asked = 0
        self.at_s = 0.0

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        self.asked += 1
        x1, y1, x2, y2 = self._scene.draw(self._paper.copy(), self.at_s)
        jitter = self._chance.normal(0, 0.05 * max(x2 - x1, y2 - y1), 4)
        box: Box = (x1 + jitter[0], y1 + jitter[1], x2 + jitter[2], y2 + jitter[3])
        return [(Detection("fire", self._confidence(self.asked), box),)]


class Played(NamedTuple):
    """A scene through the rules."""

    confirmed_s: float | None
    """Of what burns since it burns; None: never."""
    too_soon: bool
    """Confirmed before it burned."""
    said: str
    """What it was confirmed with; of what never was what was said most often."""
    cpu_s: float


def play(path: Path, scene: Scene, confidence: Callable[[int], float], *, flicker: bool) -> Played:
    """One camera of the daemon, on the film's own time."""
    detector = Errs(scene, confidence)
    player = Player(detector, DetectSettings(flicker=flicker), THRESHOLDS)
    said: Counter[str] = Counter()
    began = time.process_time()
    for timed, step_ns in frames(path, least_s=0):
        detector.at_s = timed.pts_ns / NS
        player.frame(timed, step_ns)
        said.update(_said(track) for track in player.suspects if track.flicker is not None)
    confirmed = [(at_s, track) for at_s, track in player.events if track.state == "confirmed"]
    begins = scene.burns_from_s or 0.0
    after = [at_s - begins for at_s, _ in confirmed if at_s >= begins]
    with_ = [_said(track) for _, track in confirmed if track.flicker is not None]
    return Played(
        after[0] if after else None,
        any(at_s < begins for at_s, _ in confirmed),
        next(iter(with_ or [name for name, _ in said.most_common(1)]), ""),
        time.process_time() - began,
    )


def _said(track: Track) -> str:
    assert track.flicker is not None
    return f"{track.flicker.says}: {', '.join(track.flicker.reasons)}"


def main(names: Sequence[str]) -> int:
    """Both tables."""
    chosen = [each for each in scenes() if not names or each.name in names]
    rows = [
        "| scene | off: confirmed after s | on: confirmed after s | what was said of it |",
        "| --- | --- | --- | --- |",
    ]
    weak = ["| fire, mostly below the threshold | off | on | |", "| --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory(prefix="fw") as folder:
        for scene in chosen:
            path = film(scene, Path(folder) / "scene.mp4")
            rows.append(_row(path, scene, lambda _: SURE))
            print(rows[-1], flush=True)
            if scene.burns_from_s == 0:
                weak.append(_row(path, scene, lambda asked: SURE if asked % SURE_EVERY == 1 else HALF_SURE))
    print("\n".join(["", *cost()]))
    print("\n" + "\n".join(rows) + "\n\n" + "\n".join(weak))
    return 0


def cost() -> list[str]:
    """CPU of one camera at 1080p, 25 frames a second, five of them analysed: a suspect, eight, and none."""
    chance = np.random.default_rng(SEED)
    frames_ = [chance.integers(0, 255, (1080, 1920), np.uint8) for _ in range(8)]
    rows = ["| 1080p25 | CPU-seconds |", "| --- | --- |"]
    for places, side in ((1, 0.02), (1, 0.3), (8, 0.1)):
        close_ups, seconds = CloseUps(on=True), 20
        close_ups.follow(
            [
                Track(n, "suspect", 0.0, 0.0, (0.02 * n, 0.1, 0.02 * n + side, 0.1 + side), ("fire",), 0.5)
                for n in range(places)
            ]
        )
        began = time.process_time()
        for number in range(25 * seconds):
            close_ups.came(frames_[number % 8], number / 25)
            if number % 5 == 0:
                close_ups.flickers(number / 25)
        spent = (time.process_time() - began) / seconds
        rows.append(f"| {places} suspected, {side:.0%} of the picture's sides, a second of it | {spent:.4f} |")
    close_ups = CloseUps(on=True)
    began = time.process_time()
    for number in range(30 * 20):  # a key frame every two seconds
        close_ups.came(frames_[number % 8], 2.0 * number)
    rows.append(f"| nothing suspected, a minute of it | {(time.process_time() - began) / 20:.4f} |")
    return rows


def _row(path: Path, scene: Scene, confidence: Callable[[int], float]) -> str:
    off = play(path, scene, confidence, flicker=False)
    on = play(path, scene, confidence, flicker=True)
    return f"| {scene.name} | {_when(off)} | {_when(on)} | {on.said} |"


def _when(played: Played) -> str:
    if played.too_soon:
        return "before it burned"
    return "never" if played.confirmed_s is None else f"{played.confirmed_s:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of scenes (all)")
    sys.exit(main(parser.parse_args().names))
