# SPDX-License-Identifier: AGPL-3.0-or-later
"""POST /api/v1/captures: a fire panel's or a person's trigger; what may be captured is the supervisor's to say."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from flask import Blueprint, Response, jsonify
from pydantic import AfterValidator, Field, model_validator

from daemon.api.asking import carried_out
from daemon.api.live import Asks
from daemon.api.parameters import CameraName, Parameters, json_body, parse_body
from daemon.api.problems import Problem

MOST_BODY_BYTES = 100_000


def _true(value: bool) -> bool:
    if not value:
        raise ValueError("true means all cameras; false means none")
    return value


_All = Annotated[bool, Field(strict=True), AfterValidator(_true)]
_SiteName = Annotated[str, Field(strict=True, min_length=1, max_length=60)]
_Seconds = Annotated[float, Field(strict=True, ge=0, le=600, allow_inf_nan=False)]


class CaptureAsked(Parameters):
    """The body: some cameras, those of a site, or all; why; and how much of what was and what comes."""

    cameras: Annotated[list[CameraName] | None, Field(min_length=1)] = None
    site: Annotated[_All | _SiteName | None, Field(union_mode="left_to_right")] = None
    reason: Annotated[str, Field(strict=True, min_length=1, max_length=200)]
    before_s: _Seconds = 30.0
    after_s: _Seconds = 30.0

    @model_validator(mode="after")
    def _cameras_or_site(self) -> CaptureAsked:
        if (self.cameras is None) == (self.site is None):
            raise ValueError("give cameras, a list of names, or site, its name or true for all, and not both")
        return self


def blueprint(control: Asks) -> Blueprint:
    """Only JSON is taken: a page of another site cannot send it without asking first (guard.py refuses those anyway)."""
    api = Blueprint("captures_api", __name__, url_prefix="/api/v1")

    @api.post("/captures")
    def capture() -> tuple[Response, int]:
        asked = parse_body(CaptureAsked, json_body(MOST_BODY_BYTES))
        done = carried_out(control, "capture", asked.model_dump(exclude_none=True), "Nothing is captured")
        if not done["captures"]:
            why = "; ".join(f"{each['camera']}: {each['why']}" for each in done["refused"])
            raise Problem(HTTPStatus.CONFLICT, f"Nothing is captured. {why}.", **done)
        answer = jsonify(done)
        answer.headers["Cache-Control"] = "no-store"
        return answer, HTTPStatus.ACCEPTED

    return api
