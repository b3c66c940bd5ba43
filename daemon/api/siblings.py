# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the other cameras of its site kept of an incident, as its page shows it: some stills at once, and their clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from daemon.api.choice import evenly
from daemon.api.footage import Footage
from daemon.api.parameters import MOST_ITEMS
from daemon.domain import SIBLING
from daemon.storage.queries import Index

STILLS_SHOWN = 6

Item = dict[str, Any]


@dataclass(slots=True)
class Sibling:
    """One camera; stills in time order."""

    camera: str
    stills: list[Item] = field(default_factory=list)
    footage: list[Footage] = field(default_factory=list)

    @property
    def saw_itself(self) -> bool:
        """Whether one of its clips is an incident's own, and not only kept for this one."""
        return any(view.clip["kind"] != SIBLING for view in self.footage)


def of(index: Index, incident: Item, footage: Sequence[Footage]) -> list[Sibling]:
    """By name; `footage` is that of all clips that serve the incident."""
    found: dict[str, Sibling] = {}
    for item in index.evidence_page(incident=incident["id"], kind=SIBLING, limit=MOST_ITEMS)["items"][::-1]:
        if "image" in item:
            found.setdefault(item["camera"], Sibling(item["camera"])).stills.append(item)
    for view in footage:
        if view.clip["camera"] != incident["camera"]:
            found.setdefault(view.clip["camera"], Sibling(view.clip["camera"])).footage.append(view)
    for each in found.values():
        each.stills = evenly(each.stills, STILLS_SHOWN)
    return sorted(found.values(), key=lambda each: each.camera)
