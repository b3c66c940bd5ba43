# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the other cameras of its site kept of an incident, over HTTP and on its page; and the last frames of those that were lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from daemon.clock import NS
from daemon.domain import Clip, Evidence, Incident
from daemon.ids import new_id
from daemon.origin.record import to_json
from daemon.simulate.chart import Chart, make_chart
from daemon.storage.clips import Appended, Ended, Span
from daemon.storage.writing import Entry
from tests.api.clip_kit import FPS, SECONDS, STEP, clip_of
from tests.api.page_kit import Page
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web
from tests.storage.analysis_kit import analysis_of

FRAMES = FPS * SECONDS
FROZEN = 12
"""The frame of the burning camera's clip at which its picture froze."""


@dataclass
class Stored:
    web: Web
    shelf: Shelf
    fire: Incident
    own: Clip
    sibling: Clip
    still: Evidence
    silent: str
    frozen: str
    begin_ns: int


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A fire on hall, whose clip still grows; yard kept a still and a clip for it, and fell silent; then hall froze."""
    chart = make_chart(tmp_path_factory.mktemp("chart") / "c.mp4", size=(320, 240), fps=FPS, gop_s=1, seconds=SECONDS)
    cameras = {name: {"url": f"rtsp://{name}/1", "site": "mill"} for name in ("hall", "yard")}
    site = Site(tmp_path_factory.mktemp("site"), cameras=cameras)
    shelf = Shelf(site.settings, ("hall", "yard"))
    begin_ns = time.time_ns() // NS * NS - 600 * NS
    fire = shelf.incident(begin_ns, state="confirmed")
    still = shelf.still(begin_ns + NS, camera="yard", kind="sibling", incident=fire.id, detections=(), model=None)
    first = shelf.still(begin_ns, incident=fire.id)
    own, growing = clip_of(chart.path, first.run, "hall", begin_ns, (fire.id,))
    sibling, whole = clip_of(chart.path, still.run, "yard", begin_ns, (), (fire.id,))
    span = Span(FRAMES, 0, (FRAMES - 1) * STEP, begin_ns, begin_ns + (FRAMES - 1) * NS // FPS)
    long = Span(FRAMES, 0, (FRAMES - 1) * STEP, begin_ns, begin_ns + 20 * NS)
    shelf.store.commit([], [Appended(own, 0, growing, (fire.id,), long)])
    shelf.store.commit([], [Appended(sibling, 0, whole, (), span, (fire.id,)), Ended(sibling.id, "run")])
    silent = shelf.gap(begin_ns + 2 * NS, None, camera="yard", reason="unreachable")
    frozen = shelf.gap(begin_ns + FROZEN * NS // FPS, None, camera="hall", reason="frozen")
    told = analysis_of(fire.id, begin_ns + 25 * NS // 10)
    shelf.store.commit([Entry("analysis", to_json(told))])
    yield Stored(site.start(), shelf, fire, own, sibling, still, silent.id, frozen.id, begin_ns)
    shelf.close()
    site.close()


def number_at(stored: Stored, url: str) -> int:
    """The chart's number in the picture at that address."""
    answer = stored.web.get(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg"), answer.text
    return Chart.read_frame_number(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR))


def test_what_was_kept_for_it_is_listed_behind_its_own(stored: Stored) -> None:
    """Its camera's clips, then the others'; among evidence with kind=sibling, stills and clips."""
    own, other = stored.web.get(f"/api/v1/incidents/{stored.fire.id}/clips").json()["items"]
    assert (own["id"], own["kind"], own["closed"], own["sibling_of"]) == (stored.own.id, "clip", None, [])
    assert (other["id"], other["kind"], other["camera"]) == (stored.sibling.id, "sibling", "yard")
    assert (other["incidents"], other["sibling_of"], other["missing"]) == ([], [stored.fire.id], False)
    listed = stored.web.get("/api/v1/evidence", params={"kind": "sibling"}).json()["items"]
    assert [each["id"] for each in listed] == [stored.still.id, stored.sibling.id]
    assert ["image" in each for each in listed] == [True, False]
    assert {each["kind"] for each in stored.web.get("/api/v1/evidence").json()["items"]} == {"hit", "sibling"}
    assert stored.web.get("/api/v1/evidence", params={"kind": "clip"}).json()["items"] == []


def test_its_clip_is_its_own_cameras(stored: Stored) -> None:
    """Without a name never another camera's; by its name that one's bytes, and its frames."""
    assert stored.web.get(f"/api/v1/incidents/{stored.fire.id}/clip").status_code == 409
    named = stored.web.get(f"/api/v1/incidents/{stored.fire.id}/clip", params={"clip": stored.sibling.id})
    assert (named.status_code, named.headers["Content-Type"]) == (200, "video/mp4")
    assert number_at(stored, f"/api/v1/incidents/{stored.fire.id}/frames/7.jpg?clip={stored.sibling.id}") == 7
    assert number_at(stored, f"/api/v1/evidence/{stored.sibling.id}/frames/7.jpg") == 7
    for id_ in (new_id(), stored.still.id):
        assert stored.web.get(f"/api/v1/evidence/{id_}/frames/7.jpg").status_code == 404


def test_the_last_frame_before_a_silence_is_the_clips_last(stored: Stored) -> None:
    """Also where it is later than the last frame that was watched, and than any still; it can be looked at."""
    items = stored.web.get(f"/api/v1/incidents/{stored.fire.id}/sequence").json()["items"]
    (lost,) = (each for each in items if each["id"] == stored.silent)
    assert (lost["evidence"], lost["frame"]) == (stored.sibling.id, FRAMES - 1)
    assert number_at(stored, lost["picture"]) == FRAMES - 1


def test_of_a_picture_that_froze_the_last_frame_is_that_before(stored: Stored) -> None:
    """What came after it is no good frame; found and shown in a clip that is still being written."""
    items = stored.web.get(f"/api/v1/incidents/{stored.fire.id}/sequence").json()["items"]
    (lost,) = (each for each in items if each["id"] == stored.frozen)
    assert (lost["evidence"], lost["frame"]) == (stored.own.id, FROZEN)
    assert number_at(stored, lost["picture"]) == FROZEN
    assert stored.web.get(lost["picture"]).headers["Cache-Control"] == "no-store"


def test_the_page_shows_what_the_others_saw_meanwhile(stored: Stored) -> None:
    """The still, and the clip from two seconds before first visible to the burning camera; its own pictures apart."""
    page = Page(stored.web.get(f"/incidents/{stored.fire.id}").text)
    assert "The site's other cameras meanwhile" in page.said
    assert "It is played from about two seconds before first visible to hall on." in page.said
    assert f"/api/v1/evidence/{stored.sibling.id}/video#t=0.5" in page.attributes("video", "src")
    assert page.attributes("li", "id").count(f"e-{stored.still.id}") == 1
    lost = f"/api/v1/evidence/{stored.sibling.id}/frames/{FRAMES - 1}.jpg"
    assert lost in page.attributes("a", "href")
    answer = stored.web.get(f"/evidence/{stored.sibling.id}", allow_redirects=False)
    assert answer.headers["Location"] == f"/incidents/{stored.fire.id}#clip-{stored.sibling.id}"
    assert stored.web.get(f"/evidence/{stored.still.id}").status_code == 200


def test_a_clip_whose_file_is_missing_says_so(stored: Stored) -> None:
    """In the list, on the page, and where it is asked for."""
    clip, content = clip_of_file(stored)
    stored.shelf.store.commit(
        [], [Appended(clip, 0, content, (), Span(1, 0, 0, stored.begin_ns, stored.begin_ns), (stored.fire.id,))]
    )
    stored.shelf.store.commit([], [Ended(clip.id, "run")])
    (path,) = stored.shelf.store.root.rglob(f"*{clip.id}.mp4")
    path.unlink()
    gone = {"id": clip.id, "path": str(path.relative_to(stored.shelf.store.root))}
    stored.shelf.store.commit([Entry("missing", gone)])
    items = stored.web.get(f"/api/v1/incidents/{stored.fire.id}/clips").json()["items"]
    assert {each["id"]: each.get("missing") for each in items}[clip.id] is True
    page = Page(stored.web.get(f"/incidents/{stored.fire.id}").text)
    assert "is missing; the ledger has its SHA-256" in page.said
    for place in ("video", "frames/0.jpg"):
        assert stored.web.get(f"/api/v1/evidence/{clip.id}/{place}").status_code == 410


def clip_of_file(stored: Stored) -> tuple[Clip, bytes]:
    """Another clip of yard's, with the bytes of the one that is there."""
    (path,) = stored.shelf.store.root.rglob(f"*{stored.sibling.id}.mp4")
    return Clip(
        **{each: getattr(stored.sibling, each) for each in Clip.__slots__} | {"id": new_id()}
    ), path.read_bytes()
