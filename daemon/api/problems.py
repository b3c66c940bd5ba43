# SPDX-License-Identifier: AGPL-3.0-or-later
"""Errors of every URL but /fire_detector, as problem details (RFC 9457): one sentence for a person in `detail`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from flask import Response, render_template, request
from werkzeug.exceptions import HTTPException

from daemon.errors import FirewitnessError


class Problem(FirewitnessError):
    """A request is answered with this status; `more` are members of the problem beside the standard ones."""

    def __init__(self, status: HTTPStatus, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.more = more


def response(status: int, detail: str, **more: Any) -> Response:
    """The answer itself; the type is about:blank, so the title is the status's own phrase (RFC 9457, 4.2.1).

    A browser that asked for a page gets the same words as a page.
    """
    if not request.path.startswith("/api/") and _wants_page():
        page = render_template("error.html", title=_phrase(status), detail=detail)
        return Response(page, status, {"Cache-Control": "no-store"}, content_type="text/html; charset=utf-8")
    body = {"type": "about:blank", "title": _phrase(status), "status": status, "detail": detail, **more}
    answer = Response(json.dumps(body) + "\n", status, content_type="application/problem+json")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def of_http_exception(error: HTTPException) -> Response:
    """Werkzeug's own errors (404, 405, 416, …), their headers such as Allow kept."""
    given = error.get_response()
    answer = response(error.code or 500, error.description or _phrase(error.code or 500))
    for name, value in given.headers:
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _wants_page() -> bool:
    return request.accept_mimetypes.best_match(["application/problem+json", "text/html"]) == "text/html"
