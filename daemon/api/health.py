# SPDX-License-Identifier: AGPL-3.0-or-later
"""/healthz: this process answers. /readyz: the whole daemon can see and keep what it sees."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from daemon.api import problems
from daemon.api.live import LiveStatus


def blueprint(live: LiveStatus) -> Blueprint:
    """Both are open to any host and need no index."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        return _fresh(jsonify(status="ok"))

    @health.get("/readyz")
    def readyz() -> Response:
        now = live.now()
        if now.ready:
            return _fresh(jsonify(ready=True))
        why = now.why_not_ready()
        return problems.response(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {'; '.join(why)}.", ready=False, why=why)

    return health


def _fresh(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    return answer
