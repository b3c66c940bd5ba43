# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server's side of one RTSP connection (RFC 2326), for live video: one track, over TCP or UDP, no seeking."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from daemon.simulate.authenticator import Authenticator
from daemon.simulate.camera import LiveCamera
from daemon.simulate.viewer import TcpViewer, UdpViewer, Viewer

METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")
REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    454: "Session Not Found",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
}
SESSION_TIMEOUT_S = 60


class RtspError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} {REASONS[status]}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the names of its headers are lower case."""

    method: str
    url: str
    headers: dict[str, str]

    @property
    def camera_name(self) -> str:
        """The first part of the URL's path."""
        return unquote(urlsplit(self.url).path.strip("/").split("/")[0])


@dataclass(slots=True)
class Service:
    """What every connection of a farm shares."""

    host: str
    port: int
    cameras: Mapping[str, LiveCamera]
    authenticator: Authenticator | None
    udp_sockets: tuple[socket.socket, socket.socket]  # RTP, RTCP
    buffer_limit_bytes: int  # that a viewer may fall behind


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, past the client's own RTCP; None for what is not RTSP."""
    while True:
        first = await reader.readexactly(1)
        if first == b"$":
            _, size = struct.unpack(">BH", await reader.readexactly(3))
            await reader.readexactly(size)
        elif first not in b"\r\n":
            break
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace")
    start, *lines = head.strip().split("\r\n")
    parts = start.split()
    if len(parts) != 3:
        return None
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(parts[0], parts[1], headers)


class RtspConnection:
    """One TCP connection: answers requests until it ends."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service, self._reader, self._writer = service, reader, writer
        self._session = secrets.token_hex(8)
        self._camera: LiveCamera | None = None
        self._viewer: Viewer | None = None

    async def serve(self) -> None:
        """Answers until either side closes."""
        try:
            while (request := await read_request(self._reader)) is not None:
                if not self._answer(request):
                    break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # the client is gone, which is how RTSP sessions usually end
        finally:
            self._leave()
            self.close()

    def close(self) -> None:
        """Closes the connection once what is written has left."""
        if not self._writer.is_closing():
            self._writer.close()

    def abort(self) -> None:
        """Ends the connection at once, whatever a slow client has still to read."""
        self._writer.transport.abort()

    def _leave(self) -> None:
        if self._camera is not None and self._viewer in self._camera.viewers:
            self._camera.viewers.remove(self._viewer)
        self._camera = self._viewer = None

    def _answer(self, request: Request) -> bool:
        """Answers one request; False ends the connection."""
        camera = self._service.cameras.get(request.camera_name)
        if camera is not None and camera.faults.silent:
            return True
        try:
            headers, body = self._handle(request, camera)
        except RtspError as error:
            self._reply(request, error.status, {}, "")
            return error.status != 503
        self._reply(request, 200, headers, body)
        if request.method == "PLAY" and self._camera is not None and self._viewer is not None:
            self._camera.start_playing(self._viewer)
        return request.method != "TEARDOWN"

    def _handle(self, request: Request, camera: LiveCamera | None) -> tuple[dict[str, str], str]:
        if request.method == "OPTIONS":
            return {"Public": ", ".join(METHODS)}, ""
        if request.method not in METHODS:
            raise RtspError(501)
        if camera is None:
            raise RtspError(404)
        if camera.faults.refusing:
            raise RtspError(503)
        guard = self._service.authenticator
        if guard is not None and not guard.accepts(request.method, request.headers.get("authorization", "")):
            raise RtspError(401)
        if request.method == "DESCRIBE":
            base = f"rtsp://{self._service.host}:{self._service.port}/{camera.camera.name}/"
            headers = {"Content-Base": base, "Content-Type": "application/sdp"}
            return headers, camera.clip.description(camera.camera.name)
        if request.method == "SETUP":
            return self._set_up(request, camera), ""
        return self._control_session(request), ""

    def _control_session(self, request: Request) -> dict[str, str]:
        if request.headers.get("session", self._session).split(";")[0] != self._session:
            raise RtspError(454)
        headers = {"Session": self._session}
        if request.method == "PLAY":
            if self._viewer is None:
                raise RtspError(454)
            headers["Range"] = "npt=now-"
        elif request.method == "TEARDOWN":
            self._leave()
        return headers

    def _set_up(self, request: Request, camera: LiveCamera) -> dict[str, str]:
        self._leave()
        for offer in request.headers.get("transport", "").split(","):
            if "multicast" in offer:
                continue
            chosen = self._tcp_viewer(offer, camera) or self._udp_viewer(offer, camera)
            if chosen is None:
                continue
            self._camera, (self._viewer, transport) = camera, chosen
            camera.viewers.append(self._viewer)
            session = f"{self._session};timeout={SESSION_TIMEOUT_S}"
            return {"Session": session, "Transport": f"{transport};ssrc={camera.ssrc:08X}"}
        raise RtspError(461)

    def _tcp_viewer(self, offer: str, camera: LiveCamera) -> tuple[Viewer, str] | None:
        if "RTP/AVP/TCP" not in offer:
            return None
        channels = re.search(r"interleaved=(\d+)", offer)
        channel = int(channels[1]) if channels else 0
        viewer = TcpViewer(
            self.close,
            not camera.camera.join_anywhere,
            self._writer.transport,
            channel,
            self._service.buffer_limit_bytes,
            lambda: camera.note("slow_viewer_closed"),
        )
        return viewer, f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"

    def _udp_viewer(self, offer: str, camera: LiveCamera) -> tuple[Viewer, str] | None:
        ports = re.search(r"client_port=(\d+)(?:-(\d+))?", offer)
        if "RTP/AVP" not in offer or not ports:
            return None
        pair = int(ports[1]), int(ports[2] or int(ports[1]) + 1)
        host = self._writer.get_extra_info("peername")[0]
        viewer = UdpViewer(self.close, not camera.camera.join_anywhere, self._service.udp_sockets, host, pair)
        ours = "-".join(str(sock.getsockname()[1]) for sock in self._service.udp_sockets)
        return viewer, f"RTP/AVP;unicast;client_port={pair[0]}-{pair[1]};server_port={ours}"

    def _reply(self, request: Request, status: int, headers: dict[str, str], body: str) -> None:
        lines = [f"RTSP/1.0 {status} {REASONS[status]}", f"CSeq: {request.headers.get('cseq', '0')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if status == 401 and self._service.authenticator is not None:
            lines += [f"WWW-Authenticate: {text}" for text in self._service.authenticator.challenges]
        if body:
            lines.append(f"Content-Length: {len(body.encode())}")
        self._writer.write("\r\n".join([*lines, "", body]).encode())
