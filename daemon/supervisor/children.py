# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starts the daemon's processes, and watches and kills exactly those: by pidfd, so that a reused pid is never hit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemon.ingest.forkserver import pidfd_of

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
STEADY_S = 60.0  # a process that lived this long starts again without a pause


class Pauses:
    """How long to wait before the next start: doubling while starts fail, from the beginning after a steady life."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def after_death(self, lived_s: float) -> float:
        if lived_s >= STEADY_S:
            self._next_s = FIRST_PAUSE_S
        pause = self._next_s
        self._next_s = min(self._next_s * 2, LONGEST_PAUSE_S)
        return pause


@dataclass(frozen=True, slots=True)
class Process:
    """A running child; `pidfd` becomes readable when it has ended, also when it is not ours to wait for."""

    name: str
    pid: int
    pidfd: int
    started_mono_s: float
    popen: subprocess.Popen[bytes] | None = None

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self.started_mono_s

    def kill(self, number: int = signal.SIGKILL) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return  # it has ended already, which is what was wanted

    def ended(self) -> bool:
        """Whether it has ended; takes its exit status off the kernel's hands."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(0):
            return False
        if self.popen is not None:
            self.popen.wait()
        return True

    def how_it_ended(self) -> str:
        """For the log: the signal or status, where it is known."""
        code = self.popen.returncode if self.popen is not None else None
        if code is None:
            return "ended"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def close(self) -> None:
        os.close(self.pidfd)


def start_module(
    name: str, module: str, options: Mapping[str, int | str], environment: Mapping[str, str] | None = None
) -> Process:
    """Runs `python -m module --option value …` in a session of its own; integers are descriptors it inherits."""
    arguments: list[str] = []
    for option, value in options.items():
        arguments += [f"--{option}", str(value)]
    passed: Sequence[int] = [value for value in options.values() if isinstance(value, int)]
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],  # -P: a folder "daemon" where we stand is not ours
        pass_fds=passed,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is for the supervisor alone
        env={**os.environ, **(environment or {})},
    )
    return Process(name, popen.pid, pidfd_of(popen), time.monotonic(), popen)
