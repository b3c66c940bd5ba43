# SPDX-License-Identifier: AGPL-3.0-or-later
"""/api/openapi.json: what this web process serves, as OpenAPI 3.1, made from its routes and from the models that validate.

A route that is missing in the table below fails a test, not a caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from pydantic import BaseModel

from daemon import __version__
from daemon.api import answers
from daemon.api.arguments import FORM_TYPE, JSON_TYPE
from daemon.api.assessments import Assessed
from daemon.api.captures import CaptureAsked
from daemon.api.pages import DayPage, IncidentPage, MinutesPage
from daemon.api.parameters import (
    AnalysisOf,
    ClipOf,
    EvidencePage,
    Image,
    IncidentsPage,
    NoParameters,
    Origin,
    Page,
    Parameters,
    Span,
    parse,
)

Schema = dict[str, Any]
_PROBLEM_TYPE = "application/problem+json"
_PATH_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: `answer` is a model, or the media type of what is no JSON."""

    summary: str
    answer: type[BaseModel] | str
    query: type[Parameters] = NoParameters
    body: type[BaseModel] | None = None
    status: int = 200
    problems: tuple[int, ...] = (400, 403)


_HTML = "text/html"
_ONE = (400, 403, 404)
OPERATIONS = {
    "/fire_detector": Operation("A picture in, detections back.", answers.Envelope, problems=()),
    "/api/v1/cameras": Operation("The cameras and their state now.", answers.Cameras),
    "/api/v1/evidence": Operation("The stills, filtered, newest first.", answers.EvidenceItems, EvidencePage),
    "/api/v1/evidence/<uuid:evidence_id>": Operation("One still or clip with its whole record.", answers.StillOrClip, problems=_ONE),
    "/api/v1/evidence/<uuid:evidence_id>/image": Operation(
        "Its stored bytes, or a copy for looking at.", "image/jpeg", Image, problems=(*_ONE, 410)),
    "/api/v1/incidents": Operation("The incidents, newest first.", answers.IncidentItems, IncidentsPage),
    "/api/v1/incidents/<uuid:incident_id>": Operation("One incident.", answers.IncidentOne, problems=_ONE),
    "/api/v1/incidents/<uuid:incident_id>/assessments": Operation(
        "Note what an incident was.", answers.Noted, body=Assessed, status=201, problems=(*_ONE, 413, 415, 503)),
    "/api/v1/incidents/<uuid:incident_id>/origin": Operation(
        "Where and when fire first appeared to the camera (docs/origin.md).", answers.Thing, Origin, problems=_ONE),
    "/api/v1/incidents/<uuid:incident_id>/growth": Operation(
        "Area of boxes against time.", answers.Thing, AnalysisOf, problems=_ONE),
    "/api/v1/incidents/<uuid:incident_id>/arrival.png": Operation(
        "When each part first burned.", "image/png", AnalysisOf, problems=_ONE),
    "/api/v1/incidents/<uuid:incident_id>/sequence": Operation(
        "In which order the cameras of its site saw it and were lost.", answers.Thing, problems=_ONE),
    "/api/v1/incidents/<uuid:incident_id>/clips": Operation("Its clips.", answers.ClipItems, problems=_ONE),
    "/api/v1/incidents/<uuid:incident_id>/clip": Operation(
        "A clip as it is stored.", "video/mp4", ClipOf, problems=(*_ONE, 409, 410)),
    "/api/v1/incidents/<uuid:incident_id>/frames/<int:number>.jpg": Operation(
        "A frame decoded from a clip.", "image/jpeg", ClipOf, problems=(*_ONE, 409, 410, 503)),
    "/api/v1/evidence/<uuid:evidence_id>/frames/<int:number>.jpg": Operation(
        "A frame decoded from a clip.", "image/jpeg", problems=(*_ONE, 410, 503)),
    "/api/v1/evidence/<uuid:evidence_id>/video": Operation("A clip as it is stored.", "video/mp4", problems=(*_ONE, 410)),
    "/api/v1/captures": Operation(
        "Keep what the cameras' rings hold.", answers.Captured, body=CaptureAsked, status=202, problems=(400, 403, 409, 413, 415, 503)),
    "/api/v1/gaps": Operation("When cameras were not watched.", answers.GapItems, Page),
    "/api/v1/coverage": Operation("What share of an interval was watched.", answers.Coverage, Span),
    "/api/openapi.json": Operation("This document.", answers.Thing),
    "/metrics": Operation("For Prometheus.", "text/plain"),
    "/healthz": Operation("This process answers.", answers.Health, problems=()),
    "/readyz": Operation("The whole daemon can see, and keep what it sees.", answers.Ready, problems=(503,)),
    "/": Operation("For people: a day.", _HTML, DayPage),
    "/minutes": Operation("For people: a camera's reference stills of an hour.", _HTML, MinutesPage),
    "/incidents/<uuid:incident_id>": Operation("For people: an incident.", _HTML, IncidentPage, problems=_ONE),
    "/incidents/<uuid:incident_id>/assess": Operation(
        "For people: the form that notes what an incident was.", _HTML, body=Assessed, status=303, problems=(*_ONE, 413, 503)),
    "/evidence/<uuid:evidence_id>": Operation("For people: one still.", _HTML, problems=_ONE),
    "/static/<path:filename>": Operation("What the pages are made with.", "application/octet-stream", problems=(403, 404)),
}  # fmt: skip


def blueprint() -> Blueprint:
    """Guarded like evidence."""
    api = Blueprint("openapi", __name__)

    @api.get("/api/openapi.json")
    def openapi() -> Response:
        parse(NoParameters, request.args)
        return jsonify(document(current_app))

    return api


def document(app: Flask) -> Schema:
    """Of all routes of `app`."""
    schemas: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        path = _PATH_PARAMETER.sub(r"{\2}", rule.rule)
        for method in methods:
            paths.setdefault(path, {})[method.lower()] = _operation(rule.rule, OPERATIONS[rule.rule], schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Firewitness", "version": __version__, "license": {"name": "AGPL-3.0-or-later"}},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(rule: str, operation: Operation, schemas: dict[str, Schema]) -> Schema:
    made: Schema = {"summary": operation.summary, "parameters": [*_in_path(rule), *_in_query(operation.query)]}
    if operation.answer is answers.Envelope:
        made["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": _UPLOAD} for kind in (JSON_TYPE, FORM_TYPE)},
        }
    elif operation.body is not None:
        kind = FORM_TYPE if operation.answer == _HTML else JSON_TYPE
        made["requestBody"] = {"required": True, "content": {kind: {"schema": _schema(operation.body, schemas)}}}
    made["responses"] = {
        str(operation.status): {"description": "Done.", "content": _content(operation.answer, schemas)}
    }
    if operation.answer is answers.Envelope:
        refused = {"description": "Refused: err_no tells why.", "content": _content(operation.answer, schemas)}
        made["responses"] |= dict.fromkeys(("405", "413", "503"), refused)
    for status in operation.problems:
        problem = {_PROBLEM_TYPE: {"schema": _schema(answers.Problem, schemas)}}
        made["responses"][str(status)] = {"description": "A problem.", "content": problem}
    return made


_UPLOAD: Schema = {
    "type": "object",
    "properties": {
        "req_id": {"type": ["string", "number", "boolean", "null"], "description": "Goes back as it came."},
        "image": {"type": ["string", "null"], "contentEncoding": "base64", "description": "JPEG, PNG, BMP or WebP."},
        "image_path": {"type": ["string", "null"], "description": "Below one of api.image_roots."},
    },
}


def _content(what: type[BaseModel] | str, schemas: dict[str, Schema]) -> Schema:
    if isinstance(what, str):
        return {what: {}}
    return {JSON_TYPE: {"schema": _schema(what, schemas)}}


def _schema(model: type[BaseModel], schemas: dict[str, Schema]) -> Schema:
    """A reference to the model's schema, which is put with the others."""
    if model.__name__ not in schemas:
        made = model.model_json_schema(ref_template=_REF)
        schemas.update(made.pop("$defs", {}))
        schemas[model.__name__] = made
    return {"$ref": _REF.format(model=model.__name__)}


def _in_path(rule: str) -> list[Schema]:
    formats = {"uuid": {"type": "string", "format": "uuid"}, "int": {"type": "integer", "minimum": 0}}
    return [
        {"name": name, "in": "path", "required": True, "schema": formats.get(kind, {"type": "string"})}
        for kind, name in _PATH_PARAMETER.findall(rule)
    ]


def _in_query(model: type[Parameters]) -> list[Schema]:
    made = model.model_json_schema(ref_template=_REF)
    return [
        {"name": name, "in": "query", "required": name in made.get("required", ()), "schema": _present(schema)}
        for name, schema in made.get("properties", {}).items()
    ]


def _present(schema: Schema) -> Schema:
    """Of a parameter that is there: null is its absence."""
    given = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default", "title")}
    return {**given[0], **rest} if len(given) == 1 else rest or schema
