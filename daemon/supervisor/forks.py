# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps the forkserver alive, and asks it for workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from daemon.errors import FirewitnessError, PeerGone
from daemon.ingest.forkserver import Forkserver
from daemon.ingest.plan import WorkerPlan
from daemon.supervisor.children import Pauses, Process
from daemon.supervisor.loop import Loop


class Forks:
    """The forkserver of now. When it dies its workers live on without a parent: `died` is to end them."""

    def __init__(self, lifeline: int, loop: Loop, log: logging.Logger, died: Callable[[], None]) -> None:
        self._lifeline, self._loop, self._log, self._died = lifeline, loop, log, died
        self._forkserver: Forkserver | None = None
        self._pauses = Pauses()
        self._start_at = self._began_at = 0.0
        self._told_error = ""

    @property
    def pid(self) -> int | None:
        return self._forkserver.pid if self._forkserver is not None else None

    def tick(self, now_s: float) -> None:
        """Starts it when that is due."""
        if self._forkserver is None and now_s >= self._start_at:
            self._began_at = now_s
            self._begin(now_s)

    def fork(self, plan: WorkerPlan, descriptors: list[int]) -> Process:
        """A worker with that plan; `descriptors` are its ends of control and live channel, and the channel's memory."""
        if self._forkserver is None:
            raise FirewitnessError("the forkserver is being restarted")
        try:
            pid, pidfd = self._forkserver.fork(plan, [self._lifeline, *descriptors])
        except PeerGone as error:  # dead, or killed for not answering: its pidfd says so too, and another is started
            raise FirewitnessError(f"{error}; it is started again") from error
        return Process(f"worker of {plan.camera}", pid, pidfd, time.monotonic())

    def close(self) -> None:
        """Ends it; its workers go on."""
        if self._forkserver is not None:
            self._loop.forget(self._forkserver.pidfd)
            self._forkserver.close()
            self._forkserver = None

    def _begin(self, now_s: float) -> None:
        forkserver = Forkserver(self._lifeline)
        try:
            forkserver.start()
        except OSError as error:  # no memory, no processes, no descriptors
            self._start_at = now_s + self._pauses.after_death(0)
            if str(error) != self._told_error:
                self._told_error = str(error)
                self._log.error("the forkserver cannot be started (%s); it is tried again", error)
            return
        self._told_error = ""
        self._forkserver = forkserver
        self._loop.watch(forkserver.pidfd, self._ended)

    def _ended(self) -> None:
        self.close()
        now_s = time.monotonic()
        self._start_at = now_s + self._pauses.after_death(now_s - self._began_at)
        self._log.warning("the forkserver died: it and all workers are started again")
        self._died()
