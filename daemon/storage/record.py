# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record of a still as JSON, and back: the format is in docs/formats.md, its schema in schemas.py.

Worker processes import this: only the standard library, msgspec and rfc8785.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import rfc8785

from daemon.clock import rfc3339
from daemon.domain import Detection, Evidence, Flicker, FrameTime, Looks, ModelInfo, Verdict
from daemon.model_record import model_record

LARGEST = 2**63 - 1  # what SQLite can hold; as nanoseconds, the year 2262

Decimal = Annotated[str, msgspec.Meta(pattern=r"^(0|-?[1-9][0-9]{0,18})\Z")]
"""An integer as decimal text (docs/formats.md, Numbers and times)."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]


class _Found(msgspec.Struct):
    label: str
    confidence: float
    box: tuple[float, float, float, float]
    zone: str | None
    verdict: Verdict | None = None
    looks: Looks | None = None


class _Record(msgspec.Struct):
    """The record's shape. Fields that a later version adds are passed over; `captured_at` is for people."""

    id: str
    camera: str
    kind: str
    run: str
    incident: str | None
    pts: Decimal
    time_base: tuple[_Count, _Count]
    captured_at: str
    captured_at_ns: Decimal
    uncertainty_s: float
    relative_uncertainty_s: float
    clock_synchronised: bool
    settling: bool
    camera_clock_ns: Decimal | None
    width_px: _Count
    height_px: _Count
    detections: tuple[_Found, ...]
    detections_omitted: _Count
    model: ModelInfo | None
    thresholds: dict[str, float]
    damage: str
    colour: tuple[str, str]
    drill: bool
    version: str
    reduced_from_px: tuple[_Count, _Count] | None = None
    times: str = "measured"
    flicker: Flicker | None = None


def to_json(evidence: Evidence) -> dict[str, Any]:
    """The record as docs/formats.md has it: integers that may pass 2^53 are decimal strings."""
    time, clock, reduced_from_px = evidence.time, evidence.time.camera_clock_ns, evidence.reduced_from_px
    return {
        "id": evidence.id,
        "camera": evidence.camera,
        "kind": evidence.kind,
        "run": evidence.run,
        "incident": evidence.incident,
        "pts": str(evidence.pts),
        "time_base": list(evidence.time_base),
        "captured_at": rfc3339(time.captured_at_ns),
        "captured_at_ns": str(time.captured_at_ns),
        "uncertainty_s": float(time.uncertainty_s),
        "relative_uncertainty_s": float(time.relative_uncertainty_s),
        "clock_synchronised": time.clock_synchronised,
        "settling": time.settling,
        "camera_clock_ns": None if clock is None else str(clock),
        "width_px": evidence.width_px,
        "height_px": evidence.height_px,
        "detections": [_found(each) for each in evidence.detections],
        "detections_omitted": evidence.detections_omitted,
        "model": None if evidence.model is None else model_record(evidence.model),
        "thresholds": {label: float(value) for label, value in evidence.thresholds.items()},
        "damage": evidence.damage,
        "colour": list(evidence.colour),
        "drill": evidence.drill,
        "version": evidence.version,
        **({} if reduced_from_px is None else {"reduced_from_px": list(reduced_from_px)}),
        **({} if evidence.times == "measured" else {"times": evidence.times}),
        **({} if evidence.flicker is None else {"flicker": _flicker(evidence.flicker)}),
    }


def canonical(value: Any) -> bytes:
    """JSON as RFC 8785 has it; raises ValueError for what it cannot hold (NaN, integers from 2^53 on)."""
    return rfc8785.dumps(value)


def from_json(record: Any) -> Evidence:
    """The evidence of a record; raises ValueError when it is none."""
    given = msgspec.convert(record, _Record)
    return Evidence(
        id=given.id,
        camera=given.camera,
        kind=given.kind,
        run=given.run,
        pts=_integer(given.pts),
        time_base=given.time_base,
        time=_time(given),
        width_px=given.width_px,
        height_px=given.height_px,
        detections=tuple(
            Detection(each.label, each.confidence, each.box, each.zone, each.verdict, each.looks)
            for each in given.detections
        ),
        incident=given.incident,
        model=given.model,
        thresholds=given.thresholds,
        damage=given.damage,
        colour=given.colour,
        version=given.version,
        detections_omitted=given.detections_omitted,
        drill=given.drill,
        reduced_from_px=given.reduced_from_px,
        times=given.times,
        flicker=given.flicker,
    )


def _found(detection: Detection) -> dict[str, Any]:
    verdict, looks = detection.verdict, detection.looks
    return {
        "label": detection.label,
        "confidence": float(detection.confidence),
        "box": [float(each) for each in detection.box],
        "zone": detection.zone,
        **({} if verdict is None else {"verdict": {"confidence": float(verdict.confidence), "passed": verdict.passed}}),
        **({} if looks is None else {"looks": {"whole": float(looks.whole), "close": float(looks.close)}}),
    }


def _flicker(flicker: Flicker) -> dict[str, Any]:
    return {
        "says": flicker.says,
        "reasons": list(flicker.reasons),
        "frames": flicker.frames,
        "seconds": float(flicker.seconds),
        "stir": float(flicker.stir),
        "restless": float(flicker.restless),
        "crossings_hz": float(flicker.crossings_hz),
        "growth": float(flicker.growth),
        "as_before": None if flicker.as_before is None else float(flicker.as_before),
    }


def _time(given: _Record) -> FrameTime:
    captured_at_ns = _integer(given.captured_at_ns)
    if captured_at_ns < 0:
        raise ValueError("captured_at_ns is before 1970")
    return FrameTime(
        captured_at_ns=captured_at_ns,
        uncertainty_s=given.uncertainty_s,
        relative_uncertainty_s=given.relative_uncertainty_s,
        clock_synchronised=given.clock_synchronised,
        settling=given.settling,
        camera_clock_ns=None if given.camera_clock_ns is None else _integer(given.camera_clock_ns),
    )


def _integer(text: str) -> int:
    value = int(text)
    if not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{text} has more than 64 bits")
    return value
