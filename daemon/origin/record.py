# SPDX-License-Identifier: AGPL-3.0-or-later
"""The analysis: what one going back found, as a value, and as the body of its ledger line (docs/formats.md).

Immutable: a better one is another record that names the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daemon.clock import rfc3339
from daemon.domain import Box, ModelInfo
from daemon.model_record import model_record
from daemon.origin import doubt
from daemon.origin.doubt import Doubt

MOST_LINKS = 200  # of a chain, and of the growth: a ledger line is read by people too
GRID = (64, 36)  # columns, rows of the arrival map


@dataclass(frozen=True, slots=True)
class FirstVisible:
    """The first frame that shows it. Box and point are in pixels of the picture as stored."""

    at_ns: int
    uncertainty_s: float
    """Against UTC: of the frame's time, and the distance to the last clean frame."""
    relative_uncertainty_s: float
    """The same on this host's monotonic clock."""
    run: str
    pts: int
    label: str
    confidence: float
    box: Box
    point: tuple[float, float]
    evidence: str | None


@dataclass(frozen=True, slots=True)
class LastClean:
    """The nearest frame before it that was looked at and did not show it."""

    at_ns: int
    run: str
    pts: int
    evidence: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named component with the share of the place of the first visible flame that lies in it."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Compared:
    """How the picture lay to the one that the components were drawn on."""

    verdict: str
    """same, moved or cannot_tell."""
    offset_share: float | None
    """How far the farthest corner was off, as a share of the diagonal; None where it is not known."""
    reference_sha256: str | None
    """Of the file with the picture that they were drawn on; None where it could not be read."""


@dataclass(frozen=True, slots=True)
class Component:
    """`name` is None where no component holds the place, or none can be named; `note` then says why."""

    name: str | None = None
    share: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    note: str = ""
    view: Compared | None = None
    """None where no components are drawn."""


@dataclass(frozen=True, slots=True)
class Link:
    """What one frame of the chain showed at the place; label None: nothing at all."""

    at_ns: int
    label: str | None
    confidence: float
    sighting: bool


@dataclass(frozen=True, slots=True)
class Extent:
    """Area of the boxes of fire and of smoke in one frame, as shares of the picture's."""

    at_ns: int
    fire: float
    smoke: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a cell of the grid first burned or smoked, in seconds after first visible."""

    column: int
    row: int
    label: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """One going back of one incident."""

    id: str
    incident: str
    camera: str
    source: str
    """ring or clip: what was searched."""
    times: str
    """measured, or claimed: of a recording that came from elsewhere."""
    analysed_at_ns: int
    model: ModelInfo
    thresholds: dict[str, float]
    """The lower ones, which make a sighting."""
    confirmed_at_ns: int
    first_visible: FirstVisible
    last_clean: LastClean | None
    """None: it was burning already when the record begins."""
    clean_s: float
    """For how long before first visible nothing but clean frames was seen."""
    doubt: Doubt | None
    ended: str
    """Why it went no further back: clean, record_begins or bound."""
    looks: int
    """Frames that were looked at."""
    component: Component
    chain: tuple[Link, ...]
    growth: tuple[Extent, ...]
    arrival: tuple[Arrival, ...]
    version: str
    drill: bool = False
    previous: str | None = None
    """The analysis before this one; the recorder's to say."""


def to_json(of: Analysis) -> dict[str, Any]:
    """The body of an `analysis` line."""
    return {
        "id": of.id,
        "incident": of.incident,
        "camera": of.camera,
        "source": of.source,
        "times": of.times,
        **_moment("analysed", of.analysed_at_ns),
        "previous": of.previous,
        "model": model_record(of.model),
        "thresholds": {label: float(value) for label, value in of.thresholds.items()},
        **_moment("confirmed", of.confirmed_at_ns),
        "first_visible": _first_visible(of.first_visible),
        "last_clean": None if of.last_clean is None else _last_clean(of.last_clean),
        "clean_s": float(of.clean_s),
        "doubt": None if of.doubt is None else doubt.to_json(of.doubt),
        "ended": of.ended,
        "looks": of.looks,
        "component": {
            "name": of.component.name,
            "share": float(of.component.share),
            "candidates": [{"name": each.name, "share": float(each.share)} for each in of.component.candidates],
            "note": of.component.note,
            "view": None if of.component.view is None else _compared(of.component.view),
        },
        "chain": [_link(each) for each in of.chain],
        "growth": [{**_at(each.at_ns), "fire": float(each.fire), "smoke": float(each.smoke)} for each in of.growth],
        "arrival": {
            "columns": GRID[0],
            "rows": GRID[1],
            "cells": [[each.column, each.row, each.label, float(each.after_s)] for each in of.arrival],
        },
        "drill": of.drill,
        "version": of.version,
    }


def thinned(places: Sequence[int], near: int, most: int = MOST_LINKS) -> list[int]:
    """At most so many of a chain's places: all round `near`, of the rest an even choice, the last one always."""
    if len(places) <= most:
        return list(places)
    closest = set(sorted(places, key=lambda place: abs(place - near))[: most // 2])
    rest = [place for place in places if place not in closest]
    room = most - len(closest)
    chosen = {rest[round(step * (len(rest) - 1) / (room - 1))] for step in range(room)}
    return sorted(closest | chosen)


def _first_visible(of: FirstVisible) -> dict[str, Any]:
    return {
        **_at(of.at_ns),
        "uncertainty_s": float(of.uncertainty_s),
        "relative_uncertainty_s": float(of.relative_uncertainty_s),
        "run": of.run,
        "pts": str(of.pts),
        "label": of.label,
        "confidence": float(of.confidence),
        "box": [float(each) for each in of.box],
        "point": [float(each) for each in of.point],
        "evidence": of.evidence,
    }


def _compared(of: Compared) -> dict[str, Any]:
    offset = None if of.offset_share is None else round(float(of.offset_share), 6)
    return {"verdict": of.verdict, "offset_share": offset, "reference_sha256": of.reference_sha256}


def _last_clean(of: LastClean) -> dict[str, Any]:
    return {**_at(of.at_ns), "run": of.run, "pts": str(of.pts), "evidence": of.evidence}


def _link(of: Link) -> dict[str, Any]:
    return {
        **_at(of.at_ns),
        "label": of.label,
        "confidence": round(float(of.confidence), 4),
        "sighting": of.sighting,
    }


def _at(at_ns: int) -> dict[str, str]:
    return {"at": rfc3339(at_ns), "at_ns": str(at_ns)}


def _moment(name: str, at_ns: int) -> dict[str, str]:
    return {f"{name}_at": rfc3339(at_ns), f"{name}_at_ns": str(at_ns)}
