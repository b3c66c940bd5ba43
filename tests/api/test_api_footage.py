# SPDX-License-Identifier: AGPL-3.0-or-later
"""The incident page's clips: played as they are stored, stepped through where a browser cannot, told while they grow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from daemon.api import footage
from daemon.clock import NS
from daemon.domain import Clip
from daemon.origin.record import to_json
from daemon.simulate.bitstream import CODECS
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.encoder import Encoder, Target
from daemon.storage.clips import Appended, Ended, Span
from daemon.storage.writing import Entry
from tests.api.clip_kit import FPS, SECONDS, STEP, clip_of
from tests.api.page_kit import Page
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site, Web
from tests.storage.analysis_kit import analysis_of

FRAMES = FPS * SECONDS
FIRST = 25  # the frame that is first visible


@dataclass
class Shown:
    web: Web
    incident: str
    clip: Clip
    growing: str
    without: str
    in_h265: str

    def page(self, incident: str, **query: object) -> Page:
        answer = self.web.get(f"/incidents/{incident}", params=query, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|<style|\bon\w+=", answer.text)
        return Page(answer.text)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """An analysed incident with a clip, one whose clip still grows, and one without."""
    chart = make_chart(tmp_path_factory.mktemp("chart") / "c.mp4", size=(320, 240), fps=FPS, gop_s=1, seconds=SECONDS)
    site = Site(tmp_path_factory.mktemp("site"), cameras={"hall": {"url": "rtsp://h/1"}})
    shelf = Shelf(site.settings)
    at_ns = time.time_ns() - 600 * NS
    incident, growing, without, in_h265 = (shelf.incident(at_ns + step) for step in range(4))
    clip, content = clip_of(chart.path, shelf.still(at_ns, incident=incident.id).run)
    told = analysis_of(incident.id, at_ns + FIRST * NS // FPS)
    first = replace(told.first_visible, run=clip.run, pts=FIRST * STEP)
    shelf.store.commit([Entry("analysis", to_json(replace(told, first_visible=first)))])
    span = Span(FRAMES, 0, (FRAMES - 1) * STEP, at_ns, at_ns + SECONDS * NS)
    shelf.store.commit([], [Appended(clip, 0, content, (incident.id,), span), Ended(clip.id, "ended")])
    second, more = clip_of(chart.path, clip.run)
    long = Span(FRAMES, 0, (FRAMES - 1) * STEP, at_ns, at_ns + 20 * NS)
    shelf.store.commit([], [Appended(second, 0, more, (growing.id,), long)])
    third, coded = clip_of(_in_h265(tmp_path_factory.mktemp("h265") / "c.mp4"), clip.run, codec="hevc")
    shelf.store.commit([], [Appended(third, 0, coded, (in_h265.id,), span), Ended(third.id, "ended")])
    yield Shown(site.start(), incident.id, clip, growing.id, without.id, in_h265.id)
    shelf.close()
    site.close()


def _in_h265(path: Path) -> Path:
    """Grey pictures, each a little brighter."""
    with Encoder(path, Target(CODECS["hevc"], (320, 240), Fraction(FPS), FPS, quality=30, preset="ultrafast")) as film:
        for number in range(FRAMES):
            film.add(av.VideoFrame.from_ndarray(np.full((240, 320, 3), 60 + number, np.uint8), format="bgr24"))
    return path


def test_a_clip_that_many_browsers_cannot_play_shows_its_picture(shown: Shown) -> None:
    """A player that stays black would look like a camera that saw nothing."""
    page = shown.page(shown.in_h265)
    (poster,) = page.attributes("video", "poster")
    picture = cv2.imdecode(np.frombuffer(shown.web.get(poster).content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.mean() == pytest.approx(60, abs=3)
    assert "for a browser that cannot play H.265" in page.said
    assert not shown.page(shown.incident).attributes("video", "poster")


def test_a_clip_is_played_as_it_is_stored(shown: Shown) -> None:
    """From a little before first visible; with what it holds, why it begins and ends, and the stored file."""
    page = shown.page(shown.incident)
    (source,) = page.attributes("video", "src")
    assert source == f"/api/v1/evidence/{shown.clip.id}/video#t=0.5"
    answer = shown.web.get(source, headers={"Range": "bytes=0-99"})
    assert (answer.status_code, len(answer.content)) == (206, 100)
    for part in (
        "It is played from about two seconds before first visible on. The camera's own bitstream",
        f"Frames {FRAMES}, H.264 320 × 240",
        "Begins with what was held in memory when the incident was confirmed",
        "Ends after the incident's end",
    ):
        assert part in page.said, part
    assert f"/incidents/{shown.incident}?clip={shown.clip.id}&frame={FIRST}#clip-{shown.clip.id}" in page.attributes(
        "a", "href"
    )


def test_it_can_be_stepped_through_without_a_player(shown: Shown) -> None:
    """Each step is a link to a page with that frame, decoded; from the first to the last, and no further."""
    page = shown.page(shown.incident, clip=shown.clip.id, frame=FIRST)
    assert not page.attributes("video", "src")
    assert f"Frame {FIRST + 1} of {FRAMES}. A copy for looking at" in page.said
    (source,) = (each for each in page.attributes("img", "src") if "/frames/" in each)
    answer = shown.web.get(source)
    assert answer.status_code == 200
    assert Chart.read_frame_number(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)) == FIRST
    steps = [int(found[1]) for link in page.attributes("a", "href") if (found := re.search(r"frame=(\d+)#", link))]
    assert steps == [0, FIRST - FPS, FIRST - 1, FIRST + 1, FRAMES - 1, FRAMES - 1]
    assert f"Frame {FRAMES} of {FRAMES}." in shown.page(shown.incident, clip=shown.clip.id, frame=9_999).said


def test_a_clip_that_grows_is_no_broken_player(shown: Shown) -> None:
    """It says so, and until when it holds."""
    page = shown.page(shown.growing)
    assert "It is still being written" in page.said
    assert not page.attributes("video", "src")


def test_without_a_clip_there_is_no_word_of_one(shown: Shown) -> None:
    """An incident that was not confirmed has none."""
    assert shown.page(shown.without).attributes("section", "class") == ["assessments"]


def test_the_page_of_a_clip_is_its_incident_s(shown: Shown) -> None:
    """A clip is no picture: whoever follows its id as evidence comes to where it is played."""
    answer = shown.web.get(f"/evidence/{shown.clip.id}", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/incidents/{shown.incident}#clip-{shown.clip.id}",
    )


@pytest.mark.parametrize("query", [{"frame": -1}, {"frame": "x"}, {"clip": "x"}, {"step": 1}])
def test_a_wrong_address_gets_a_sentence(shown: Shown, query: dict[str, Any]) -> None:
    """As everywhere."""
    assert shown.web.get(f"/incidents/{shown.incident}", params=query).status_code == 400


def test_a_frame_of_another_run_is_not_looked_for_in_a_clip(shown: Shown) -> None:
    """PTS mean something in their run alone."""
    (item,) = shown.web.get(f"/api/v1/incidents/{shown.incident}/clips").json()["items"]
    first = {"run": item["run"], "pts": str(FIRST * STEP)}
    (near,) = footage.of([item], {"camera": "hall", "first_visible": first}, None, None)
    (far,) = footage.of([item], {"camera": "hall", "first_visible": first | {"run": "another"}}, None, None)
    (beyond,) = footage.of([item], {"camera": "hall", "first_visible": first | {"pts": "99999999"}}, None, None)
    assert (near.near, near.begin_s) == (FIRST, 0.5)
    assert (far.near, far.begin_s, beyond.near, beyond.begin_s) == (0, 0.0, 0, 0.0)
