# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parameters of the evidence API, checked at the door: nothing unknown, nothing twice, one sentence for a mistake."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from flask import request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import from_json
from werkzeug.datastructures import MultiDict

from daemon.api.problems import Problem
from daemon.clock import NS
from daemon.domain import EvidenceKind, IncidentState, Label
from daemon.settings import CAMERA_NAME

MOST_ITEMS = 500
DEFAULT_ITEMS = 50
_LATEST_NS = 2**63 - 1  # of SQLite's integers: the year 2262
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+ -]\d\d:\d\d)\Z")
_EPOCH = re.compile(r"\d{1,11}(?:\.\d{1,20})?\Z")
_HOW_TIMES_ARE_WRITTEN = "write a time such as 2026-11-23T16:05:09.123Z, or seconds since 1970"


def time_ns(text: Any) -> int:
    """RFC 3339 with Z or offset, or epoch seconds → UTC nanoseconds; raises ValueError.

    An offset's `+` that a URL turned into a space is turned back.
    """
    if not isinstance(text, str):
        raise ValueError(_HOW_TIMES_ARE_WRITTEN)
    if _EPOCH.match(text):
        return _in_range(int(Decimal(text) * NS))
    found = _RFC3339.match(text)
    if found is None:
        raise ValueError(_HOW_TIMES_ARE_WRITTEN)
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    try:
        whole_s = int(datetime.fromisoformat(f"{day}T{clock}{zone}").timestamp())
    except (ValueError, OverflowError):
        raise ValueError("there is no such time") from None
    return _in_range(whole_s * NS + int((fraction or "0").ljust(9, "0")))


def _in_range(at_ns: int) -> int:
    if not 0 <= at_ns <= _LATEST_NS:
        raise ValueError("times from 1970 to 2262 are allowed")
    return at_ns


def _camera(name: str) -> str:
    if not CAMERA_NAME.match(name):
        raise ValueError("a camera's name has a-z, 0-9, - and _")
    return name


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("write an id as the API gives it, a UUID") from None


TimeNs = Annotated[
    int,
    BeforeValidator(time_ns),
    WithJsonSchema({"type": "string", "description": "RFC 3339 with Z or an offset, or seconds since 1970."}),
]
CameraName = Annotated[
    str, AfterValidator(_camera), WithJsonSchema({"type": "string", "pattern": f"^{CAMERA_NAME.pattern[:-2]}$"})
]
Id = Annotated[str, AfterValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]


class Parameters(BaseModel):
    """What all lists have in common. `from` is inclusive, `to` exclusive; UTC nanoseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(Parameters):
    """One camera or all, in an interval."""

    camera: CameraName | None = None
    from_ns: Annotated[TimeNs | None, Field(alias="from")] = None
    to_ns: Annotated[TimeNs | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.from_ns is not None and self.to_ns is not None and self.from_ns > self.to_ns:
            raise ValueError("from must not be later than to")
        return self


class Page(Span):
    """A page of a list, newest first."""

    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] = DEFAULT_ITEMS
    cursor: Annotated[str, Field(max_length=200)] | None = None


class EvidencePage(Page):
    """/api/v1/evidence."""

    label: Label | None = None
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    incident: Id | None = None
    kind: EvidenceKind | None = None


class IncidentsPage(Page):
    """/api/v1/incidents."""

    state: IncidentState | None = None


class Image(Parameters):
    """/api/v1/evidence/<id>/image: nothing is the stored bytes."""

    boxes: Literal["0", "1"] = "0"
    width: Annotated[int, Field(ge=64, le=1920)] | None = None


class AnalysisOf(Parameters):
    """Which of an incident's analyses; without it the newest."""

    analysis: Id | None = None


class Origin(AnalysisOf):
    """/api/v1/incidents/<id>/origin: one analysis, or all of them, the newest first."""

    all: Literal["0", "1"] = "0"


class ClipOf(Parameters):
    """Which of an incident's clips; without it the first."""

    clip: Id | None = None


class NoParameters(Parameters):
    """A URL that takes none."""


Model = TypeVar("Model", bound=Parameters)


def parse(model: type[Model], given: MultiDict[str, str]) -> Model:
    """The parameters of a query string; raises Problem 400 with one sentence a mistake."""
    twice = [name for name, values in given.lists() if len(values) > 1]
    if twice:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{twice[0]}: given twice")
    try:
        return model.model_validate(given.to_dict())
    except ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, _sentences(model, error, "the query")) from None


def json_body(most_bytes: int) -> bytes:
    """The request's body, as it came; raises Problem 413 or 415."""
    if request.mimetype != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send a JSON object with Content-Type: application/json.")
    body = request.stream.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may have {most_bytes} bytes.")
    return bytes(body)


def parse_body(model: type[Model], body: bytes) -> Model:
    """The members of a JSON object; raises Problem 400 with one sentence a mistake."""
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, _sentences(model, error, "the body")) from None


def _sentences(model: type[Parameters], error: ValidationError, whole: str) -> str:
    return "; ".join(_sentence(model, each, whole) for each in error.errors())


def _sentence(model: type[Parameters], error: Any, whole: str) -> str:
    name = ".".join(str(part) for part in error["loc"][:1]) or whole
    if error["type"] == "extra_forbidden":
        known = ", ".join(field.alias or at for at, field in model.model_fields.items()) or "none"
        return f"{name[:60]}: there is no such parameter; allowed are {known}"
    what = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}: {what[0].lower()}{what[1:]}"
