# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starts the forkserver and asks it for workers: the supervisor's end, which imports nothing heavy.

    python -m daemon.ingest.forkserver --lifeline FD --control FD

is the forkserver itself (daemon/ingest/forking.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from daemon.errors import PeerGone
from daemon.ingest.plan import Fork, Forked, WorkerPlan
from daemon.wire import Channel, pair

FIRST_PATIENCE_S = 30.0  # its first answer comes when all modules are loaded: a second on an idle host
PATIENCE_S = 3.0  # then a fork takes milliseconds, and the supervisor does nothing else meanwhile
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # numpy would start a thread, and a fork of several threads can deadlock
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # a second arena for the reader's thread never gives its memory back
}


def pidfd_of(process: subprocess.Popen[bytes]) -> int:
    """Readable when it has ended. Where there can be none nobody would hear of its end: it is killed, and OSError raised."""
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        process.kill()
        process.wait()
        raise


class Worker(NamedTuple):
    """A new worker; the pidfd is the caller's to close, and outlives the forkserver."""

    pid: int
    pidfd: int


class Forkserver:
    """One forkserver process. When it has died, its workers have not: end them by their pidfds, then make a new one."""

    def __init__(self, lifeline: int) -> None:
        """`lifeline`: the reading end of the pipe whose writing end only the supervisor holds; stays the caller's."""
        self._lifeline = lifeline
        self.pidfd = -1
        """For a selector: readable when the forkserver has died."""

    def start(self) -> None:
        """Starts the process; it loads its modules while we go on."""
        ours, theirs = pair()
        command = [sys.executable, "-P", "-m", "daemon.ingest.forkserver"]  # -P: a folder `daemon` here is not ours
        try:
            self._process = subprocess.Popen(
                [*command, "--lifeline", str(self._lifeline), "--control", str(theirs.fileno())],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                pass_fds=(self._lifeline, theirs.fileno()),
                start_new_session=True,
            )
            self.pidfd = pidfd_of(self._process)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel: Channel[Forked] = Channel(ours, Forked)
        self._patience_s = FIRST_PATIENCE_S

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs; reaps it when it does not."""
        return self._process.poll() is None

    def fork(self, plan: WorkerPlan, descriptors: Sequence[int]) -> Worker:
        """Starts a worker with (lifeline, control, live channel's end, its memfd), which stay the caller's.

        Raises PeerGone when the forkserver died, or does not answer: then it is killed, since a late answer would be
        taken for the next one.
        """
        self._channel.settimeout(self._patience_s)
        try:
            self._channel.send(Fork(plan=plan), descriptors)
            received = self._channel.receive()
        except TimeoutError:
            self._process.kill()
            raise PeerGone(f"the forkserver has not answered for {self._patience_s:g} s") from None
        if received is None or len(received[1]) != 1:
            raise PeerGone("the forkserver gave no pidfd")
        self._patience_s = PATIENCE_S
        return Worker(received[0].pid, received[1][0])

    def close(self, patience_s: float = 2.0) -> None:
        """Ends it; its workers go on."""
        self._channel.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self.pidfd)


if __name__ == "__main__":
    from daemon.ingest.forking import main

    main()
