# SPDX-License-Identifier: AGPL-3.0-or-later
"""The work channel from the worker's loop: a few pictures at the detector at a time, and never a wait."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS, Clocks
from daemon.errors import MessageError, PeerGone
from daemon.ids import new_id
from daemon.memory import sealed
from daemon.messages import WorkAnswer, WorkRequest
from daemon.wire import Channel

AT_ONCE = 2  # one is computed, one waits
DEADLINE_S = 10.0  # of a picture; beyond it the detector refuses
SILENT_S = 5.0  # later than that, it is gone


class HasPixels(Protocol):
    """What can be asked about."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """BGR, (height, width, 3)."""


Question = TypeVar("Question", bound=HasPixels)


class Answered(NamedTuple, Generic[Question]):
    """A question with its answer; None where the detector refused, failed, or went away."""

    question: Question
    answer: WorkAnswer | None


class Asking(Generic[Question]):
    """`channel` is to be watched, and `take` called when it is readable, and now and then.

    `kind` is the work channel's; detections below `floor` are not reported.
    """

    def __init__(self, path: str, kind: str, floor: float, clocks: Clocks) -> None:
        self._path, self._kind, self._floor, self._clocks = path, kind, floor, clocks
        self._asked: dict[str, tuple[Question, int]] = {}
        self.channel: Channel[WorkAnswer] | None = None

    @property
    def has_room(self) -> bool:
        """Whether another question may be asked."""
        return len(self._asked) < AT_ONCE

    def ask(self, question: Question) -> bool:
        """Whether it was sent: False while the socket has no room, or nobody listens (`channel` is None then)."""
        try:
            if self.channel is None:
                self.channel = Channel(_connected(self._path), WorkAnswer)
            return self._sent(self.channel, question)
        except PeerGone:
            self.close()
            return False

    def take(self) -> Iterator[Answered[Question]]:
        """What has come since; all that was asked, unanswered, where the detector is gone."""
        try:
            while self.channel is not None and (received := self.channel.receive()) is not None:
                answer, descriptors = received
                for each in descriptors:
                    os.close(each)
                if (known := self._asked.pop(answer.id, None)) is not None:
                    yield Answered(known[0], answer if answer.outcome == "analysed" else None)
        except (PeerGone, MessageError):
            self.close()
        silent_ns = self._clocks.monotonic_ns() - round((DEADLINE_S + SILENT_S) * NS)
        if any(at_ns < silent_ns for _, at_ns in self._asked.values()):
            self.close()
        if self.channel is None:
            gone, self._asked = self._asked, {}
            for question, _ in gone.values():
                yield Answered(question, None)

    def forget(self) -> None:
        """What was asked is not wanted any more."""
        self._asked.clear()

    def close(self) -> None:
        """Ends the connection."""
        if self.channel is not None:
            self.channel.close()
        self.channel = None

    def _sent(self, channel: Channel[WorkAnswer], question: Question) -> bool:
        now_ns = self._clocks.monotonic_ns()
        height, width = question.pixels.shape[:2]
        request = WorkRequest(
            id=new_id(),
            kind=self._kind,
            deadline_mono_ns=now_ns + round(DEADLINE_S * NS),
            width_px=width,
            height_px=height,
            floor=self._floor,
        )
        memory = sealed(self._kind, np.ascontiguousarray(question.pixels).data)
        try:
            if not channel.send(request, [memory]):
                return False
        finally:
            os.close(memory)
        self._asked[request.id] = (question, now_ns)
        return True


def _connected(path: str) -> socket.socket:
    """Never waits for room in the backlog: raises PeerGone then too."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setblocking(False)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise PeerGone(f"{path}: {error.strerror}") from error
    return connection
