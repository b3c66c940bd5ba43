# SPDX-License-Identifier: AGPL-3.0-or-later
"""Asks the running daemon: the client of the supervisor's control socket, for the command line, the page and the scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon import wire
from daemon.errors import FirewitnessError, NotRunning, PeerGone
from daemon.ids import new_id
from daemon.messages import Answer, Command


class Control:
    """One question at a time, each on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, name: str, arguments: dict[str, Any] | None = None, timeout_s: float = 5.0) -> dict[str, Any]:
        """The result of a command of docs/seams.md.

        Raises NotRunning when no daemon answers, FirewitnessError with the daemon's own sentence when it refuses.
        """
        try:
            connection = wire.connect(self._path)
        except PeerGone as error:
            if isinstance(error.__cause__, PermissionError):
                raise NotRunning(
                    f"{self._path} is closed to this user: ask as the user that the daemon runs as"
                ) from error
            raise NotRunning(f"no daemon is running here (nobody listens at {self._path})") from error
        channel: wire.Channel[Answer] = wire.Channel(connection, Answer)
        channel.settimeout(timeout_s)
        try:
            channel.send(Command(id=new_id(), name=name, arguments=arguments or {}))
            received = channel.receive()
        except PeerGone as error:
            raise NotRunning(f"the daemon ended before it answered {name!r}") from error
        except UnicodeEncodeError as error:
            raise FirewitnessError(f"{name}: {error.object!r} is no UTF-8") from error
        except TimeoutError as error:
            raise NotRunning(f"the daemon did not answer {name!r} within {timeout_s:g} s") from error
        finally:
            channel.close()
        assert received is not None  # a blocking receive returns something or raises
        answer = received[0]
        if answer.error:
            raise FirewitnessError(answer.error)
        return answer.result
