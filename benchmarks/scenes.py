# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scenes of known truth: when, where and on which component a drawn fire begins, before backgrounds that move.

    python -m benchmarks.scenes FOLDER [COUNT] [SEED]

writes `scene-NN.mp4` (H.264, 1080p, 12.5 pictures a second: two cores have to draw, encode, play, decode and infer them),
`scene-NN.json` (the truth) and `scene-NN.jpg` (the view that components are drawn on). Everything follows from seed and number.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.scenery import HEIGHT_PX, WIDTH_PX, Outline, Picture, Scenery, scenery
from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.flame import WIDTH_OF_HEIGHT, Flame, tiling_noise

FPS = Fraction(25, 2)
GOP_FRAMES = 25  # a key frame every 2 s, as cameras do
BITRATE = 3_000_000
SECONDS = 26.0
ONSET_PX = 12  # the flame is there once it covers 12 × 12 pixels: the truth
COVERS_LEVELS = 40  # a pixel is the flame's when it differs by this from what it was
GLOW_PX = 420
LIGHTS = ("day", "night", "dusk", "flicker", "exposure")


@dataclass(frozen=True)
class Truth:
    """What is known of a scene. Boxes and points are in pixels, polygons normalised, seconds from the first picture."""

    number: int
    background: str
    light: str
    smoke: bool
    growth_px_a_s: float
    seconds: float
    fps: float
    onset_s: float
    box: tuple[int, int, int, int]
    """Of the drawn flame at its onset."""
    foot: tuple[int, int]
    component: str
    components: tuple[Outline, ...]


@dataclass(frozen=True)
class Walker:
    """Somebody who walks through: from a time on, at a speed, on a line, in a colour."""

    from_s: float
    px_a_s: float
    foot_y: int
    tall: int
    colour: tuple[int, int, int]

    def draw(self, picture: Picture, at_s: float) -> None:
        """Where they are then; nobody is drawn outside the picture."""
        passed = (at_s - self.from_s) * self.px_a_s
        x = round(passed if passed >= 0 else WIDTH_PX + passed)
        if at_s < self.from_s or not -self.tall < x < WIDTH_PX + self.tall:
            return
        wide, head = self.tall // 5, self.tall // 9
        swing = round(wide * 0.7 * np.sin(at_s * 6))
        dark = tuple(level // 3 for level in self.colour)
        top = self.foot_y - self.tall
        for leg in (-swing, swing):
            cv2.line(picture, (x, top + self.tall // 2), (x + leg, self.foot_y), dark, max(2, wide // 2), cv2.LINE_AA)
        cv2.ellipse(picture, (x, top + self.tall // 3), (wide, self.tall // 4), 0, 0, 360, self.colour, -1, cv2.LINE_AA)
        cv2.circle(picture, (x, top + head // 2), head, (120, 150, 190), -1, cv2.LINE_AA)


class Scene:
    """One scene, drawn picture by picture."""

    def __init__(self, number: int, seed: int) -> None:
        chance = np.random.default_rng((seed, number))
        self.number = number
        self.scenery: Scenery = scenery(number, chance)
        self.light = LIGHTS[number % len(LIGHTS)]
        self.ignites_s = float(chance.uniform(9, 13))
        self.first_px = float(chance.uniform(10, 20))
        self.growth_px_a_s = float(chance.uniform(45, 120))
        self.full_px = float(chance.uniform(130, 240))
        self.smoke = bool(chance.random() < 0.4)
        self.component, self.foot = _foot(self.scenery, chance)
        self._flame, self._noise = Flame(seed * 1000 + number), _grain(chance)
        self._smoke_noise = tiling_noise(chance)
        self._glow = _glow()
        self._lamp = int(chance.integers(60, WIDTH_PX - 60)), int(chance.integers(60, 300))
        self._walkers = [_walker(chance) for _ in range(int(chance.integers(1, 4)))]
        self._seed = seed

    def height_px(self, at_s: float) -> float:
        """Of the flame's drawing; it fills about two thirds of it."""
        if at_s < self.ignites_s:
            return 0.0
        grown = min(self.full_px, self.first_px + self.growth_px_a_s * (at_s - self.ignites_s))
        return grown * (1 + 0.06 * float(np.sin(at_s * 9)))

    def picture(self, at_s: float) -> tuple[Picture, tuple[int, int, int, int] | None]:
        """The scene at a time, and the box of the flame's pixels in it."""
        picture = self.scenery.at(at_s)
        for walker in self._walkers:
            walker.draw(picture, at_s)
        self._draw_lamp(picture, lit=at_s % 1.5 < 0.75)
        gain = _gain(self.light, at_s)
        if gain != 1:
            picture = np.asarray(cv2.convertScaleAbs(picture, alpha=gain), np.uint8)
        height = self.height_px(at_s)
        box = self._burn(picture, at_s, height) if height else None
        x, y = np.random.default_rng((self._seed, self.number, round(at_s * 1000))).integers(0, 64, 2)
        grain = self._noise[y : y + HEIGHT_PX, x : x + WIDTH_PX]
        return np.asarray(cv2.subtract(cv2.add(picture, grain), 8), np.uint8), box

    def _draw_lamp(self, picture: Picture, lit: bool) -> None:
        """A signal lamp in its housing. (A bare bright dot on a wall is a small fire to the shipped detector.)"""
        x, y = self._lamp
        cv2.rectangle(picture, (x - 24, y - 14), (x + 24, y + 14), (70, 74, 76), -1)
        cv2.circle(picture, (x, y), 4, (150, 170, 120) if lit else (50, 54, 50), -1, cv2.LINE_AA)

    def _burn(self, picture: Picture, at_s: float, height: float) -> tuple[int, int, int, int] | None:
        """Light on the surroundings, smoke behind, the flame before it."""
        self._light_up(picture, at_s, height)
        if self.smoke and at_s > self.ignites_s + 1:
            self._draw_smoke(picture, at_s, min(420.0, 60 * (at_s - self.ignites_s)))
        tall, wide = max(8, round(height)), max(6, round(height * WIDTH_OF_HEIGHT))
        left, top = self.foot[0] - wide // 2, self.foot[1] - tall
        region = picture[top : self.foot[1], left : left + wide]
        before = region.copy()
        self._flame.draw(picture, self.foot, height, at_s)
        covers = cv2.absdiff(region, before).max(axis=2) > COVERS_LEVELS
        if not covers.any():
            return None
        rows, columns = np.flatnonzero(covers.any(axis=1)), np.flatnonzero(covers.any(axis=0))
        return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1

    def _light_up(self, picture: Picture, at_s: float, height: float) -> None:
        flicker = 0.85 + 0.1 * np.sin(at_s * 31) + 0.07 * np.sin(at_s * 17 + 1)
        x, y = self.foot[0], self.foot[1] - round(height / 2)
        left, top = max(0, x - GLOW_PX), max(0, y - GLOW_PX)
        region = picture[top : y + GLOW_PX, left : x + GLOW_PX]
        glow = self._glow[top - y + GLOW_PX :, left - x + GLOW_PX :][: region.shape[0], : region.shape[1]]
        cv2.addWeighted(region, 1, glow, float(flicker * height / 200), 0, dst=region)

    def _draw_smoke(self, picture: Picture, at_s: float, height: float) -> None:
        """A grey plume that rises from the flame's tip, widens and drifts."""
        foot_x, foot_y = self.foot[0], self.foot[1] - round(0.6 * self.height_px(at_s))
        tall, half = min(round(height), foot_y), round(40 + 0.4 * height)
        left, right = max(0, foot_x - half), min(WIDTH_PX, foot_x + half)
        if tall < 8:
            return
        y, x = np.mgrid[0 : tall // 2, 0 : (right - left) // 2].astype(np.float32) * 2
        up = (tall - y) / tall
        bent = (x + left - foot_x - 30 * up * np.sin(at_s * 0.7 + 3 * up)) / (14 + 0.34 * height * up)
        noise = cv2.remap(self._smoke_noise, (x * 0.6) % 255, (y * 0.6 + at_s * 60) % 255, cv2.INTER_LINEAR)
        cover = 0.85 * np.exp(-(bent**2)) * np.clip(1.25 - up, 0, 1) * (0.35 + 0.9 * noise)
        region = picture[foot_y - tall : foot_y, left:right]
        alpha = cv2.resize(np.clip(cover, 0, 0.9), region.shape[1::-1])[..., None]
        region[:] = region * (1 - alpha) + (150 * max(0.35, _gain(self.light, at_s))) * alpha


def _gain(light: str, at_s: float) -> float:
    """The light as a whole."""
    if light == "night":
        return 0.35
    if light == "dusk":
        return float(np.interp(at_s, (0, SECONDS), (1.0, 0.3)))
    if light == "flicker":
        return 1 + 0.04 * float(np.sin(at_s * 40))
    if light == "exposure":
        return 1.0 if at_s % 14 < 7 else 0.8
    return 1.0


def _foot(where: Scenery, chance: np.random.Generator) -> tuple[str, tuple[int, int]]:
    """A component, and a place on it: at its upper edge, as things catch fire, or before it, 12 px from its sides."""
    outline = where.components[int(chance.integers(len(where.components)))]
    corners = np.array(outline.polygon) * (WIDTH_PX, HEIGHT_PX)
    on_top = where.name == "hall" and chance.random() < 0.5
    for _ in range(1000):
        x, y = (float(each) for each in chance.uniform(corners.min(axis=0), corners.max(axis=0)))
        if on_top:
            y = float(corners[:, 1].min()) + 4
        inside = cv2.pointPolygonTest(corners.astype(np.float32), (x, y), True) >= (3 if on_top else 12)
        if inside and y > 260 and 130 < x < WIDTH_PX - 130:
            return outline.name, (round(x), round(y))
    return _foot(where, chance)


def _walker(chance: np.random.Generator) -> Walker:
    speed = float(chance.uniform(70, 220)) * (1 if chance.random() < 0.5 else -1)
    blue, green = (int(level) for level in chance.integers(30, 210, 2))
    colour = blue, green, min(int(chance.integers(30, 210)), max(blue, green) + 20)  # not flame-coloured
    tall = int(chance.integers(160, 330))
    return Walker(float(chance.uniform(0, 14)), speed, int(chance.integers(700, 1050)), tall, colour)


def _grain(chance: np.random.Generator) -> Picture:
    """The sensor's noise about 8, larger than the picture: cut out at another place each time."""
    luma = chance.normal(8, 2.2, (HEIGHT_PX + 64, WIDTH_PX + 64)).astype(np.float32)
    return np.repeat(np.clip(np.rint(luma), 0, 16).astype(np.uint8)[..., None], 3, axis=2)


def _glow() -> Picture:
    y, x = np.mgrid[-GLOW_PX:GLOW_PX, -GLOW_PX:GLOW_PX].astype(np.float32)
    away = np.hypot(x, y) / GLOW_PX
    reach = np.exp(-((away / 0.38) ** 2)) * np.clip((1 - away) / 0.2, 0, 1)
    return np.asarray(reach[..., None] * np.array((14, 42, 90), np.float32), np.uint8)


def make(folder: Path, number: int, seed: int = 1) -> Path:
    """Scene `number` in `folder`, made once; the path of its truth."""
    truth_path = folder / f"scene-{number:02d}.json"
    if truth_path.exists():
        return truth_path
    folder.mkdir(parents=True, exist_ok=True)
    scene, onset = Scene(number, seed), None
    target = Target(CODECS["h264"], (WIDTH_PX, HEIGHT_PX), FPS, GOP_FRAMES, BITRATE, preset="ultrafast")
    with Encoder(truth_path.with_suffix(".mp4"), target) as encoder:
        for place in range(round(SECONDS * FPS)):
            at_s = float(place / FPS)
            picture, box = scene.picture(at_s)
            if place == 0:
                cv2.imwrite(str(truth_path.with_suffix(".jpg")), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
            if onset is None and box is not None and min(box[2] - box[0], box[3] - box[1]) >= ONSET_PX:
                onset = at_s, box
            encoder.add(av.VideoFrame.from_ndarray(picture, format="bgr24"))
    assert onset is not None, f"scene {number} never burns"
    where = scene.scenery
    truth = Truth(
        number, where.name, scene.light, scene.smoke, round(scene.growth_px_a_s, 1), SECONDS, float(FPS), *onset,
        scene.foot, scene.component, where.components,
    )  # fmt: skip
    part = truth_path.with_suffix(".part")
    part.write_text(json.dumps(asdict(truth), indent=1))
    part.replace(truth_path)
    return truth_path


def read(path: Path) -> Truth:
    """The truth that `make` wrote."""
    told = json.loads(path.read_text())
    outlines = tuple(Outline(name, tuple((x, y) for x, y in polygon)) for name, polygon in told.pop("components"))
    return Truth(**{**told, "box": tuple(told["box"]), "foot": tuple(told["foot"])}, components=outlines)


def made_by() -> str:
    """Of the code that draws, and of whether there are real backgrounds: scenes made otherwise are made anew."""
    here = Path(__file__).parent
    parts = [here / "scenes.py", here / "scenery.py", here.parent / "daemon" / "simulate" / "flame.py"]
    code = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    return f"{code}-{'real' if 'FIREWITNESS_DATA' in os.environ else 'drawn'}"


def make_all(folder: Path, count: int, seed: int = 1) -> list[Path]:
    """The first `count` scenes, two at a time."""
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(make, [folder] * count, range(count), [seed] * count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where they are written")
    parser.add_argument("count", type=int, nargs="?", default=50, help="of scenes (50)")
    parser.add_argument("seed", type=int, nargs="?", default=1, help="(1)")
    options = parser.parse_args()
    for made in make_all(options.folder, options.count, options.seed):
        print(made)
