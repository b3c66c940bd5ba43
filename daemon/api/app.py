# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Flask application: routes, the guard around them, and one shape for every error."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from daemon.api import (
    assessments,
    captures,
    clips,
    codes,
    evidence,
    guard,
    health,
    metrics,
    openapi,
    origin,
    pages,
    problems,
    sequence,
)
from daemon.api.cameras import Cameras
from daemon.api.codes import Refusal
from daemon.api.live import Asks, LiveStatus
from daemon.api.problems import Problem
from daemon.api.response import ResponseArgument
from daemon.api.service import Detector, FireDetectorService
from daemon.clock import Clocks
from daemon.errors import StoreError
from daemon.settings import Settings
from daemon.storage.queries import Index

FIRE_DETECTOR = "/fire_detector"
_log = logging.getLogger("firewitness.api")


def create_app(
    settings: Settings,
    *,
    index: Index,
    live: LiveStatus,
    control: Asks,
    detector: Detector,
    clocks: Clocks,
    host: str,
    port: int,
) -> Flask:
    """All URLs of docs/api.md; evidence is served where `host`, at which it listens, is a loopback address (docs/decisions/0004)."""
    app = Flask("daemon.api")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    guard.install(app, host=host, port=port)
    _install_fire_detector(app, FireDetectorService(settings, detector))
    app.register_blueprint(health.blueprint(live))
    app.register_blueprint(metrics.blueprint(live))
    app.register_blueprint(openapi.blueprint())
    cameras = Cameras(settings, index, live)
    app.register_blueprint(evidence.blueprint(index, cameras, clocks))
    app.register_blueprint(captures.blueprint(control))
    app.register_blueprint(assessments.blueprint(index, control))
    app.register_blueprint(origin.blueprint(index, clocks))
    app.register_blueprint(sequence.blueprint(settings, index, live))
    app.register_blueprint(clips.blueprint(index))
    app.register_blueprint(pages.blueprint(settings, index, live, cameras, clocks))
    _install_errors(app)
    return app


def _install_fire_detector(app: Flask, service: FireDetectorService) -> None:
    def fire_detector() -> Response:
        content_type = request.headers.get("Content-Type", "")
        return _envelope(service.answer(content_type, request.content_length, request.stream))  # type: ignore[arg-type]

    app.add_url_rule(FIRE_DETECTOR, view_func=fire_detector, methods=["POST"], provide_automatic_options=False)


def _envelope(answer: ResponseArgument) -> Response:
    response = Response(answer.body(), answer.code.status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if answer.code in (codes.OVERLOADED, codes.NOT_READY):
        response.headers["Retry-After"] = "1"
    return response


def _install_errors(app: Flask) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return problems.response(error.status, str(error), **error.more)

    @app.errorhandler(HTTPException)
    def http_exception(error: HTTPException) -> Response:
        if request.path != FIRE_DETECTOR:
            return problems.of_http_exception(error)
        wrong_method = isinstance(error, MethodNotAllowed)
        refusal = Refusal(codes.NO_SUCH_METHOD if wrong_method else codes.UNREADABLE)
        answer = _envelope(ResponseArgument.from_refusal(refusal))
        if wrong_method:
            answer.headers["Allow"] = "POST"
        return answer

    @app.errorhandler(StoreError)
    def no_store(error: StoreError) -> Response:
        _log.warning("the index cannot be read: %s", error)
        return problems.response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The evidence cannot be read just now: the recorder has no usable store. See /readyz.",
        )

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        _log.exception("%s %s failed", request.method, request.path)
        if request.path == FIRE_DETECTOR:
            return _envelope(ResponseArgument.from_refusal(Refusal(codes.UNKNOWN)))
        return problems.response(HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of Firewitness; its log says more.")
