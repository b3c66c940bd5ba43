# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the recorder knows of incidents: the last state of each, and which one a new one continues. No clock, no I/O.

Workers send transitions, and the present states after each connection; here one ends as `interrupted` when its worker
is gone, and a suspect at the same place within 10 minutes of an interruption names the interrupted one as `previous`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from daemon.clock import NS
from daemon.detect.rules import same_place
from daemon.domain import IMPORTED, OPEN_STATES, Incident

CONTINUED_WITHIN_NS = 600 * NS
_OVER = ("ended", "unconfirmed")


class Incidents:
    """All cameras' open incidents, and those that were interrupted of late."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Incident]] = {}
        self._unsure: set[str] = set()
        """Ids whose last state may not be durable."""

    def know(self, stored: Iterable[Incident]) -> None:
        """Takes in what the index holds, at start."""
        for each in stored:
            self._of.setdefault(each.camera, {})[each.id] = each

    def changed(self, incident: Incident, aspect: float) -> Incident | None:
        """What a worker says of an incident as it is to be stored; None: it tells nothing new, since it came again.

        `aspect` is the camera's picture's width ÷ height. An incident that was interrupted (the recorder was gone, the
        worker lived on) has its worker's state again: the worker knows best.
        """
        known = self._of.setdefault(incident.camera, {})
        before = known.get(incident.id)
        previous = before.previous if before else self._continued(incident, aspect)
        stored = replace(incident, previous=previous)
        if before and incident.id not in self._unsure and _tells_nothing(before, stored):
            return None
        known[incident.id] = stored
        self._unsure.discard(incident.id)
        self._forget(incident.camera, incident.first_suspect_at_ns)
        return stored

    def doubt(self, ids: Iterable[str]) -> None:
        """The last states of these may not have become durable: they are to be stored when they come again."""
        self._unsure.update(ids)

    def cameras_with_open(self) -> list[str]:
        """Configured or not: a drill's camera too."""
        return [name for name, of in self._of.items() if any(each.state in OPEN_STATES for each in of.values())]

    def interrupt(self, camera: str, at_ns: int) -> list[Incident]:
        """The camera's worker is gone; `at_ns` is until when the camera was watched."""
        ended = []
        for each in list(self._of.get(camera, {}).values()):
            if each.state in OPEN_STATES:
                ended_at_ns = max(at_ns, each.first_confirmed_at_ns or each.first_suspect_at_ns)
                ended.append(replace(each, state="interrupted", ended_at_ns=ended_at_ns))
        self.know(ended)
        return ended

    def _continued(self, new: Incident, aspect: float) -> str | None:
        if new.kind != "detected":
            return None
        candidates = [
            each
            for each in self._of[new.camera].values()
            if each.state == "interrupted"
            and each.kind == "detected"
            and each.ended_at_ns is not None
            # both ways, since the wall clock can have stepped between the two
            and abs(new.first_suspect_at_ns - each.ended_at_ns) <= CONTINUED_WITHIN_NS
            and same_place(each.place, new.place, aspect)
        ]
        newest = max(candidates, key=lambda each: (each.ended_at_ns, each.id), default=None)
        return newest.id if newest else None

    def _forget(self, camera: str, at_ns: int) -> None:
        known = self._of[camera]
        for each in list(known.values()):
            if each.ended_at_ns is not None and each.ended_at_ns < at_ns - 2 * CONTINUED_WITHIN_NS:
                del known[each.id]
                self._unsure.discard(each.id)


def _tells_nothing(before: Incident, again: Incident) -> bool:
    """Whether `again` was said before the last state was: a worker sends again what was not acknowledged to it."""
    if again == before:
        return True
    if before.state in _OVER:
        return before.kind != IMPORTED  # it can be looked at again, and what is seen then holds
    return again.state == "suspect" and before.first_confirmed_at_ns is not None
