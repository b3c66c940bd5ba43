# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests that nobody in his right mind sends: none makes a fault, and none takes memory that stays."""

from __future__ import annotations

import base64
import io
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.api import codes
from daemon.api.picture import PictureRefused, read_picture
from tests.api.conftest import png
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web

BOMB_S = 0.1
MOST_BYTES = 50e6
MEANT = {503}  # not ready, overloaded: said in their own words


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    site.supervisor.result = {"captures": [], "refused": []}
    shelf = Shelf(site.settings)
    web = site.start()
    for _ in range(40):  # what a thread, a connection and a page take once
        web.get("/")
        web.post(json={"image": base64.b64encode(png(77)).decode()})
    yield web
    shelf.close()
    site.close()


def held_bytes(web: Web) -> int:
    """What the web's processes hold together. Not USS: what master and worker share since the fork would be counted anew
    as each comes to write to it, and that is no growth.
    """
    master = psutil.Process(web.process.pid)
    return sum(each.memory_full_info().pss for each in (master, *master.children(recursive=True)))


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
Damaged = st.builds(
    lambda at, byte, cut: (lambda data: (data[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :])[: len(data) - cut])(png(9)),
    st.integers(0, 10_000), st.integers(0, 255), st.sampled_from([0, 0, 0, 1, 30]),
)  # fmt: skip
Encoded = (Damaged | st.binary(max_size=60)).map(lambda data: base64.b64encode(data).decode())
Fields = st.fixed_dictionaries({}, optional={"req_id": Json, "image": Json | Encoded, "image_path": Json})
Types = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "text/plain",
        "",
        "multipart/form-data",
    ]
)


def post_malformed(web: Web, count: int) -> None:
    """Bodies that are nearly right, and bodies that are anything."""
    session = requests.Session()

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(Fields | st.binary(max_size=300), Types)
    def post(body: Any, content_type: str) -> None:
        given: dict[str, Any] = (
            {"json": body} if isinstance(body, dict) and "form" not in content_type else {"data": body}
        )
        try:
            answer = session.post(
                web.url + "/fire_detector", timeout=30, headers={"Content-Type": content_type}, **given
            )
        except (requests.exceptions.InvalidJSONError, UnicodeEncodeError):
            return  # what the client itself cannot write
        assert answer.status_code < 500 or answer.status_code in MEANT, answer.text
        told = answer.json()
        assert list(told) == ["req_id", "err_no", "err_msg", "result"]
        assert told["err_no"] != codes.UNKNOWN.number

    post()


def ask_malformed(web: Web, count: int) -> None:
    """All routes with what their description allows, and with what it does not; answers are as described."""
    schema = schemathesis.openapi.from_dict(web.get("/api/openapi.json").json())
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/fire_detector":
            continue  # has its own, above

        @settings(
            max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(base_url=web.url, timeout=30)
            assert answer.status_code < 500 or answer.status_code in MEANT, (case.as_curl_command(), answer.text)

        ask()


def test_malformed_requests_are_answered(web: Web) -> None:
    """A few hundred: no 5xx but those meant, and nothing is held afterwards."""
    before = held_bytes(web)
    post_malformed(web, 150)
    ask_malformed(web, 6)
    assert held_bytes(web) - before < MOST_BYTES
    assert web.get("/healthz").status_code == 200


@pytest.mark.parametrize("day", ["0001-01-01", "0184-06-15", "1969-12-31", "2262-01-01", "9999-12-31"])
def test_days_beyond_the_times_of_the_index_are_refused(web: Web, day: str) -> None:
    """They were a fault once: found by the 10,000."""
    assert web.get("/", params={"day": day}).status_code == 400
    assert web.get("/minutes", params={"camera": "hall", "day": day}).status_code == 400
    for last in ("1970-01-01", "2261-12-31"):
        assert web.get("/", params={"day": last}).status_code == 200


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_malformed_requests(web: Web) -> None:
    """The same, 10,000 of them."""
    before = held_bytes(web)
    post_malformed(web, 6000)
    ask_malformed(web, 200)
    assert held_bytes(web) - before < MOST_BYTES
    assert web.get("/healthz").status_code == 200


# ------------------------------------------------------------ bombs


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive picture whose last scan comes again and again: each is a walk over all of it."""
    file = io.BytesIO()
    Image.new("RGB", (4000, 4000), (90, 20, 7)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


def jpeg_with_exif(size: int) -> bytes:
    """Metadata without end: segments of 64 kB, and a directory that claims 65,535 entries."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535) + bytes(65_000)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return b"\xff\xd8" + segment * (size // len(segment)) + file.getvalue()[2:]


def webp_of(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_of_frames(count: int) -> bytes:
    frame = b"ANMF" + struct.pack("<I", 24) + bytes(24)
    canvas = b"\x02" + bytes(3) + (15).to_bytes(3, "little") + (15).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas + frame * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_of(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 1, 0, 0, 0, 0, 0)


BOMBS: dict[str, tuple[Callable[[], bytes], int]] = {
    "PNG header": (lambda: png_of(2**31 - 1, 2**31 - 1, b""), 1007),
    "PNG of zeros": (lambda: png_of(30_000, 30_000, bytes(10**8)), 1007),
    "PNG that holds more than it says": (lambda: png_of(16, 16, bytes(10**8)), 1005),
    "JPEG header": (lambda: jpeg_of(65_500, 65_500), 1007),
    "JPEG within the limit": (lambda: jpeg_of(7000, 7000), 1005),
    "JPEG of 300 scans": (lambda: jpeg_of_scans(300), 1005),
    "WebP canvas": (lambda: webp_of(2**24, 2**24), 1007),
    "WebP of 200,000 frames": (lambda: webp_of_frames(200_000), 1005),
    "JPEG of fill bytes": (lambda: b"\xff\xd8" + b"\xff" * 10_000_000, 1005),
    "PNG of a million chunks": (
        lambda: png_of(16, 16, b"")[:-12] + (bytes(4) + b"teXt" + bytes(4)) * 1_000_000,
        1005,
    ),
    "BMP header": (lambda: bmp_of(2**31 - 1, 2**31 - 1), 1007),
    "JPEG with 10 MB of EXIF": (lambda: jpeg_with_exif(10_000_000), 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_100_ms(web: Web, name: str) -> None:
    """Over HTTP with its code; the time is that of judging it, without that of sending megabytes: the best of five."""
    make, code = BOMBS[name]
    data = make()
    assert web.post(json={"image": base64.b64encode(data).decode()}).json()["err_no"] == code
    if code:
        assert min(refused_after_s(data) for _ in range(5)) < BOMB_S


def refused_after_s(data: bytes) -> float:
    began_s = time.monotonic()
    with pytest.raises(PictureRefused):
        read_picture(data, most_bytes=20_000_000, most_pixels=50_000_000)
    return time.monotonic() - began_s
