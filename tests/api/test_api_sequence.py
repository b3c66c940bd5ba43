# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order of first sights and losses of a site's cameras, over real HTTP, on a true store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from daemon.clock import NS, rfc3339
from daemon.domain import Evidence, Gap, Incident
from daemon.ids import new_id
from daemon.origin.doubt import Doubt
from daemon.origin.record import to_json
from daemon.storage.writing import Entry
from tests.api.page_kit import Page
from tests.api.shelf import Shelf
from tests.api.web_under_test import READY, Site, Web
from tests.storage.analysis_kit import analysis_of

CAMERAS = ("hall", "yard", "gate", "shop")


@dataclass
class Stored:
    site: Site
    web: Web
    hall: Incident
    yard: Incident
    gate: Incident
    shop: Incident
    capture: Incident
    lost: Gap
    last: Evidence
    at_ns: int
    shelf: Shelf


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A fire seen by hall, yard and gate of one site and by shop of none; hall is lost in it, 20 s later."""
    cameras = {name: {"url": f"rtsp://{name}/1", **({"site": "mill"} if name != "shop" else {})} for name in CAMERAS}
    site = Site(tmp_path_factory.mktemp("site"), cameras=cameras)
    shelf = Shelf(site.settings, CAMERAS)
    at_ns = time.time_ns() // NS * NS - 600 * NS
    made = {name: shelf.incident(at_ns + 2 * NS, camera=name) for name in CAMERAS}
    shelf.incident(at_ns - 4000 * NS, camera="yard")  # another fire, long before
    capture = shelf.incident(at_ns, camera="gate", kind="manual", reason="sibling", labels=())
    for name, after_s, uncertainty_s in (("hall", 0.0, 0.1), ("yard", 0.3, 0.1)):
        analysis = analysis_of(made[name].id, at_ns + round(after_s * NS), camera=name)
        first = replace(analysis.first_visible, relative_uncertainty_s=uncertainty_s)
        shelf.store.commit([Entry("analysis", to_json(replace(analysis, first_visible=first, id=new_id())))])
    last = shelf.still(at_ns + 20 * NS, camera="hall", kind="hit", incident=made["hall"].id)
    lost = shelf.gap(at_ns + 20 * NS, None, camera="hall", reason="unreachable")
    shelf.gap(at_ns + 21 * NS, at_ns + 30 * NS, camera="gate", reason="overload")  # slow is not lost
    shelf.gap(at_ns + 20 * NS, None, camera="shop", reason="stalled")
    yield Stored(site, site.start(), *(made[name] for name in CAMERAS), capture, lost, last, at_ns, shelf)
    shelf.close()
    site.close()


def test_the_site_in_one_sequence(stored: Stored) -> None:
    """First sights as going back found them, else as suspected, and the loss with its last good frame; nobody of another site."""
    answer = stored.web.get(f"/api/v1/incidents/{stored.yard.id}/sequence")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["site"], told["cameras"]) == ("mill", ["hall", "yard", "gate"])
    assert [(each["what"], each["camera"], each["how"], each["id"]) for each in told["items"]] == [
        ("first_sight", "gate", "suspected", stored.gate.id),  # open to the past
        ("first_sight", "hall", "gone_back", stored.hall.id),
        ("first_sight", "yard", "gone_back", stored.yard.id),
        ("lost", "hall", "unreachable", stored.lost.id),
    ]
    assert told["items"][3]["evidence"] == stored.last.id
    assert told["items"][3]["at"] == rfc3339(stored.at_ns + 20 * NS)


def test_overlapping_error_bars_are_no_order(stored: Stored) -> None:
    """Hall and yard are 0.3 s apart and certain to 0.1 s each: an order; gate, only suspected, has none with either."""
    items = stored.web.get(f"/api/v1/incidents/{stored.hall.id}/sequence").json()["items"]
    undetermined = {(each["camera"], each["what"]): set(each["order_not_determined_with"]) for each in items}
    assert stored.yard.id not in undetermined[("hall", "first_sight")]
    assert undetermined[("gate", "first_sight")] == {stored.yard.id, stored.hall.id}
    assert undetermined[("hall", "lost")] == set()


def test_a_camera_of_no_site_stands_alone(stored: Stored) -> None:
    """Its own first sight and loss, and no other camera's."""
    told = stored.web.get(f"/api/v1/incidents/{stored.shop.id}/sequence").json()
    assert (told["site"], told["cameras"]) == (None, ["shop"])
    assert [(each["what"], each["camera"]) for each in told["items"]] == [("first_sight", "shop"), ("lost", "shop")]


def test_an_unknown_incident_and_a_parameter_are_refused(stored: Stored) -> None:
    """404 and 400, each with its sentence."""
    assert stored.web.get(f"/api/v1/incidents/{new_id()}/sequence").status_code == 404
    assert stored.web.get(f"/api/v1/incidents/{stored.hall.id}/sequence", params={"x": 1}).status_code == 400


def test_the_page_tells_the_order(stored: Stored) -> None:
    """The same on the incident's page: links to the others' incidents and pictures, and pairs whose order is not determined."""
    page = Page(stored.web.get(f"/incidents/{stored.yard.id}").text)
    said = page.said
    assert "The cameras of mill, in order" in said
    assert said.index("hall first visible (its incident)") < said.index("yard first visible (this incident)")
    assert "gate first suspected, and not gone back from" in said
    assert "hall was lost: no connection to the camera · last good picture" in said
    assert "order not determined with hall" in said
    links = set(page.attributes("a", "href"))
    assert {f"/incidents/{stored.hall.id}", f"/evidence/{stored.last.id}"} <= links


def test_a_camera_without_site_has_no_order_on_its_page(stored: Stored) -> None:
    """There is nobody to compare it with; nor has a capture, which is no sight."""
    for incident in (stored.shop, stored.capture):
        assert "in order" not in Page(stored.web.get(f"/incidents/{incident.id}").text).said


def test_what_may_have_burned_before_reaches_back(stored: Stored) -> None:
    """In doubt since a moment: from then on; burning already, or in doubt since nobody knows when: at any time before."""

    def tell(**changes: object) -> None:
        analysis = analysis_of(stored.gate.id, stored.at_ns, camera="gate", **changes)
        stored.shelf.store.commit([Entry("analysis", to_json(analysis))])

    def gate() -> dict[str, object]:
        items = stored.web.get(f"/api/v1/incidents/{stored.yard.id}/sequence").json()["items"]
        return next(each for each in items if each["camera"] == "gate")

    since_ns = stored.at_ns - 5 * NS
    tell(doubt=Doubt(("glimpsed",), since_ns))
    assert (gate()["how"], gate()["from"]) == ("in_doubt", rfc3339(since_ns))
    tell(last_clean=None, ended="record_begins")
    assert (gate()["how"], gate()["from"]) == ("burning_when_record_begins", None)
    tell(doubt=Doubt(("looks_the_same",), None))
    assert (gate()["how"], gate()["from"]) == ("in_doubt", None)
    said = Page(stored.web.get(f"/incidents/{stored.yard.id}").text).said
    assert "gate visible, perhaps earlier already" in said
    assert "at any time before" in said


def test_sites_are_those_of_now(stored: Stored) -> None:
    """A reload has moved gate to another site: the daemon says so, and this process's settings are older."""
    sites = {"hall": "mill", "yard": "mill", "gate": "town", "shop": "town"}
    stored.site.supervisor.status = {**READY, "sites": sites}
    until_s = time.monotonic() + 10
    while (told := stored.web.get(f"/api/v1/incidents/{stored.shop.id}/sequence").json())["site"] is None:
        assert time.monotonic() < until_s, "the sites of now are never told"
        time.sleep(0.05)
    assert (told["site"], told["cameras"]) == ("town", ["gate", "shop"])
