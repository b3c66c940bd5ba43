# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers against time as coordinates of a small drawing, which a template turns into lines and text; no markup here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.api import words
from daemon.api.parameters import time_ns
from daemon.clock import NS

WIDTH, HEIGHT = 420.0, 190.0  # of the drawing, in its own units: on a telephone about one pixel each
LEFT, RIGHT, TOP, FOOT = 56.0, 392.0, 10.0, 158.0  # the field in it
_MOST_STEPS = 5
_LEAST_SPAN_S = 0.1

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis with what stands there."""

    at: float
    says: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One frame's value."""

    x: float
    y: float
    kind: str
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`zero` is where first visible stands; `levels` are horizontal lines with a meaning."""

    across: list[Tick]
    up: list[Tick]
    zero: float
    marks: list[Mark]
    levels: list[Tick]

    def path(self, kind: str) -> str:
        """The marks of one kind as a polyline's points."""
        return " ".join(f"{mark.x},{mark.y}" for mark in self.marks if mark.kind == kind)


def chain(links: Sequence[Item], thresholds: Mapping[str, float], zero_at: str) -> Chart:
    """What each frame showed at the place: confidence against the time from first visible."""
    after = _after(links, zero_at)
    across = _Scale.of([0.0, *after], LEFT, RIGHT)
    marks = [
        Mark(
            across.at(after_s), _up(each["confidence"], 1.0), _kind(each), f"{words.relative(after_s)}: {_shown(each)}"
        )
        for after_s, each in zip(after, links, strict=True)
    ]
    up = [Tick(_up(value / 4, 1.0), f"{value / 4:g}") for value in range(5)]
    levels = [Tick(_up(value, 1.0), f"{label} from {value:g} on") for label, value in sorted(thresholds.items())]
    return Chart(across.ticks(), up, across.at(0.0), marks, levels)


def growth(extents: Sequence[Item], zero_at: str) -> Chart:
    """The area of the boxes of fire and of smoke, as shares of the picture, against the time from first visible."""
    after = _after(extents, zero_at)
    across = _Scale.of([0.0, *after], LEFT, RIGHT)
    largest = max((float(each[label]) for each in extents for label in ("fire", "smoke")), default=0.0)
    step = _step(largest or 1.0)
    top = step * math.ceil((largest or 1.0) / step)
    marks = [
        Mark(across.at(after_s), _up(each[label], top), label, f"{words.relative(after_s)}: {label} {each[label]:.2%}")
        for label in ("smoke", "fire")
        if any(each[label] for each in extents)
        for after_s, each in zip(after, extents, strict=True)
    ]
    up = [Tick(_up(place * step, top), f"{100 * place * step:.3g} %") for place in range(round(top / step) + 1)]
    return Chart(across.ticks(), up, across.at(0.0), marks, [])


def _after(items: Iterable[Item], zero_at: str) -> list[float]:
    zero_ns = time_ns(zero_at)
    return [(time_ns(each["at"]) - zero_ns) / NS for each in items]


def _kind(link: Item) -> str:
    return "clean" if not link["sighting"] else str(link["label"])


def _shown(link: Item) -> str:
    if link["label"] is None:
        return "nothing"
    return f"{link['label']} {link['confidence']:.2f}" + ("" if link["sighting"] else ", too weak for a sighting")


def _up(value: float, top: float) -> float:
    return round(FOOT - (FOOT - TOP) * min(float(value) / top, 1.0), 1)


def _step(span: float) -> float:
    """A round number that divides a span into at most _MOST_STEPS."""
    power = 1.0
    while power * 10 < span:
        power *= 10
    while power > span:
        power /= 10
    return next(each for each in (power / 5, power / 2, power, 2 * power, 5 * power) if span / each <= _MOST_STEPS)


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], begin: float, end: float) -> _Scale:
        low = min(values)
        return cls(low, max(max(values), low + _LEAST_SPAN_S), begin, end)

    def at(self, value: float) -> float:
        return round(self.begin + (self.end - self.begin) * (value - self.low) / (self.high - self.low), 1)

    def ticks(self) -> list[Tick]:
        step = _step(self.high - self.low)
        places = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [Tick(self.at(place * step), words.relative(place * step)) for place in places]
