# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of what the detector had no part in: captures, reference stills; and of drills, which are marked everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daemon.api import minutes, words
from daemon.api.day import Span, today
from daemon.clock import NS, HostClocks, rfc3339
from daemon.domain import DRILL_CAMERA, Evidence, Incident
from tests.api.shelf import FIRE, Shelf
from tests.api.test_api_pages import _Page
from tests.api.web_under_test import Site, Web

UNANALYSED: dict[str, Any] = {"detections": (), "model": None, "thresholds": {}}
MINUTE_NS = 60 * NS
HOUR_NS = 3600 * NS
DAY = "2026-11-24"
MIDNIGHT_NS = 1_795_478_400 * NS
"""Of DAY."""


@dataclass
class Shown:
    web: Web
    site: Site
    capture: Incident
    drill: Incident
    captured: list[Evidence]
    references: list[Evidence]

    def page(self, path: str, status: int = 200) -> _Page:
        answer = self.web.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == status, answer.text
        return _Page(answer.text)

    def said(self, path: str) -> str:
        return " ".join(self.page(path).words.split())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """On one day: a capture of 20 stills, a drill's incident, and an hour of reference stills with a hole."""
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings, ["hall"])
    asked_ns = MIDNIGHT_NS + 14 * HOUR_NS
    capture = shelf.incident(
        asked_ns, kind="manual", reason="<b>panel</b> 3", labels=(), max_confidence=0.0, place=(0.0, 0.0, 1.0, 1.0)
    )
    captured = [
        shelf.still(asked_ns + place * NS // 5, kind="manual", incident=capture.id, **UNANALYSED) for place in range(20)
    ]
    drill = shelf.incident(asked_ns, camera=DRILL_CAMERA, state="interrupted", drill=True)
    shelf.still(asked_ns, camera=DRILL_CAMERA, incident=drill.id, detections=(FIRE,), drill=True)
    places = [*range(20), *range(40, 60)]
    references = [
        shelf.still(
            MIDNIGHT_NS + 15 * HOUR_NS + place * MINUTE_NS, kind="reference", reduced_from_px=(1920, 1080), **UNANALYSED
        )
        for place in places
    ]
    shelf.incident(HostClocks().wall_ns(), kind="manual", state="confirmed", reason="by hand", labels=())
    site.supervisor.status = {
        "ready": True,
        "cameras": {
            "hall": {"state": "streaming", "condition": "ok"},
            DRILL_CAMERA: {"state": "streaming", "condition": "ok", "drill": True},
        },
    }
    yield Shown(site.start(), site, capture, drill, captured, references)
    shelf.close()
    site.close()


def test_a_capture_is_shown_as_what_it_is(shown: Shown) -> None:
    """Who asked and when; nothing that the detector would have said; some pictures of the whole of it."""
    said = shown.said(f"/incidents/{shown.capture.id}")
    for part in ("Captured on request, hall", "<b>panel</b> 3", "Asked for", "captured, not analysed"):
        assert part in said, part
    for part in ("First suspected", "Strongest", "nothing found", "confirmed"):
        assert part not in said, part
    page = shown.page(f"/?day={DAY}&camera=hall")
    assert "captured: <b>panel</b> 3 · hall" in " ".join(page.words.split())
    shown_ids = [link.rpartition("/")[2] for link in page.attributes("a", "href") if link.startswith("/evidence/")]
    assert shown_ids[0] == shown.captured[0].id
    assert shown_ids[-1] == shown.captured[-1].id
    assert len(shown_ids) == 8


def test_a_capture_under_way_is_told(shown: Shown) -> None:
    """On today's page, beside its mark on the camera's bar; the camera is not said to see anything."""
    page = shown.page("/?camera=hall")
    said = " ".join(page.words.split())
    assert "hall is being captured (by hand)" in said
    assert "sees" not in said.replace("sees fire or smoke, its pictures appear", "")
    assert any(says.startswith("captured: by hand") for says in page.attributes("rect", "aria-label"))


def test_a_picture_that_nobody_looked_at_says_so(shown: Shown) -> None:
    """No model, no threshold, no boxes to switch; a reduced one names the camera's size."""
    page = shown.page(f"/evidence/{shown.references[3].id}")
    said = " ".join(page.words.split())
    assert "not analysed: nobody has looked for fire in this picture" in said
    assert "Reduced from the camera's 1920 × 1080." in said
    assert "It counts from" not in said
    assert "Boxes" not in said
    assert f"/minutes?camera=hall&day={DAY}&hour=15" in page.attributes("a", "href")


def test_reference_stills_lead_to_each_other(shown: Shown) -> None:
    """Earlier and later of one are reference stills, whatever else its camera has."""
    page = shown.page(f"/evidence/{shown.references[0].id}")
    following = [attributes.get("href") for tag, attributes in page.tags if attributes.get("rel") == "next"]
    assert following == [f"/evidence/{shown.references[1].id}"]
    assert not [attributes for _, attributes in page.tags if attributes.get("rel") == "prev"]


def test_an_hour_minute_by_minute(shown: Shown) -> None:
    """In time order, with the hole that is in it; without an hour the last that has any; a day without says so."""
    page = shown.page(f"/minutes?camera=hall&day={DAY}")
    shown_ids = [link.rpartition("/")[2] for link in page.attributes("a", "href") if link.startswith("/evidence/")]
    assert shown_ids == [each.id for each in shown.references]
    assert "no picture for 21 min 0 s" in page.words
    hours = [link for link in page.attributes("a", "href") if "hour=" in link]
    assert hours == [f"/minutes?camera=hall&day={DAY}&hour=15"]
    assert "There are none of this hour" in shown.said(f"/minutes?camera=hall&day={DAY}&hour=3")
    assert "There are none of this day" in shown.said("/minutes?camera=hall&day=2026-01-05")
    assert f"/minutes?camera=hall&day={DAY}" in shown.page(f"/?day={DAY}").attributes("a", "href")


@pytest.mark.parametrize("query", ["", "?camera=nowhere", "?camera=hall&hour=24", "?camera=hall&day=x"])
def test_a_wrong_address_is_told(shown: Shown, query: str) -> None:
    """In words."""
    assert "Bad Request" in shown.page(f"/minutes{query}", 400).words


def test_short_intervals_are_thinned_evenly() -> None:
    """An hour of a picture a second is no page; the count is told."""

    class Played:
        def evidence_page(self, from_ns: int, limit: int, cursor: str | None = None, **_: Any) -> dict[str, Any]:
            first = int(cursor or 3599)
            items = [
                {"captured_at": rfc3339(from_ns + place * NS)} for place in range(first, max(first - limit, -1), -1)
            ]
            return {"items": items, "next": str(first - limit) if first >= limit else None}

    now_ns = HostClocks().wall_ns()
    made = minutes.of(Played(), "hall", Span.of(today(now_ns), now_ns), 4)  # type: ignore[arg-type]
    assert (made.count, len(made.pictures)) == (3600, 120)
    assert {each["hole_s"] for each in made.pictures} == {0.0}


def test_a_drill_is_marked_wherever_it_is_shown(shown: Shown) -> None:
    """Lists of the API, its camera, and each page; its end is no interruption."""
    for path in ("incidents", "evidence"):
        items = shown.web.get(f"/api/v1/{path}").json()["items"]
        assert {item["drill"] for item in items if item["camera"] == DRILL_CAMERA} == {True}
        assert {item["drill"] for item in items if item["camera"] == "hall"} == {False}
    cameras = {each["name"]: each["drill"] for each in shown.web.get("/api/v1/cameras").json()["items"]}
    assert cameras == {"hall": False, DRILL_CAMERA: True}
    for path in (f"/?day={DAY}", f"/incidents/{shown.drill.id}", f"/?day={DAY}&camera={DRILL_CAMERA}"):
        badges = [attributes.get("class") for tag, attributes in shown.page(path).tags if tag == "span"]
        assert "badge drill" in badges, path
    assert "over: the drill ended" in shown.said(f"/incidents/{shown.drill.id}")
    [still] = shown.web.get("/api/v1/evidence", params={"camera": DRILL_CAMERA}).json()["items"]
    assert "badge drill" in shown.web.get(f"/evidence/{still['id']}").text


def test_words_of_a_capture() -> None:
    """None of the detector's."""
    manual = {"kind": "manual", "reason": "r", "labels": [], "drill": False}
    assert [words.incident_state({**manual, "state": state}) for state in ("confirmed", "ended")] == [
        "being captured",
        "captured",
    ]
    assert words.incident_title(manual) == "captured: r"
    assert words.found({"detections": [], "analysed": False}) == "not analysed"
    assert words.found({"detections": [], "analysed": True}) == "nothing found"
