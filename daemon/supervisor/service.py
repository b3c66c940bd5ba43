# SPDX-License-Identifier: AGPL-3.0-or-later
"""One of a kind: detector, recorder, web. Started, watched by its pidfd and its beats, started again when it dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from daemon import wire
from daemon.errors import MessageError, PeerGone
from daemon.messages import Stop
from daemon.supervisor.children import Pauses, Process
from daemon.supervisor.loop import Loop

Started = tuple[Process, wire.Channel[Any] | None]


class Service:
    """A child process that is to run all the time.

    `start` makes the process and, where it has one, our end of its control channel; `silent_s` is how long its
    channel may say nothing before it counts as stuck.
    """

    def __init__(
        self,
        name: str,
        loop: Loop,
        log: logging.Logger,
        start: Callable[[], Started],
        *,
        silent_s: float | None = None,
        received: Callable[[Any], None] = lambda message: None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._loop, self._log, self._start = loop, log, start
        self._silent_s, self._received, self._died = silent_s, received, died
        self._pauses = Pauses()
        self._start_at = 0.0
        self._heard_at = 0.0
        self.process: Process | None = None
        self.channel: wire.Channel[Any] | None = None
        self.stopping = False

    def tick(self, now_s: float) -> None:
        """Starts it when that is due; kills it when it has been silent for too long."""
        if self.process is None:
            if not self.stopping and now_s >= self._start_at:
                self._begin(now_s)
        elif self._silent_s is not None and not self.stopping and now_s - self._heard_at > self._silent_s:
            self._log.warning("%s said nothing for %.0f s: it is killed and started again", self.name, self._silent_s)
            self._heard_at = now_s
            self.process.kill()

    def send(self, message: Any, descriptors: tuple[int, ...] = ()) -> bool:
        """False when it is not there or does not read."""
        if self.channel is None:
            return False
        try:
            return self.channel.send(message, descriptors)
        except PeerGone:
            return False

    def stop(self, signal_number: int | None = None) -> None:
        """Asks it to end: by message, or by signal where it has no channel."""
        self.stopping = True
        if self.process is not None:
            if signal_number is not None:
                self.process.kill(signal_number)
            elif not self.send(Stop()):
                self.process.kill()

    def kill(self) -> None:
        self.stopping = True
        if self.process is not None:
            self.process.kill()

    def _begin(self, now_s: float) -> None:
        try:
            self.process, self.channel = self._start()
        except (OSError, PeerGone) as error:  # no memory, no processes; TimeoutError is an OSError
            pause_s = self._pauses.after_death(0)
            self._start_at = now_s + pause_s
            self._log.error("%s cannot be started (%s); it is tried again in %.1f s", self.name, error, pause_s)
            return
        self._heard_at = time.monotonic()
        self._loop.watch(self.process.pidfd, self._ended)
        if self.channel is not None:
            self._loop.watch(self.channel, self._read)

    def _read(self) -> None:
        assert self.channel is not None
        try:
            while (received := self.channel.receive()) is not None:
                self._heard_at = time.monotonic()
                self._received(received[0])
        except PeerGone:
            self._drop_channel()
        except MessageError as error:
            self._log.error("%s sent what is no message (%s): it is killed and started again", self.name, error)
            self._drop_channel()
            if self.process is not None:
                self.process.kill()

    def _ended(self) -> None:
        assert self.process is not None
        process, self.process = self.process, None
        self._loop.forget(process.pidfd)
        process.ended()
        pause_s = self._pauses.after_death(process.lived_s)
        self._start_at = time.monotonic() + pause_s
        if not self.stopping:
            self._log.warning("%s %s; it is started again in %.1f s", self.name, process.how_it_ended(), pause_s)
        process.close()
        self._drop_channel()
        self._died()

    def _drop_channel(self) -> None:
        if self.channel is not None:
            self._loop.forget(self.channel)
            self.channel.close()
            self.channel = None
