# SPDX-License-Identifier: AGPL-3.0-or-later
"""The forkserver's own process: loads what workers need, then forks them, so that all share one copy of it.

Not multiprocessing's: that one imports the caller's main module again, hides the workers' pids and passes nothing but
its own pipes. This process has exactly one thread for ever (a fork of several can deadlock), so it watches its lifeline
in its own loop. Its workers live on when it dies; the supervisor has a pidfd of each and ends them.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable

import cv2

from daemon.errors import MessageError, PeerGone
from daemon.ingest import worker
from daemon.ingest.plan import Fork, Forked
from daemon.wire import Channel

SEND_TIMEOUT_S = 10.0
MOST_DESCRIPTORS = 1024  # of this process: a child closes everything below that is not its own
PR_SET_NAME = 15  # prctl(2)
_libc = ctypes.CDLL(None)


class ForkLoop:
    """Waits for `Fork`, answers `Forked`, reaps."""

    def __init__(self, lifeline: int, control: socket.socket) -> None:
        self._lifeline = lifeline
        self._control: Channel[Fork] = Channel(control, Fork)
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.PollSelector()  # unlike epoll's, it is nothing that a child would share

    def run(self) -> None:
        """Returns when the supervisor has closed its socket or is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._selector.register(self._lifeline, selectors.EVENT_READ, lambda: False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._reap)
        self._selector.register(self._control, selectors.EVENT_READ, self._serve)
        going = True
        while going:
            for key, _ in self._selector.select():
                handle: Callable[[], bool] = key.data
                going = handle() and going

    def _serve(self) -> bool:
        try:
            received = self._control.receive()
        except PeerGone:
            return False
        if received is None:
            return True
        request, descriptors = received
        if len(descriptors) != len(worker.Descriptors._fields):
            raise MessageError(f"a Fork with {len(descriptors)} descriptors")
        pid = os.fork()
        if pid == 0:
            self._become_worker(request, worker.Descriptors(*descriptors))
        for each in descriptors:
            os.close(each)
        self._answer(request.plan.camera, pid)
        return True

    def _answer(self, camera: str, pid: int) -> None:
        pidfd = os.pidfd_open(pid)  # valid although the child may have died: only `_reap` frees its pid
        try:
            self._control.settimeout(SEND_TIMEOUT_S)
            self._control.send(Forked(camera=camera, pid=pid), [pidfd])
            self._control.settimeout(0)
        finally:
            os.close(pidfd)

    def _reap(self) -> bool:
        while True:
            try:
                os.read(self._woken, 4096)
            except BlockingIOError:
                break
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return True

    def _become_worker(self, request: Fork, descriptors: worker.Descriptors) -> None:
        """In the child: lets go of the forkserver's own, and never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            own = {0, 1, 2, *descriptors}
            for each in range(3, MOST_DESCRIPTORS):
                if each not in own:
                    close_quietly(each)
            name_process(f"fw-{request.plan.camera}")
            gc.enable()
            status = worker.main(request.plan, descriptors)
        finally:
            logging.shutdown()  # what was counted is still said
            sys.stderr.flush()
            os._exit(status)  # the reader's thread may still be blocked in FFmpeg


def close_quietly(descriptor: int) -> None:
    """Closes what may be no open descriptor."""
    try:
        os.close(descriptor)
    except OSError:
        pass


def name_process(name: str) -> None:
    """What `ps` and `top` show of the thread (at most 15 bytes)."""
    _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def main() -> None:
    """The forkserver's life."""
    parser = argparse.ArgumentParser(prog="python -m daemon.ingest.forkserver")
    parser.add_argument("--lifeline", type=int, required=True, help="reading end of the supervisor's pipe")
    parser.add_argument("--control", type=int, required=True, help="socket of Fork and Forked")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    name_process("fw-forkserver")
    gc.collect()
    gc.disable()
    gc.freeze()  # or the first collection in each worker would copy every page that holds an object
    ForkLoop(options.lifeline, socket.socket(fileno=options.control)).run()
