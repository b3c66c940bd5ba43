# SPDX-License-Identifier: AGPL-3.0-or-later
"""The daemon's state of now, asked of the supervisor; its silence is a state too, and never an error of the page."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from daemon.errors import FirewitnessError

_ASK_WITHIN_S = 1.0
_FRESH_S = 0.5  # pages refresh themselves: one question answers all that are open


class Asks(Protocol):
    """What daemon/control.py offers."""

    def ask(self, name: str, arguments: dict[str, Any] | None = None, timeout_s: float = 5.0) -> dict[str, Any]:
        """The result of a command; raises FirewitnessError."""


@dataclass(frozen=True, slots=True)
class Live:
    """What the supervisor said (docs/seams.md, status), or why it said nothing."""

    status: dict[str, Any] = field(default_factory=dict)
    silence: str = ""

    @property
    def ready(self) -> bool:
        return bool(self.status.get("ready"))

    def why_not_ready(self) -> list[str]:
        """Sentences for a person; empty when ready."""
        if self.silence:
            return [self.silence]
        if self.ready:
            return []
        detector, recorder = self.status.get("detector", {}), self.status.get("recorder", {})
        reasons = []
        if detector.get("state") != "ready":
            reasons.append(_sentence("the detector is", detector.get("state"), detector.get("detail")))
        if recorder.get("disk") != "ok":
            reasons.append(_sentence("the recorder's disk is", recorder.get("disk"), recorder.get("detail")))
        return reasons or ["the daemon says that it is not ready"]


def _sentence(what: str, state: Any, detail: Any) -> str:
    return f"{what} {state or 'not known'}" + (f" ({detail})" if detail else "")


class LiveStatus:
    """Asks at most twice a second, however many threads want to know."""

    def __init__(self, control: Asks) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._last = Live()
        self._asked_at_s = float("-inf")

    def now(self) -> Live:
        with self._lock:
            if time.monotonic() - self._asked_at_s > _FRESH_S:
                self._last = self._ask()
                self._asked_at_s = time.monotonic()
            return self._last

    def _ask(self) -> Live:
        try:
            return Live(self._control.ask("status", timeout_s=_ASK_WITHIN_S))
        except FirewitnessError as error:
            return Live(silence=str(error))
