# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the command `capture` may ask for; pure. HTTP and command line check too: this socket is open to any client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.errors import FirewitnessError
from daemon.settings import CameraSettings

LONGEST_S = 600.0
LONGEST_REASON = 200
MOST_STILLS = 600
"""Of one camera's capture: longer ones have their stills further apart, evenly."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which cameras, why, and how much before and after now."""

    cameras: tuple[str, ...]
    reason: str
    before_s: float
    after_s: float


def wanted(arguments: Mapping[str, Any], configured: Mapping[str, CameraSettings]) -> Wanted:
    """Raises FirewitnessError."""
    given = arguments.get("reason")
    reason = given.strip() if isinstance(given, str) else ""
    if not 1 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise FirewitnessError(f"capture: reason must be one line of text, of 1 to {LONGEST_REASON} characters")
    return Wanted(
        _cameras(arguments, configured), reason, _seconds(arguments, "before_s"), _seconds(arguments, "after_s")
    )


def every_s(active_fps: float, seconds: float) -> float:
    """Between two stills of a capture of so many seconds."""
    return max(1 / active_fps, seconds / MOST_STILLS)


def _cameras(arguments: Mapping[str, Any], configured: Mapping[str, CameraSettings]) -> tuple[str, ...]:
    names, site = arguments.get("cameras"), arguments.get("site")
    if site is True or isinstance(site, str):
        if names:
            raise FirewitnessError("capture: give cameras or site, not both")
        return _of_site(site, configured)
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise FirewitnessError("capture: give cameras, a list of names, or site, its name or true for all")
    if unknown := [each for each in names if each not in configured]:
        raise FirewitnessError(
            f"capture: there is no camera {unknown[0][:63]!r}; there are {', '.join(configured) or 'none yet'}"
        )
    return tuple(dict.fromkeys(names))


def _of_site(site: str | bool, configured: Mapping[str, CameraSettings]) -> tuple[str, ...]:
    enabled = {name: camera.site for name, camera in configured.items() if camera.enabled}
    if not enabled:
        raise FirewitnessError("capture: no camera is configured and enabled")
    found = tuple(name for name, its in enabled.items() if site is True or its == site)
    if not found:
        sites = ", ".join(sorted({its for its in enabled.values() if its is not None})) or "none"
        raise FirewitnessError(f"capture: no enabled camera has the site {str(site)[:60]!r}; there are {sites}")
    return found


def _seconds(arguments: Mapping[str, Any], name: str) -> float:
    value = arguments.get(name, 30.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_S:
        raise FirewitnessError(f"capture: {name} must be a number of seconds from 0 to {LONGEST_S:.0f}")
    return float(value)
