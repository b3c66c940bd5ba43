# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/formats.md as JSON Schema (draft 2020-12): each kind of ledger line, the record in a still, the heartbeat.

For readers of the evidence and for tests; nothing at run time depends on it. Lines and records of this version have
exactly these fields; a later version may add some.
"""

from __future__ import annotations

import typing
from typing import Any

from daemon.domain import (
    MAX_DETECTIONS,
    AssessmentSays,
    ClipCause,
    ClipClosed,
    Damage,
    FlickerSays,
    GapReason,
    IncidentState,
    PurgeReason,
)

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_DECIMAL: Schema = {"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,18})$"}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_UUID: Schema = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_AT: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_CAMERA: Schema = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
_PATH: Schema = {
    "type": "string",
    "pattern": r"^evidence/[a-z0-9][a-z0-9_-]{0,62}/\d{4}/\d\d/\d\d/\d{6}\.\d{3}-[0-9a-f-]{36}\.(jpg|mp4|mkv|avi|ts|mpg)$",
}


def _object(at_times: dict[str, Schema] | None = None, **fields: Schema) -> Schema:
    """`at_times`: fields that can be absent."""
    properties = {**fields, **(at_times or {})}
    return {"type": "object", "properties": properties, "required": sorted(fields), "additionalProperties": False}


def _list(of: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": of, **more}


def _tuple(of: Schema, length: int) -> Schema:
    return _list(of, minItems=length, maxItems=length)


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(literal: Any) -> Schema:
    return {"enum": list(typing.get_args(literal))}


def _moment(name: str, *, known: bool = True) -> dict[str, Schema]:
    at, exact = (_AT, _DECIMAL) if known else (_or_null(_AT), _or_null(_DECIMAL))
    return {f"{name}_at": at, f"{name}_at_ns": exact}


_DOUBT: Schema = _object(why=_list(_TEXT, minItems=1), since=_or_null(_AT), since_ns=_or_null(_DECIMAL))
_MODEL: Schema = _object(
    at_times={
        "verifier": _object(sha256=_SHA256, name=_TEXT, input_px=_COUNT, threshold=_SHARE),
        "card_sha256": _SHA256,
    },
    sha256=_SHA256,
    name=_TEXT,
    runtime=_TEXT,
    input_px=_COUNT,
    labels=_list(_TEXT),
)

_FLICKER: Schema = _object(
    says=_one_of(FlickerSays),
    reasons=_list(_TEXT),
    frames=_COUNT,
    seconds=_SECONDS,
    stir=_SECONDS,
    restless=_SECONDS,
    crossings_hz=_SECONDS,
    growth=_SECONDS,
    as_before=_or_null(_NUMBER),
)

RECORD: Schema = _object(
    at_times={"reduced_from_px": _tuple(_COUNT, 2), "times": {"const": "claimed"}, "flicker": _FLICKER},
    id=_UUID,
    camera=_CAMERA,
    kind=_TEXT,
    run=_UUID,
    incident=_or_null(_UUID),
    pts=_DECIMAL,
    time_base=_tuple(_COUNT, 2),
    **_moment("captured"),
    uncertainty_s=_SECONDS,
    relative_uncertainty_s=_SECONDS,
    clock_synchronised=_FLAG,
    settling=_FLAG,
    camera_clock_ns=_or_null(_DECIMAL),
    width_px=_COUNT,
    height_px=_COUNT,
    detections=_list(
        _object(
            at_times={
                "verdict": _object(confidence=_SHARE, passed=_FLAG),
                "looks": _object(whole=_SHARE, close=_SHARE),
            },
            label=_TEXT,
            confidence=_SHARE,
            box=_tuple(_NUMBER, 4),
            zone=_or_null(_TEXT),
        ),
        maxItems=MAX_DETECTIONS,
    ),
    detections_omitted=_COUNT,
    model=_or_null(_MODEL),
    thresholds={"type": "object", "additionalProperties": _SHARE},
    damage=_one_of(Damage),
    colour=_tuple(_TEXT, 2),
    drill=_FLAG,
    version=_TEXT,
) | {"$schema": DIALECT, "title": "The record of a still"}

_SPAN: dict[str, Schema] = {
    "frames": _COUNT,
    "first_pts": _DECIMAL,
    "last_pts": _DECIMAL,
    **_moment("from"),
    **_moment("to"),
}

_CLIP = _object(
    at_times={"times": {"const": "claimed"}, "sibling_of": _list(_UUID)},
    incidents=_list(_UUID),
    **_SPAN,
    codec=_TEXT,
    width_px=_COUNT,
    height_px=_COUNT,
    time_base=_tuple(_COUNT, 2),
    first_dts=_DECIMAL,
    cause=_one_of(ClipCause),
    closed=_one_of(ClipClosed),
    drill=_FLAG,
    version=_TEXT,
)

_COMPARED = _object(
    verdict={"enum": ["same", "moved", "cannot_tell"]},
    offset_share=_or_null({"type": "number", "minimum": 0}),
    reference_sha256=_or_null(_SHA256),
)

BODIES: dict[str, Schema] = {
    "opened": _object(store=_UUID, version=_TEXT, cameras=_list(_CAMERA), boot=_TEXT, sqlite=_TEXT),
    "closed": _object(why={"enum": ["stop", "fault"]}),
    "settings": _object(sha256=_SHA256, cameras=_list(_CAMERA)),
    "run": _object(
        id=_UUID,
        run_seq={"type": "integer", "minimum": 1},
        camera=_CAMERA,
        **_moment("started"),
        started_mono_ns=_DECIMAL,
        time_base=_tuple(_COUNT, 2),
        codec=_TEXT,
        width_px=_COUNT,
        height_px=_COUNT,
        cause=_TEXT,
    ),
    "stored": _object(
        id=_UUID,
        path=_PATH,
        sha256=_SHA256,
        bytes=_COUNT,
        camera=_CAMERA,
        **_moment("captured"),
        run=_UUID,
        pts=_DECIMAL,
        kind=_TEXT,
        incident=_or_null(_UUID),
        at_times={"clip": _CLIP},
    ),
    "segment": _object(
        clip=_UUID,
        path=_PATH,
        camera=_CAMERA,
        run=_UUID,
        from_byte=_COUNT,
        bytes=_COUNT,
        sha256=_SHA256,
        incidents=_list(_UUID),
        at_times={"sibling_of": _list(_UUID)},
        **_SPAN,
    ),
    "incident": _object(
        id=_UUID,
        camera=_CAMERA,
        state=_one_of(IncidentState),
        kind=_TEXT,
        drill=_FLAG,
        **_moment("first_suspect"),
        **_moment("first_confirmed", known=False),
        **_moment("ended", known=False),
        labels=_list(_TEXT),
        max_confidence=_SHARE,
        place=_tuple(_NUMBER, 4),
        previous=_or_null(_UUID),
        ignored_zones=_list(_TEXT),
        reason=_TEXT,
    ),
    "analysis": _object(
        at_times={"doubt": _or_null(_DOUBT)},  # version 0.1 wrote none
        id=_UUID,
        incident=_UUID,
        camera=_CAMERA,
        source={"enum": ["ring", "clip"]},
        times={"enum": ["measured", "claimed"]},
        **_moment("analysed"),
        previous=_or_null(_UUID),
        model=_MODEL,
        thresholds={"type": "object", "additionalProperties": _SHARE},
        **_moment("confirmed"),
        first_visible=_object(
            at=_AT,
            at_ns=_DECIMAL,
            uncertainty_s=_SECONDS,
            relative_uncertainty_s=_SECONDS,
            run=_UUID,
            pts=_DECIMAL,
            label=_TEXT,
            confidence=_SHARE,
            box=_tuple(_NUMBER, 4),
            point=_tuple(_NUMBER, 2),
            evidence=_or_null(_UUID),
        ),
        last_clean=_or_null(_object(at=_AT, at_ns=_DECIMAL, run=_UUID, pts=_DECIMAL, evidence=_or_null(_UUID))),
        clean_s=_SECONDS,
        ended={"enum": ["clean", "record_begins", "bound"]},
        looks=_COUNT,
        component=_object(
            name=_or_null(_TEXT),
            share=_SHARE,
            candidates=_list(_object(name=_TEXT, share=_SHARE)),
            note=_TEXT,
            at_times={"view": _or_null(_COMPARED)},
        ),
        chain=_list(
            _object(at=_AT, at_ns=_DECIMAL, label=_or_null(_TEXT), confidence=_SHARE, sighting=_FLAG), maxItems=200
        ),
        growth=_list(_object(at=_AT, at_ns=_DECIMAL, fire=_SHARE, smoke=_SHARE), maxItems=200),
        arrival=_object(
            columns=_COUNT,
            rows=_COUNT,
            cells=_list(
                {"type": "array", "prefixItems": [_COUNT, _COUNT, _TEXT, _NUMBER], "minItems": 4, "maxItems": 4}
            ),
        ),
        drill=_FLAG,
        version=_TEXT,
    ),
    "assessment": _object(id=_UUID, incident=_UUID, says=_one_of(AssessmentSays), by=_TEXT, note=_TEXT),
    "gap": _object(
        id=_UUID,
        camera=_CAMERA,
        reason=_one_of(GapReason),
        **_moment("from"),
        **_moment("to", known=False),
        detail=_TEXT,
    ),
    "coverage": _object(
        camera=_CAMERA, **_moment("hour"), frames=_COUNT, watched_s={"type": "number", "minimum": 0, "maximum": 3600}
    ),
    "purged": _object(ids=_list(_UUID, minItems=1, maxItems=1000), reason=_one_of(PurgeReason)),
    "missing": _object(id=_UUID, path=_PATH),
    "repaired": {
        "oneOf": [
            _object(what={"const": "ledger_tail"}, bytes=_COUNT, sha256=_SHA256, file=_TEXT),
            _object(what={"const": "broken_still"}, path=_TEXT, sha256=_SHA256, bytes=_COUNT),
            _object(what={"const": "completed_still"}, id=_UUID, path=_PATH),
            _object(what={"const": "clip_tail"}, path=_PATH, sha256=_SHA256, bytes=_COUNT),
            _object(what={"const": "broken_clip"}, path=_PATH, sha256=_SHA256, bytes=_COUNT),
            _object(what={"const": "closed_clip"}, id=_UUID, path=_PATH),
        ]
    },
    "head": _object(of_seq={"type": "integer", "minimum": 1}, of_hash=_SHA256),
}

LINES: dict[str, Schema] = {
    kind: _object(seq={"type": "integer", "minimum": 1}, at=_AT, kind={"const": kind}, body=body, prev=_SHA256)
    | {"$schema": DIALECT, "title": f"A ledger line: {kind}"}
    for kind, body in BODIES.items()
}

HEARTBEAT: Schema = _object(
    at_ns=_DECIMAL,
    boot=_TEXT,
    limit_s=_SECONDS,
    cameras={
        "type": "object",
        "additionalProperties": _object(
            run=_or_null(_UUID),
            pts=_or_null(_DECIMAL),
            watched_at_ns=_DECIMAL,
            watched_mono_ns=_or_null(_DECIMAL),
            hour_at_ns=_DECIMAL,
            frames=_COUNT,
            watched_s=_SECONDS,
            worker=_or_null(_TEXT),
            frames_watched=_COUNT,
            in_row=_COUNT,
        ),
    },
) | {"$schema": DIALECT, "title": "The heartbeat"}
