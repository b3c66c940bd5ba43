# SPDX-License-Identifier: AGPL-3.0-or-later
"""The incident page's view of going back: what it says in each state, and that each of its pictures is there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from daemon.api import beginning, chart, words
from daemon.clock import NS, rfc3339
from daemon.domain import Evidence, Incident
from daemon.ids import new_id
from daemon.origin.doubt import Doubt
from daemon.origin.outline import UNNAMED
from daemon.origin.record import Analysis, Candidate, Component, LastClean, to_json
from daemon.storage.writing import Entry
from tests.api.page_kit import Page
from tests.api.shelf import FIRE, Shelf, scene
from tests.api.web_under_test import Site, Web
from tests.storage.analysis_kit import analysis_of

BEFORE_NS = 1_795_449_909 * NS + NS // 8

WIDE, HIGH = 640, 360
COMPONENTS = [
    {"name": "pump", "polygon": [[0.1, 0.5], [0.3, 0.5], [0.3, 0.9], [0.1, 0.9]]},
    {"name": "<b>wall</b>", "polygon": [[0.0, 0.0], [1.0, 0.0], [1.0, 0.4]]},
]


@dataclass
class Fire:
    """An analysed incident with its stills."""

    incident: Incident
    analysis: Analysis
    stills: dict[str, Evidence]


class Shown:
    """A site whose pages are read."""

    def __init__(self, site: Site) -> None:
        self.site, self.shelf = site, Shelf(site.settings, ["hall"])
        self.now_ns = time.time_ns()
        self.web: Web = site.start()

    def fire(self, hours_ago: int, stored: bool = True, **changes: Any) -> Fire:
        """With a last clean, a first visible and a confirming still, and hits between; `stored`: its two stills are there."""
        at_ns = (self.now_ns - hours_ago * 3600 * NS) // 1_000_000 * 1_000_000
        incident = self.shelf.incident(at_ns + NS, **changes.pop("incident", {}))
        told = analysis_of(incident.id, at_ns, **changes)
        stills: dict[str, Evidence] = {}
        kinds = {"first_suspect": 1.0, "hit": 1.2, "first_confirmed": 2.0} | (
            {"last_clean": -0.04, "first_visible": 0.0} if stored else {}
        )
        for kind, after_s in kinds.items():
            stills[kind] = self.still(incident, at_ns + round(after_s * NS), kind)
        if stored:
            told = replace(told, first_visible=replace(told.first_visible, evidence=stills["first_visible"].id))
            if told.last_clean is not None:
                told = replace(told, last_clean=replace(told.last_clean, evidence=stills["last_clean"].id))
        self.shelf.store.commit([Entry("analysis", to_json(told))])
        return Fire(incident, told, stills)

    def still(self, incident: Incident, at_ns: int, kind: str) -> Evidence:
        found = () if kind == "last_clean" else (FIRE,)
        return self.shelf.still(
            at_ns, kind=kind, incident=incident.id, detections=found, picture=scene(WIDE, HIGH), drill=incident.drill
        )

    def page(self, incident: Incident, **query: object) -> Page:
        answer = self.web.get(f"/incidents/{incident.id}", params=query, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return Page(answer.text)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """One site for all: each test adds the incident that it is about."""
    camera = {"url": "rtsp://h/1", "components": COMPONENTS, "components_view": "hall.jpg"}
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": camera})
    made = Shown(site)
    yield made
    made.shelf.close()
    site.close()


def test_it_says_when_where_and_on_what(shown: Shown) -> None:
    """The time with both uncertainties, the component with its share and the other candidates, what was clean before."""
    fire = shown.fire(5)
    said = shown.page(fire.incident).said
    day, clock = rfc3339(fire.analysis.first_visible.at_ns)[:23].split("T")
    for part in (
        f"Fire first appeared to this camera at {day} {clock} UTC ± 0.09 s",
        "Last clean was the frame 0.04 s before. Against this host's other cameras ± 0.07 s",
        "In the 3.2 s before it, every frame that was looked at was clean.",
        "On pump (80 %). pump 80 % wall 20 %",
        "is at x 122, y 259 of the picture",
        "confirmed 2.0 s later",
        "firewitness-11n on openvino, 640 px",
        "from what was held in memory: 71 frames were looked at",
        "fire 0.15, smoke 0.175 on",
    ):
        assert part in said, part


def test_the_picture_is_the_stored_one_and_what_lies_over_it_can_be_switched(shown: Shown) -> None:
    """Stored bytes large and beside them the last clean; box, foot and components are drawn by the page; no style, no script."""
    fire, unit = shown.fire(6), WIDE / 250  # drawn round the box, not over it
    page = shown.page(fire.incident)
    first, clean = (f"/api/v1/evidence/{fire.stills[kind].id}/image" for kind in ("first_visible", "last_clean"))
    sources = page.attributes("img", "src")
    assert sources[0] == first
    assert sources.count(clean) == 2  # beside it, and in its place for who wants to blink
    assert page.attributes("image", "href") == [clean, first]
    assert page.attributes("svg", "viewbox")[0] == f"0 0 {WIDE} {HIGH}"
    assert (page.attributes("rect", "x")[0], page.attributes("rect", "width")[0]) == (
        str(100 - unit),
        str(40 + 2 * unit),
    )
    assert page.attributes("polygon", "points")[0] == "64.0,180.0 192.0,180.0 192.0,324.0 64.0,324.0"
    assert page.attributes("polygon", "class").count("named") == 1
    assert "<b>wall</b>" in page.said
    switches = {
        attributes["id"]: "checked" in attributes
        for tag, attributes in page.tags
        if attributes.get("type") == "checkbox"
    }
    assert switches == {"boxes": True, "show-components": True, "show-arrival": False, "show-clean": False}
    assert set(page.attributes("label", "for")) == set(switches)
    text = shown.web.get(f"/incidents/{fire.incident.id}").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|<style|\bon\w+=", text)


def test_every_picture_and_link_answers(shown: Shown) -> None:
    """Stills, copies, arrival map, records, JSON; each picture has words for those who cannot see it."""
    page = shown.page(shown.fire(7).incident)
    links = {
        link
        for tag, name in (("img", "src"), ("image", "href"), ("a", "href"), ("link", "href"), ("script", "src"))
        for link in page.attributes(tag, name)
        if not link.startswith("#")
    }
    assert any("arrival.png" in link for link in links)
    assert len(links) > 15
    for link in links:
        assert shown.web.get(link).status_code == 200, link
    alts = page.attributes("img", "alt")
    assert len(alts) == len(page.attributes("img", "src"))
    assert all(alts)


def test_the_film_has_times_from_first_visible(shown: Shown) -> None:
    """In order, with what each is; the stills of an earlier analysis are not among them."""
    fire = shown.fire(8)
    earlier = shown.still(fire.incident, fire.analysis.first_visible.at_ns + NS // 10, "first_visible")
    page = shown.page(fire.incident)
    assert re.search(
        r"−0.04 s nothing found last clean 0 s fire 0.61 first visible \+1 s fire 0.61 first suspicion "
        r"\+1.2 s fire 0.61 \+2 s fire 0.61 confirmed",
        page.said,
    )
    assert not any(earlier.id in source and source.endswith("width=240") for source in page.attributes("img", "src"))


def test_a_long_film_keeps_what_matters(shown: Shown) -> None:
    """Of many stills an even choice; those with a role always."""
    fire = shown.fire(9)
    for step in range(40):
        shown.still(fire.incident, fire.analysis.first_visible.at_ns + step * NS // 20, "hit")
    sources = [each for each in shown.page(fire.incident).attributes("img", "src") if each.endswith("width=240")]
    assert len(sources) == beginning.FILM_PICTURES
    for kind in ("last_clean", "first_visible", "first_suspect", "first_confirmed"):
        assert any(fire.stills[kind].id in each for each in sources), kind


def test_the_day_begins_an_incident_with_first_visible(shown: Shown) -> None:
    """However many pictures came after it."""
    fire = shown.fire(20)
    for step in range(12):
        shown.still(fire.incident, fire.analysis.first_visible.at_ns + (5 + step) * NS, "hit")
    day = rfc3339(fire.incident.first_suspect_at_ns)[:10]
    text = shown.web.get("/", params={"day": day}).text
    article = text[text.index(f'id="i-{fire.incident.id}"') :].partition("</article>")[0]
    links = [link for link in Page(article).attributes("a", "href") if link.startswith("/evidence/")]
    assert links[0] == f"/evidence/{fire.stills['first_visible'].id}"
    assert len(links) == 8


def test_earlier_analyses_stay(shown: Shown) -> None:
    """The newest is shown; those before it are listed with what they said."""
    fire = shown.fire(10, last_clean=None, ended="record_begins")
    second = replace(
        analysis_of(fire.incident.id, fire.analysis.first_visible.at_ns - NS, source="clip"), previous=fire.analysis.id
    )
    shown.shelf.store.commit([Entry("analysis", to_json(second))])
    said = shown.page(fire.incident).said
    assert "first appeared to this camera at" in said.split("1 earlier analysis, kept as it was")[0]
    assert "from the stored clip: 71 frames" in said
    assert "appeared to this camera at the latest at" in said.split("1 earlier analysis, kept as it was")[1]
    assert fire.analysis.id in said


def test_burning_when_the_record_begins(shown: Shown) -> None:
    """No first time is claimed, and no clean picture."""
    said = shown.page(shown.fire(11, last_clean=None, ended="record_begins", clean_s=0.0).incident).said
    assert "Fire appeared to this camera at the latest at" in said
    assert "already burning when the record begins" in said
    assert "There is no clean picture before it" in said
    assert "first appeared to this camera at" not in said
    assert "Last clean" not in said
    fire = shown.fire(19, last_clean=None, ended="record_begins", clean_s=0.0)
    smoke = replace(fire.analysis, id=new_id(), first_visible=replace(fire.analysis.first_visible, label="smoke"))
    shown.shelf.store.commit([Entry("analysis", to_json(smoke))])
    assert "It was already there when the record begins" in shown.page(fire.incident).said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ended": "bound", "doubt": Doubt(("bound",), None)}, "since when is not known. Going back reached its bound"),
        ({"ended": "bound", "last_clean": None, "doubt": Doubt(("bound",), None)}, "Fire appeared to this camera at the latest at"),
        ({"ended": "record_begins", "doubt": Doubt(("record_begins",), None)}, "The record has less than 3 s of clean frames before it."),
        ({"doubt": Doubt(("glimpsed",), BEFORE_NS)}, "It may have been visible earlier, from 16:05:09.125 on. Some frames before it"),
        ({"doubt": Doubt(("glimpsed", "looks_the_same"), None)}, "the detector may have missed it in them."),
        ({"doubt": Doubt(("looks_the_same",), None)}, "Last without a sighting in its place"),
        ({"component": Component(note="the camera has moved")}, "No component is named: the camera has moved."),
        ({"component": Component(None, 0.0, (Candidate("pump", 0.7),), "it is dark")}, "No component is named: it is dark. pump 70 %"),
        ({"component": Component(UNNAMED, 1.0, (Candidate(UNNAMED, 1.0),))}, "In the unnamed area (100 %): no component is drawn there."),
        ({"times": "claimed"}, "These times are the recording's own claim."),
        ({"arrival": (), "growth": (), "chain": ()}, "Growth: area of the boxes of fire and of smoke"),
    ],
)  # fmt: skip
def test_what_is_open_is_said(shown: Shown, changes: dict[str, Any], says: str) -> None:
    """Each way to an end, and each reason for naming no component, has its sentence."""
    assert says in shown.page(shown.fire(12, **changes).incident).said


def test_a_moved_camera_has_no_polygons(shown: Shown) -> None:
    """They would lie anywhere."""
    page = shown.page(shown.fire(13, component=Component(note="the camera has moved")).incident)
    assert not page.attributes("polygon", "points")
    assert "show-components" not in page.attributes("label", "for")


def test_stills_that_are_gone_leave_the_finding(shown: Shown) -> None:
    """Purged, missing or never made: no broken picture, the time and the place stay."""
    page = shown.page(shown.fire(14, stored=False).incident)
    assert "Its still is not there" in page.said
    assert "On pump (80 %)." in page.said
    assert not page.attributes("image", "href")
    for source in page.attributes("img", "src"):
        assert shown.web.get(source).status_code == 200, source
    fire = shown.fire(15)
    half = replace(fire.analysis, last_clean=replace(LastClean(fire.analysis.first_visible.at_ns - NS, "r", 0, None)))
    shown.shelf.store.commit([Entry("analysis", to_json(half) | {"id": fire.incident.id})])
    assert "its picture is not there" in shown.page(fire.incident).said


def test_without_an_analysis_it_says_why(shown: Shown) -> None:
    """Under way, given up, not confirmed, asked for: one sentence, and no picture of it."""
    now_ns = shown.now_ns
    incidents = {
        "Going back is under way": shown.shelf.incident(now_ns - 10 * NS, state="confirmed"),
        "There is no analysis of this incident": shown.shelf.incident(now_ns - 7200 * NS, state="interrupted"),
        "only then is its beginning looked for": shown.shelf.incident(now_ns - 60 * NS, state="unconfirmed"),
        "is a capture that somebody asked for": shown.shelf.incident(
            now_ns - NS, kind="manual", reason="panel 3", labels=()
        ),
    }
    for sentence, incident in incidents.items():
        page = shown.page(incident)
        assert sentence in page.said
        assert "first appeared to this camera at" not in page.said
        assert ("Look again" in page.said) == (sentence == "Going back is under way")


def test_a_drill_and_an_interrupted_incident_have_their_beginning_too(shown: Shown) -> None:
    """With the mark that they carry everywhere."""
    drill = shown.page(shown.fire(16, incident={"drill": True}, drill=True).incident).said
    assert "A drill: the picture is a simulated camera's" in drill
    assert "· drill" in drill
    broken = shown.page(shown.fire(17, incident={"state": "interrupted"}).incident).said
    assert "interrupted: the camera was no longer watched" in broken
    assert "Fire first appeared to this camera at" in broken


def test_earlier_pictures_of_an_incident_come_without_its_beginning(shown: Shown) -> None:
    """It is on the incident's first page."""
    fire = shown.fire(18)
    cursor = shown.web.get("/api/v1/evidence", params={"incident": fire.incident.id, "limit": 1}).json()["next"]
    page = shown.page(fire.incident, cursor=cursor)
    assert "first appeared to this camera at" not in page.said
    assert len(page.attributes("img", "src")) == 4


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "0 s"),
        (-2.41, "−2.4 s"),
        (1.2, "+1.2 s"),
        (-0.04, "−0.04 s"),
        (-0.066, "−0.07 s"),
        (0.0004, "0 s"),
        (75, "+1 min 15 s"),
    ],
)
def test_relative_times(seconds: float, says: str) -> None:
    """With a sign, and fine where it is near."""
    assert words.relative(seconds) == says


@pytest.mark.parametrize(
    ("share", "says"), [(0.834, "83 %"), (0.998, "99 %"), (1.0, "100 %"), (0.004, "< 1 %"), (0.0, "0 %")]
)
def test_a_share_is_certain_only_when_it_is(share: float, says: str) -> None:
    """Rounding makes no certainty."""
    assert beginning.per_cent(share) == says


@pytest.mark.parametrize("span_s", [0.0, 0.04, 0.9, 2.0, 7.3, 58.0, 400.0])
def test_a_chart_lies_in_its_field_whatever_the_span(span_s: float) -> None:
    """All marks inside, two to seven ticks, 0 s where first visible is."""
    zero_ns = 1_764_000_000 * NS
    links = [
        {"at": rfc3339(zero_ns - NS // 25), "label": None, "confidence": 0.0, "sighting": False},
        {"at": rfc3339(zero_ns), "label": "fire", "confidence": 0.2, "sighting": True},
        {"at": rfc3339(zero_ns + round(span_s * NS)), "label": "smoke", "confidence": 1.0, "sighting": True},
    ]
    drawn = chart.chain(links, {"fire": 0.15}, links[1]["at"])
    assert [mark.kind for mark in drawn.marks] == ["clean", "fire", "smoke"]
    assert all(chart.LEFT <= mark.x <= chart.RIGHT and chart.TOP <= mark.y <= chart.FOOT for mark in drawn.marks)
    assert drawn.marks[1].x == drawn.zero
    assert 2 <= len(drawn.across) <= 7
    assert "0 s" in [tick.says for tick in drawn.across]


def test_growth_is_scaled_to_its_largest(shown: Shown) -> None:
    """A flame of a thousandth of the picture fills the chart as one of a half does; no line for smoke where there is none."""
    at = rfc3339(1_764_000_000 * NS)
    for largest in (0.0007, 0.02, 0.5, 1.0):
        drawn = chart.growth(
            [{"at": at, "fire": largest / 2, "smoke": 0.0}, {"at": at, "fire": largest, "smoke": 0.0}], at
        )
        heights = [mark.y for mark in drawn.marks]
        assert chart.TOP <= heights[1] < chart.FOOT - (chart.FOOT - chart.TOP) / 2 < heights[0] + 40
        assert drawn.path("smoke") == ""
        assert 2 <= len(drawn.up) <= 7
