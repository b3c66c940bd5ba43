# SPDX-License-Identifier: AGPL-3.0-or-later
"""The supervisor's end of the control socket: who may ask, who carries it out, and the answer on its way back."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from daemon import wire
from daemon.errors import FirewitnessError, MessageError, PeerGone
from daemon.messages import Answer, Command
from daemon.supervisor.loop import Loop

_RESTARTED = "{}: the process for it is being restarted; try again"
MOST_CONNECTIONS = 64  # more wait their turn: they are not to take the descriptors that the children are started with
Carry = Callable[[dict[str, Any]], dict[str, Any]]


class ControlServer:
    """Takes commands; `here` are carried out at once, `elsewhere` by the process behind a send function."""

    def __init__(
        self,
        listening: socket.socket,
        loop: Loop,
        log: logging.Logger,
        here: dict[str, Carry],
        elsewhere: dict[str, Callable[[Command], bool]],
    ) -> None:
        self._listening, self._loop, self._log = listening, loop, log
        self._here, self._elsewhere = here, elsewhere
        self._connections: set[wire.Channel[Command]] = set()
        self._waiting: dict[str, wire.Channel[Command]] = {}
        listening.setblocking(False)
        loop.watch(listening, self._accept)

    def answered(self, answer: Answer) -> None:
        """An answer from elsewhere, for whoever asked."""
        channel = self._waiting.pop(answer.id, None)
        if channel is not None:
            self._answer(channel, answer)

    def fail_waiting(self, error: str) -> None:
        """Those who carried commands out are gone: nobody may wait for ever."""
        for name in list(self._waiting):
            self.answered(Answer(id=name, error=error))

    def close(self) -> None:
        """Nobody is heard any more."""
        if len(self._connections) < MOST_CONNECTIONS:
            self._loop.forget(self._listening)
        self._listening.close()
        for channel in self._connections:
            self._loop.forget(channel)
            channel.close()
        self._connections.clear()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return
        channel: wire.Channel[Command] = wire.Channel(connection, Command)
        if channel.peer_uid() not in (0, os.getuid()):
            self._log.warning("uid %d tried to control the daemon and was refused", channel.peer_uid())
            channel.close()
            return
        self._connections.add(channel)
        self._loop.watch(channel, lambda: self._read(channel))
        if len(self._connections) == MOST_CONNECTIONS:
            self._loop.forget(self._listening)

    def _read(self, channel: wire.Channel[Command]) -> None:
        try:
            while (received := channel.receive()) is not None:
                self._carry_out(channel, received[0])
        except (PeerGone, MessageError):
            if len(self._connections) == MOST_CONNECTIONS:
                self._loop.watch(self._listening, self._accept)
            self._loop.forget(channel)
            self._connections.discard(channel)
            self._waiting = {name: each for name, each in self._waiting.items() if each is not channel}
            channel.close()

    def _carry_out(self, channel: wire.Channel[Command], command: Command) -> None:
        if command.name in self._here:
            try:
                answer = Answer(id=command.id, result=self._here[command.name](command.arguments))
            except FirewitnessError as error:
                answer = Answer(id=command.id, error=str(error))
            self._answer(channel, answer)
        elif command.name in self._elsewhere:
            self._waiting[command.id] = channel
            try:
                why_not = "" if self._elsewhere[command.name](command) else _RESTARTED.format(command.name)
            except FirewitnessError as error:
                why_not = str(error)
            if why_not:
                self.answered(Answer(id=command.id, error=why_not))
        else:
            known = ", ".join(sorted([*self._here, *self._elsewhere]))
            self._answer(
                channel, Answer(id=command.id, error=f"there is no command {command.name!r}; there are {known}")
            )

    def _answer(self, channel: wire.Channel[Command], answer: Answer) -> None:
        try:
            channel.send(answer)
        except PeerGone:
            return  # whoever asked has left; its connection's end is read next
