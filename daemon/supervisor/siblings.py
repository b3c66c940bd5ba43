# SPDX-License-Identifier: AGPL-3.0-or-later
"""For which incidents on other cameras of its site each camera keeps its pictures (docs/origin.md, Siblings); pure.

    confirmed on one camera ──▶ kept by the others ──▶ that camera is watched, and it is over there

A camera that falls silent in a fire cannot tell its end: what was confirmed on it goes on for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_S = 6 * 3600.0  # of one incident: a file that grows gives no way to others


@dataclass(frozen=True, slots=True)
class Told:
    """One camera, as its worker last said."""

    site: str | None
    confirmed: tuple[str, ...]
    """Incidents on it that are confirmed and open."""
    watched: bool
    """Whether it sees what happens."""


@dataclass(frozen=True, slots=True)
class _Fire:
    camera: str
    began_s: float


class Siblings:
    """All sites'."""

    def __init__(self) -> None:
        self._fires: dict[str, _Fire] = {}
        """By incident; also what has gone on for too long, until it is over."""

    def kept_for(self, now_s: float, cameras: Mapping[str, Told]) -> dict[str, tuple[str, ...]]:
        """Camera → incidents of the others of its site, the first confirmed first."""
        self._follow(now_s, cameras)
        running = {id_: fire for id_, fire in self._fires.items() if now_s - fire.began_s <= MOST_S}
        return {
            name: tuple(
                id_
                for id_, fire in running.items()
                if fire.camera != name and told.site is not None and cameras[fire.camera].site == told.site
            )
            for name, told in cameras.items()
        }

    def _follow(self, now_s: float, cameras: Mapping[str, Told]) -> None:
        for name, told in cameras.items():
            for id_ in told.confirmed:
                self._fires.setdefault(id_, _Fire(name, now_s))
        for id_, fire in list(self._fires.items()):
            if not _goes_on(id_, fire, now_s, cameras.get(fire.camera)):
                del self._fires[id_]


def _goes_on(id_: str, fire: _Fire, now_s: float, told: Told | None) -> bool:
    if told is None:
        return False
    return id_ in told.confirmed or (not told.watched and now_s - fire.began_s <= MOST_S)
