# SPDX-License-Identifier: AGPL-3.0-or-later
"""What going back found, over real HTTP, on a true store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest

from daemon.clock import NS, rfc3339
from daemon.domain import Incident
from daemon.ids import new_id
from daemon.origin.doubt import Doubt, doubt_in
from daemon.origin.record import Analysis, to_json
from daemon.storage.writing import Entry
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web
from tests.storage.analysis_kit import analysis_of

API = "/api/v1/incidents"


@dataclass
class Stored:
    web: Web
    analysed: Incident
    first: Analysis
    second: Analysis
    just_now: Incident
    long_ago: Incident
    suspect: Incident
    capture: Incident
    ahead: Incident


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """An incident that was analysed twice, and five without an analysis."""
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings, ["hall"])
    now_ns = time.time_ns()
    analysed, just_now = shelf.incident(now_ns - 3600 * NS), shelf.incident(now_ns - 10 * NS, state="confirmed")
    long_ago, suspect = shelf.incident(now_ns - 7200 * NS), shelf.incident(now_ns, state="suspect")
    capture = shelf.incident(now_ns - NS, kind="manual", reason="panel 3", labels=())
    ahead = shelf.incident(now_ns + 365 * 86_400 * NS)
    first = analysis_of(analysed.id, now_ns - 3600 * NS, last_clean=None)
    second = replace(analysis_of(analysed.id, now_ns - 3601 * NS), previous=first.id)
    for each in (first, second):
        shelf.store.commit([Entry("analysis", to_json(each))])
    yield Stored(site.start(), analysed, first, second, just_now, long_ago, suspect, capture, ahead)
    shelf.close()
    site.close()


def get(stored: Stored, incident: Incident, path: str, **query: object) -> Any:
    answer = stored.web.get(f"{API}/{incident.id}{path}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


def test_the_newest_analysis_is_told(stored: Stored) -> None:
    """When and where it first appeared, with the ids of the stills, the chain and the component."""
    told = get(stored, stored.analysed, "/origin").json()
    first = stored.second.first_visible
    assert told["id"] == stored.second.id
    assert told["previous"] == stored.first.id
    assert told["first_visible"] == {
        "at": rfc3339(first.at_ns), "uncertainty_s": 0.09, "relative_uncertainty_s": 0.07, "run": first.run,
        "label": "fire", "confidence": 0.21, "box": [100, 200, 140, 260], "point": [121.5, 259],
        "evidence": first.evidence,
    }  # fmt: skip
    assert told["burning_when_record_begins"] is False
    assert told["last_clean"]["evidence"] == stored.second.last_clean.evidence  # type: ignore[union-attr]
    assert told["component"]["name"] == "pump"
    assert [each["name"] for each in told["component"]["candidates"]] == ["pump", "wall"]
    assert [each["sighting"] for each in told["chain"]] == [False, *[True] * 10]
    assert told["times"] == "measured"
    assert "cause" not in str(told)


def test_all_analyses_are_there_for_ever(stored: Stored) -> None:
    """The newest first; the older one still says what it said: burning already when the record begins."""
    items = get(stored, stored.analysed, "/origin", all=1).json()["items"]
    assert [each["id"] for each in items] == [stored.second.id, stored.first.id]
    assert (items[1]["last_clean"], items[1]["burning_when_record_begins"]) == (None, True)


@pytest.mark.parametrize("path", ["/origin", "/growth", "/arrival.png"])
def test_each_names_its_analysis_and_an_earlier_one_can_be_asked_for(stored: Stored, path: str) -> None:
    """The newest without a name; by name any of this incident's, for ever, and none of another one's."""
    newest = get(stored, stored.analysed, path)
    where = f"{API}/{stored.analysed.id}{path}"
    assert newest.headers["Content-Location"] == f"{where}?analysis={stored.second.id}"
    earlier = get(stored, stored.analysed, path, analysis=stored.first.id)
    assert earlier.headers["Content-Location"] == f"{where}?analysis={stored.first.id}"
    assert stored.web.get(newest.headers["Content-Location"]).content == newest.content
    none = stored.web.get(where, params={"analysis": new_id()})
    assert (none.status_code, none.json()["detail"]) == (404, "The incident has no such analysis.")
    assert stored.web.get(where, params={"analysis": "newest"}).status_code == 400


def test_what_is_in_doubt_is_told(stored: Stored) -> None:
    """Why and since when; of a line of before it was told, what follows from it."""
    assert get(stored, stored.analysed, "/origin").json()["doubt"] is None
    body = to_json(stored.second)
    doubt = to_json(replace(stored.second, doubt=Doubt(("glimpsed",), stored.first.confirmed_at_ns)))["doubt"]
    assert doubt_in(body | {"doubt": doubt}) == doubt
    old = {key: value for key, value in body.items() if key != "doubt"}
    assert doubt_in(old) is None
    for changes, why in (
        ({"clean_s": 1.3}, "glimpsed"),
        ({"ended": "record_begins"}, "record_begins"),
        ({"ended": "bound"}, "bound"),
    ):
        told = doubt_in(old | changes)
        assert told is not None
        assert (told["why"], told["since"]) == ([why], None)
    assert doubt_in(old | {"ended": "record_begins", "last_clean": None}) is None


def test_growth(stored: Stored) -> None:
    """Called by what it is: an area of boxes."""
    told = get(stored, stored.analysed, "/growth").json()
    assert told["analysis"] == stored.second.id
    assert told["model"]["sha256"] == stored.second.model.sha256
    assert told["of"] == "area of boxes, as shares of the picture"
    assert [(each["fire"], each["smoke"]) for each in told["items"]] == [(0.001, 0), (0.02, 0.004)]


def test_arrival(stored: Stored) -> None:
    """A picture of 64 × 36 cells: what burned first is the brightest, what never did is transparent."""
    answer = get(stored, stored.analysed, "/arrival.png")
    assert answer.headers["Content-Type"] == "image/png"
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (720, 1280, 4)
    first, later, smoke = (picture[row * 20 + 10, column * 20 + 10] for column, row in ((31, 20), (31, 19), (30, 10)))
    assert first[:3].sum() > later[:3].sum()
    assert min(each[3] for each in (first, later, smoke)) > 100
    assert picture[0, 0, 3] == 0


@pytest.mark.parametrize("path", ["/origin", "/growth", "/arrival.png"])
def test_without_an_analysis_it_says_why(stored: Stored, path: str) -> None:
    """Under way for ten minutes; then none, and where the clock was ahead; a suspicion is not looked into; an unknown incident is none."""
    capture = stored.capture.id  # confirmed by whoever asked, not by the detector
    states = {
        stored.just_now.id: "under_way", stored.long_ago.id: "none", stored.suspect.id: "not_confirmed", capture: "not_confirmed",
        stored.ahead.id: "none", new_id(): None,
    }  # fmt: skip
    for incident, state in states.items():
        answer = stored.web.get(f"{API}/{incident}{path}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
        assert answer.json().get("state") == state


def test_a_mistake_in_the_query_gets_a_sentence(stored: Stored) -> None:
    """As everywhere."""
    answer = stored.web.get(f"{API}/{stored.analysed.id}/origin", params={"all": "yes"})
    assert (answer.status_code, answer.json()["detail"][:4]) == (400, "all:")
