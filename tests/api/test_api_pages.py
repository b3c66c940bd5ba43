# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages: what a person sees of a day, an incident and one evidence, and that nothing on them is made up."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from daemon.api import words
from daemon.clock import NS, HostClocks, rfc3339
from daemon.domain import Detection, Evidence, Incident
from daemon.ids import new_id
from daemon.storage import bodies, heartbeat
from daemon.storage.durable import RealDisk
from daemon.storage.writing import Entry
from tests.api.shelf import FIRE, Shelf
from tests.api.web_under_test import Site, Web

COUNT = 15
STATIC = Path(words.__file__).parent / "static"


class _Page(HTMLParser):
    """What a browser would take from a page: tags with attributes, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [value for each, attributes in self.tags if each == tag and (value := attributes.get(name)) is not None]


@dataclass
class Shown:
    site: Site
    web: Web
    shelf: Shelf
    incident: Incident
    stills: list[Evidence]

    def page(self, path: str, status: int = 200) -> _Page:
        answer = self.web.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        return _Page(answer.text)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """An incident of today, a short gap, and a name that would be markup if it were not escaped."""
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}, "yard": {"url": "rtsp://h/2"}})
    shelf = Shelf(site.settings, ["hall", "yard"])
    now_ns = HostClocks().wall_ns()
    began_ns = max(now_ns - 30 * NS, now_ns - now_ns % (86_400 * NS))
    incident = shelf.incident(began_ns, state="confirmed")
    kinds = ["first_suspect", "hit", "first_confirmed", *["hit"] * (COUNT - 3)]
    zone = Detection("fire", 0.5, (1.0, 2.0, 30.0, 40.0), "<b>oven</b>")
    stills = [
        shelf.still(began_ns + place * NS // 1000, kind=kind, incident=incident.id, detections=(FIRE, zone))
        for place, kind in enumerate(kinds)
    ]
    shelf.gap(now_ns, None, camera="yard", reason="unreachable", detail="<i>no</i> answer")
    beat = heartbeat.Heartbeat(
        at_ns=str(now_ns), boot="b", limit_s=4.0,
        cameras={"hall": heartbeat.CameraBeat(watched_at_ns=str(now_ns + 3600 * NS), hour_at_ns=str(now_ns - now_ns % (3600 * NS)))},
    )  # fmt: skip
    heartbeat.write(RealDisk(), site.settings.storage.root, beat)
    site.supervisor.status = {
        "ready": True,
        "cameras": {
            "hall": {"state": "streaming", "condition": "ok", "incident": "confirmed"},
            "yard": {"state": "connecting", "condition": "unreachable", "detail": "<i>no</i> answer"},
        },
    }
    yield Shown(site, site.start(), shelf, incident, stills)
    shelf.close()
    site.close()


def test_today_shows_cameras_incidents_and_gaps(shown: Shown) -> None:
    """The state of each camera in words, the incident with its first pictures, the gap with its reason."""
    page = shown.page("/")
    assert "watching, and sees fire or smoke" in page.words
    assert "not watched: no connection to the camera" in page.words
    assert rfc3339(shown.incident.first_suspect_at_ns)[11:23] in page.words
    assert "confirmed, still going on" in page.words
    assert "All times are UTC" in page.words
    assert f"All {COUNT} pictures" in page.words
    assert len(page.attributes("svg", "aria-label")) == 2


def test_thumbnails_are_in_time_order_and_begin_with_the_first_suspicion(shown: Shown) -> None:
    """What it began with stays, then come the latest."""
    shown_ids = [
        link.rpartition("/")[2] for link in shown.page("/").attributes("a", "href") if link.startswith("/evidence/")
    ]
    by_time = [each.id for each in shown.stills]
    assert shown_ids[:2] == [by_time[0], by_time[2]]
    assert shown_ids[2:] == by_time[-6:]


def test_every_picture_has_words_for_those_who_cannot_see_it(shown: Shown) -> None:
    """Camera, time and what was found."""
    page = shown.page("/")
    alts = page.attributes("img", "alt")
    assert len(alts) == len([tag for tag, _ in page.tags if tag == "img"]) > 0
    assert all("hall" in alt and "fire 0.61" in " ".join(alt.split()) for alt in alts)


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(shown: Shown) -> None:
    """The Content-Security-Policy holds without exceptions: no inline script or style, no other host."""
    for path in ("/", f"/incidents/{shown.incident.id}", f"/evidence/{shown.stills[0].id}"):
        text = shown.web.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|<style|\bon\w+=", text)
        page = _Page(text)
        for value in page.attributes("script", "src") + page.attributes("img", "src") + page.attributes("link", "href"):
            assert value.startswith("/")
    headers = shown.web.get("/").headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_what_comes_from_outside_is_escaped(shown: Shown) -> None:
    """Zones' names and cameras' details are text."""
    assert "<i>no</i>" not in shown.web.get("/").text
    assert "<b>oven</b>" not in shown.web.get(f"/evidence/{shown.stills[0].id}").text
    assert "<b>oven</b>" in shown.page(f"/evidence/{shown.stills[0].id}").words


def test_every_link_leads_somewhere(shown: Shown) -> None:
    """From the day, the incident and the evidence."""
    links = {
        link
        for path in ("/", f"/incidents/{shown.incident.id}", f"/evidence/{shown.stills[3].id}")
        for page in [shown.page(path)]
        for name in ("href", "src")
        for tag in ("a", "img", "script", "link")
        for link in page.attributes(tag, name)
        if link.startswith("/")
    }
    assert len(links) > 10
    for link in links:
        assert shown.web.get(link).status_code == 200, link


def test_one_evidence_shows_its_record(shown: Shown) -> None:
    """Time with its uncertainty, the clock, the hash, the model, run and PTS; boxes drawn beside the stored bytes."""
    still = shown.stills[4]
    one = shown.web.get(f"/api/v1/evidence/{still.id}").json()
    page = shown.page(f"/evidence/{still.id}")
    said = " ".join(page.words.split())
    for part in (
        one["sha256"],
        still.run,
        f"PTS {still.pts}",
        "± 0.052 s",
        "clock was synchronised",
        still.model.name,
        still.model.sha256,
    ):
        assert part in said, part
    assert f"/api/v1/evidence/{still.id}/image" in page.attributes("img", "src")
    assert "100.5" in page.attributes("rect", "x")


def test_earlier_and_later_walk_through_an_incident(shown: Shown) -> None:
    """From the first to the last and back, each picture once."""

    def walk(start: str, rel: str) -> list[str]:
        names = [start]
        while True:
            page = shown.page(f"/evidence/{names[-1]}")
            following = [
                attributes["href"] for tag, attributes in page.tags if tag == "a" and attributes.get("rel") == rel
            ]
            if not following:
                return names
            names.append(str(following[0]).rpartition("/")[2])

    by_time = [each.id for each in shown.stills]
    assert walk(by_time[0], "next") == by_time
    assert walk(by_time[-1], "prev") == by_time[::-1]


def test_what_began_days_ago_and_goes_on_is_told_today(shown: Shown) -> None:
    """Among what is going on, and in the list; the same of the days in between, and not of the day before."""
    began_ns = HostClocks().wall_ns() - 60 * 3600 * NS
    incident = shown.shelf.incident(began_ns, camera="yard", state="confirmed")
    for day in ("", f"day={rfc3339(began_ns + 30 * 3600 * NS)[:10]}"):
        page = shown.page(f"/?camera=yard&{day}")
        assert any(link.endswith(incident.id) for link in page.attributes("a", "href"))
        assert "Nothing so far today" not in page.words
    assert incident.id not in shown.web.get(f"/?day={rfc3339(began_ns - 86_400 * NS)[:10]}").text
    shown.shelf.store.commit(
        [Entry("incident", bodies.incident(replace(incident, state="ended", ended_at_ns=began_ns)))]
    )


def test_a_recording_from_elsewhere_can_be_asked_for_by_its_name(shown: Shown) -> None:
    """And one in which nothing was confirmed says so, where others say that their pictures are gone."""
    at_ns = HostClocks().wall_ns()
    imported = shown.shelf.incident(
        at_ns,
        camera="imported",
        state="unconfirmed",
        kind="imported",
        labels=(),
        max_confidence=0.0,
        reason="phone.mp4",
    )
    page = shown.page("/?camera=imported")
    assert "no picture was taken out of it" in page.words
    assert "Strongest" not in page.words
    assert "no picture was taken out of it" in shown.page(f"/incidents/{imported.id}").words
    assert shown.web.get("/api/v1/incidents?camera=imported").json()["items"][0]["id"] == imported.id


def test_an_empty_day_says_what_that_means(shown: Shown) -> None:
    """A day before the first camera: nothing seen, and nothing watched either."""
    page = shown.page("/?day=2026-01-05")
    assert "No camera saw fire or smoke on this day" in page.words
    assert "Not watched on this day" in page.words
    assert [link for link in page.attributes("a", "href") if "day=2026-01-04" in link]
    assert shown.page("/?day=&camera=").words.count("today") >= 1  # a form's empty fields


def test_days_have_neighbours_but_no_future(shown: Shown) -> None:
    """Yesterday is offered, tomorrow is not."""
    today = datetime.now(UTC).date()
    links = shown.page("/").attributes("a", "href")
    assert any(f"day={today - timedelta(1)}" in link for link in links)
    assert not any(f"day={today + timedelta(1)}" in link for link in links)


@pytest.mark.parametrize("path", ["/?day=yesterday", "/?day=2026-13-01", "/?camera=nowhere", "/?colour=1"])
def test_a_wrong_address_is_told_as_a_page(shown: Shown, path: str) -> None:
    """A browser gets words, a program problem details."""
    assert "Bad Request" in shown.page(path, 400).words
    assert shown.web.get(path).headers["Content-Type"] == "application/problem+json"


def test_what_is_not_there_is_told_as_a_page(shown: Shown) -> None:
    """404 with the reason why it may be gone."""
    assert "purged" in shown.page(f"/evidence/{new_id()}", 404).words
    shown.page("/nothing", 404)
    shown.page(f"/incidents/{new_id()}", 404)


def test_the_page_goes_on_without_the_supervisor(tmp_path: Path) -> None:
    """Evidence stays readable; states are told as not known."""
    site = Site(tmp_path, cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings)
    shelf.incident(time.time_ns() - NS)
    site.supervisor.close()
    try:
        answer = site.start().get("/")
        assert answer.status_code == 200
        assert "no daemon is running here" in answer.text
        assert "not known: the daemon does not answer" in answer.text
        assert "Its pictures have been purged or are not stored yet" in answer.text
    finally:
        site.supervisor = type(site.supervisor)(site.run_dir)
        shelf.close()
        site.close()


def test_nothing_claims_a_cause() -> None:
    """Invariant 13: the pages say where fire first appeared to a camera, never where or why it began."""
    texts = [path.read_text() for path in (STATIC.parent / "templates").iterdir()]
    said = " ".join([*texts, *words.STATES.values(), *words.KINDS.values()]).lower()
    for claim in ("caused by", "cause of", "origin", "ignited", "started at", "broke out"):
        assert claim not in said
    assert "appeared to this camera" in said


@pytest.mark.parametrize(
    ("camera", "tone"),
    [
        ({"state": "streaming", "condition": "ok", "incident": None}, "good"),
        ({"state": "streaming", "condition": "ok", "incident": "suspect"}, "fire"),
        ({"state": "streaming", "condition": "frozen", "incident": "confirmed"}, "bad"),
        ({"state": "connecting", "condition": "ok", "incident": None}, "bad"),
        ({"state": "starting", "condition": "worker", "incident": None}, "bad"),
        ({"state": "unknown", "condition": "daemon", "incident": None}, "bad"),
        ({"state": "removed", "condition": "disabled", "incident": None}, "off"),
        ({"state": "disabled", "condition": "disabled", "incident": None}, "off"),
        ({"state": "new-state", "condition": "new-reason", "incident": None}, "bad"),
    ],
)
def test_a_camera_is_only_called_watched_when_it_is(camera: dict[str, str | None], tone: str) -> None:
    """Anything but a streaming camera in order is told as not watched, with its reason; colour is never alone."""
    found, says = words.camera_state(camera)
    assert found == tone
    assert says.startswith("watching") == (tone in ("good", "fire"))


def test_a_share_is_never_rounded_up_to_all() -> None:
    """100 % means that nothing was missed."""
    assert words.share(0.99999) == "99.9 %"
    assert words.share(1.0) == "100.0 %"


@pytest.mark.parametrize(("seconds", "says"), [(0.04, "0.0 s"), (25, "25 s"), (125, "2 min 5 s"), (7300, "2 h 1 min")])
def test_durations_are_readable(seconds: float, says: str) -> None:
    """For people, not for computing."""
    assert words.duration(seconds) == says
