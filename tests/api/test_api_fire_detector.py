# SPDX-License-Identifier: AGPL-3.0-or-later
"""POST /fire_detector over real HTTP: every code of the table, exact envelopes, and everyone their own answer."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from daemon import shipped
from daemon.api import codes
from daemon.api.codes import Code
from tests.api.web_under_test import PlayedDetector, Site, Web

Picture64 = Callable[..., str]
MAX_UPLOAD = 200_000
TONE = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed folder with what one may and may not open."""
    root = tmp_path_factory.mktemp("allowed")
    inside, outside = root / "in" / "deep", root / "out"
    inside.mkdir(parents=True)
    outside.mkdir()
    picture = np.full((48, 64, 3), TONE, np.uint8)
    for path in (inside / "a.png", outside / "secret.png", root / "in" / "ä b.png"):
        Image.fromarray(picture).save(path)
    (root / "in" / "link.png").symlink_to(inside / "a.png")
    (root / "in" / "way").symlink_to(outside)
    (root / "in" / "note.txt").write_text("no picture")
    (root / "in" / "big.png").write_bytes(bytes(MAX_UPLOAD + 1))
    os.mkfifo(root / "in" / "pipe.png")
    (root / "in" / "unreadable").mkdir()
    return root


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Site]:
    made = Site(
        tmp_path_factory.mktemp("site"),
        api={
            "max_upload": MAX_UPLOAD,
            "max_pixels": 1_000_000,
            "image_roots": [folder / "in"],
            "max_decoding": 4,
            "deadline": 20,
        },
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def web(site: Site) -> Web:
    return site.start()


def envelope(answer: requests.Response, code: Code, req_id: object = "r") -> dict[str, Any]:
    """Asserts the envelope's shape and gives its result."""
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert list(body) == ["req_id", "err_no", "err_msg", "result"]
    assert (answer.status_code, body["err_no"], body["req_id"]) == (code.status, code.number, req_id)
    assert body["err_msg"].startswith(code.sentence)
    assert (body["result"] is None) == (code is not codes.SUCCESS)
    return body["result"]  # type: ignore[no-any-return]


def ask(web: Web, **fields: object) -> requests.Response:
    return web.post(json={"req_id": "r", **fields})


def test_a_picture_is_answered_with_what_counts(web: Web, picture64: Picture64) -> None:
    """The whole result, exactly: detections at or above their class's threshold, the strongest first."""
    result = envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)
    elapsed_ms = result.pop("elapsed_ms")
    assert 0 < elapsed_ms < 20_000
    assert result == {
        "detections": [
            {"label": "fire", "confidence": 0.9, "box": [TONE, 1, 64, 48]},
            {"label": "smoke", "confidence": shipped.SMOKE, "box": [0, 0, 5, 5]},
        ],
        "width": 64,
        "height": 48,
        "orientation": 1,
        "model": "played@ab12cd34ef56",
    }


@contextmanager
def told_of(site: Site, what: str) -> Iterator[None]:
    """While the played detector does that, too."""
    setattr(site.detector, what, True)
    try:
        yield
    finally:
        setattr(site.detector, what, False)


def test_what_the_verifier_rejected_stands_apart(web: Web, site: Site, picture64: Picture64) -> None:
    """Whoever knows nothing of a verifier takes no rejected box for fire; whoever does sees both, with its confidence."""
    with told_of(site, "verified"):
        result = envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)
    assert [(each["label"], each["verified"]) for each in result["detections"]] == [("fire", 0.25)]
    assert [(each["label"], each["confidence"], each["verified"]) for each in result["rejected"]] == [
        ("smoke", shipped.SMOKE, 0.25)
    ]
    assert "rejected" not in envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)


def test_both_looks_are_told(web: Web, site: Site, picture64: Picture64) -> None:
    """Where there were two; otherwise the answer has no such field."""
    with told_of(site, "looked"):
        result = envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)
    assert [each["looks"] for each in result["detections"]] == [{"whole": 0.5, "close": 0.32}] * 2
    assert all("looks" not in each for each in envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)["detections"])


def test_a_form_does_the_same(web: Web, picture64: Picture64) -> None:
    """Also with an unescaped +, which arrives as a space."""
    text = next(text for tone in range(20, 60) if "+" in (text := picture64(tone)))
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    for body in (f"req_id=r&image={text}", f"req_id=r&image={requests.utils.quote(text, safe='')}"):
        assert envelope(web.post(data=body, headers=headers), codes.SUCCESS)["width"] == 64


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_every_allowed_kind_is_answered(web: Web, kind: str) -> None:
    """JPEG, PNG, BMP, WebP; as data URL too."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (TONE,) * 3).save(file, kind)
    url = f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
    assert len(envelope(ask(web, image=url), codes.SUCCESS)["detections"]) == 2


def test_boxes_are_in_pixels_as_stored(web: Web, site: Site) -> None:
    """A picture to be turned: the detector sees it upright, the caller gets boxes of its own file."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), (10,) * 3).save(file, "JPEG", exif=exif.tobytes())
    site.detector.seen.clear()
    result = envelope(ask(web, image=base64.b64encode(file.getvalue()).decode()), codes.SUCCESS)
    assert site.detector.seen == [(48, 64)]
    assert (result["width"], result["height"], result["orientation"]) == (64, 48, 6)
    # upright (10, 1, 48, 64) of 48 × 64: x = v, y = 48 - u
    assert result["detections"][0]["box"] == [1, 0, 64, 38]


@pytest.mark.parametrize(
    "literal", ["null", "0", "-1.50", "12345678901234567890123", "true", '"a\\u00e9\\ud800"', '""']
)
def test_req_id_goes_back_byte_for_byte(web: Web, picture64: Picture64, literal: str) -> None:
    """In success and refusal."""
    for image in (picture64(TONE), "?"):
        body = f'{{"image": "{image}", "req_id": {literal}}}'
        answer = web.post(data=body, headers={"Content-Type": "application/json"})
        assert answer.text.startswith(f'{{"req_id": {literal}, "err_no"')


def cut(text: str) -> str:
    return base64.b64encode(base64.b64decode(text)[:-9]).decode()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, codes.NO_IMAGE),
        ({"image": "AAAA", "image_path": "/x"}, codes.TWO_IMAGES),
        ({"image": "AAA"}, codes.BAD_BASE64),
        ({"image": "AAAA AAAA"}, codes.BAD_BASE64),
        ({"image": "_-__"}, codes.BAD_BASE64),
        ({"image": "AA==AAAA"}, codes.BAD_BASE64),
        ({"image": 12}, codes.BAD_BASE64),
        ({"image": "AAAA"}, codes.NOT_AN_IMAGE),
        ({"image": "R0lGODlhAQABAAAAACw="}, codes.NOT_AN_IMAGE),
        ({"image": "data:image/png;base64,"}, codes.NOT_AN_IMAGE),
        ({"image": "A" * (MAX_UPLOAD // 3 * 4 + 8)}, codes.TOO_MANY_BYTES),
        ({"image_path": "/etc/passwd"}, codes.BAD_PATH),
        ({"image_path": {}}, codes.BAD_PATH),
    ],
)
def test_refusals_of_what_was_asked(web: Web, fields: dict[str, object], code: Code) -> None:
    """Each has its code, its HTTP status, and the req_id."""
    envelope(ask(web, **fields), code)


def test_a_cut_picture_is_no_picture(web: Web, picture64: Picture64) -> None:
    """1005, not an answer about half of it."""
    envelope(ask(web, image=cut(picture64(TONE))), codes.NOT_AN_IMAGE)


def test_pixels_are_counted_before_they_are_decoded(web: Web) -> None:
    """A small file that claims 40,000 × 40,000."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", 40_000, 40_000)
    envelope(ask(web, image=base64.b64encode(bytes(data)).decode()), codes.TOO_MANY_PIXELS)


@pytest.mark.parametrize("tone", [1, 2, 3, 4])
def test_what_the_detector_says_has_its_code(web: Web, picture64: Picture64, tone: int) -> None:
    """Overloaded, not ready and failed; an answer nobody knows is 9999, never a made-up result."""
    code = {1: codes.OVERLOADED, 2: codes.NOT_READY, 3: codes.INFERENCE_FAILED, 4: codes.UNKNOWN}[tone]
    envelope(ask(web, image=picture64(tone)), code)


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=b", "", "image/png"])
def test_other_content_types_get_the_envelope(web: Web, content_type: str) -> None:
    """1001, with the empty req_id."""
    answer = web.post(data=b'{"req_id": "r", "image": "AAAA"}', headers={"Content-Type": content_type})
    envelope(answer, codes.UNREADABLE, "")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 50_000, b'{"req_id": []}', b"null"])
def test_unreadable_bodies_get_the_envelope(web: Web, body: bytes) -> None:
    """1001 for whatever is no JSON object."""
    envelope(web.post(data=body, headers={"Content-Type": "application/json"}), codes.UNREADABLE, "")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_get_the_envelope(web: Web, method: str) -> None:
    """1012, and Allow says which would do."""
    answer = requests.request(method, web.url + "/fire_detector", timeout=30)
    envelope(answer, codes.NO_SUCH_METHOD, "")
    assert answer.headers["Allow"] == "POST"


def test_head_is_refused_without_a_body(web: Web) -> None:
    """As HTTP wants it."""
    answer = requests.head(web.url + "/fire_detector", timeout=30)
    assert (answer.status_code, answer.content) == (405, b"")


def test_a_large_body_is_refused_before_it_is_sent(web: Web) -> None:
    """By its Content-Length: the answer comes while the client has sent next to nothing."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(
            b"POST /fire_detector HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{"
        )
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["err_no"] == codes.TOO_MANY_BYTES.number


def test_a_large_body_of_unknown_length_is_refused_where_it_passes_the_limit(web: Web) -> None:
    """Chunked: read to the limit, and no further."""

    def endless() -> Iterator[bytes]:
        for _ in range(12):
            yield b" " * 50_000

    try:
        answer = web.post(data=endless(), headers={"Content-Type": "application/json"})
    except requests.ConnectionError:
        return  # refused in mid-sending: the answer was lost with the connection
    envelope(answer, codes.TOO_MANY_BYTES, "")


def test_a_chunked_body_is_read(web: Web, picture64: Picture64) -> None:
    """Clients that do not know their length beforehand are served."""
    body = json.dumps({"req_id": "r", "image": picture64(TONE)}).encode()
    parts = (body[at : at + 100] for at in range(0, len(body), 100))
    envelope(web.post(data=parts, headers={"Content-Type": "application/json"}), codes.SUCCESS)


def test_a_body_that_ends_early_is_unreadable(web: Web) -> None:
    """Half of what Content-Length promised is not taken for the whole, even where it happens to parse."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(
            b"POST /fire_detector HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{}"
        )
        client.shutdown(socket.SHUT_WR)
        body = client.makefile("rb").read().partition(b"\r\n\r\n")[2]
    assert json.loads(body)["err_no"] == codes.UNREADABLE.number


@pytest.mark.parametrize("name", ["deep/a.png", "ä b.png", "deep/../deep/a.png", "./deep//a.png"])
def test_paths_below_an_allowed_folder(web: Web, folder: Path, name: str) -> None:
    """Regular files below api.image_roots; a path with `..` is refused as such."""
    answer = ask(web, image_path=f"{folder}/in/{name}")
    envelope(answer, codes.BAD_PATH if ".." in name else codes.SUCCESS)


@pytest.mark.parametrize(
    "name",
    ["in/link.png", "in/way/secret.png", "out/secret.png", "in/../out/secret.png", "in/none.png", "in/pipe.png", "in/deep",
     "in", "in/", "", "in/a\0b", "in/" + "x" * 5000, "in/deep/a.png/b"],
)  # fmt: skip
def test_every_other_path_gets_one_answer(web: Web, folder: Path, name: str) -> None:
    """Links, FIFOs, folders, what is outside and what does not exist: nobody can tell them apart."""
    answer = ask(web, image_path=f"{folder}/{name}")
    envelope(answer, codes.BAD_PATH)
    assert answer.json()["err_msg"] == codes.BAD_PATH.sentence


@pytest.mark.parametrize("path", ["relative.png", "~/a.png", "file:///etc/passwd", "/proc/self/environ", "\ud800"])
def test_strange_paths_get_the_same_answer(web: Web, path: str) -> None:
    """Relative ones, URLs, what is no text."""
    envelope(ask(web, image_path=path), codes.BAD_PATH)


def test_a_large_file_and_one_that_is_no_picture(web: Web, folder: Path) -> None:
    """Below an allowed folder the usual limits hold."""
    envelope(ask(web, image_path=f"{folder}/in/big.png"), codes.TOO_MANY_BYTES)
    envelope(ask(web, image_path=f"{folder}/in/note.txt"), codes.NOT_AN_IMAGE)


def test_sixty_four_callers_each_get_their_own_answer(web: Web, picture: Callable[..., bytes]) -> None:
    """64 different pictures at once, of different sizes, half JSON and half forms."""

    def one(number: int) -> None:
        width = 200 + number
        image = base64.b64encode(picture(10 + number, width, 50 + number)).decode()
        fields = {"req_id": str(number), "image": image}
        answer = web.post(json=fields) if number % 2 else web.post(data=fields)
        result = envelope(answer, codes.SUCCESS, str(number))
        assert (result["width"], result["height"]) == (width, 50 + number)
        assert result["detections"][0]["box"] == [10 + number, 1, width, 50 + number]

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(one, range(64)))


def test_a_full_house_is_refused_at_the_deadline(tmp_path: Path, picture64: Picture64) -> None:
    """While api.max_decoding pictures wait for the detector, the next one is told so in time, and served afterwards."""
    site = Site(tmp_path, api={"max_decoding": 1, "deadline": 1.5})
    try:
        web = site.start()
        site.detector.hold.clear()
        first = threading.Thread(target=lambda: ask(web, image=picture64(TONE)))
        first.start()
        while not site.detector.seen:
            first.join(0.01)
        envelope(ask(web, image=picture64(TONE)), codes.OVERLOADED)
        site.detector.hold.set()
        first.join()
        envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)
    finally:
        site.close()


def test_without_a_detector_it_is_not_ready(tmp_path: Path, picture64: Picture64) -> None:
    """And as soon as one listens again, it answers."""
    site = Site(tmp_path)
    try:
        web = site.start()
        site.detector.close()
        envelope(ask(web, image=picture64(TONE)), codes.NOT_READY)
        site.detector = PlayedDetector(site.run_dir)
        envelope(ask(web, image=picture64(TONE)), codes.SUCCESS)
    finally:
        site.close()


def test_every_code_is_in_the_table_once() -> None:
    """Numbers are promises: they are unique and in their ranges."""
    numbers = [code.number for code in codes.ALL]
    assert numbers == [0, *range(1001, 1013), 2001, 9999]
