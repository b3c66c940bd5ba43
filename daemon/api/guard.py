# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may see what before there are users: evidence only on loopback, under a loopback name (docs/decisions/0004)."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.datastructures import Headers

from daemon.api.problems import Problem
from daemon.loopback import in_url, is_loopback

OPEN_PATHS = frozenset(("/fire_detector", "/healthz", "/readyz"))
_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_SECURITY_HEADERS = {
    # Nothing inline, nothing from elsewhere, no framing: what a page shows comes from this host alone.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def install(app: Flask, *, host: str, port: int) -> None:
    """Guards every request of `app`, which listens at `host` and `port`, and marks every answer."""
    on_loopback, own = is_loopback(host), in_url(host)
    names = _LOOPBACK_NAMES | {own} if on_loopback else _LOOPBACK_NAMES

    @app.before_request
    def guard() -> None:
        if request.path in OPEN_PATHS:
            return
        if not on_loopback:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "This Firewitness listens beyond its own host and has no users yet, so evidence is not served here. Set api.host "
                f"to 127.0.0.1 and look through ssh -L {port}:127.0.0.1:{port} HOST, then http://127.0.0.1:{port}/",
            )
        # A page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding); it cannot forge Host.
        if _name(request.headers.get("Host", "")) not in names:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"Evidence is served under the names localhost, 127.0.0.1 and [::1] only: open http://{own}:{port}/",
            )
        if request.method not in _SAFE_METHODS and _is_foreign(request.headers):
            raise Problem(HTTPStatus.FORBIDDEN, "A page of another site may not change anything here.")

    @app.after_request
    def mark(answer: Response) -> Response:
        for name, value in _SECURITY_HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser sends this for a page that is not ours; programs send neither header."""
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("Host", "").lower()


def _name(host: str) -> str:
    """Of a Host header, without its port: `ssh -L` may map any."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
