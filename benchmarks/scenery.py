# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the scenes of known truth happen in: a drawn plant hall, a real still, or a real clip with its own traffic; 1080p.

Real ones are from the labelled data (FIREWITNESS_DATA), of those without fire; without them all are drawn. Each has its
components: of a drawn hall its machines, of a real picture parts that a seed chooses, since nobody drew any.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Point = tuple[float, float]
WIDTH_PX, HEIGHT_PX = 1920, 1080
# of val_cctv_neg those in which the shipped detector sees nothing, by day and by night: what it takes for a fire is measured elsewhere
STILLS = (
    "dfire100_4b9f135_AoF00005.jpg",
    "dfire100_adb646a_AoF00022.jpg",
    "dfire100_ecb416a_AoF00019.jpg",
    "itel_18663ca_4340.jpg",
    "itel_3461dde_split3-147.jpg",
    "itel_3cf0d98_split1-448.jpg",
    "itel_3d2c128_split3-085.jpg",
    "itel_5278793_750-Man-Standing-Pictures-Download-Free-.jpg",
    "itel_84dc716_split3-088.jpg",
    "itel_8e110a0_4-126-914-Standing-Photos-and-Premium-Hi.jpg",
    "neg_6514527_13-mp4-8.jpg",
    "neg_b334ff5_13-mp4-13.jpg",
    "neg_c56b0db_13-mp4-9.jpg",
)
CLIPS = ("corridor", "warehouse", "pedestrians", "traffic", "office", "driveway")
FLOOR = 0.60  # of the height, where a hall's wall meets its floor
KINDS = ("cabinet", "tank", "shelf", "machine", "bench")


class Outline(NamedTuple):
    """A component, normalised."""

    name: str
    polygon: tuple[Point, ...]


class Scenery(NamedTuple):
    """Pictures, shown one after another and back again, and the components in them."""

    name: str
    frames: list[Picture]
    per_second: float
    components: tuple[Outline, ...]

    def at(self, at_s: float) -> Picture:
        """As it is at a time, 1080p."""
        place, last = round(at_s * self.per_second), len(self.frames) - 1
        turn = place % (2 * last) if last else 0
        frame = self.frames[min(turn, 2 * last - turn)]
        if frame.shape[:2] != (HEIGHT_PX, WIDTH_PX):
            return np.asarray(cv2.resize(frame, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR), np.uint8)
        return frame.copy()


def scenery(number: int, chance: np.random.Generator) -> Scenery:
    """Of scene `number`: a hall, a clip and a still in turn."""
    data = os.environ.get("FIREWITNESS_DATA")
    if data is None or number % 3 == 0:
        return hall(chance)
    if number % 3 == 1:
        return _clip(Path(data) / "clips", CLIPS[number // 3 % len(CLIPS)], chance)
    path = Path(data) / "val_cctv_neg" / "images" / STILLS[number // 3 % len(STILLS)]
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
    return Scenery(f"still {path.stem}", [_filled(picture)], 1.0, _parts(chance))


def _clip(folder: Path, name: str, chance: np.random.Generator) -> Scenery:
    with av.open(str(folder / f"{name}.mp4")) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        step = max(1, round(rate / 12.5))
        frames = [
            np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            for place, frame in enumerate(container.decode(stream))
            if place % step == 0 and place < 30 * rate
        ]
    return Scenery(f"clip {name}", frames, rate / step, _parts(chance))


def _filled(picture: Picture) -> Picture:
    """Scaled and cut to 16:9, so that nothing is stretched."""
    height, width = picture.shape[:2]
    scale = max(WIDTH_PX / width, HEIGHT_PX / height)
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (large.shape[0] - HEIGHT_PX) // 2, (large.shape[1] - WIDTH_PX) // 2
    return np.ascontiguousarray(large[top : top + HEIGHT_PX, left : left + WIDTH_PX], np.uint8)


def _parts(chance: np.random.Generator) -> tuple[Outline, ...]:
    """Six slanted quadrangles in a grid of 3 × 2, with bare ground between them."""
    found = []
    for place in range(6):
        left, top = 0.06 + place % 3 * 0.31, 0.16 + place // 3 * 0.40
        corners = np.array([(left, top), (left + 0.24, top), (left + 0.24, top + 0.33), (left, top + 0.33)])
        corners += chance.uniform(-0.025, 0.025, corners.shape)
        found.append(Outline(f"part {place + 1}", tuple((float(x), float(y)) for x, y in corners)))
    return tuple(found)


def hall(chance: np.random.Generator) -> Scenery:
    """A wall, a floor, and six things that stand before it; every seed another hall."""
    picture = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    floor = round(FLOOR * HEIGHT_PX)
    tint = chance.uniform(0.88, 1.08, 3)
    picture[:floor] = (np.linspace(135, 105, floor)[:, None, None]) * tint
    picture[floor:] = (np.linspace(82, 125, HEIGHT_PX - floor)[:, None, None]) * chance.uniform(0.88, 1.05, 3)
    for x in range(0, WIDTH_PX, int(chance.integers(150, 320))):
        cv2.line(picture, (x, 0), (x, floor), (95.0, 98.0, 100.0), 2)
    drawn: Picture = np.clip(picture, 0, 255).astype(np.uint8)
    components = tuple(_thing(drawn, place, chance) for place in range(6))
    grain = chance.normal(0, 4, (HEIGHT_PX // 4, WIDTH_PX // 4)).astype(np.float32)
    rough = drawn + cv2.resize(grain, (WIDTH_PX, HEIGHT_PX))[..., None]
    soft = cv2.GaussianBlur(rough, (0, 0), 1.2)
    return Scenery("hall", [np.clip(soft, 0, 255).astype(np.uint8)], 1.0, components)


def _thing(picture: Picture, place: int, chance: np.random.Generator) -> Outline:
    """One thing in its sixth of the hall, drawn; its outline is the box round it."""
    kind = KINDS[int(chance.integers(len(KINDS)))]
    wide, tall = int(chance.integers(150, 270)), int(chance.integers(140, 330))
    left = 40 + place * 310 + int(chance.integers(0, 300 - wide))
    bottom = round(FLOOR * HEIGHT_PX) + int(chance.integers(30, 260))
    top, right = bottom - tall, left + wide
    blue, green, red = (float(level) for level in chance.integers(50, 150, 3))
    colour = blue, green, min(red, max(blue, green) + 15)  # not flame-coloured
    dark = tuple(level * 0.6 for level in colour)
    cv2.rectangle(picture, (left, top), (right, bottom), colour, -1)
    if kind == "tank":
        for x in range(left, right):
            light = 0.55 + 0.6 * (1 - ((x - left) / wide * 2 - 0.7) ** 2 / 2.9)
            picture[top:bottom, x] = np.clip(np.array(colour) * light, 0, 255)
    elif kind == "machine":
        for y in range(top + 20, bottom - 10, 14):
            cv2.line(picture, (left + 12, y), (right - 12, y), dark, 4)
    else:
        step = {"cabinet": wide // 2, "shelf": wide // 3, "bench": wide}[kind]
        for x in range(left, right - step + 1, step):
            cv2.rectangle(picture, (x + 6, top + 10), (x + step - 6, bottom - 8), dark, 3)
            cv2.rectangle(picture, (x + 12, top + 18), (x + step - 12, top + 50), tuple(c * 1.2 for c in colour), -1)
    cv2.rectangle(picture, (left, top), (right, top + 5), tuple(min(255.0, c * 1.3) for c in colour), -1)
    x1, y1, x2, y2 = left / WIDTH_PX, top / HEIGHT_PX, right / WIDTH_PX, bottom / HEIGHT_PX
    return Outline(f"{kind} {place + 1}", ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))
