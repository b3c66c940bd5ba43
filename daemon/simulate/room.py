# SPDX-License-Identifier: AGPL-3.0-or-later
"""The drawn plant room of the simulated camera, empty and at rest: switchgear, pipes, a fan, a pump with motor.

Everything is drawn here from shapes and shading, at twice the size and then reduced; no footage of anyone is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 1280, 720
FLOOR_Y = 470  # where the wall meets the floor; all coordinates are of the 1280 × 720 picture
SCALE = 2  # drawn larger, so that edges come out smooth
FAN_CENTRE, FAN_RADIUS = (575, 208), 52
LAMPS = ((330, 58), (950, 58))

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]  # BGR


class _Canvas:
    """A picture that is drawn in the scene's coordinates and kept at SCALE times its size."""

    def __init__(self) -> None:
        self.pixels = np.zeros((HEIGHT_PX * SCALE, WIDTH_PX * SCALE, 3), np.uint8)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        """A filled rectangle."""
        first, last = (round(x1 * SCALE), round(y1 * SCALE)), (round(x2 * SCALE) - 1, round(y2 * SCALE) - 1)
        cv2.rectangle(self.pixels, first, last, colour, -1)

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        corners = np.array([(round(x * SCALE), round(y * SCALE)) for x, y in points], np.int32)
        cv2.fillPoly(self.pixels, [corners], colour, cv2.LINE_AA)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        centre = round(x * SCALE), round(y * SCALE)
        cv2.circle(self.pixels, centre, round(radius * SCALE), colour, -1, cv2.LINE_AA)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: Colour, width: float = 1) -> None:
        """A straight line."""
        first, last = (round(x1 * SCALE), round(y1 * SCALE)), (round(x2 * SCALE), round(y2 * SCALE))
        cv2.line(self.pixels, first, last, colour, max(1, round(width * SCALE)), cv2.LINE_AA)

    def rod(self, x1: float, y1: float, x2: float, y2: float, colour: Colour, upright: bool) -> None:
        """A cylinder seen from its side: a box whose brightness runs round."""
        left, top, right, bottom = (round(at * SCALE) for at in (x1, y1, x2, y2))
        across = np.linspace(-1, 1, right - left if upright else bottom - top)
        light = 0.45 + 0.75 * np.sqrt(np.clip(1 - (across + 0.35) ** 2 / 1.9, 0, 1))
        light = light[None, :, None] if upright else light[:, None, None]
        self.pixels[top:bottom, left:right] = np.clip(light * np.array(colour), 0, 255)

    def shadow(self, x1: float, y1: float, x2: float, y2: float, depth: float, blur: float) -> None:
        """Darkens a blurred ellipse within the given box: what an object does to the light around it."""
        reach = 3 * blur
        left, top = max(0, round((x1 - reach) * SCALE)), max(0, round((y1 - reach) * SCALE))
        region = self.pixels[top : round((y2 + reach) * SCALE), left : round((x2 + reach) * SCALE)]
        blank = np.zeros(region.shape[:2], np.uint8)
        centre = round((x1 + x2) / 2 * SCALE) - left, round((y1 + y2) / 2 * SCALE) - top
        axes = round((x2 - x1) / 2 * SCALE), round((y2 - y1) / 2 * SCALE)
        cv2.ellipse(blank, centre, axes, 0, 0, 360, 255, -1)
        mask = cv2.GaussianBlur(blank, (0, 0), blur * SCALE)
        region[:] = np.rint(region * (1 - depth * (mask[..., None] / 255.0)))


def _draw_shell(canvas: _Canvas) -> None:
    canvas.box(0, 0, WIDTH_PX, FLOOR_Y, (152, 158, 160))
    canvas.box(0, 322, WIDTH_PX, FLOOR_Y, (128, 132, 118))
    canvas.box(0, 320, WIDTH_PX, 323, (98, 102, 96))
    canvas.box(0, 0, WIDTH_PX, 44, (92, 95, 96))
    canvas.box(0, 44, WIDTH_PX, 47, (70, 72, 73))
    canvas.box(0, FLOOR_Y - 9, WIDTH_PX, FLOOR_Y, (84, 86, 84))
    canvas.box(0, FLOOR_Y, WIDTH_PX, HEIGHT_PX, (128, 130, 131))
    for x in range(-8, 9):  # joints of the floor, towards the vanishing point
        canvas.line(640 + x * 110, FLOOR_Y, 640 + x * 330, HEIGHT_PX, (108, 110, 111), 1.2)
    for row in (496, 535, 592, 672):
        canvas.line(0, row, WIDTH_PX, row, (108, 110, 111), 1.2)
    y = np.arange(HEIGHT_PX * SCALE) / SCALE  # less light gets into the corner
    dim = 1 - 0.30 * np.exp(-np.abs(y - FLOOR_Y) / 14)
    canvas.pixels = np.rint(canvas.pixels * dim[:, None, None]).astype(np.uint8)
    for x in (250, 512, 700, 1010):  # joints of the wall's panels
        canvas.line(x, 47, x, FLOOR_Y - 9, (138, 144, 146), 1)


def _draw_ceiling(canvas: _Canvas) -> None:
    for x, y in LAMPS:
        canvas.line(x - 60, 0, x - 60, y - 8, (80, 80, 80), 1.5)
        canvas.line(x + 60, 0, x + 60, y - 8, (80, 80, 80), 1.5)
        canvas.box(x - 112, y - 9, x + 112, y - 1, (205, 208, 208))
        canvas.box(x - 108, y - 1, x + 108, y + 6, (247, 250, 248))
    canvas.box(0, 96, WIDTH_PX, 112, (112, 116, 118))  # a cable tray
    canvas.box(0, 96, WIDTH_PX, 99, (150, 154, 156))
    for x in range(12, WIDTH_PX, 26):
        canvas.box(x, 101, x + 13, 108, (82, 85, 87))
    for x in (120, 470, 820, 1170):
        canvas.line(x, 44, x, 97, (100, 102, 104), 2.5)
    for x, colour in ((150, (60, 60, 62)), (156, (48, 50, 54)), (262, (60, 60, 62)), (268, (92, 66, 52))):
        canvas.line(x, 110, x, 182, colour, 3)


def _draw_switchgear(canvas: _Canvas) -> None:
    canvas.shadow(50, 452, 440, 520, 0.45, 9)
    canvas.box(66, 486, 426, 500, (58, 60, 62))
    for place in range(3):
        x = 66 + 120 * place
        canvas.box(x, 180, x + 120, 488, (182, 190, 192))
        canvas.box(x, 180, x + 4, 488, (204, 210, 212))
        canvas.box(x + 116, 180, x + 120, 488, (138, 146, 150))
        canvas.box(x + 9, 190, x + 111, 478, (174, 182, 185))
        canvas.line(x + 9, 190, x + 111, 190, (126, 132, 136), 1.5)
        canvas.line(x + 111, 190, x + 111, 478, (126, 132, 136), 1.5)
        canvas.box(x + 98, 318, x + 104, 352, (60, 62, 64))
        for y in range(424, 464, 7):  # vents
            canvas.box(x + 32, y, x + 90, y + 3, (112, 118, 122))
    for x in (88, 208):  # meters
        canvas.box(x, 214, x + 74, 262, (70, 74, 76))
        canvas.box(x + 6, 219, x + 68, 250, (150, 160, 148))
        canvas.line(x + 36, 250, x + 24 + x / 10, 226, (40, 40, 44), 1.2)
    canvas.box(326, 208, 408, 270, (72, 76, 80))
    canvas.box(332, 214, 402, 252, (96, 74, 50))
    for place in range(4):
        canvas.disc(342 + 17 * place, 262, 3, (92, 100, 94))
    for x in (112, 232, 352):  # labels
        canvas.box(x, 288, x + 36, 298, (222, 224, 222))
        canvas.line(x + 4, 293, x + 30, 293, (120, 120, 120), 1)


def _draw_fan(canvas: _Canvas) -> None:
    (x, y), radius = FAN_CENTRE, FAN_RADIUS
    canvas.shadow(x - 66, y - 58, x + 74, y + 76, 0.3, 7)
    canvas.box(x - 64, y - 64, x + 64, y + 64, (140, 146, 148))
    canvas.box(x - 64, y - 64, x + 64, y - 61, (176, 182, 184))
    canvas.disc(x, y, radius + 3, (96, 100, 102))
    canvas.disc(x, y, radius, (44, 47, 50))
    for corner in ((-57, -57), (57, -57), (-57, 57), (57, 57)):
        canvas.disc(x + corner[0], y + corner[1], 2.5, (96, 100, 102))


def _draw_pipes(canvas: _Canvas) -> None:
    for y, thick, colour in ((176, 24, (150, 146, 122)), (218, 18, (140, 146, 150))):
        canvas.shadow(690, y + thick, WIDTH_PX + 40, y + thick + 26, 0.28, 8)
        canvas.rod(740, y, WIDTH_PX, y + thick, colour, upright=False)
        for x in (860, 1040, 1200):
            canvas.rod(x, y - 5, x + 9, y + thick + 5, (120, 122, 118), upright=False)
    canvas.rod(740, 176, 766, 452, (150, 146, 122), upright=True)
    canvas.rod(734, 300, 772, 309, (126, 126, 112), upright=True)
    canvas.rod(734, 312, 772, 321, (126, 126, 112), upright=True)
    canvas.line(718, 366, 788, 366, (60, 62, 66), 4)  # a valve's handwheel
    canvas.line(753, 366, 753, 380, (60, 62, 66), 5)
    canvas.rod(732, 380, 774, 410, (134, 132, 116), upright=True)
    canvas.rod(1196, 236, 1214, 470, (140, 146, 150), upright=True)
    canvas.disc(1205, 330, 17, (74, 76, 78))  # a gauge
    canvas.disc(1205, 330, 14, (226, 228, 226))
    canvas.line(1205, 330, 1213, 321, (40, 40, 40), 1.5)


def _draw_pump(canvas: _Canvas) -> None:
    canvas.shadow(690, 540, 1130, 620, 0.5, 12)
    canvas.polygon([(712, 546), (1090, 546), (1112, 584), (694, 584)], (150, 152, 152))
    canvas.box(694, 584, 1112, 604, (112, 114, 115))
    canvas.box(722, 530, 1076, 547, (74, 78, 82))  # the base frame
    canvas.shadow(730, 520, 1070, 560, 0.4, 6)
    canvas.rod(728, 446, 778, 470, (118, 112, 88), upright=True)
    canvas.disc(753, 494, 46, (112, 104, 76))  # the volute
    canvas.disc(748, 488, 40, (138, 130, 98))
    canvas.disc(750, 492, 20, (104, 98, 76))
    canvas.rod(794, 476, 862, 512, (112, 116, 118), upright=False)  # coupling and its guard
    canvas.rod(808, 466, 850, 522, (138, 142, 144), upright=False)
    canvas.rod(862, 436, 1040, 532, (140, 108, 70), upright=False)  # the motor
    for x in range(876, 1020, 9):
        canvas.rod(x, 434, x + 3, 534, (112, 86, 56), upright=False)
    canvas.rod(1022, 440, 1062, 528, (124, 96, 64), upright=False)
    canvas.box(908, 408, 984, 444, (120, 94, 62))  # its terminal box
    canvas.box(908, 408, 984, 413, (150, 122, 86))
    canvas.line(984, 424, 1010, 424, (52, 54, 56), 6)
    canvas.line(1010, 424, 1010, 330, (52, 54, 56), 6)
    canvas.line(1010, 330, 1010, 112, (60, 62, 64), 5)
    for x in (880, 1030):
        canvas.polygon([(x, 528), (x + 22, 528), (x + 30, 546), (x - 8, 546)], (110, 84, 58))


def _draw_store(canvas: _Canvas) -> None:
    """What stands about: cartons on a shelf, a drum, a sign."""
    canvas.shadow(1096, 470, 1280, 530, 0.4, 9)
    for x in (1108, 1256):
        canvas.box(x, 352, x + 6, 512, (96, 100, 104))
    for y, heights in ((414, (44, 34, 52)), (500, (52, 40, 46))):
        canvas.box(1104, y, 1266, y + 6, (112, 116, 120))
        for place, tall in enumerate(heights):
            x = 1118 + 46 * place
            canvas.box(x, y - tall, x + 41, y, (104, 132, 152))
            canvas.box(x + 33, y - tall, x + 41, y, (84, 110, 130))
            canvas.box(x, y - tall, x + 41, y - tall + 4, (128, 156, 174))
            canvas.box(x + 17, y - tall, x + 23, y, (118, 146, 164))
    canvas.shadow(474, 508, 580, 552, 0.5, 7)
    canvas.rod(488, 398, 566, 534, (108, 92, 66), upright=True)
    for y in (440, 486):
        canvas.rod(486, y, 568, y + 5, (124, 106, 78), upright=True)
    canvas.polygon([(488, 400), (500, 392), (554, 392), (566, 400), (554, 407), (500, 407)], (134, 118, 92))
    canvas.box(626, 356, 690, 404, (206, 210, 208))
    canvas.box(632, 362, 652, 398, (120, 110, 60))
    for y in (368, 378, 388):
        canvas.line(658, y, 684, y, (120, 122, 122), 1.5)


def _light(picture: Picture) -> NDArray[np.float32]:
    """What the lamps and the lens make of the flat colours; float32."""
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    light = np.full(y.shape, 0.70, np.float32)
    for lamp_x, lamp_y in LAMPS:
        light += 0.36 * np.exp(-(((x - lamp_x) / 330) ** 2) - ((y - lamp_y) / 300) ** 2)
        light += 0.22 * np.exp(-(((x - lamp_x) / 300) ** 2) - ((y - 585) / 85) ** 2)
    light *= 1 - 0.24 * (((x / WIDTH_PX - 0.5) * 2) ** 2 + ((y / HEIGHT_PX - 0.5) * 2) ** 2) / 2
    lit = picture * light[..., None] * np.array((0.98, 1.0, 1.01), np.float32)
    for lamp_x, lamp_y in LAMPS:  # the tubes themselves outshine everything
        glare = np.exp(-((np.maximum(np.abs(x - lamp_x) - 100, 0) / 26) ** 2) - ((y - lamp_y - 2) / 15) ** 2)
        lit += 120 * glare[..., None]
    return lit.astype(np.float32)


def draw_room(seed: int) -> Picture:
    """The empty room, uint8 (720, 1280, 3) BGR; `seed` decides the stains and the grain of its surfaces."""
    canvas = _Canvas()
    for draw in (
        *(_draw_shell, _draw_ceiling, _draw_fan, _draw_pipes),
        *(_draw_switchgear, _draw_store, _draw_pump),
    ):
        draw(canvas)
    lit = _light(cv2.resize(canvas.pixels, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA).astype(np.uint8))
    chance = np.random.default_rng(seed)
    for cells, strength in ((9, 3.5), (40, 2.0), (200, 2.0)):  # surfaces are never even
        grain = chance.normal(0, strength, (cells * 9 // 16 + 1, cells)).astype(np.float32)
        lit += cv2.resize(grain, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)[..., None]
    blurred = cv2.GaussianBlur(lit, (0, 0), 0.7)  # a camera's lens
    return np.clip(blurred, 0, 255).astype(np.uint8)
