# SPDX-License-Identifier: AGPL-3.0-or-later
"""The supervisor's only loop: what is readable calls back, what is due runs; nothing in it may block."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Protocol

Callback = Callable[[], None]


class Readable(Protocol):
    def fileno(self) -> int: ...


class Loop:
    """Descriptors and what to call when they are readable."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, what: int | Readable, callback: Callback) -> None:
        self._selector.register(what, selectors.EVENT_READ, callback)

    def forget(self, what: int | Readable) -> None:
        self._selector.unregister(what)

    def turn(self, timeout_s: float) -> None:
        """Waits at most that long and calls back what is readable.

        A callback may forget descriptors that are readable in the same turn, so each is looked up again.
        """
        for key, _ in self._selector.select(timeout_s):
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        self._selector.close()
