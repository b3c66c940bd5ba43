# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a person makes of an incident, as JSON and from its page's form; the recorder writes it, as the only one who writes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from daemon.api.asking import carried_out
from daemon.api.evidence import NO_SUCH_INCIDENT
from daemon.api.live import Asks
from daemon.api.parameters import Parameters, json_body, parse, parse_body
from daemon.api.problems import Problem
from daemon.domain import AssessmentSays
from daemon.storage.queries import Index

MOST_BODY_BYTES = 20_000


class Assessed(Parameters):
    """The body: what it was; who says so, and why, in their words."""

    says: AssessmentSays
    by: Annotated[str, Field(max_length=60)] = ""
    note: Annotated[str, Field(max_length=500)] = ""


def blueprint(index: Index, control: Asks) -> Blueprint:
    """A page of another site can send neither: guard.py refuses what is not ours."""
    api = Blueprint("assessments_api", __name__)

    @api.post("/api/v1/incidents/<uuid:incident_id>/assessments")
    def assess(incident_id: UUID) -> tuple[Response, int]:
        told = parse_body(Assessed, json_body(MOST_BODY_BYTES))
        answer = jsonify(_told(index, control, str(incident_id), told))
        answer.headers["Cache-Control"] = "no-store"
        return answer, HTTPStatus.CREATED

    @api.post("/incidents/<uuid:incident_id>/assess")
    def assess_on_page(incident_id: UUID) -> AnyResponse:
        request.max_content_length = MOST_BODY_BYTES
        _told(index, control, str(incident_id), parse(Assessed, request.form))
        to = url_for("pages.incident", incident_id=incident_id, _anchor="assessments")
        return redirect(to, HTTPStatus.SEE_OTHER)

    return api


def _told(index: Index, control: Asks, incident: str, told: Assessed) -> dict[str, Any]:
    if index.incident_one(incident) is None:
        raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH_INCIDENT)
    return carried_out(control, "assess", {"incident": incident, **told.model_dump()}, "It is not noted")
