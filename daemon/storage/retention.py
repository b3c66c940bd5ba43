# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether evidence can be kept for as long as was asked: makes room where the disk is short, and says what that costs.

Lives as long as the recorder, across stores that fail and are opened again.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from daemon.clock import NS, Clocks
from daemon.settings import StorageSettings
from daemon.storage import rates
from daemon.storage.room import HOUR_NS, Hourly
from daemon.storage.store import Store

SAID_FOR_NS = 24 * HOUR_NS  # since room had to be made last
ASKED_EVERY_NS = 600 * NS  # reads an entry for each still
_log = logging.getLogger("firewitness")


class Retention:
    """`state` is `ok`, or one sentence on what cannot be kept."""

    def __init__(self, settings: StorageSettings, clocks: Clocks) -> None:
        self.state = "ok"
        self._settings, self._clocks = settings, clocks
        self._asked = f"{settings.retention / 86_400:g} d"
        self._hourly = Hourly()
        self._making = False
        self._held_back = False
        self._gone: Counter[str] = Counter()
        """Of the hour that is being told: stills and bytes."""
        self._made_at_ns: int | None = None
        self._next_said_ns = self._next_asked_ns = 0
        self._seen: rates.Seen | None = None

    def stored(self, size: int) -> None:
        """So many bytes of stills became durable."""
        self._hourly.stored(size)

    def keep(self, store: Store) -> None:
        """Once a second and after each group: one portion goes where the disk is near its reserve."""
        now_ns = self._clocks.monotonic_ns()
        space, held = store.space(), store.held.bytes
        left = self._hourly.left(now_ns, held)
        self._making = space.is_short or (self._making and space.wanted > 0)
        removed = []
        if self._making and space.can_purge and left > 0:
            removed = store.purge.make_room(min(space.wanted, left))
        if removed:
            size = sum(due.bytes for due in removed)
            self._hourly.removed(size)
            self._gone.update(stills=len(removed), bytes=size)
            self._made_at_ns = now_ns
        held_back = self._making and not removed
        if held_back != self._held_back:
            self._held_back = held_back
            if held_back:
                _log.error("disk: %s", self._why_not(store, held))
        self._say(store, now_ns)

    def facts(self, store: Store) -> dict[str, Any]:
        """Of a beat: what is held, since when, and for how long it will be."""
        now_ns = self._clocks.monotonic_ns()
        if now_ns >= self._next_asked_ns:
            self._next_asked_ns = now_ns + ASKED_EVERY_NS
            self._seen = store.read(rates.seen)
        lasts_s = None
        if self._seen is not None:
            allowed = store.space().allowed(store.held.bytes)
            lasts_s = rates.lasts_s(self._seen.cameras, self._settings, allowed)
        return {
            "evidence_stills": store.held.stills,
            "evidence_bytes": store.held.bytes,
            "oldest_evidence_at_ns": store.oldest_at_ns(),
            "retention": self.state,
            "retention_forecast_s": lasts_s,
        }

    def _say(self, store: Store, now_ns: int) -> None:
        if self._made_at_ns is None:
            return
        if now_ns - self._made_at_ns >= SAID_FOR_NS:
            self._made_at_ns, self.state = None, "ok"
            _log.info("disk: no space had to be made for a day")
            return
        if now_ns < self._next_said_ns or not self._gone:
            return
        self._next_said_ns = now_ns + HOUR_NS
        self.state = f"space purged; oldest evidence is {_days(self._age_s(store))} days, retention asked {self._asked}"
        stills, megabytes = self._gone["stills"], self._gone["bytes"] / 1e6
        _log.warning("disk: %s (%d stills, %.1f MB went since this was last said)", self.state, stills, megabytes)
        self._gone.clear()

    def _age_s(self, store: Store) -> float:
        at_ns = store.oldest_at_ns()
        return 0.0 if at_ns is None else max(0, store.now_ns() - at_ns) / NS

    def _why_not(self, store: Store, held: int) -> str:
        if not held:
            return f"{store.root} is nearly full, and not of evidence: nothing can be purged"
        if not store.space().can_purge:
            return f"{store.root} is so full that not even a purge can be written down: free some of it"
        return (
            f"{store.root} is nearly full of other files: no more evidence goes for space in this hour "
            "(a tenth of it, and as much as was stored)"
        )


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.1f}"
