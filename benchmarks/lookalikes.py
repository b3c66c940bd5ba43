# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drawn things that a detector takes for a fire, and drawn fires, in a drawn yard by night or a room by day; seeded.

Each is drawn picture by picture at its time, so that everything follows from its name, its numbers and the seed; they
are encoded as a camera does, noise and all. Used by benchmarks/flicker.py and the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Box
from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.flame import WIDTH_OF_HEIGHT, Flame

SIZE = (640, 360)
FPS = 25
GOP_FRAMES = 50
BITRATE = 800_000
NOISE_LEVELS = 2.5
SEED = 10

Picture = NDArray[np.uint8]
Drawn = Callable[[Picture, float], Box]
"""Draws into a picture (height, width, 3), BGR, what is there at a time; the box round it in pixels."""


@dataclass(frozen=True)
class Scene:
    """One thing in one place. `burns`: whether it is a fire, and from when on."""

    name: str
    draw: Drawn
    burns_from_s: float | None = None
    night: bool = True
    seconds: float = 16.0


def spot(picture: Picture, centre: tuple[float, float], radius: float, level: float, warm: bool = True) -> Box:
    """A lamp: a bright core and its halo, of that brightness (0..1)."""
    (x, y), reach = centre, max(3, round(3 * radius))
    left, top = round(x) - reach, round(y) - reach
    across, down = np.mgrid[-reach : reach + 1, -reach : reach + 1][::-1].astype(np.float32)
    away = np.hypot(across, down) / radius
    light = level * (np.clip(1.3 - away, 0, 1) + 0.25 * np.exp(-(away**2) / 3))
    colour = np.array((90, 180, 255) if warm else (255, 250, 245), np.float32)
    add(picture, (left, top), light[..., None] * colour)
    return x - radius, y - radius, x + radius, y + radius


def add(picture: Picture, corner: tuple[int, int], light: NDArray[np.float32]) -> None:
    """Adds light (height, width, 3) at a corner; what lies outside is lost."""
    left, top = corner
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(picture.shape[1], left + light.shape[1]), min(picture.shape[0], top + light.shape[0])
    if x1 < x2 and y1 < y2:
        part = light[y1 - top : y2 - top, x1 - left : x2 - left]
        picture[y1:y2, x1:x2] = np.clip(picture[y1:y2, x1:x2] + part, 0, 255)


def lamp(radius: float, level: Callable[[float], float]) -> Drawn:
    """One that stands still; `level` is its brightness at a time."""
    return lambda picture, at_s: spot(picture, (320, 150), radius, level(at_s))


def passing_person(radius: float) -> Drawn:
    """A lamp before which somebody walks by every five seconds."""

    def draw(picture: Picture, at_s: float) -> Box:
        box = spot(picture, (320, 150), radius, 1.0)
        x = round((at_s % 5) * 120 - 40)
        cv2.rectangle(picture, (320 - 160 + x, 90), (320 - 130 + x, 300), (40, 38, 36), -1)
        return box

    return draw


def banded(picture: Picture, at_s: float) -> Box:
    """A lit panel under a lamp on the mains, before a rolling shutter: bands that wander."""
    y = np.arange(60, dtype=np.float32)
    bands = 0.85 + 0.15 * np.sin(2 * np.pi * (y / 40 + 0.8 * at_s))
    add(picture, (290, 120), np.repeat(bands[:, None, None] * np.array((120, 170, 220), np.float32), 60, axis=1))
    return 290, 120, 350, 180


def chase(picture: Picture, at_s: float) -> Box:
    """A neon sign of four parts that light up in turn, twice round a second."""
    for part in range(4):
        on = int(at_s * 8) % 4 == part
        colour = (40, 90, 255) if on else (20, 25, 60)
        cv2.rectangle(picture, (290 + 18 * part, 130), (304 + 18 * part, 170), colour, -1)
    return 288, 128, 362, 172


def beacon(picture: Picture, at_s: float) -> Box:
    """An orange beacon that turns 1.5 times a second: a highlight that sweeps across, then dark."""
    turn = (at_s * 1.5) % 1
    level = float(np.exp(-(((turn - 0.5) / 0.12) ** 2)))
    spot(picture, (320 + 10 * (turn - 0.5), 150), 9, 0.15 + level)
    return 309, 139, 331, 161


def headlights(picture: Picture, at_s: float) -> Box:
    """A car comes nearer and passes, every eight seconds."""
    near = (at_s % 8) / 8
    x, y, radius = 120 + 420 * near**2, 140 + 120 * near**2, 3 + 14 * near**2
    spot(picture, (x, y), radius, 1.2, warm=False)
    spot(picture, (x + 4 * radius, y), radius, 1.2, warm=False)
    return x - radius, y - radius, x + 5 * radius, y + radius


def red_car(picture: Picture, at_s: float) -> Box:
    """A red car that drives across, stands for three seconds, and drives on."""
    passed = at_s % 10
    x = round(40 + 70 * min(passed, 3) + 70 * max(0.0, passed - 6))
    cv2.rectangle(picture, (x, 200), (x + 70, 232), (40, 40, 190), -1)
    cv2.rectangle(picture, (x + 14, 186), (x + 54, 202), (60, 60, 120), -1)
    return x, 186, x + 70, 232


def flag(picture: Picture, at_s: float) -> Box:
    """A red flag in the wind: its outline waves."""
    across = np.arange(60)
    wave = 6 * across / 60 * np.sin(2 * np.pi * (across / 45 - 1.7 * at_s)) * (1 + 0.4 * np.sin(at_s * 1.3))
    upper = np.stack((300 + across, 120 + wave), -1)
    lower = np.stack((300 + across[::-1], 156 + wave[::-1]), -1)
    cv2.fillPoly(picture, [np.concatenate((upper, lower)).round().astype(np.int32)], (45, 50, 205), cv2.LINE_AA)
    return 300, 114, 360, 162


def sunset(picture: Picture, at_s: float) -> Box:
    """A low sun that sinks and reddens behind haze."""
    return spot(picture, (320, 150 + 0.4 * at_s), 20, 1.0 - 0.02 * at_s)


def screen(seed: int) -> Drawn:
    """A television: coloured shapes that move, another picture every two to four seconds."""
    chance = np.random.default_rng(seed)
    cuts = np.cumsum(chance.uniform(2, 4, 40))

    def draw(picture: Picture, at_s: float) -> Box:
        shot = int(np.searchsorted(cuts, at_s))
        of = np.random.default_rng((seed, shot))
        inside = picture[110:200, 240:400]
        inside[:] = of.integers(30, 140, 3)
        for _ in range(6):
            x, y, speed = of.uniform(0, 160), of.uniform(0, 90), of.uniform(-30, 30)
            colour = tuple(int(each) for each in of.integers(40, 255, 3))
            cv2.circle(
                inside, (round(x + speed * (at_s % 4)), round(y)), int(of.integers(6, 26)), colour, -1, cv2.LINE_AA
            )
        return 238, 108, 402, 202

    return draw


def welding(seed: int) -> Drawn:
    """An arc: as bright as can be, in bursts, with a halo that lights everything around as it does."""

    def draw(picture: Picture, at_s: float) -> Box:
        of = np.random.default_rng((seed, round(at_s * FPS)))
        burns = (at_s % 4) < 3
        level = float(of.uniform(0.3, 1.6)) if burns and of.random() < 0.8 else 0.0
        spot(picture, (320, 200), 18, 0.7 * level, warm=False)
        spot(picture, (320, 200), 4, 2 * level, warm=False)
        return 300, 180, 340, 220

    return draw


def flame(height_px: Callable[[float], float], seed: int = SEED) -> Drawn:
    """A fire whose drawing has that height at a time; it fills two thirds of it."""
    drawn = Flame(seed)

    def draw(picture: Picture, at_s: float) -> Box:
        height = height_px(at_s)
        if height > 0:
            small = max(1, round(24 / height))  # what is smaller than a flame can be drawn is drawn larger and reduced
            drawn_px = height * small
            wide, tall = round(drawn_px) + 8, round(drawn_px) + 8
            wide, tall = wide + -wide % (2 * small), tall + -tall % small
            left, bottom = 320 - wide // small // 2, 200
            part = picture[bottom - tall // small : bottom, left : left + wide // small]
            large = np.asarray(cv2.resize(part, (wide, tall), interpolation=cv2.INTER_LINEAR), np.uint8)
            drawn.draw(large, (wide // 2, tall), drawn_px, at_s)
            part[:] = cv2.resize(large, part.shape[1::-1], interpolation=cv2.INTER_AREA)
        half = max(2.5, height * WIDTH_OF_HEIGHT / 3)
        return 320 - half, 200 - max(5.0, 0.75 * height), 320 + half, 200

    return draw


def then_burns(at: float) -> Drawn:
    """A lamp, and from that second on a fire at its place."""
    fire = flame(lambda at_s: 44.0 if at_s >= at else 0.0)

    def draw(picture: Picture, at_s: float) -> Box:
        spot(picture, (320, 180), 12, 1.0)
        if at_s >= at:
            fire(picture, at_s)
        return 305, 165, 335, 200

    return draw


def _mains(hertz: float, depth: float) -> Callable[[float], float]:
    return lambda at_s: 1 - depth / 2 + depth / 2 * float(np.sin(2 * np.pi * hertz * at_s))


def _blink(hertz: float) -> Callable[[float], float]:
    return lambda at_s: 1.0 if (at_s * hertz) % 1 < 0.5 else 0.05


def scenes() -> tuple[Scene, ...]:
    """All of them."""
    same: Callable[[float], float] = lambda at_s: 1.0  # noqa: E731
    return (
        *(Scene(f"lamp, {2 * radius:.0f} px", lamp(radius, same)) for radius in (3.0, 8.0, 24.0)),
        Scene("lamp, a person passes", passing_person(8)),
        *(Scene(f"lamp on the mains, {hertz} Hz", lamp(8, _mains(hertz, 0.3))) for hertz in (0.7, 3.1, 9.3)),
        Scene("lamp on the mains, 6 px, 3.1 Hz", lamp(3, _mains(3.1, 0.3))),
        Scene("panel, bands wander", banded),
        *(Scene(f"neon, {hertz} Hz", lamp(14, _blink(hertz))) for hertz in (0.5, 1, 2, 4)),
        Scene("neon, 6 px, 2 Hz", lamp(3, _blink(2))),
        Scene("neon, four parts in turn", chase),
        Scene("beacon", beacon),
        Scene("welding", welding(SEED)),
        Scene("television", screen(SEED), night=False),
        Scene("television, another", screen(SEED + 1), night=False),
        Scene("headlights", headlights),
        Scene("sunset", sunset, night=False),
        Scene("red car", red_car, night=False),
        Scene("red flag", flag, night=False),
        *(
            Scene(f"flame, {round(0.75 * px)} px{'' if night else ', by day'}", flame(lambda _, px=px: px), 0.0, night)
            for px, night in (
                (7.0, True),
                (10.0, True),
                (10.0, False),
                (16.0, True),
                (32.0, True),
                (32.0, False),
                (80.0, True),
            )
        ),
        Scene("flame, grows from 5 px", flame(lambda at_s: 7 + 5 * at_s), 0.0),
        Scene("lamp, then burns", then_burns(8), 8.0),
    )


def backdrop(night: bool) -> Picture:
    """A wall, a floor and some things before it."""
    picture = np.full((SIZE[1], SIZE[0], 3), 22 if night else 105, np.uint8)
    picture[220:] = 30 if night else 130
    chance = np.random.default_rng(SEED)
    for _ in range(14):
        x, y, wide, tall = (int(each) for each in chance.integers((0, 60, 30, 30), (600, 250, 110, 100)))
        level = chance.integers(12, 50, 3) if night else chance.integers(50, 170, 3)
        cv2.rectangle(picture, (x, y), (x + wide, y + tall), tuple(int(each) for each in level), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0), np.uint8)


def film(scene: Scene, path: Path) -> Path:
    """The scene as a camera would send it."""
    still, chance = backdrop(scene.night), np.random.default_rng(SEED)
    target = Target(CODECS["h264"], SIZE, Fraction(FPS), GOP_FRAMES, BITRATE)
    with Encoder(path, target) as encoder:
        for number in range(round(scene.seconds * FPS)):
            picture = still.copy()
            scene.draw(picture, number / FPS)
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), np.uint8)  # no lens is sharper
            noise = chance.normal(0, NOISE_LEVELS, picture.shape[:2]).astype(np.float32)[..., None]
            noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
            encoder.add(av.VideoFrame.from_ndarray(noisy, format="bgr24"))
    return path
