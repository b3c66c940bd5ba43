# SPDX-License-Identifier: AGPL-3.0-or-later
"""While a fire is confirmed on one camera of a site, its other cameras keep their pictures too; pure.

    quiet ──one confirmed──▶ ring and 60 s, a still a second ──▶ a still every 2 s, 60 s at a time ──none confirmed any more──▶ quiet

Light on other walls tells where a fire is, and a camera that falls silent was last seen at most 2 s before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from daemon.supervisor.captures import LONGEST_S, Wanted

AFTER_S = 60.0
EVERY_S = 1.0
LATER_EVERY_S = 2.0
MOST_S = 3600.0  # of one fire: what burns for longer is known by then
AGAIN_S = 1.0  # between two tries with a camera that cannot now


@dataclass(slots=True)
class _Fire:
    """One site's, from its first confirmed camera until none is."""

    of: str
    """The camera that was first."""
    began_s: float
    saved: set[str] = field(default_factory=set)
    """Cameras whose ring was asked for."""
    tried_s: float = float("-inf")


class Siblings:
    """All sites'."""

    def __init__(self) -> None:
        self._fires: dict[str, _Fire] = {}

    def due(
        self, now_s: float, sites: Mapping[str, str | None], burning: Collection[str], capturing: Collection[str]
    ) -> list[Wanted]:
        """Captures to be asked for now: of the cameras of `sites` that neither burn nor keep pictures already."""
        found: list[Wanted] = []
        members: dict[str, list[str]] = {}
        for camera, site in sites.items():
            if site is not None:
                members.setdefault(site, []).append(camera)
        for site, cameras in members.items():
            first = next((each for each in cameras if each in burning), None)
            if first is None:
                self._fires.pop(site, None)
                continue
            fire = self._fires.setdefault(site, _Fire(first, now_s))
            if now_s - fire.began_s <= MOST_S and now_s - fire.tried_s >= AGAIN_S:
                fire.tried_s = now_s
                idle = [each for each in cameras if each not in burning and each not in capturing]
                found += [_wanted(each, fire, site) for each in idle]
        for gone in self._fires.keys() - members.keys():
            del self._fires[gone]
        return found

    def began(self, camera: str, site: str) -> None:
        """A camera has taken it up: its ring is not asked for again."""
        if site in self._fires:
            self._fires[site].saved.add(camera)


def _wanted(camera: str, fire: _Fire, site: str) -> Wanted:
    is_first = camera not in fire.saved
    return Wanted(
        (camera,),
        f"sibling: fire confirmed on {fire.of}, site {site}",
        before_s=LONGEST_S if is_first else 0.0,  # as much as its ring holds
        after_s=AFTER_S,
        kind="sibling",
        every_s=EVERY_S if is_first else LATER_EVERY_S,
    )
