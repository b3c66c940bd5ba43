# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may have memory for an upload, in the order of coming; who could not be served in time is refused at the door.

Budgets bound the bytes and the pixels in memory: many small uploads fit where a few of the largest would. Places bound how many are
decoded or with the detector: more than one batch, or it would stand still while the next ones are decoded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daemon.api import codes
from daemon.api.codes import Refusal

_MEASURE_S = 1.0
_MARGIN = 1.25  # better refused at once than in vain at the deadline
_FRESH_S = 5.0  # an older rate says nothing: whoever comes is tried


class Places:
    """So many at once; the others wait, each at most as long as it says."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._clock = count, clock
        self._lock = threading.Lock()
        self._inside = 0
        self._waiting: deque[threading.Event] = deque()
        self._per_s: float | None = None
        self._measured_s = self._since_s = 0.0
        self._left = 0

    @contextmanager
    def one(self, within_s: float) -> Iterator[None]:
        """Raises Refusal (1010): at once where waiting and service together would take longer, else when the time is over."""
        self._enter(within_s)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, within_s: float) -> None:
        with self._lock:
            if self._inside < self._count:
                self._inside += 1
                return
            if self._expected_s() * _MARGIN > within_s:
                raise Refusal(codes.OVERLOADED)
            if not self._waiting:
                self._since_s, self._left = self._clock(), 0
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(within_s):
            return
        with self._lock:
            if turn.is_set():  # given meanwhile
                return
            self._waiting.remove(turn)
        raise Refusal(codes.OVERLOADED)

    def _leave(self) -> None:
        with self._lock:
            if not self._waiting:
                self._inside -= 1
                return
            self._left += 1
            now_s = self._clock()
            if now_s - self._since_s >= _MEASURE_S:
                self._per_s, self._measured_s = self._left / (now_s - self._since_s), now_s
                self._since_s, self._left = now_s, 0
            self._waiting.popleft().set()  # the place goes on without having been free

    def _expected_s(self) -> float:
        if self._per_s is None or self._clock() - self._measured_s > _FRESH_S:
            return 0.0
        return (self._count + len(self._waiting) + 1) / self._per_s


class Budget:
    """So much at once, of all uploads together."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._changed = threading.Condition()

    @contextmanager
    def lent(self, count: int, within_s: float) -> Iterator[None]:
        """Raises Refusal (1010) when so much does not become free in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= count, within_s):
                raise Refusal(codes.OVERLOADED)
            self._free -= count
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()
