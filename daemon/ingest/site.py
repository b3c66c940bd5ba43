# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a camera keeps while an incident runs on another one of its site: its clip, and stills where that is not enough.

A still of the moment at which each incident became known shows at once what the clip shows once it is closed. From then
on stills are for what the clip leaves out: while the ring cannot be used, and between key frames that are far from one
another once there are only these, so that the last good frame before a loss is at most 2 s older.
"""

from __future__ import annotations

from daemon.clock import NS
from daemon.domain import SIBLING
from daemon.ingest.clipping import Clipping
from daemon.ingest.colour import Converter
from daemon.ingest.frames import Picture
from daemon.ingest.keeping import Rank
from daemon.ingest.outbox import Outbox
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.unanalysed import record_of
from daemon.messages import StillTaken
from daemon.storage.still import encode

OFTEN_NS = (
    NS  # from the last one that is kept: pictures up to 2 s apart then leave no more than 2 s between two that are
)


class Site:
    """One camera's. Without an incident elsewhere it costs a comparison a picture."""

    def __init__(self, plan: WorkerPlan, converter: Converter, clipping: Clipping, outbox: Outbox) -> None:
        self._plan, self._converter, self._clipping, self._outbox = plan, converter, clipping, outbox
        self._incidents: tuple[str, ...] = ()
        self._new: list[str] = []
        """Those of which there is no still yet."""
        self._kept_ns = 0
        """Moment of the last still, on CLOCK_MONOTONIC."""

    def burns(self, incidents: tuple[str, ...]) -> None:
        """These run on other cameras of the site now, and no others."""
        self._new = [each for each in incidents if each in self._new or each not in self._incidents]
        self._incidents = incidents
        self._clipping.site_burns(incidents)

    def came(self, picture: Picture, *, burning: bool) -> None:
        """A picture of the main stream was decoded. Where it is `burning` here, its own incident's stills are enough."""
        if not self._incidents:
            return
        if burning:
            self._new.clear()
        elif self._new:
            self._keep(picture, self._new.pop(0))
        elif picture.mono_ns - self._kept_ns >= OFTEN_NS and not self._clipping.films(picture.mono_ns, OFTEN_NS):
            self._keep(picture, self._incidents[0])

    def _keep(self, picture: Picture, incident: str) -> None:
        self._kept_ns = picture.mono_ns
        if self._outbox.bytes >= self._plan.unacked_bytes // 2:  # it must not push out what the detector sees
            return
        evidence = record_of(self._plan, picture, SIBLING, incident)
        jpeg = encode(self._converter.full(picture.frame, picture.colour), evidence)
        self._outbox.still(StillTaken(evidence=evidence), jpeg, Rank.MANUAL)
