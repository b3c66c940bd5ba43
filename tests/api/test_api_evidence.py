# SPDX-License-Identifier: AGPL-3.0-or-later
"""The evidence API over real HTTP, on a true store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import requests

from daemon.clock import NS, rfc3339
from daemon.domain import Evidence, Incident
from daemon.ids import new_id
from tests.api.shelf import FIRE, SMOKE, Shelf
from tests.api.web_under_test import READY, Site, Web

COUNT = 12
API = "/api/v1"
FRESH_S = 0.6  # a little longer than daemon/api/live.py holds an answer


@dataclass
class Stored:
    site: Site
    web: Web
    shelf: Shelf
    stills: list[Evidence]
    incident: Incident
    began_ns: int


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """An incident of twelve stills in the hall, one still in the yard, and gaps."""
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}, "yard": {"url": "rtsp://h/2"}})
    shelf = Shelf(site.settings, ["hall", "yard", "gone"])
    began_ns = time.time_ns() - 3600 * NS
    incident = shelf.incident(began_ns)
    kinds = ["first_suspect", "hit", "first_confirmed", *["hit"] * (COUNT - 4), "context"]
    stills = [
        shelf.still(
            began_ns + place * NS // 5,
            kind=kind,
            incident=incident.id,
            detections=() if kind == "context" else (FIRE, SMOKE),
        )
        for place, kind in enumerate(kinds)
    ]
    shelf.still(began_ns, camera="yard", detections=(SMOKE,))
    shelf.gap(began_ns - 100 * NS, began_ns - 50 * NS, camera="yard", reason="unreachable", detail="no answer")
    shelf.gap(began_ns - 10 * NS, None, camera="yard")
    yield Stored(site, site.start(), shelf, stills, incident, began_ns)
    shelf.close()
    site.close()


def get(stored: Stored, path: str, **query: object) -> Any:
    answer = stored.web.get(API + path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def problem(answer: requests.Response, status: int) -> str:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    body = answer.json()
    assert set(body) >= {"type", "title", "status", "detail"}
    assert body["status"] == status
    return str(body["detail"])


EVIDENCE = {
    "type": "object",
    "required": ["id", "camera", "captured_at", "uncertainty_s", "relative_uncertainty_s", "sha256", "bytes", "width", "height",
                 "kind", "detections", "incident", "image"],
    "properties": {
        "captured_at": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "bytes": {"type": "integer"},
        "width": {"const": 320},
        "height": {"const": 180},
    },
}  # fmt: skip


def test_evidence_is_listed_newest_first_with_the_promised_members(stored: Stored) -> None:
    """All of the incident, from the last to the first."""
    page = get(stored, "/evidence", incident=stored.incident.id)
    assert [item["id"] for item in page["items"]] == [each.id for each in reversed(stored.stills)]
    assert page["next"] is None
    for item in page["items"]:
        jsonschema.validate(item, EVIDENCE)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, COUNT + 1),
        ({"camera": "yard"}, 1),
        ({"label": "fire"}, COUNT - 1),
        ({"label": "smoke", "min_confidence": "0.4"}, COUNT),
        ({"label": "smoke", "min_confidence": "0.41"}, 0),
        ({"min_confidence": "0.6"}, COUNT - 1),
        ({"kind": "context"}, 1),
        ({"kind": "hit", "camera": "hall"}, COUNT - 3),
        ({"camera": "gone"}, 0),
    ],
)
def test_filters_narrow_the_list(stored: Stored, query: dict[str, str], count: int) -> None:
    """Each alone and together."""
    assert len(get(stored, "/evidence", **query)["items"]) == count


def test_from_is_inclusive_and_to_exclusive(stored: Stored) -> None:
    """In every way of writing a time."""
    first, second = stored.stills[0].time.captured_at_ns, stored.stills[1].time.captured_at_ns

    def seconds(at_ns: int) -> str:
        return f"{at_ns // NS}.{at_ns % NS:09d}"

    found = get(stored, "/evidence", **{"camera": "hall", "from": seconds(first), "to": seconds(second)})["items"]
    assert [item["id"] for item in found] == [stored.stills[0].id]
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(first // NS + 7200)) + f".{first % NS:09d}+02:00"
    url = f"{stored.web.url}{API}/evidence?camera=hall&from={local}&to={seconds(second)}"  # the + arrives as a space
    assert requests.get(url, timeout=10).json()["items"] == found
    assert (
        len(get(stored, "/evidence", **{"camera": "hall", "from": rfc3339(first).replace("Z", "z")})["items"]) == COUNT
    )


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/evidence", "camera=nowhere"),
        ("/evidence", "camera=../etc"),
        ("/evidence", "limit=0"),
        ("/evidence", "limit=501"),
        ("/evidence", "limit=ten"),
        ("/evidence", "cursor=AAAA"),
        ("/evidence", "cursor=%F0%9F%94%A5"),
        ("/evidence", "label=lamp"),
        ("/evidence", "kind=photo"),
        ("/evidence", "min_confidence=2"),
        ("/evidence", "min_confidence=nan"),
        ("/evidence", "incident=7"),
        ("/evidence", "from=yesterday"),
        ("/evidence", "from=2026-11-23"),
        ("/evidence", "from=2026-02-30T00:00:00Z"),
        ("/evidence", "from=2026-11-23T16:05:09"),
        ("/evidence", "from=-5"),
        ("/evidence", "from=99999999999"),
        ("/evidence", "from=20&to=10"),
        ("/evidence", "limit=1&limit=2"),
        ("/evidence", "colour=red"),
        ("/incidents", "state=burning"),
        ("/incidents", "label=fire"),
        ("/gaps", "cursor=x"),
        ("/coverage", "limit=5"),
        ("/cameras", "camera=hall"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(stored: Stored, path: str, query: str) -> None:
    """400, as problem details that name it."""
    sentence = problem(stored.web.get(f"{API}{path}?{query}"), 400)
    assert sentence.startswith((query.partition("=")[0], "the query"))


def test_pages_are_stable_while_new_evidence_comes(stored: Stored) -> None:
    """Walking by cursor gives everything once, although stills are stored meanwhile."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(stored, "/evidence", camera="hall", limit=5, to=f"{stored.began_ns // NS + 600}", **cursor)
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
        stored.shelf.still(stored.began_ns + 300 * NS, camera="gone")
        stored.shelf.still(stored.began_ns + 599 * NS, camera="hall", kind="context", detections=())
    assert seen == [each.id for each in reversed(stored.stills)]


def test_one_evidence_has_its_record(stored: Stored) -> None:
    """What is needed to repeat the finding."""
    one = get(stored, f"/evidence/{stored.stills[0].id}")
    jsonschema.validate(one, EVIDENCE)
    assert one["record"]["pts"] == str(stored.stills[0].pts)
    assert one["record"]["model"]["sha256"] == "ab" * 32


@pytest.mark.parametrize("path", ["/evidence", "/incidents"])
def test_what_is_not_there_is_404(stored: Stored, path: str) -> None:
    """Unknown ids, and what is no id."""
    problem(stored.web.get(f"{API}{path}/{new_id()}"), 404)
    problem(stored.web.get(f"{API}{path}/7"), 404)


def image_url(evidence: Evidence) -> str:
    return f"{API}/evidence/{evidence.id}/image"


def test_the_image_is_the_stored_bytes(stored: Stored) -> None:
    """They hash to the record's SHA-256, which is the ETag; a cache may keep them for ever."""
    answer = stored.web.get(image_url(stored.stills[0]))
    sha256 = get(stored, f"/evidence/{stored.stills[0].id}")["sha256"]
    assert hashlib.sha256(answer.content).hexdigest() == sha256
    assert answer.headers["ETag"] == f'"{sha256}"'
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert "immutable" in answer.headers["Cache-Control"]


def test_ranges_and_conditions(stored: Stored) -> None:
    """RFC 9110: parts, parts beyond the end, and what a cache has already."""
    whole = stored.web.get(image_url(stored.stills[0]))
    part = stored.web.get(image_url(stored.stills[0]), headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    last = stored.web.get(image_url(stored.stills[0]), headers={"Range": "bytes=-10"})
    assert last.content == whole.content[-10:]
    problem(stored.web.get(image_url(stored.stills[0]), headers={"Range": "bytes=99999999-"}), 416)
    known = stored.web.get(image_url(stored.stills[0]), headers={"If-None-Match": whole.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")
    other = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert stored.web.get(image_url(stored.stills[0]), headers=other).content == whole.content


def test_boxes_are_drawn_on_a_copy(stored: Stored) -> None:
    """The stored file stays as it is; the copy differs around the boxes and has an ETag of its own."""
    plain = stored.web.get(image_url(stored.stills[0]))
    boxed = stored.web.get(image_url(stored.stills[0]), params={"boxes": 1})
    assert boxed.headers["ETag"] != plain.headers["ETag"]
    assert stored.web.get(image_url(stored.stills[0])).content == plain.content
    pictures = [cv2.imdecode(np.frombuffer(each.content, np.uint8), 1).astype(int) for each in (plain, boxed)]
    changed = np.abs(pictures[0] - pictures[1]).max(2) > 60
    assert changed[38, 100:164].mean() > 0.5
    assert not changed[120:, 230:].any()
    known = stored.web.get(
        image_url(stored.stills[0]), params={"boxes": 1}, headers={"If-None-Match": boxed.headers["ETag"]}
    )
    assert known.status_code == 304


@pytest.mark.parametrize("boxes", [0, 1])
def test_a_small_copy_for_lists(stored: Stored, boxes: int) -> None:
    """`width` makes it smaller, never larger."""
    small = stored.web.get(image_url(stored.stills[0]), params={"width": 160, "boxes": boxes}).content
    assert cv2.imdecode(np.frombuffer(small, np.uint8), 1).shape == (90, 160, 3)
    large = stored.web.get(image_url(stored.stills[0]), params={"width": 1000, "boxes": boxes}).content
    assert cv2.imdecode(np.frombuffer(large, np.uint8), 1).shape == (180, 320, 3)
    problem(stored.web.get(image_url(stored.stills[0]), params={"width": 5}), 400)


def test_a_picture_that_is_gone_is_410_and_a_changed_one_is_not_shown(stored: Stored) -> None:
    """The record stays readable; bytes that are not those of the record are never served as evidence."""
    still = stored.shelf.still(stored.began_ns - NS, camera="gone")
    path = stored.site.settings.storage.root / get(stored, f"/evidence/{still.id}")["path"]
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"\0" + content[-2:])
    for query in ({}, {"boxes": 1}):
        assert "SHA-256" in problem(stored.web.get(image_url(still), params=query), 500)
    path.unlink()
    problem(stored.web.get(image_url(still)), 410)
    assert get(stored, f"/evidence/{still.id}")["id"] == still.id


def test_incidents(stored: Stored) -> None:
    """With the promised members, filtered by state and time."""
    [item] = get(stored, "/incidents", state="ended", camera="hall")["items"]
    assert item | {"assessments": []} == get(stored, f"/incidents/{stored.incident.id}")
    assert {key: item[key] for key in ("id", "camera", "kind", "drill", "state", "labels", "evidence_count", "previous")} == {
        "id": stored.incident.id, "camera": "hall", "kind": "detected", "drill": False, "state": "ended", "labels": ["fire"],
        "evidence_count": COUNT, "previous": None,
    }  # fmt: skip
    assert item["first_suspect_at"] == rfc3339(stored.began_ns)
    assert item["first_confirmed_at"] == rfc3339(stored.began_ns + NS)
    assert get(stored, "/incidents", to=str(stored.began_ns // NS))["items"] == []
    assert get(stored, "/incidents", state="suspect")["items"] == []


def test_gaps_and_coverage(stored: Stored) -> None:
    """Gaps with their reasons; coverage says of each camera which share was watched, with the gaps beside it."""
    items = get(stored, "/gaps", camera="yard")["items"]
    assert [(item["reason"], item["to"] is None) for item in items] == [("stalled", True), ("unreachable", False)]
    covered = get(stored, "/coverage", camera="yard")["items"]
    assert [item["camera"] for item in covered] == ["yard"]
    assert covered[0]["watched_share"] < 1
    assert {gap["reason"] for gap in covered[0]["gaps"]} >= {"stalled", "unreachable"}
    assert {item["camera"] for item in get(stored, "/coverage")["items"]} == {"hall", "yard", "gone"}


def test_cameras_are_those_of_now_and_of_the_evidence(stored: Stored) -> None:
    """With the supervisor's word on each, and without it as not known."""
    stored.site.supervisor.status = {
        "ready": True,
        "cameras": {
            "hall": {
                "state": "streaming",
                "condition": "ok",
                "detail": "",
                "watched_at_ns": stored.began_ns,
                "width": 1920,
                "camera_clock_offset_s": -2.5,
            },
            "yard": {"state": "waiting", "condition": "refused", "detail": "401"},
        },
    }
    until = time.monotonic() + 10
    while not (answer := get(stored, "/cameras"))["items"][0]["watched_at"] and time.monotonic() < until:
        time.sleep(0.05)
    hall, yard, gone = answer["items"]
    assert answer["daemon"] == {"ready": True, "why": []}
    assert (hall["name"], hall["state"], hall["condition"], hall["watched_at"]) == (
        "hall",
        "streaming",
        "ok",
        rfc3339(stored.began_ns),
    )
    assert (hall["camera_clock_offset_s"], yard["camera_clock_offset_s"]) == (-2.5, None)
    assert (yard["name"], yard["state"], yard["condition"], yard["detail"]) == ("yard", "waiting", "refused", "401")
    assert (gone["name"], gone["state"]) == ("gone", "removed")


def test_without_a_store_it_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """503 with a sentence, not a fault: the recorder may just be starting. /fire_detector and health go on."""
    site = Site(tmp_path_factory.mktemp("empty"))
    try:
        web = site.start()
        assert "recorder" in problem(web.get(f"{API}/evidence"), 503)
        assert web.get("/healthz").status_code == 200
        assert web.post(json={}).json()["err_no"] == 1002
    finally:
        site.close()


def test_a_reload_is_seen_without_a_restart(make_site: Callable[..., Site]) -> None:
    """Cameras are those that the supervisor has now: an added one can be asked for, a removed one is none."""
    site = make_site(cameras={"hall": {"url": "rtsp://h/1"}})
    site.supervisor.status = {**READY, "cameras": {"hall": {"state": "streaming", "condition": "ok"}}}
    Shelf(site.settings, []).close()
    web = site.start()
    assert web.get(f"{API}/evidence", params={"camera": "yard"}).status_code == 400
    site.supervisor.status = {**READY, "cameras": {"yard": {"state": "connecting", "condition": "unreachable"}}}
    time.sleep(FRESH_S)  # one answer of the supervisor serves all who ask within it
    assert [item["name"] for item in web.get(f"{API}/cameras").json()["items"]] == ["yard"]
    assert web.get(f"{API}/evidence", params={"camera": "yard"}).status_code == 200
    assert web.get(f"{API}/gaps", params={"camera": "hall"}).status_code == 400
