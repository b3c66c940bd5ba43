# SPDX-License-Identifier: AGPL-3.0-or-later
"""POST /api/v1/captures over real HTTP, with a played supervisor: what it lets through, and what it refuses in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.api.web_under_test import Site, Web

URL = "/api/v1/captures"
GOOD = {"cameras": ["hall"], "reason": "panel 3"}
BEGUN = {"captures": [{"camera": "hall", "incident": "i", "before_s": 30.0, "every_s": 0.2}], "refused": []}


@dataclass
class Asked:
    site: Site
    web: Web

    def post(self, body: Any, **headers: str) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return requests.post(self.web.url + URL, data=data, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    yield Asked(site, site.start())
    site.close()


@pytest.fixture
def asked(served: Asked) -> Asked:
    supervisor = served.site.supervisor
    supervisor.result, supervisor.error, supervisor.asked = dict(BEGUN), "", []
    return served


def detail(answer: requests.Response, status: int) -> str:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    return str(answer.json()["detail"])


def test_a_capture_is_handed_on(asked: Asked) -> None:
    """With the defaults; the answer is the supervisor's."""
    answer = asked.post(GOOD)
    assert (answer.status_code, answer.json()) == (202, BEGUN)
    asked.post(
        {"site": True, "reason": "r", "before_s": 0, "after_s": 12.5}, Content_Type="application/json; charset=utf-8"
    )
    [first, second] = asked.site.supervisor.asked
    assert (first.name, first.arguments) == ("capture", {**GOOD, "before_s": 30.0, "after_s": 30.0})
    assert second.arguments == {"site": True, "reason": "r", "before_s": 0.0, "after_s": 12.5}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the body is no JSON: "),
        (b"[" * 50_000, "the body is no JSON: "),
        (b'{"reason": "r", "site": true, "after_s": NaN}', "the body is no JSON: "),
        ([GOOD], "the body must be a JSON object"),
        ({"reason": "r"}, "the body: give cameras, a list of names, or site, its name or true for all, and not both"),
        ({**GOOD, "site": True}, "the body: give cameras, a list of names, or site, its name or true for all, and not both"),
        ({"cameras": [], "reason": "r"}, "cameras: list should have at least 1 item"),
        ({"cameras": ["../x"], "reason": "r"}, "cameras: a camera's name has a-z, 0-9, - and _"),
        ({"cameras": "hall", "reason": "r"}, "cameras: input should be a valid list"),
        ({"site": "", "reason": "r"}, "site: "),
        ({"site": False, "reason": "r"}, "site: "),
        ({"site": 1, "reason": "r"}, "site: "),
        ({"site": True}, "reason: field required"),
        ({"site": True, "reason": ""}, "reason: string should have at least 1 character"),
        ({"site": True, "reason": 7}, "reason: input should be a valid string"),
        ({**GOOD, "before_s": -1}, "before_s: input should be greater than or equal to 0"),
        ({**GOOD, "after_s": 601}, "after_s: input should be less than or equal to 600"),
        ({**GOOD, "after_s": "30"}, "after_s: input should be a valid number"),
        ({**GOOD, "camera": "hall"}, "camera: there is no such parameter; allowed are cameras, site, reason, before_s, after_s"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(asked: Asked, body: Any, sentence: str) -> None:
    """And the supervisor hears nothing of it."""
    said = detail(asked.post(body), 400)
    assert said.startswith(sentence)
    assert "\n" not in said
    assert asked.site.supervisor.asked == []


def test_what_the_supervisor_refuses(asked: Asked) -> None:
    """Its own sentence for a mistake; where no camera is captured, why, of each."""
    asked.site.supervisor.error = "capture: there is no camera 'roof'; there are hall"
    assert detail(asked.post(GOOD), 400) == "there is no camera 'roof'; there are hall"
    asked.site.supervisor.error = ""
    refused = [{"camera": "hall", "why": "it is switched off in the configuration"}]
    asked.site.supervisor.result = {"captures": [], "refused": refused}
    answer = asked.post(GOOD)
    assert detail(answer, 409) == "Nothing is captured. hall: it is switched off in the configuration."
    assert (answer.json()["captures"], answer.json()["refused"]) == ([], refused)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "evil.example"},
    ],
)
def test_another_site_s_page_captures_nothing(asked: Asked, headers: dict[str, str]) -> None:
    """Whatever a browser sends for it; this host's own page and programs may."""
    assert asked.post(GOOD, **headers).status_code == 403
    assert asked.site.supervisor.asked == []
    own = {"Origin": asked.web.url, "Sec_Fetch_Site": "same-origin"}
    assert asked.post(GOOD, **own).status_code == 202


@pytest.mark.parametrize("type_", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(asked: Asked, type_: str) -> None:
    """A form of another site needs no leave to be sent; JSON does."""
    assert "application/json" in detail(asked.post(GOOD, Content_Type=type_), 415)
    assert asked.site.supervisor.asked == []


def test_a_large_body_is_refused(asked: Asked) -> None:
    """Before it is parsed."""
    assert "100000 bytes" in detail(asked.post({"site": True, "reason": "x" * 100_000}), 413)


def test_a_silent_daemon_is_told(tmp_path: Any) -> None:
    """Whoever asked must not believe that something is kept."""
    site = Site(tmp_path, cameras={"hall": {"url": "rtsp://h/1"}})
    try:
        asked = Asked(site, site.start())
        shutil.rmtree(site.run_dir)
        site.run_dir.mkdir()
        assert detail(asked.post(GOOD), 503).startswith("Nothing is captured: no daemon is running here")
    finally:
        site.close()
