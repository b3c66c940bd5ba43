# SPDX-License-Identifier: AGPL-3.0-or-later
"""What going back found of an incident: /api/v1/incidents/<id>/origin, /growth and /arrival.png; docs/origin.md.

It says when and where fire first appeared to this camera, as the newest analysis has it, and never a cause.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for

from daemon.api.parameters import AnalysisOf, Origin, parse
from daemon.api.problems import Problem
from daemon.clock import NS, Clocks
from daemon.origin.arrival import overlay
from daemon.origin.doubt import doubt_in
from daemon.origin.record import Arrival
from daemon.storage.queries import Index

PATIENCE_NS = 600 * NS  # an analysis that has not come by then was given up (docs/origin.md, In the worker)
SCALE = 20  # pixels of the picture for a cell of the grid

_NO_INCIDENT = "There is no such incident."
_NO_ANALYSIS = "The incident has no such analysis."
_NOT_CONFIRMED = "The incident was not confirmed: only then is its beginning looked for."
_ASKED_FOR = (
    "The incident is a capture that somebody asked for: there is nothing of which a beginning could be looked for."
)
_UNDER_WAY = "Going back is under way: the incident was confirmed less than ten minutes ago."
_NONE = (
    "There is no analysis of this incident: nothing was held any more of what came before it, or going back was given up "
    "because the detector had no time for it or the daemon ended."
)


def blueprint(index: Index, clocks: Clocks) -> Blueprint:
    """Routes below an incident."""
    api = Blueprint("origin_api", __name__, url_prefix="/api/v1/incidents/<uuid:incident_id>")

    def one(incident_id: UUID, wanted: str | None) -> dict[str, Any]:
        return _chosen(_analyses(index, clocks, str(incident_id)), wanted)

    def named(answer: Response, name: str, incident_id: UUID, body: dict[str, Any]) -> Response:
        """Says which analysis it is of: what was asked for without one is another one's tomorrow."""
        answer.headers["Content-Location"] = url_for(f".{name}", incident_id=incident_id, analysis=body["id"])
        return _fresh(answer)

    @api.get("/origin")
    def origin(incident_id: UUID) -> Response:
        asked = parse(Origin, request.args)
        found = _analyses(index, clocks, str(incident_id))
        if asked.all == "1":
            return _fresh(jsonify({"items": [_origin(each) for each in found]}))
        body = _chosen(found, asked.analysis)
        return named(jsonify(_origin(body)), "origin", incident_id, body)

    @api.get("/growth")
    def growth(incident_id: UUID) -> Response:
        body = one(incident_id, parse(AnalysisOf, request.args).analysis)
        items = [{"at": each["at"], "fire": each["fire"], "smoke": each["smoke"]} for each in body["growth"]]
        told = {
            "analysis": body["id"],
            "model": body["model"],
            "of": "area of boxes, as shares of the picture",
            "items": items,
        }
        return named(jsonify(told), "growth", incident_id, body)

    @api.get("/arrival.png")
    def arrival(incident_id: UUID) -> Response:
        body = one(incident_id, parse(AnalysisOf, request.args).analysis)
        picture = Response(arrival_png(body["arrival"]), content_type="image/png")
        return named(picture, "arrival", incident_id, body)

    return api


def _analyses(index: Index, clocks: Clocks, incident_id: str) -> list[dict[str, Any]]:
    """The bodies of an incident's analyses, the newest first; Problem 404 with `state` where there is none yet."""
    incident = index.incident_one(incident_id)
    if incident is None:
        raise Problem(HTTPStatus.NOT_FOUND, _NO_INCIDENT)
    found = index.analyses(incident_id)
    if found:
        return found
    state, why = why_none(index, incident, clocks.wall_ns())
    raise Problem(HTTPStatus.NOT_FOUND, why, state=state)


def _chosen(found: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    """The newest, or the one that is asked for."""
    chosen = found[0] if wanted is None else next((each for each in found if each["id"] == wanted), None)
    if chosen is None:
        raise Problem(HTTPStatus.NOT_FOUND, _NO_ANALYSIS)
    return chosen


def why_none(index: Index, incident: dict[str, Any], now_ns: int) -> tuple[str, str]:
    """Of an incident without an analysis: how going back stands, in a word and in a sentence."""
    if incident["kind"] == "manual":
        return "not_confirmed", _ASKED_FOR
    confirmed_at_ns = index.confirmed_at_ns(incident["id"])
    if confirmed_at_ns is None:
        return "not_confirmed", _NOT_CONFIRMED
    if abs(now_ns - confirmed_at_ns) < PATIENCE_NS:  # one of a clock that was years ahead is not under way for years
        return "under_way", _UNDER_WAY
    return "none", _NONE


def _origin(body: dict[str, Any]) -> dict[str, Any]:
    """The body of an analysis without what has URLs of its own, and without times that JSON's readers would round."""
    first, last, doubt = body["first_visible"], body["last_clean"], doubt_in(body)
    kept = ("id", "incident", "camera", "source", "times", "analysed_at", "previous", "model", "thresholds")
    return {
        **{key: body[key] for key in kept},
        "confirmed_at": body["confirmed_at"],
        "first_visible": _without_exact(first),
        "burning_when_record_begins": last is None and doubt is None,
        "last_clean": None if last is None else _without_exact(last),
        "clean_s": body["clean_s"],
        "doubt": None if doubt is None else {"why": doubt["why"], "since": doubt["since"]},
        "ended": body["ended"],
        "component": body["component"],
        "chain": [_without_exact(each) for each in body["chain"]],
        "looks": body["looks"],
        "drill": body["drill"],
        "version": body["version"],
    }


def _without_exact(of: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key not in ("at_ns", "pts")}


def arrival_png(arrival: dict[str, Any]) -> bytes:
    """The map as a transparent picture to lay over a still."""
    columns, rows = arrival["columns"], arrival["rows"]
    cells = [Arrival(column, row, label, float(after_s)) for column, row, label, after_s in arrival["cells"]]
    return overlay(cells, (columns * SCALE, rows * SCALE), columns, rows)


def _fresh(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    return answer
