# SPDX-License-Identifier: AGPL-3.0-or-later
"""The evidence API, /api/v1: thin views over the index; what it says is what the records say."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from daemon.api.cameras import Cameras
from daemon.api.clips import with_frame
from daemon.api.image import image_response
from daemon.api.parameters import (
    EvidencePage,
    Image,
    IncidentsPage,
    NoParameters,
    Page,
    Span,
    parse,
)
from daemon.api.problems import Problem
from daemon.clock import NS, Clocks
from daemon.storage.queries import Index

DAY_NS = 86_400 * NS
NO_SUCH_EVIDENCE = "There is no such evidence, or it was purged when its retention was over; the ledger tells which."
NO_SUCH_INCIDENT = "There is no such incident."


def blueprint(index: Index, cameras: Cameras, clocks: Clocks) -> Blueprint:
    """Lists are newest first, their cursor stable while new rows come."""
    api = Blueprint("evidence_api", __name__, url_prefix="/api/v1")

    @api.get("/cameras")
    def list_cameras() -> Response:
        parse(NoParameters, request.args)
        return _fresh(cameras.now())

    @api.get("/evidence")
    def list_evidence() -> Response:
        return _page(index.evidence_page, parse(EvidencePage, request.args), cameras)

    @api.get("/evidence/<uuid:evidence_id>")
    def one_evidence(evidence_id: UUID) -> Response:
        parse(NoParameters, request.args)
        return _fresh(with_frame(index, _found(index.evidence_one(str(evidence_id)), NO_SUCH_EVIDENCE)))

    @api.get("/evidence/<uuid:evidence_id>/image")
    def evidence_image(evidence_id: UUID) -> Response:
        return image_response(index, str(evidence_id), parse(Image, request.args))

    @api.get("/incidents")
    def list_incidents() -> Response:
        return _page(index.incidents_page, parse(IncidentsPage, request.args), cameras)

    @api.get("/incidents/<uuid:incident_id>")
    def one_incident(incident_id: UUID) -> Response:
        parse(NoParameters, request.args)
        return _fresh(_found(index.incident_one(str(incident_id)), NO_SUCH_INCIDENT))

    @api.get("/gaps")
    def list_gaps() -> Response:
        return _page(index.gaps_page, parse(Page, request.args), cameras)

    @api.get("/coverage")
    def coverage() -> Response:
        span = parse(Span, request.args)
        cameras.check(span.camera)
        to_ns = clocks.wall_ns() if span.to_ns is None else span.to_ns
        from_ns = max(to_ns - DAY_NS, 0) if span.from_ns is None else span.from_ns
        return _fresh(index.coverage(camera=span.camera, from_ns=from_ns, to_ns=to_ns))

    return api


def _page(query: Callable[..., dict[str, Any]], asked: Page, cameras: Cameras) -> Response:
    cameras.check(asked.camera)
    try:
        return _fresh(query(**asked.model_dump()))
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cursor: {error}") from None


def _found(row: dict[str, Any] | None, sentence: str) -> dict[str, Any]:
    if row is None:
        raise Problem(HTTPStatus.NOT_FOUND, sentence)
    return row


def _fresh(value: dict[str, Any]) -> Response:
    answer = jsonify(value)
    answer.headers["Cache-Control"] = "no-store"
    return answer
