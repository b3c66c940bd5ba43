# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the service manager is told: ready, the state in a sentence, and that the watchdog may sleep on."""

from __future__ import annotations

from daemon.supervisor.notify import notify, watchdog_period_s

FEEDS_A_PERIOD = 3


class Systemd:
    """Tells changes, and feeds the watchdog while it is told that all goes on."""

    def __init__(self) -> None:
        self._told = ""
        self._ready = False
        period_s = watchdog_period_s()
        self._feed_every_s = period_s / FEEDS_A_PERIOD if period_s is not None else None
        self._next_feed_s = 0.0

    def tick(self, now_s: float, *, ready: bool, going_on: bool, status: str) -> None:
        """`ready` once the recorder has spoken; `going_on` while evidence is not stuck on its way."""
        if ready and not self._ready:
            self._ready = True
            notify(READY="1")
        if status != self._told:
            self._told = status
            notify(STATUS=status)
        if self._feed_every_s is not None and going_on and now_s >= self._next_feed_s:
            self._next_feed_s = now_s + self._feed_every_s
            notify(WATCHDOG="1")
