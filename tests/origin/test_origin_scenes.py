# SPDX-License-Identifier: AGPL-3.0-or-later
"""The benchmark's scenes of known truth, and place and component of their fires, without a detector or a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks import scenes
from benchmarks.scenes import Scene
from daemon.domain import Detection
from daemon.origin.changed import CleanView
from daemon.origin.components import component_of
from daemon.origin.outline import Outline
from daemon.origin.place import place_of
from daemon.origin.view import compare


@pytest.fixture(autouse=True)
def _drawn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIREWITNESS_DATA", raising=False)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_scenes_fire_is_placed_on_its_component(number: int) -> None:
    """By day, by night, at dusk and under a flickering lamp: foot to 10 px, and the component that it stands on."""
    scene = Scene(number, seed=5)
    clean = [scene.picture(scene.ignites_s - before_s)[0] for before_s in (0.1, 0.6, 1.1, 1.7, 2.4)]
    now, box = scene.picture(scene.ignites_s + 0.5)
    assert box is not None
    x1, y1, x2, y2 = box
    detection = Detection("fire", 0.4, (x1 - 6.0, y1 - 3.0, x2 + 4.0, y2 + 5.0))
    view = CleanView.of(clean)
    place = place_of(detection, view.change(now))
    assert place.refined
    assert place.point_px == pytest.approx(scene.foot, abs=10)
    outlines = [Outline(each.name, each.polygon) for each in scene.scenery.components]
    seen = compare(scene.picture(0)[0], view.median)
    assert seen.verdict == "same"
    assert component_of(place, outlines, (1920, 1080), seen).name == scene.component


def test_a_scene_is_the_same_each_time() -> None:
    """Seed and number decide everything; another number is another scene."""
    one, again, other = Scene(4, seed=5), Scene(4, seed=5), Scene(5, seed=5)
    assert np.array_equal(one.picture(11.5)[0], again.picture(11.5)[0])
    assert not np.array_equal(one.picture(11.5)[0], other.picture(11.5)[0])


@pytest.mark.slow
def test_the_truth_is_written_beside_the_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Film, view and truth appear; the onset is the first picture in which the flame covers 12 × 12 px."""
    monkeypatch.setattr(scenes, "SECONDS", 13.5)
    path = scenes.make(tmp_path, 0, seed=5)
    truth = scenes.read(path)
    assert json.loads(path.read_text())["component"] == truth.component
    with av.open(str(path.with_suffix(".mp4"))) as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (1920, 1080)
        assert film.streams.video[0].frames == round(13.5 * truth.fps)
    assert cv2.imread(str(path.with_suffix(".jpg"))).shape == (1080, 1920, 3)
    scene = Scene(0, seed=5)
    before, onset = scene.picture(truth.onset_s - 1 / truth.fps)[1], scene.picture(truth.onset_s)[1]
    assert onset == truth.box
    assert min(onset[2] - onset[0], onset[3] - onset[1]) >= 12
    assert before is None or min(before[2] - before[0], before[3] - before[1]) < 12
