# SPDX-License-Identifier: AGPL-3.0-or-later
"""The farm's control port: HTTP, GET / for the state of every camera, POST /CAMERA/COMMAND?value=V for a fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from daemon.errors import FirewitnessError
from daemon.simulate.faults import COMMANDS

State = dict[str, dict[str, object]]


class ControlPort:
    """Answers one request a connection."""

    def __init__(self, state: Callable[[], State], command: Callable[[str, str, object], Awaitable[None]]) -> None:
        self._state, self._command = state, command

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reads one request and answers it with JSON."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            status, answer = await self._answer(urlsplit(head.split(b" ", 2)[1].decode()))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, OSError):
            writer.close()
            return
        body = json.dumps(answer, indent=1).encode() + b"\n"
        lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", "Connection: close")
        writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        writer.close()

    async def _answer(self, target: SplitResult) -> tuple[str, object]:
        parts = [unquote(part) for part in target.path.strip("/").split("/") if part]
        if not parts:
            return "200 OK", self._state()
        value = parse_qs(target.query).get("value", [None])[0]
        if parts[0] not in ("*", *self._state()):
            return "400 Bad Request", {"error": f"no camera {parts[0]!r}; there are {', '.join(self._state())}"}
        try:
            await self._command(parts[0], parts[1] if len(parts) > 1 else "", value)
        except (FirewitnessError, ValueError, OverflowError, OSError) as error:
            return "400 Bad Request", {"error": str(error), "commands": COMMANDS}
        return "200 OK", self._state()
