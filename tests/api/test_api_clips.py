# SPDX-License-Identifier: AGPL-3.0-or-later
"""An incident's clips over HTTP: listed, served in ranges, and shown frame by frame."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from daemon.clock import NS
from daemon.domain import Clip
from daemon.ids import new_id
from daemon.simulate.chart import Chart, make_chart
from daemon.storage.clips import Appended, Ended, Span
from tests.api.clip_kit import FPS, SECONDS, STEP, clip_of
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web


@dataclass
class Shown:
    web: Web
    incident: str
    clip: Clip
    content: bytes
    stills: list[str]
    """Of its 18th frame, of one that the clip has not, of one before it, and of another run's."""
    growing: str
    """An incident whose clip is still being written."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """An incident with a clip, and another whose clip still grows."""
    chart = make_chart(tmp_path_factory.mktemp("chart") / "c.mp4", size=(320, 240), fps=FPS, gop_s=1, seconds=SECONDS)
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings)
    at_ns = time.time_ns() - 600 * NS
    incident, other = shelf.incident(at_ns), shelf.incident(at_ns, state="confirmed")
    places: list[dict[str, Any]] = [
        {"pts": 17 * STEP},
        {"pts": 17 * STEP + 1},
        {"pts": -1},
        {"pts": 0, "run": new_id()},
    ]
    stills = [shelf.still(at_ns, incident=incident.id, **place) for place in places]
    clip, content = clip_of(chart.path, stills[0].run)
    frames = FPS * SECONDS
    span = Span(frames, 0, (frames - 1) * STEP, at_ns, at_ns + SECONDS * NS)
    shelf.store.commit([], [Appended(clip, 0, content, (incident.id,), span), Ended(clip.id, "ended")])
    second, growing = clip_of(chart.path, clip.run)
    long = Span(frames, 0, (frames - 1) * STEP, at_ns, at_ns + 20 * NS)
    shelf.store.commit([], [Appended(second, 0, growing, (other.id,), long)])
    yield Shown(site.start(), incident.id, clip, content, [each.id for each in stills], other.id)
    shelf.close()
    site.close()


def test_clips_are_listed(shown: Shown) -> None:
    """With what they hold, closed or not; among evidence only where they are asked for."""
    (item,) = shown.web.get(f"/api/v1/incidents/{shown.incident}/clips").json()["items"]
    assert (item["id"], item["frames"], item["closed"]) == (shown.clip.id, FPS * SECONDS, "ended")
    assert item["sha256"] == hashlib.sha256(shown.content).hexdigest()
    (growing,) = shown.web.get(f"/api/v1/incidents/{shown.growing}/clips").json()["items"]
    assert growing["closed"] is None
    assert growing["bytes"] > 0
    listed = shown.web.get("/api/v1/evidence", params={"kind": "clip"}).json()["items"]
    assert [each["id"] for each in listed] == [shown.clip.id]
    assert {each["kind"] for each in shown.web.get("/api/v1/evidence").json()["items"]} == {"hit"}
    assert shown.web.get(f"/incidents/{shown.incident}").status_code == 200


def test_a_clip_is_served_in_ranges(shown: Shown) -> None:
    """The stored bytes, with their hash as ETag; of one that grows 409, and where there is none 404."""
    for path in (f"/api/v1/incidents/{shown.incident}/clip", f"/api/v1/evidence/{shown.clip.id}/video"):
        answer = shown.web.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "video/mp4")
        assert answer.content == shown.content
        assert answer.headers["ETag"].strip('"') == hashlib.sha256(shown.content).hexdigest()
        part = shown.web.get(path, headers={"Range": "bytes=100-299"})
        assert (part.status_code, part.content) == (206, shown.content[100:300])
        assert shown.web.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert shown.web.get(f"/api/v1/incidents/{shown.growing}/clip").status_code == 409
    assert shown.web.get(f"/api/v1/incidents/{new_id()}/clip").status_code == 404
    assert shown.web.get(f"/api/v1/incidents/{shown.incident}/clip", params={"clip": new_id()}).status_code == 404
    assert shown.web.get(f"/api/v1/evidence/{shown.clip.id}/image").status_code == 404


def test_a_still_names_its_frame_in_the_clip(shown: Shown) -> None:
    """Clip, PTS and place in the file, in lists too; of one still also the frame's number, where the clip has that frame."""
    place = {
        "id": shown.clip.id,
        "video": f"/api/v1/evidence/{shown.clip.id}/video",
        "pts": str(17 * STEP),
        "at_s": 1.7,
    }
    listed = shown.web.get("/api/v1/evidence", params={"incident": shown.incident}).json()["items"]
    named = {item["id"]: item["clip"] for item in listed}
    held, missed, before, others = shown.stills
    assert named[held] == place
    assert (named[missed]["pts"], named[before], named[others]) == (str(17 * STEP + 1), None, None)
    one = {id_: shown.web.get(f"/api/v1/evidence/{id_}").json()["clip"] for id_ in shown.stills}
    assert one == {held: place | {"frame": 17}, missed: named[missed] | {"frame": None}, before: None, others: None}
    assert f"{place['video']}#t=1.7" in shown.web.get(f"/evidence/{held}").text


@pytest.mark.parametrize("number", [0, 17, FPS * SECONDS - 1])
def test_a_frame_is_a_picture(shown: Shown, number: int) -> None:
    """The n-th that is shown, decoded from the clip."""
    answer = shown.web.get(f"/api/v1/incidents/{shown.incident}/frames/{number}.jpg")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert Chart.read_frame_number(picture) == number


def test_a_frame_that_is_not_there(shown: Shown) -> None:
    """404 with a sentence."""
    answer = shown.web.get(f"/api/v1/incidents/{shown.incident}/frames/{FPS * SECONDS}.jpg")
    assert answer.status_code == 404
    assert "no such frame" in answer.text
