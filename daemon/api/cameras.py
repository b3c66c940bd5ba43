# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras of a site: those configured now and those the evidence knows, with what the daemon says of them now."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from daemon.api.live import Live, LiveStatus
from daemon.api.problems import Problem
from daemon.clock import rfc3339
from daemon.domain import DRILL_CAMERA
from daemon.settings import Settings
from daemon.storage.queries import Index


class Cameras:
    """What /api/v1/cameras answers and the page shows."""

    def __init__(self, settings: Settings, index: Index, live: LiveStatus) -> None:
        self._configured = tuple(settings.cameras)
        self._index = index
        self._live = live

    def names(self) -> list[str]:
        """Those of now in their order, then those that only the evidence knows."""
        return self._names(self._live.now())

    def _names(self, live: Live) -> list[str]:
        now = self._of_now(live)
        known = [camera["name"] for camera in self._index.cameras()]
        return [*now, *(name for name in known if name not in now)]

    def _of_now(self, live: Live) -> tuple[str, ...]:
        """The daemon knows what a reload has changed; while it is silent, what this process was started with."""
        return tuple(live.status.get("cameras", self._configured))

    def check(self, name: str | None) -> None:
        """Raises Problem 400 for a name that nothing has: an empty list would look like "nothing was seen"."""
        if name is None or name == DRILL_CAMERA or name in self.names() or self._index.has_of(name):
            return
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"camera: there is no {name}; there are {', '.join(self.names()) or 'none yet'}"
        )

    def now(self) -> dict[str, Any]:
        """Items by name, and whether the daemon answers; without its answer states are `unknown`."""
        live = self._live.now()
        first_seen = {camera["name"]: camera["first_seen_at"] for camera in self._index.cameras()}
        return {
            "items": [self._one(name, live, first_seen.get(name)) for name in self._names(live)],
            "daemon": {"ready": live.ready, "why": live.why_not_ready()},
        }

    def _one(self, name: str, live: Live, first_seen_at: str | None) -> dict[str, Any]:
        said = live.status.get("cameras", {}).get(name, {})
        if name not in self._of_now(live):
            said = {"state": "removed", "condition": "disabled", "detail": "not in the configuration any more"}
        elif live.silence:
            said = {"state": "unknown", "condition": "daemon", "detail": live.silence}
        watched_at_ns = said.get("watched_at_ns")
        return {
            "name": name,
            "state": said.get("state", "unknown"),
            "condition": said.get("condition", "daemon"),
            "detail": said.get("detail") or "",
            "watched_at": rfc3339(watched_at_ns) if watched_at_ns is not None else None,
            "first_seen_at": first_seen_at,
            "drill": name == DRILL_CAMERA,
            "incident": said.get("incident") or None,
            "width": said.get("width") or None,
            "height": said.get("height") or None,
            "codec": said.get("codec") or None,
            "camera_clock_offset_s": said.get("camera_clock_offset_s"),
        }
