# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people make of incidents: what is handed on to the recorder, what is shown of it, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daemon import sockets
from daemon.clock import NS, HostClocks
from daemon.domain import Incident
from daemon.ids import new_id
from daemon.storage.assessing import assess
from tests.api.page_kit import Page
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web

FORM = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Served:
    site: Site
    web: Web
    shelf: Shelf
    incident: Incident

    @property
    def path(self) -> str:
        return f"/api/v1/incidents/{self.incident.id}/assessments"

    def said(self, says: str, **more: str) -> dict[str, Any]:
        """As the recorder carries it out."""
        return assess(self.shelf.store, {"incident": self.incident.id, "says": says, **more})


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One incident of now, and a recorder that is played."""
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings)
    incident = shelf.incident(HostClocks().wall_ns() - NS)
    shelf.still(HostClocks().wall_ns(), incident=incident.id)
    yield Served(site, site.start(), shelf, incident)
    shelf.close()
    site.close()


@pytest.fixture
def served(started: Served) -> Served:
    """The same, which nobody has asked for anything."""
    supervisor = started.site.supervisor
    supervisor.result, supervisor.error, supervisor.asked = {}, "", []
    return started


def test_it_is_handed_on_and_shown(served: Served) -> None:
    """With whose word it is and why; the newest counts, all stay."""
    served.site.supervisor.result = {
        "id": new_id(),
        "incident": served.incident.id,
        "says": "fire",
        "by": "",
        "note": "",
    }
    asked = {"says": "false_alarm", "by": "M. Weber", "note": "a lamp"}
    answer = served.web.post_to(served.path, json=asked)
    assert (answer.status_code, answer.json()) == (201, served.site.supervisor.result)
    [command] = served.site.supervisor.asked
    assert (command.name, command.arguments) == ("assess", {"incident": served.incident.id, **asked})
    url = f"/api/v1/incidents/{served.incident.id}"
    assert (served.web.get(url).json()["assessed"], served.web.get(url).json()["assessments"]) == (None, [])
    served.said("fire", by="night shift")
    served.said("false_alarm", by="<b>M. Weber</b>", note="a lamp")
    one = served.web.get(url).json()
    assert one["assessed"] == "false_alarm"
    assert [(each["says"], each["by"], each["note"]) for each in one["assessments"]] == [
        ("false_alarm", "<b>M. Weber</b>", "a lamp"),
        ("fire", "night shift", ""),
    ]
    assert served.web.get("/api/v1/incidents").json()["items"][0]["assessed"] == "false_alarm"
    page = Page(served.web.get(f"/incidents/{served.incident.id}").text)
    assert "says <b>M. Weber</b>" in page.said
    assert "said to be a false alarm" in page.said
    assert "said to be a false alarm" in Page(served.web.get("/").text).said


def test_the_pages_form_needs_no_script(served: Served) -> None:
    """It leads back to the page; what a page of another site sends is refused."""
    form = f"/incidents/{served.incident.id}/assess"
    assert form in Page(served.web.get(f"/incidents/{served.incident.id}").text).attributes("form", "action")
    answer = served.web.post_to(
        form, data={"says": "unclear", "by": "", "note": "dark"}, headers=FORM, allow_redirects=False
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/incidents/{served.incident.id}#assessments")
    assert served.site.supervisor.asked[0].arguments["note"] == "dark"
    foreign = served.web.post_to(form, data={"says": "fire"}, headers={**FORM, "Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert len(served.site.supervisor.asked) == 1


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"says": "perhaps"}, 400, "says: input should be 'fire', 'false_alarm' or 'unclear'"),
        ({}, 400, "says: field required"),
        ({"says": "fire", "by": "x" * 61}, 400, "by: string should have at most 60 characters"),
        ({"says": "fire", "who": "x"}, 400, "who: there is no such parameter; allowed are says, by, note"),
        ([], 400, "the body must be a JSON object"),
        ({"says": "fire", "note": "x" * 30_000}, 413, "A body may have 20000 bytes."),
    ],
)
def test_a_mistake_is_one_sentence(served: Served, body: Any, status: int, sentence: str) -> None:
    """And nobody hears of it."""
    answer = served.web.post_to(served.path, json=body)
    assert (answer.status_code, answer.json()["detail"]) == (status, sentence)
    assert served.site.supervisor.asked == []


def test_what_is_not_there_or_cannot_be_noted_now(served: Served) -> None:
    """An incident that is none; a recorder that refuses; a daemon that is silent."""
    gone = served.web.post_to(f"/api/v1/incidents/{new_id()}/assessments", json={"says": "fire"})
    assert (gone.status_code, gone.json()["detail"]) == (404, "There is no such incident.")
    for error, status in (
        ("assess: note must be one line of text, of at most 500 characters", 400),
        ("the disk is full: x", 503),
    ):
        served.site.supervisor.error = error
        answer = served.web.post_to(served.path, json={"says": "fire"})
        assert (answer.status_code, answer.json()["detail"]) == (status, error.removeprefix("assess: "))
    control = sockets.control(served.site.run_dir)
    control.rename(control.with_suffix(".away"))
    silent = served.web.post_to(served.path, json={"says": "fire"})
    control.with_suffix(".away").rename(control)
    assert silent.status_code == 503
    assert silent.json()["detail"].startswith("It is not noted: no daemon is running here")
