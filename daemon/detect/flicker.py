# SPDX-License-Identifier: AGPL-3.0-or-later
"""Time as evidence: whether a place flickers as a flame does, or only stands there; pure functions over arrays.

A close-up is the luma round a suspect's box, at most SIDE_PX on its longer side, cut out of every frame at the same
place. A lamp is a fixed picture whose brightness may change; a flame's outline moves to and fro, and never the same way
twice. What is measured, and how it weighs into the rules, is told in docs/time-as-evidence.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import Box, Flicker, FlickerSays

SIDE_PX = 32  # of a close-up's longer side: 4 ms for three seconds of them
MARGIN = 0.25  # of the box's longer side, on each side: an outline needs what is outside
LEAST_MARGIN_PX = 2.0
SMALL_PX = 16.0  # a smaller box has no outline to speak of: its brightness is all that tells

WINDOW_S = 3.0  # of close-ups that are judged
STEADY_S = 2.0  # of them, to call something steady
FLICKER_S = 2.5  # to call it flickering
MOST_WAIT_S = 5.0  # a suspect's confirmation waits that long for a sign of life, and no longer
HELD_S = 4.0  # what was steady is held for so long after: somebody walks past a lamp
HOLE_S = 0.5  # without a frame: what was before does not belong to what comes
LEAST_FPS = 8.0  # flames are restless at 1 to 10 Hz: of fewer frames nothing is said
LEAST_FRAMES = 5  # to say that it moves

FAINT_LEVELS = 20.0  # between the bright and the dark of the close-up: below, noise and coding are most of it
STEADY_STIR = 0.05  # lamps, also coded: 0.02 to 0.04; flames of the clips from 0.10 on
LIVELY_STIR = 0.10
RESTLESS = 0.30  # flames of the clips after 3 s: 0.3 to 1.5; traffic, people, television mostly 0 to 0.15
GROWING = 1.3  # what grows may be half as restless
CROSSINGS_HZ = 0.8
BRIGHTNESS_HZ = 2.0  # an exposure that settles, or what passes by, is slower
LIFE = 0.05  # as restless as that, it is not merely passing by, or changing once
LEAST_LIFE_S = 1.0  # before, an arc's flashes look restless too
RETURN_CROSSINGS = 2  # so often its liveliest pixels have come back
DIM_SPREAD = 0.10  # of the brightness, relative to its mean: steadier than that is steady
OFF = 0.4  # of its usual contrast: a lamp is off
FLASHING_STIR = (
    0.10  # of what is dark in more than a tenth of the frames: it saturates the sensor, which changes its shape
)
LIT_SHARE = 0.9  # a flame that is alight does not go out between frames
TO_AND_FRO = 3  # times that a pixel passes the outline: what only passes by does so twice
HYSTERESIS = 0.15  # of the contrast, on both sides of the outline
NOISE_MARGIN = 3.0  # of the noise's spread: at least so far from the outline
NOISE_SHARE = 1.3  # the liveliest pixels of noise alone have so much more of it than the quietest quarter
RETURNS = 0.12  # of the greatest difference: how near a blinking thing comes to what it was
AS_BEFORE = 0.97  # correlation with the reference pictures; daemon/ingest/standing.py tells of signs and lamps

CloseUp = NDArray[np.uint8]
Window = tuple[int, int, int, int]


class Measures(NamedTuple):
    """What the close-ups of some seconds show; docs/time-as-evidence.md has each one's meaning."""

    frames: int
    seconds: float
    contrast: float
    """Levels between the bright and the dark of the usual picture."""
    stir: float
    """How much the liveliest places differ from the usual picture, brightness, contrast and noise apart; share of the contrast."""
    restless: float
    """Pixels that pass the outline to and fro, for each pixel of its length."""
    crossings_hz: float
    """How often the liveliest pixels pass their own middle."""
    spread: float
    """Of the brightness, relative to its mean, while it is lit."""
    brightness_hz: float
    """How often the brightness passes its own middle."""
    lit: float
    """Share of the frames in which it is lit."""
    repeats: bool
    """Whether it comes back to the same pictures again and again."""
    growth: float
    """How much more of it is bright in the last third than in the first."""


def window_of(place: Box, size_px: tuple[int, int]) -> Window:
    """The part of a picture to be watched for a normalised place: (left, top, right, bottom) in pixels."""
    width, height = size_px
    x1, y1, x2, y2 = place[0] * width, place[1] * height, place[2] * width, place[3] * height
    margin = max(LEAST_MARGIN_PX, MARGIN * max(x2 - x1, y2 - y1))
    left, top = max(0, math.floor(x1 - margin)), max(0, math.floor(y1 - margin))
    return left, top, min(width, math.ceil(x2 + margin)), min(height, math.ceil(y2 + margin))


def close_up(luma: NDArray[np.uint8], window: Window) -> CloseUp:
    """A copy of that part of a picture's luma (height, width), reduced by area means to fit SIDE_PX × SIDE_PX."""
    left, top, right, bottom = window
    part = luma[top:bottom, left:right]
    scale = SIDE_PX / max(part.shape)
    if scale >= 1:
        return part.copy()
    size = max(2, round(part.shape[1] * scale)), max(2, round(part.shape[0] * scale))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def alike(one: CloseUp, other: CloseUp) -> float:
    """Pearson's correlation of two close-ups of the same place, -1 to 1; 0 for what has no contrast."""
    scaled = cv2.resize(other, (one.shape[1], one.shape[0]), interpolation=cv2.INTER_AREA)
    return float(cv2.matchTemplate(one, np.asarray(scaled, np.uint8), cv2.TM_CCOEFF_NORMED)[0, 0])


def measure(close_ups: NDArray[np.uint8], at_s: NDArray[np.float64]) -> Measures:
    """Of close-ups (frames, height, width), at least two, and their times in seconds, growing."""
    frames, seconds = len(close_ups), float(at_s[-1] - at_s[0])
    pictures = close_ups.reshape(frames, -1).astype(np.float32)
    usual = _usual(pictures)
    dark, bright = np.percentile(usual, (20, 95))
    contrast = max(float(bright - dark), 1.0)
    gain, offset = _brightness(pictures, usual)
    lit = gain > OFF
    if lit.sum() < 2:
        return Measures(frames, seconds, contrast, 0.0, 0.0, 0.0, 0.0, 0.0, float(lit.mean()), False, 1.0)
    rest = (pictures[lit] - offset[lit, None]) / gain[lit, None] - usual
    spread = rest.std(axis=0)
    noise = float(np.percentile(spread, 25))  # of what is round it: nowhere is less
    margin = max(HYSTERESIS * contrast, NOISE_MARGIN * noise)
    level = gain[lit]
    return Measures(
        frames=frames,
        seconds=seconds,
        contrast=contrast,
        stir=math.sqrt(max(0.0, float(np.percentile(spread, 95)) ** 2 - (NOISE_SHARE * noise) ** 2)) / contrast,
        restless=_restless(rest + usual, usual.reshape(close_ups.shape[1:]), (dark + bright) / 2, margin),
        crossings_hz=_crossings(rest[:, np.argsort(spread)[-max(3, spread.size // 20) :]]) / max(seconds, 1e-3),
        spread=float(level.std() / level.mean()),
        brightness_hz=_crossings(level[:, None]) / max(seconds, 1e-3),
        lit=float(lit.mean()),
        repeats=_repeats(pictures, at_s, contrast),
        growth=_growth(pictures, (dark + bright) / 2),
    )


def _usual(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """How it looks when it is bright: what blinks is off in part of the frames."""
    high = np.percentile(pictures, 95, axis=1)
    low, top = np.percentile(high, (5, 95))
    return np.asarray(np.median(pictures[high >= (low + top) / 2], axis=0), np.float32)


def _brightness(
    pictures: NDArray[np.float32], usual: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each picture the gain and offset with which the usual one comes nearest to it."""
    mean = usual.mean()
    centred = usual - mean
    of = pictures.mean(axis=1)
    gain = (pictures - of[:, None]) @ centred / max(float(centred @ centred), 1e-3)
    return gain, of - gain * mean


def _restless(pictures: NDArray[np.float32], usual: NDArray[np.float32], outline: float, margin: float) -> float:
    """Pixels that pass the outline to and fro ÷ the outline's length in pixels."""
    above, below = pictures > outline + margin, pictures < outline - margin
    side = np.zeros(pictures.shape[1], np.int8)
    passes = np.zeros(pictures.shape[1], np.int32)
    for high, low in zip(above, below, strict=True):
        now = np.where(high, 1, np.where(low, -1, side)).astype(np.int8)
        passes += (now != side) & (side != 0)
        side = now
    inside = usual > outline
    length = int(np.diff(inside, axis=0).sum() + np.diff(inside, axis=1).sum())
    return float((passes >= TO_AND_FRO).sum() / max(length, 1))


def _growth(pictures: NDArray[np.float32], outline: float) -> float:
    areas = (pictures > outline).mean(axis=1)
    third = max(1, len(areas) // 3)
    return float((areas[-third:].mean() + 0.01) / (areas[:third].mean() + 0.01))


def _crossings(series: NDArray[np.float32]) -> float:
    """How often the columns of a series pass their own median; small movements do not count; the median of all columns."""
    away = series - np.median(series, axis=0)
    far = np.abs(away) > 0.5 * series.std(axis=0)
    counts = []
    for column, counted in zip(away.T, far.T, strict=True):
        sides = np.sign(column[counted])
        counts.append(np.count_nonzero(np.diff(sides)))
    return float(np.median(counts))


def _repeats(pictures: NDArray[np.float32], at_s: NDArray[np.float64], contrast: float) -> bool:
    """Whether pictures one period apart are alike, those half a period apart not; at least 2.5 periods are needed."""
    steps = np.diff(at_s)
    if len(steps) < 10 or steps.std() > 0.3 * steps.mean():
        return False
    most = int(len(pictures) / 2.5)
    away = np.array([np.square(pictures[lag:] - pictures[:-lag]).mean() for lag in range(1, most + 1)])
    greatest = float(away.max())
    if math.sqrt(greatest / 2) < STEADY_STIR * contrast:
        return False  # it does not change at all
    risen = int(np.argmax(away >= 0.5 * greatest))
    return bool(away[risen:].min() <= RETURNS * greatest)


def judge(
    close_ups: NDArray[np.uint8],
    at_s: NDArray[np.float64],
    small: bool,
    watched_s: float,
    as_before: float | None = None,
) -> Flicker:
    """What close-ups (frames, height, width) with their times in seconds say of a suspect.

    `small`: whether its box has no outline to speak of (SMALL_PX). `watched_s`: since when it is watched. `as_before`: the
    place's correlation with how it looked minutes before, where that is known.
    """
    waiting: FlickerSays = "waits" if watched_s < MOST_WAIT_S else "open"
    if len(close_ups) < LEAST_FRAMES:
        slow = len(close_ups) > 1 and (len(close_ups) - 1) < LEAST_FPS * (at_s[-1] - at_s[0])
        return Flicker("open", ("few frames",)) if slow else Flicker(waiting, ("few frames",))
    recent = at_s > at_s[-1] - STEADY_S
    seen, lately = measure(close_ups, at_s), measure(close_ups[recent], at_s[recent])
    says, reasons = _judged(seen, lately, small, as_before, waiting)
    return Flicker(
        says, reasons, seen.frames, round(seen.seconds, 3), _figure(seen.stir), _figure(seen.restless),
        _figure(seen.crossings_hz), _figure(seen.growth), None if as_before is None else round(as_before, 3),
    )  # fmt: skip


def _judged(
    seen: Measures, lately: Measures, small: bool, as_before: float | None, waiting: FlickerSays
) -> tuple[FlickerSays, tuple[str, ...]]:
    if seen.frames < LEAST_FPS * seen.seconds:
        return "open", ("few frames",)
    if seen.contrast < FAINT_LEVELS:
        return "open", ("faint",)
    stood = as_before is not None and as_before >= AS_BEFORE
    if seen.repeats:
        return "held", ("repeats",)
    if stands(lately, small) and (stood or lately.seconds >= 0.9 * STEADY_S):
        return "held", (*_standing(lately), *(("as minutes before",) if stood else ()))
    if seen.seconds >= FLICKER_S and not stood and (reasons := _flickering(seen, small)):
        return "flickers", reasons
    if _lives(seen, small):
        return "open", ("moves to and fro",)
    return waiting, ("nothing moves to and fro",)


def stands(seen: Measures, small: bool) -> bool:
    """Whether it is one fixed picture, whose brightness alone may change; of a small thing not even that."""
    if seen.stir > (FLASHING_STIR if seen.lit < LIT_SHARE else STEADY_STIR) or seen.restless > 0:
        return False
    return not small or (seen.spread <= DIM_SPREAD and seen.lit == 1)


def _standing(seen: Measures) -> tuple[str, ...]:
    return ("steady",) if seen.spread <= DIM_SPREAD and seen.lit == 1 else ("only its brightness changes",)


def _flickering(seen: Measures, small: bool) -> tuple[str, ...]:
    """Why it flickers as a flame does; empty: it does not."""
    growing = seen.growth >= GROWING
    restless = seen.restless >= (RESTLESS / 2 if growing else RESTLESS)
    if seen.stir >= LIVELY_STIR and restless and seen.crossings_hz >= CROSSINGS_HZ:
        return ("restless outline", "grows") if growing else ("restless outline",)
    flickers = seen.spread >= DIM_SPREAD and seen.brightness_hz >= BRIGHTNESS_HZ and seen.lit >= LIT_SHARE
    return ("restless brightness",) if small and flickers else ()


def _lives(seen: Measures, small: bool) -> bool:
    """Whether something goes to and fro, in whatever way: no more is asked of what the detector is sure of."""
    if seen.restless >= LIFE and seen.seconds >= LEAST_LIFE_S:
        return True
    if seen.seconds < STEADY_S:
        return False
    if seen.stir > STEADY_STIR and seen.crossings_hz * seen.seconds >= RETURN_CROSSINGS:
        return True
    changes = seen.spread > DIM_SPREAD or seen.lit < 1
    return small and changes and seen.brightness_hz * seen.seconds >= RETURN_CROSSINGS


def _figure(value: float) -> float:
    return round(value, 3)
