# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long to wait before a camera is tried again: for ever, and never all cameras at the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 10.0
REFUSED_S = 60.0  # wrong credentials do not mend by themselves, and cameras lock accounts that keep trying
JITTER = 0.25  # up to a quarter more: a switch that restarts takes many cameras with it


class Backoff:
    """Waits that double from 1 to 10 s; after refused credentials 60 s."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance  # 0 ≤ x < 1
        self._next_s = FIRST_S

    def after(self, reason: str) -> float:
        """Seconds to wait after a failure with this gap reason."""
        wait_s = REFUSED_S if reason == "refused" else self._next_s
        self._next_s = min(LONGEST_S, self._next_s * 2)
        return wait_s * (1 + JITTER * self._chance())

    def succeeded(self) -> None:
        """The camera sent pictures: the next failure is a new one."""
        self._next_s = FIRST_S
