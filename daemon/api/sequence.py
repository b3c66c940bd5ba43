# SPDX-License-Identifier: AGPL-3.0-or-later
"""In which order the cameras of a site first saw a fire and were lost in it: /api/v1/incidents/<id>/sequence."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from daemon.api.live import LiveStatus
from daemon.api.parameters import NoParameters, parse
from daemon.api.problems import Problem
from daemon.clock import rfc3339
from daemon.origin.sequence import Event, Placed, sequence
from daemon.settings import Settings
from daemon.storage.queries import Index


def blueprint(settings: Settings, index: Index, live: LiveStatus) -> Blueprint:
    """The route."""
    api = Blueprint("sequence_api", __name__)

    @api.get("/api/v1/incidents/<uuid:incident_id>/sequence")
    def of_incident(incident_id: UUID) -> Response:
        parse(NoParameters, request.args)
        incident = index.incident_one(str(incident_id))
        if incident is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such incident.")
        answer = jsonify({"incident": str(incident_id), **of(settings, index, live, incident)})
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return api


def of(settings: Settings, index: Index, live: LiveStatus, incident: dict[str, Any]) -> dict[str, Any]:
    """The site of an incident's camera (None: it stands alone), the cameras there, and what befell them, in order.

    Sites are those of now, and of this process's start while the daemon is silent: a reload can change them.
    """
    started_with = {name: camera.site for name, camera in settings.cameras.items()}
    site, cameras = _site(live.now().status.get("sites", started_with), incident["camera"])
    events = index.site_events(incident["id"], cameras, settings.detect.max_interval)
    return {"site": site, "cameras": cameras, "items": [_item(each) for each in sequence(events)]}


def _site(sites: Mapping[str, str | None], camera: str) -> tuple[str | None, list[str]]:
    """The site of a camera and all cameras there; of a camera without site, itself."""
    site = sites.get(camera)
    if site is None:
        return None, [camera]
    return site, [name for name, each in sites.items() if each == site]


def _item(placed: Placed) -> dict[str, Any]:
    event = placed.event
    return {
        "what": event.what,
        "camera": event.camera,
        "id": event.id,
        "at": rfc3339(event.at_ns),
        "from": None if event.from_ns is None else rfc3339(event.from_ns),
        "to": rfc3339(event.to_ns),
        "how": event.how,
        "evidence": event.evidence,
        "frame": event.frame,
        "picture": _picture(event),
        "order_not_determined_with": list(placed.not_determined_with),
    }


def _picture(event: Event) -> str | None:
    """Where its still, or its frame of a clip, is shown."""
    if event.evidence is None:
        return None
    place = "image" if event.frame is None else f"frames/{event.frame}.jpg"
    return f"/api/v1/evidence/{event.evidence}/{place}"
