# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scene of the simulated camera: a plant room in which a motor catches fire, burns and goes out.

A pure function of time: the same second always gives the same picture, sensor noise included. Quiet, but not still,
while nothing burns: a fan turns, lamps blink, the sensor is noisy, so that nobody takes it for a frozen camera.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.simulate.flame import Flame
from daemon.simulate.room import FAN_CENTRE, FAN_RADIUS, HEIGHT_PX, WIDTH_PX, draw_room

FIRE_FROM_S = 12.0
FULL_FIRE_S = 19.0
DYING_FROM_S = 42.0
FIRE_UNTIL_S = 48.0
LOOP_S = 120.0
QUIET_PERIOD_S = 12.0  # after which what moves while nothing burns is where it was
FIRST_FLAME_PX = 62  # of height, reached within the first second
FULL_FLAME_PX = 205
FOOT = (946, 416)  # the top of the motor's terminal box

NOISE_SIGMA = 2.0  # of the sensor, in levels of 255
NOISE_MEAN = 8  # the noise is added as unsigned bytes, and the room is darker by this
NOISE_MARGIN_PX = 96  # the noise is larger than the picture, and cut out at another place each time
GLOW = (640, 190, 1252, 640)  # left, top, right, bottom of what the fire lights up
SOOT = (816, 150, 1076, 470)
BLADE_PERIOD_S = 0.75  # from one blade to the next
FAN_PHASES = 30
LED_PERIOD_S = 1.5
LED_CHANGE_S = 3.0
GREEN_LED, WHITE_LED = (150, 214, 120), (214, 214, 206)

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom


def flame_height_px(at_s: float) -> float:
    """How high the fire burns at a time within the loop; 0 while there is none."""
    if not FIRE_FROM_S <= at_s < FIRE_UNTIL_S:
        return 0.0
    sudden = min(1.0, 0.35 + 0.65 * (at_s - FIRE_FROM_S) / 0.8) * FIRST_FLAME_PX
    grown = min(1.0, (at_s - FIRE_FROM_S) / (FULL_FIRE_S - FIRE_FROM_S))
    dying = min(1.0, (FIRE_UNTIL_S - at_s) / (FIRE_UNTIL_S - DYING_FROM_S)) ** 0.8
    breath = 1 + 0.06 * np.sin(at_s * 1.9) + 0.04 * np.sin(at_s * 4.3)
    return float((sudden + (FULL_FLAME_PX - FIRST_FLAME_PX) * grown**1.2) * dying * breath)


def soot_depth(at_s: float) -> float:
    """How black the wall has become, 0 to 1; it stays so until the loop begins again."""
    return float(np.clip((at_s - FIRE_FROM_S - 2) / 20, 0, 1))


class Scene:
    """The scene with everything that can be drawn beforehand."""

    size = (WIDTH_PX, HEIGHT_PX)

    def __init__(self, seed: int = 1) -> None:
        chance = np.random.default_rng(seed)
        self._flame = Flame(seed)
        self._room = cv2.subtract(room := draw_room(seed), np.full_like(room, NOISE_MEAN)).astype(np.uint8)
        self._label(self._room)
        self._burnt = self._blackened(self._room)
        self._glow = self._lit_by_fire(self._room)
        self._fans = [self._fan(place / FAN_PHASES) for place in range(FAN_PHASES)]
        shape = (HEIGHT_PX + NOISE_MARGIN_PX, WIDTH_PX + NOISE_MARGIN_PX)
        luma = chance.normal(NOISE_MEAN, NOISE_SIGMA, shape).astype(np.float32)
        chroma = chance.normal(0, 0.5, (*shape, 3)).astype(np.float32)
        self._noise = np.clip(np.rint(luma[..., None] + chroma), 0, 2 * NOISE_MEAN).astype(np.uint8)
        self._seed = seed

    def picture(self, at_s: float) -> Picture:
        """The scene at a second of its loop; uint8 (720, 1280, 3) BGR."""
        at_s = at_s % LOOP_S
        picture = self._room.copy()
        if soot := soot_depth(at_s):
            self._blend(picture, SOOT, self._burnt, soot)
        self._draw_motion(picture, at_s)
        height = flame_height_px(at_s)
        if height:
            self._draw_fire(picture, at_s, height)
        x, y = np.random.default_rng((self._seed, round(at_s * 1000))).integers(0, NOISE_MARGIN_PX, 2)
        noise = self._noise[y : y + HEIGHT_PX, x : x + WIDTH_PX]
        return np.asarray(cv2.add(picture, noise), np.uint8)

    @staticmethod
    def _label(room: Picture) -> None:
        """Nobody shall take a picture of this for a real one."""
        for colour, shift in (((30, 30, 30), 1), ((205, 208, 208), 0)):
            at = (20 + shift, HEIGHT_PX - 22 + shift)
            text = "SIMULATED CAMERA - DRAWN SCENE"
            cv2.putText(room, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)

    @staticmethod
    def _blend(picture: Picture, box: Box, other: Picture, share: float) -> None:
        region = picture[box[1] : box[3], box[0] : box[2]]
        cv2.addWeighted(region, 1 - share, other, share, 0, dst=region)

    @staticmethod
    def _blackened(room: Picture) -> Picture:
        left, top, right, bottom = SOOT
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        up = np.clip((FOOT[1] + 24 - y) / 260, 0, 1)
        spread = 36 + 34 * up
        depth = 0.5 * np.exp(-(((x - FOOT[0]) / spread) ** 2)) * np.clip(1.15 - up, 0, 1) ** 0.8
        depth *= np.clip((bottom - y) / 40, 0, 1) * np.clip((y - top) / 50, 0, 1)
        return np.asarray(np.rint(room[top:bottom, left:right] * (1 - depth[..., None])), np.uint8)

    @staticmethod
    def _lit_by_fire(room: Picture) -> Picture:
        """What the full fire adds to the room: its own colours, warmer, less with the distance."""
        left, top, right, bottom = GLOW
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        distance = np.hypot(x - FOOT[0], 1.15 * (y - FOOT[1] + 80))
        reach = np.exp(-((distance / 165) ** 2)) + 0.25 * np.exp(-((distance / 260) ** 2))
        for near, far, size in ((x, left, 60), (-x, -right, 60), (y, top, 40), (-y, -bottom, 60)):
            reach *= np.clip((near - far) / size, 0, 1)
        lit = room[top:bottom, left:right] * reach[..., None] * np.array((0.16, 0.44, 0.88), np.float32)
        return np.asarray(np.clip(lit, 0, 255), np.uint8)

    def _fan(self, turn: float) -> Picture:
        """The fan at a share of the turn from one blade to the next."""
        (x, y), radius = FAN_CENTRE, FAN_RADIUS
        hole = self._room[y - radius : y + radius, x - radius : x + radius]
        large = cv2.resize(hole, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        for blade in range(4):
            middle = 90 * (blade + turn)
            cv2.ellipse(large, (2 * radius, 2 * radius), (88, 88), middle, -26, 26, (84, 88, 90), -1, cv2.LINE_AA)
        cv2.circle(large, (2 * radius, 2 * radius), 20, (104, 108, 110), -1, cv2.LINE_AA)
        for ring in (34, 62, 90):  # the grille before it
            cv2.circle(large, (2 * radius, 2 * radius), ring, (120, 124, 126), 2, cv2.LINE_AA)
        return np.asarray(cv2.resize(large, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)

    def _draw_motion(self, picture: Picture, at_s: float) -> None:
        (x, y), radius = FAN_CENTRE, FAN_RADIUS
        place = int(at_s / BLADE_PERIOD_S * FAN_PHASES) % FAN_PHASES
        picture[y - radius : y + radius, x - radius : x + radius] = self._fans[place]
        if at_s % LED_PERIOD_S < LED_PERIOD_S / 2:
            cv2.circle(picture, (342, 262), 3, GREEN_LED, -1, cv2.LINE_AA)
        cv2.circle(picture, (376 if int(at_s / LED_CHANGE_S) % 2 else 359, 262), 3, WHITE_LED, -1, cv2.LINE_AA)

    def _draw_fire(self, picture: Picture, at_s: float, height_px: float) -> None:
        flicker = 0.86 + 0.09 * np.sin(at_s * 31) + 0.07 * np.sin(at_s * 17 + 1)
        left, top, right, bottom = GLOW
        region = picture[top:bottom, left:right]
        cv2.addWeighted(region, 1, self._glow, flicker * height_px / FULL_FLAME_PX, 0, dst=region)
        self._flame.draw(picture, FOOT, height_px, at_s)
