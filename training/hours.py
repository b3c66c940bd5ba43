# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training hours`: how often the daemon would confirm a fire in hours in which nothing burns.

Each clip of kind `none` (with `--lookalikes` of that kind too) is a camera that shows it again and again, through a day
and a night: the light falls and the picture turns grey, exposure steps, noise comes and goes, headlights pass. Nothing is
encoded anew, and time is the frames' own: hours take minutes. Every pass looks otherwise, and the same seed the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS
from daemon.detect.detector import FireDetector
from daemon.detect.rules import Track
from daemon.domain import Detection
from daemon.settings import DetectSettings
from training.clips import Clip, Player, Shown, Timed, frames, playable
from training.folders import FolderError, Pixels
from training.seen import Looker, Thresholds
from training.tables import Cell, Table

DARKEST = 0.25  # of the day's light
GREY_BELOW = 0.45  # cameras take their infrared filter out
STEP_EVERY_S = 45.0  # exposure steps, on average
NOISE_LEVELS = (1.0, 7.0)
CARS_EVERY_S = 60.0
CAR_S = 4.0


class Car(NamedTuple):
    """Headlights that pass, in shares of the picture's sides."""

    from_s: float
    begin: tuple[float, float]
    end: tuple[float, float]
    size: tuple[float, float]
    """Radius at the beginning and at the end, as share of the picture's height."""


class Changed(Shown):
    """A camera's pictures through a day and a night of `seconds`."""

    def __init__(self, seconds: float, seed: Sequence[int]) -> None:
        super().__init__()
        self._seconds, chance = seconds, np.random.default_rng(list(seed))
        steps = 1 + int(seconds / STEP_EVERY_S)
        self._steps_s = np.sort(chance.uniform(0, seconds, steps))
        self._gains = chance.uniform(0.75, 1.25, steps + 1)
        self._noises = chance.uniform(*NOISE_LEVELS, steps + 1)
        self._cars = [_car(chance, seconds) for _ in range(1 + int(seconds / CARS_EVERY_S))]
        self._grain = chance.normal(0, 1, (512, 512)).astype(np.float32)
        self._seed = int(chance.integers(1 << 30))

    def small(self, timed: Timed, input_px: int) -> Pixels:
        """See Shown.small."""
        return self._change(super().small(timed, input_px), timed.pts_ns)

    def luma(self, timed: Timed) -> NDArray[np.uint8]:
        """See Shown.luma."""
        return self._change(super().luma(timed), timed.pts_ns)

    def _change(self, picture: NDArray[np.uint8], at_ns: int) -> NDArray[np.uint8]:
        at_s = at_ns / NS
        step = int(np.searchsorted(self._steps_s, at_s))
        light = self._light(at_s)
        if picture.ndim == 3 and light < GREY_BELOW:
            picture = np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)
        changed = picture.astype(np.float32) * (light * self._gains[step])
        for car in self._cars:
            if 0 <= at_s - car.from_s < CAR_S:
                _shine(changed, car, (at_s - car.from_s) / CAR_S)
        height, width = picture.shape[:2]
        grain = np.random.default_rng((self._seed, at_ns))
        noise = np.tile(self._grain, (1 + height // 512, 1 + width // 512))[:height, :width]
        noise = np.roll(noise, tuple(int(each) for each in grain.integers(0, 512, 2)), (0, 1))
        changed += (self._noises[step] * noise).reshape(height, width, *[1] * (picture.ndim - 2))
        return np.asarray(np.clip(changed, 0, 255), np.uint8)

    def _light(self, at_s: float) -> float:
        """Day, dusk, night, dawn."""
        wave = 0.5 + 0.9 * np.cos(2 * np.pi * at_s / self._seconds)
        return DARKEST + (1 - DARKEST) * float(np.clip(wave, 0, 1))


def _car(chance: np.random.Generator, seconds: float) -> Car:
    (x1, x2), (y1, y2) = chance.uniform(-0.1, 1.1, 2), chance.uniform(0.3, 0.95, 2)
    near, far = sorted(chance.uniform(0.004, 0.05, 2))
    return Car(
        float(chance.uniform(0, seconds)), (float(x1), float(y1)), (float(x2), float(y2)), (float(near), float(far))
    )


def _shine(picture: NDArray[np.float32], car: Car, passed: float) -> None:
    """Adds two lamps and their glow, warm or not makes no difference in luma."""
    height, width = picture.shape[:2]
    radius = max(1.0, (car.size[0] + (car.size[1] - car.size[0]) * passed) * height)
    x, y = ((a + (b - a) * passed) * side for a, b, side in zip(car.begin, car.end, (width, height), strict=True))
    for lamp in (x - 2 * radius, x + 2 * radius):
        reach = round(5 * radius)
        left, top = max(0, round(lamp) - reach), max(0, round(y) - reach)
        right, bottom = min(width, round(lamp) + reach), min(height, round(y) + reach)
        if left >= right or top >= bottom:
            continue
        across, down = np.meshgrid(np.arange(left, right) - lamp, np.arange(top, bottom) - y)
        away = np.hypot(across, down) / radius
        light = 255 * np.clip(1.4 - away, 0, 1) + 60 * np.exp(-((away / 2.2) ** 2))
        colour = np.array((200, 235, 255), np.float32) / 255 if picture.ndim == 3 else np.float32(0.92)
        picture[top:bottom, left:right] += (
            light.reshape(*light.shape, *[1] * (picture.ndim - 2)).astype(np.float32) * colour
        )


class Once:
    """Looks once at each picture that several players are shown."""

    def __init__(self, detector: Looker) -> None:
        self._detector = detector
        self._known: tuple[bytes, tuple[Detection, ...]] | None = None

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """See FireDetector.detect."""
        found = []
        for image in images:
            key = image.tobytes()
            if self._known is None or self._known[0] != key:
                self._known = key, self._detector.detect([image], floor)[0]
            found.append(self._known[1])
        return found


class Hours(NamedTuple):
    """What came of one camera."""

    seconds: float
    analysed: int
    suspects: int
    alone: int
    """Incidents that the detections alone would have confirmed."""
    confirmed: tuple[tuple[float, Track], ...]


def run(options: argparse.Namespace) -> int:
    """0 when nothing was confirmed, 1 when something was."""
    kinds = ("none", "lookalike") if options.lookalikes else ("none",)
    clips = playable(options.data, kinds)
    if not clips:
        raise FolderError(f"{options.data}: no clips of kind {' or '.join(kinds)}")
    detect = DetectSettings(input_px=options.input_px)
    at = _thresholds(options, detect)
    detector = FireDetector(
        options.weights, input_px=options.input_px, device=options.device, batch=1, allow_pickle=options.allow_pickle,
        closer=True,
    )  # fmt: skip
    table = Table(
        f"{options.hours:g} hours in which nothing burns",
        ["clip", "kind", "hours", "frames analysed", "suspects", "confirmed, time not asked", "confirmed"],
        f"Weights {detector.info.sha256[:12]}…, thresholds {at['fire']:.2f} and {at['smoke']:.2f}, "
        f"seed {options.seed}; a day and a night each.",
    )
    total = 0
    for number, clip in enumerate(clips):
        hours = play(clip, detector, detect, at, options.hours * 3600 / len(clips), (options.seed, number))
        total += len(hours.confirmed)
        row: list[Cell] = [
            clip.name,
            clip.kind,
            hours.seconds / 3600,
            hours.analysed,
            hours.suspects,
            hours.alone,
            len(hours.confirmed),
        ]
        table.rows.append(row)
        print(
            f"{clip.name}: {hours.seconds / 3600:.2f} h, {hours.analysed} frames analysed, {hours.suspects} suspects, "
            f"{len(hours.confirmed)} confirmed ({hours.alone} with time not asked)",
            file=sys.stderr,
            flush=True,
        )
        for at_s, track in hours.confirmed:
            print(
                f"  {at_s:.1f} s: {track.labels} {track.max_confidence:.2f} {track.place} {track.reason}",
                file=sys.stderr,
            )
    print(table.markdown())
    return 1 if total else 0


def _thresholds(options: argparse.Namespace, detect: DetectSettings) -> dict[str, float]:
    """The configured ones, but for what was asked for: 0 is asked for, too."""
    asked = {"fire": options.fire, "smoke": options.smoke}
    return detect.thresholds.as_dict() | {label: value for label, value in asked.items() if value is not None}


def play(
    clip: Clip, detector: Looker, detect: DetectSettings, thresholds: Thresholds, seconds: float, seed: Sequence[int]
) -> Hours:
    """One camera for so many seconds, twice: with what time says, and without."""
    once, shown = Once(detector), Changed(seconds, seed)
    asked, alone = (
        Player(once, detect.model_copy(update={"flicker": flicker}), thresholds, shown) for flicker in (True, False)
    )
    last_s = 0.0
    for timed, step_ns in frames(clip.path, seconds):
        last_s = timed.pts_ns / NS
        if last_s >= seconds:
            break
        asked.frame(timed, step_ns)
        alone.frame(timed, step_ns)
    return Hours(
        last_s,
        asked.analysed,
        sum(track.state == "suspect" for _, track in asked.events),
        sum(track.state == "confirmed" for _, track in alone.events),
        tuple((at_s, track) for at_s, track in asked.events if track.state == "confirmed"),
    )
