# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plays video files as live RTSP cameras on loopback: one process, one port, many cameras, faults on demand.

    python -m daemon.simulate.farm --camera hall=clip.mp4 --port 8554 --control-port 8555 --truth truth.jsonl

In a test: `with FarmThread([Camera("hall", clip)], truth=path) as farm: open_stream(farm.url("hall"))`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from daemon.errors import FirewitnessError, SettingsError
from daemon.loopback import is_loopback
from daemon.simulate.arguments import cameras_from, parse_arguments
from daemon.simulate.authenticator import Authenticator
from daemon.simulate.camera import Camera, LiveCamera
from daemon.simulate.control import ControlPort
from daemon.simulate.encoder import Encoding
from daemon.simulate.library import Library, default_cache
from daemon.simulate.rtsp import RtspConnection, Service
from daemon.simulate.truth import TruthLog

__all__ = ["Camera", "Encoding", "Farm", "FarmThread"]

BUFFER_LIMIT_BYTES = 8 << 20

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def checked_host(host: str) -> str:
    """Refuses every address that others can reach: what a simulated camera shows is no camera's picture."""
    if not is_loopback(host):
        raise SettingsError(f"simulated cameras are served on loopback only, such as 127.0.0.1, not on {host!r}")
    return host


class Farm:
    """Cameras behind one RTSP port; use with `async with`. With port 0 the system chooses one."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        listening: socket.socket | None = None,
        control_port: int | None = None,
        truth: str | Path | None = None,
        user: str = "",
        password: str = "",
        cache: str | Path | None = None,
        buffer_limit_bytes: int = BUFFER_LIMIT_BYTES,
    ) -> None:
        """`listening` is a socket to serve instead of binding host and port: its backlog holds who came early."""
        if listening is not None:
            host, port = listening.getsockname()[:2]
        self.host, self.port, self.control_port = checked_host(host), port, control_port
        self._listening = listening
        self.cameras: dict[str, LiveCamera] = {}
        self._wanted = list(cameras)
        self._library = Library(Path(cache or default_cache()))
        self._truth_path = Path(truth) if truth else None
        self._authenticator = Authenticator(user, password) if user else None
        self._buffer_limit_bytes = buffer_limit_bytes
        self._playing: list[asyncio.Task[None]] = []
        self._connections: set[RtspConnection] = set()

    def url(self, name: str) -> str:
        """The address of one camera, without credentials."""
        return f"rtsp://{self.host}:{self.port}/{name}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            truth = stack.enter_context(closing(TruthLog(self._truth_path)))
            for camera in self._wanted:
                clip = await self._library.load(Path(camera.source), camera.encoding)
                self.cameras[camera.name] = LiveCamera(camera, self._library, truth, clip)
            sockets = udp_pair(self.host)
            for sock in sockets:
                stack.callback(sock.close)
            self._service = Service(
                self.host, self.port, self.cameras, self._authenticator, sockets, self._buffer_limit_bytes
            )
            self.port = self._service.port = await self._listen(stack, self._serve_rtsp, self.port, self._listening)
            if self.control_port is not None:
                control = ControlPort(self.state, self.command)
                self.control_port = await self._listen(stack, control.serve, self.control_port)
            self._playing = [asyncio.create_task(camera.run()) for camera in self.cameras.values()]
            stack.push_async_callback(self._stop)
            self._stack = stack.pop_all()
        return self

    async def _listen(
        self, stack: AsyncExitStack, serve: Serve, port: int, listening: socket.socket | None = None
    ) -> int:
        where: dict[str, Any] = {"host": self.host, "port": port} if listening is None else {"sock": listening}
        server = await asyncio.start_server(serve, **where)
        stack.callback(server.close)
        return int(server.sockets[0].getsockname()[1])

    async def _serve_rtsp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RtspConnection(self._service, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def _stop(self) -> None:
        for task in self._playing:
            task.cancel()
        for connection in self._connections:
            connection.abort()
        for end in await asyncio.gather(*self._playing, return_exceptions=True):
            if isinstance(end, Exception):
                raise end  # what died by itself is a bug, not a fault

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def wait(self) -> None:
        """Returns when every camera has ended; raises what a camera fails with."""
        await asyncio.gather(*self._playing)

    async def command(self, camera: str, name: str, value: object = None) -> None:
        """Injects a fault of COMMANDS into one camera, or into all: "*"."""
        chosen = list(self.cameras.values()) if camera == "*" else [self.cameras[camera]]
        for each in chosen:
            await each.command(name, value)

    def state(self) -> dict[str, dict[str, object]]:
        """What each camera is doing, by name."""
        return {name: camera.state() for name, camera in self.cameras.items()}


def udp_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """An even port for RTP and the odd one after it for RTCP (RFC 3550, section 11)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(20_000 + os.getpid() % 10_000 * 2, 65_000, 2):
        pair = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            for number, sock in enumerate(pair):
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
                sock.bind((host, port + number))
            return pair
        except OSError:
            for sock in pair:
                sock.close()
    raise OSError("no free pair of UDP ports")


class FarmThread:
    """A farm in a thread of its own, for tests that are not asynchronous; takes the arguments of `Farm`."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        *,
        port: int = 0,
        truth: str | Path | None = None,
        user: str = "",
        password: str = "",
        cache: str | Path | None = None,
    ) -> None:
        self._farm = Farm(cameras, port=port, truth=truth, user=user, password=password, cache=cache)
        self._started = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="simulated-cameras")

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._farm:
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._running = self._thread.submit(lambda: asyncio.run(self._main()))
        self._running.add_done_callback(lambda _: self._started.set())
        self._started.wait()
        if self._running.done():
            self._running.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.shutdown()
        if error is None:
            self._running.result()

    def url(self, name: str) -> str:
        """The address of one camera, without credentials."""
        return self._farm.url(name)

    def command(self, camera: str, name: str, value: object = None) -> None:
        """Injects a fault into one camera, or into all ("*"), and returns once it is in force."""
        asyncio.run_coroutine_threadsafe(self._farm.command(camera, name, value), self._loop).result()

    def state(self) -> dict[str, dict[str, object]]:
        """What each camera is doing, by name."""
        return self._farm.state()


async def main() -> None:
    """The command line's life: prints the addresses and plays until interrupted."""
    options = parse_arguments()
    farm = Farm(
        cameras_from(options),
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        truth=options.truth,
        user=options.user,
        password=options.password,
        cache=options.cache,
    )
    async with farm:
        for name in farm.cameras:
            print(farm.url(name), flush=True)
        if farm.control_port is not None:
            print(f"http://{farm.host}:{farm.control_port}/", flush=True)
        await farm.wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (FirewitnessError, OSError) as error:
        print(f"the simulated cameras cannot run: {error}", file=sys.stderr)
        sys.exit(2)
