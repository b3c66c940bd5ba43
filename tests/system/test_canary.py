# SPDX-License-Identifier: AGPL-3.0-or-later
"""Canaries: secrets that nobody else could have thought of, in every place for one, and a search wherever text can be read."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
import pytest
import requests

from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for
from tests.system.test_faults import film

USER = "kanari/én user"
PASSWORD = "kanari+pass w@rd%?#&\"'é"
FILED = "kanari:filed/p@ss w0rd"
IN_ADDRESS = "kanari-inaddress"


def forms() -> set[bytes]:
    """Every way in which one could stand somewhere; a part of it counts too."""
    found = {"kanari"}
    for password in (PASSWORD, FILED):
        for text in (USER, password, f"{USER}:{password}"):
            found |= {
                text,
                quote(text, safe=""),
                quote(text),
                quote_plus(text),
                json.dumps(text)[1:-1],
                repr(text)[1:-1],
            }
            found.add(base64.b64encode(text.encode()).decode().rstrip("=")[:-1])
    return {form.encode() for form in found}


CANARIES = forms()


class _Rogue(socketserver.StreamRequestHandler):
    """A camera that asks for credentials, and then gives them back in whatever it says."""

    def handle(self) -> None:
        while head := self._request():
            url = head.split(" ")[1]
            sequence = next((line for line in head.splitlines() if line.lower().startswith("cseq")), "CSeq: 1")
            given = next((line for line in head.splitlines() if line.startswith("Authorization")), "")
            if not given or url.endswith("/refuses"):
                self._say(f'RTSP/1.0 401 Unauthorized\r\n{sequence}\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n')
            elif url.endswith("/redirects"):
                target = f"rtsp://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@127.0.0.1:9/gone"
                self._say(f"RTSP/1.0 302 {PASSWORD}\r\n{sequence}\r\nLocation: {target}\r\n\r\n")
            elif url.endswith("/breaks"):
                self._say(f"{PASSWORD} {given}\r\n" * 3)
                return
            else:
                said = f"{USER}:{PASSWORD} {given}"
                self._say(f"RTSP/1.0 500 {said}\r\n{sequence}\r\nContent-Length: {len(said.encode())}\r\n\r\n{said}")

    def _request(self) -> str:
        lines = []
        while (line := self.rfile.readline()) not in (b"", b"\r\n"):
            lines.append(line.decode())
        return "".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.server.given += 1  # type: ignore[attr-defined]


@contextmanager
def rogue() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Rogue) as server:
        server.daemon_threads = True
        server.given = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def in_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone meanwhile, or a socket
        return b""


def readable(daemon: Daemon) -> Iterator[tuple[str, bytes]]:
    """(where, what) of all that can be read of a running daemon without being its user's debugger."""
    yield "log", daemon.log.encode()
    status = daemon.status()
    assert status is not None
    yield "status", json.dumps(status, ensure_ascii=False).encode()
    for path in (
        "/",
        "/metrics",
        "/readyz",
        "/api/openapi.json",
        "/nothing",
        "/api/v1/cameras",
        "/api/v1/cameras?no=1",
    ):
        yield path, requests.get(daemon.url(path), timeout=10).content
    for path in ("/api/v1/evidence", "/api/v1/incidents", "/api/v1/gaps", "/api/v1/coverage"):
        yield path, json.dumps(daemon.get(path), ensure_ascii=False).encode()
    for incident in daemon.get("/api/v1/incidents")["items"]:
        yield "page", requests.get(daemon.url(f"/incidents/{incident['id']}"), timeout=10).content
    for body in ({"image": "?"}, {"image_path": str(daemon.folder / "secret")}, {"image_path": "/proc/self/environ"}):
        yield "fire_detector", requests.post(daemon.url("/fire_detector"), json=body, timeout=10).content
    for process in daemon.family():
        of = Path(f"/proc/{process.pid}")
        for name in ("cmdline", "environ", "comm"):
            yield f"{process.name()} {name}", in_file(of / name)
        yield f"{process.name()} settings", b"".join(map(in_file, settings_of(process)))
    for folder in ("store", "state", "run"):
        for path in (daemon.folder / folder).rglob("*"):
            if path.is_file():
                yield str(path.relative_to(daemon.folder)), in_file(path)


def settings_of(process: psutil.Process) -> list[Path]:
    """The settings that a child was given, in memory that /proc shows."""
    descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
    return [each for each in descriptors if each.exists() and "memfd:settings" in str(each.readlink())]


def check(found: Iterator[tuple[str, bytes]]) -> int:
    """Fails where a canary sings; how many places were searched."""
    places = 0
    for where, what in found:
        places += 1
        for canary in CANARIES:
            assert canary not in what, f"{where}: …{what[max(0, what.find(canary) - 80) :][:200]!r}"
    return places


def cameras_of(farm: FarmThread, port: int, secret_file: Path) -> dict[str, Any]:
    inline = {"username": USER, "password": PASSWORD}
    filed = {"username": USER, "password_file": str(secret_file)}
    rogues = {
        name: {"url": f"rtsp://127.0.0.1:{port}/{name}", **(filed if name == "echoes" else inline)}
        for name in ("refuses", "redirects", "breaks", "echoes")
    }
    return {"hall": {"url": farm.url("hall"), **inline}, "yard": {"url": farm.url("yard"), **filed}, **rogues}


@pytest.mark.timeout(180)
def test_no_canary_sings(daemon: Daemon, tmp_path: Path) -> None:
    """Whatever cameras, users and files do: no user name, password or form of one is in anything that is written or told."""
    secret = daemon.folder / "secret"
    secret.write_text(FILED + "\n")
    burning = film(tmp_path / "burning.mp4", 22, 26)
    with (
        rogue() as server,
        FarmThread([Camera(name, burning) for name in ("hall", "yard")], user=USER, password=PASSWORD) as farm,
    ):
        cameras = cameras_of(farm, server.server_address[1], secret)
        daemon.configure(cameras, detect={"max_interval": 1, "input_px": 320})
        daemon.start_for_the_journal()
        daemon.wait_ready(60)
        wait_for(lambda: daemon.get("/api/v1/evidence")["items"], 60, f"evidence of the hall\n{daemon.log}")
        told = {"yard": "refused", "refuses": "refused", "echoes": "unreachable", "breaks": "unreachable"}
        wait_for(lambda: conditions(daemon).items() >= told.items(), 60, f"{told} {conditions(daemon)}")
        wait_for(lambda: server.given > 8, 30, "the credentials were given back")
        wrong = f"rtsp://{IN_ADDRESS}:{quote(PASSWORD, safe='')}@10.0.0.1/"
        daemon.configure({**cameras, "shed": {"url": wrong}})
        for command in ("check-config", "reload", "status"):
            done = daemon.command(command)
            check(iter([(command, (done.stdout + done.stderr).encode())]))
        secret.unlink()
        daemon.configure(cameras)
        refused = daemon.command("reload")
        assert refused.returncode == 2
        check(iter([("reload", (refused.stdout + refused.stderr).encode())]))
        assert check(readable(daemon)) > 60
        assert all(json.loads(line)["process"] for line in json_lines(daemon)), "every line is an object"
        daemon.stop()
        check(readable_after(daemon))


def conditions(daemon: Daemon) -> dict[str, str]:
    return {name: each["condition"] for name, each in (daemon.status() or {"cameras": {}})["cameras"].items()}


def json_lines(daemon: Daemon) -> list[str]:
    """Without what `firewitness run` tells whoever started it, on standard output."""
    return [line for line in daemon.log.splitlines() if line.startswith("{")]


def readable_after(daemon: Daemon) -> Iterator[tuple[str, bytes]]:
    """The files that are left; the settings file and the secret's own are where secrets belong."""
    for path in daemon.folder.rglob("*"):
        if path.is_file() and path.name not in ("config.yaml", "secret"):
            yield str(path.relative_to(daemon.folder)), in_file(path)
