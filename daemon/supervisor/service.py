# SPDX-License-Identifier: AGPL-3.0-or-later
"""A child process: started, watched by its pidfd and its beats, and, where it is to run all the time, started again when it dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from daemon import wire
from daemon.errors import FirewitnessError, MessageError, PeerGone
from daemon.messages import Stop
from daemon.supervisor.children import Pauses, Process
from daemon.supervisor.loop import Loop

Started = tuple[Process, wire.Channel[Any] | None]
SPEAKS_WITHIN_S = 5.0  # beats come once a second, between two groups that a slow disk may hold up
LONGEST_GOODBYE_S = 3.0  # one that was asked to end so that another takes its place is killed after this


class Service:
    """A child process and, where it has one, our end of its control channel.

    `start` makes both; `silent_s` is how long the channel may say nothing before the child counts as stuck; `stuck`
    says why it is stuck otherwise, or nothing; `died` follows each end. `once`: its end is its own affair.
    """

    def __init__(
        self,
        name: str,
        loop: Loop,
        log: logging.Logger,
        start: Callable[[], Started],
        *,
        silent_s: float | None = None,
        stuck: Callable[[float], str] = lambda now_s: "",
        received: Callable[[Any], None] = lambda message: None,
        died: Callable[[], None] = lambda: None,
        once: bool = False,
    ) -> None:
        self.name = name
        self._loop, self._log, self._start = loop, log, start
        self._silent_s, self._stuck, self._received, self._died = silent_s, stuck, received, died
        self._once = once
        self._pauses = Pauses()
        self._start_at = 0.0
        self._heard_at = 0.0
        self._kill_at: float | None = None
        self._killed_at: float | None = None
        """A process that waits for a disk that hangs cannot be killed, and lives on."""
        self._told_error = ""
        self.restarts = 0
        """Starts after an end that nobody asked for."""
        self.process: Process | None = None
        self.channel: wire.Channel[Any] | None = None
        self.stopping = False

    def tick(self, now_s: float) -> None:
        """Starts it when that is due; kills it when it is stuck."""
        if self.process is None:
            if not self.stopping and now_s >= self._start_at:
                self._begin(now_s)
        elif self._kill_at is not None:
            if now_s >= self._kill_at:
                self._kill(now_s)
        elif not self.stopping and (why := self._why_stuck(now_s)):
            self._log.warning("%s %s: it is killed and started again", self.name, why)
            self._kill(now_s)

    def speaks(self, now_s: float) -> bool:
        """Whether what it said last still holds: it was said of late, and nobody has killed it since."""
        return self._killed_at is None and self.silent_for_s(now_s) <= SPEAKS_WITHIN_S

    def silent_for_s(self, now_s: float) -> float:
        """How long it has run without a word; 0 while it does not run."""
        return now_s - self._heard_at if self.process is not None else 0.0

    def send(self, message: Any, descriptors: tuple[int, ...] = ()) -> bool:
        """False when it is not there or does not read."""
        if self.channel is None:
            return False
        try:
            return self.channel.send(message, descriptors)
        except PeerGone:
            return False

    def again(self) -> None:
        """Starts one whose end was its own affair once more."""
        if self.process is None:
            self.stopping, self._start_at = False, 0.0

    def renew(self) -> None:
        """Ends it so that another takes its place at once: what it is started with has changed."""
        if self.process is not None and self._kill_at is None:
            self._kill_at = time.monotonic() + LONGEST_GOODBYE_S
            self._ask_to_end(None)

    def stop(self, signal_number: int | None = None) -> None:
        """Asks it to end for good: by message, or by signal where it has no channel."""
        self.stopping = True
        if self.process is not None:
            self._kill_at = time.monotonic() + LONGEST_GOODBYE_S if self._kill_at is None else self._kill_at
            self._ask_to_end(signal_number)

    def kill(self) -> None:
        """Ends it for good, now."""
        self.stopping = True
        self.end_now()

    def end_now(self) -> None:
        """Kills it; unless it was stopped, another takes its place."""
        if self.process is not None:
            self._kill(time.monotonic())

    def _kill(self, now_s: float) -> None:
        assert self.process is not None
        self._killed_at = now_s
        self.process.kill()

    def _ask_to_end(self, signal_number: int | None) -> None:
        assert self.process is not None
        if signal_number is not None:
            self.process.kill(signal_number)
        elif not self.send(Stop()):
            self.process.kill()

    def _why_stuck(self, now_s: float) -> str:
        if self._silent_s is not None and now_s - max(self._heard_at, self._killed_at or 0.0) > self._silent_s:
            return f"said nothing for {self._silent_s:.0f} s"
        return self._stuck(now_s)

    def _begin(self, now_s: float) -> None:
        try:
            self.process, self.channel = self._start()
        except (OSError, FirewitnessError) as error:  # no memory, no processes, no password; TimeoutError is an OSError
            pause_s = self._pauses.after_death(0)
            self._start_at = now_s + pause_s
            if str(error) != self._told_error:
                self._told_error = str(error)
                self._log.error("%s cannot be started (%s); it is tried again", self.name, error)
            return
        self._told_error = ""
        self._kill_at = self._killed_at = None
        self._heard_at = time.monotonic()  # not now_s: starting may have taken its time
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
            self.end_now()

    def _ended(self) -> None:
        assert self.process is not None
        process, self.process = self.process, None
        self._loop.forget(process.pidfd)
        process.ended()
        asked, self._kill_at = self._kill_at is not None, None
        if asked:
            self._start_at = 0.0
        elif self._once:
            self.stopping = True
            if process.popen is not None and process.popen.returncode:
                self._log.warning("%s %s", self.name, process.how_it_ended())
        elif not self.stopping:
            pause_s = self._pauses.after_death(process.lived_s)
            self._start_at = time.monotonic() + pause_s
            self.restarts += 1
            self._log.warning("%s %s; it is started again in %.1f s", self.name, process.how_it_ended(), pause_s)
        process.close()
        self._drop_channel()
        self._died()

    def _drop_channel(self) -> None:
        if self.channel is not None:
            self._loop.forget(self.channel)
            self.channel.close()
            self.channel = None
