# SPDX-License-Identifier: AGPL-3.0-or-later
"""What time says of drawn lamps, signs and flames: pure functions over made-up close-ups."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.lookalikes import FPS, NOISE_LEVELS, SIZE, Picture, Scene, backdrop, scenes
from daemon.detect.flicker import (
    AS_BEFORE,
    MOST_WAIT_S,
    SIDE_PX,
    SMALL_PX,
    WINDOW_S,
    alike,
    close_up,
    judge,
    window_of,
)
from daemon.domain import Box, Flicker

SCENES = {each.name: each for each in scenes()}
LAMPS = (
    "lamp, 6 px",
    "lamp, 48 px",
    "lamp on the mains, 0.7 Hz",
    "lamp on the mains, 6 px, 3.1 Hz",
    "neon, 0.5 Hz",
    "neon, 2 Hz",
    "neon, 6 px, 2 Hz",
    "neon, four parts in turn",
    "beacon",
    "sunset",
)
FLAMES = ("flame, 5 px", "flame, 8 px, by day", "flame, 24 px", "flame, 60 px", "flame, grows from 5 px")


class Filmed:
    """Close-ups of a scene from a moment on, with a sensor's noise."""

    def __init__(self, scene: Scene, seconds: float, fps: float = FPS, from_s: float = 0.5) -> None:
        self._paper, self._scene, self._chance = backdrop(scene.night), scene, np.random.default_rng(1)
        self._noise = self._chance.normal(0, NOISE_LEVELS, (8, SIZE[1], SIZE[0])).astype(np.float32)
        x1, y1, x2, y2 = self._box(self._paper.copy(), from_s)
        self.px = max(x2 - x1, y2 - y1)
        window = window_of((x1 / SIZE[0], y1 / SIZE[1], x2 / SIZE[0], y2 / SIZE[1]), SIZE)
        self.times = from_s + np.arange(round(seconds * fps) + 1) / fps
        self.close_ups = np.stack([close_up(self.luma(at_s), window) for at_s in self.times])

    def luma(self, at_s: float) -> Picture:
        picture = self._paper.copy()
        self._box(picture, at_s)
        grey = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 0.7), cv2.COLOR_BGR2GRAY)
        noise = np.roll(self._noise[self._chance.integers(8)], self._chance.integers(SIZE[0]), axis=1)
        return np.clip(grey + noise, 0, 255).astype(np.uint8)

    def said(self, watched_s: float, as_before: float | None = None) -> Flicker:
        return judge(self.close_ups, self.times, self.px < SMALL_PX, watched_s, as_before)

    def _box(self, picture: Picture, at_s: float) -> Box:
        return self._scene.draw(picture, at_s)


@pytest.mark.parametrize("name", LAMPS)
def test_what_stands_or_blinks_is_held(name: str) -> None:
    """Whatever its size and rate; the reasons are on record, with the figures that they rest on."""
    verdict = Filmed(SCENES[name], WINDOW_S).said(WINDOW_S)
    assert verdict.says == "held"
    assert verdict.reasons[0] in ("steady", "repeats", "only its brightness changes")
    assert (verdict.frames, verdict.seconds) == (round(WINDOW_S * FPS) + 1, WINDOW_S)


@pytest.mark.parametrize("name", FLAMES)
def test_a_flame_flickers_be_it_five_pixels_high(name: str) -> None:
    """After three seconds; after two it is not made to wait any longer."""
    scene = SCENES[name]
    assert Filmed(scene, 2.0).said(2.0).says == "open"
    verdict = Filmed(scene, WINDOW_S).said(WINDOW_S)
    assert verdict.says == "flickers"
    assert "restless outline" in verdict.reasons
    assert ("grows" in verdict.reasons) == ("grows" in name)


def test_what_has_shown_nothing_yet_waits_and_not_for_ever() -> None:
    """A lamp of which there is a second waits; what only changes once, as a television does, waits five seconds at most."""
    assert Filmed(SCENES["lamp, 48 px"], 1.0).said(1.0).says == "waits"
    television = Filmed(SCENES["television"], WINDOW_S)
    assert television.said(MOST_WAIT_S - 0.1).says == "waits"
    assert television.said(MOST_WAIT_S).says == "open"


def test_a_camera_of_a_few_frames_a_second_is_left_to_the_rules() -> None:
    """Of one, or five, a second nothing can be said; the record says why."""
    for fps in (1, 5):
        verdict = Filmed(SCENES["lamp, 48 px"], WINDOW_S, fps).said(WINDOW_S)
        assert (verdict.says, verdict.reasons) == ("open", ("few frames",))


def test_what_is_hardly_there_is_left_to_the_rules() -> None:
    """Noise on a wall is no evidence of anything."""
    chance = np.random.default_rng(1)
    wall = np.clip(chance.normal(90, 4, (75, 20, 20)), 0, 255).astype(np.uint8)
    assert judge(wall, np.arange(75) / FPS, small=False, watched_s=3.0).reasons == ("faint",)
    black = np.zeros((75, 20, 20), np.uint8)
    assert judge(black, np.arange(75) / FPS, small=False, watched_s=3.0).says == "open"


def test_minutes_before_weigh() -> None:
    """What stood there is held within half a second; what looked so before is not called flickering."""
    lamp, fire = SCENES["lamp, 48 px"], SCENES["flame, 24 px"]
    earlier, now = Filmed(lamp, 0.0, from_s=0.5), Filmed(lamp, 0.4, from_s=90.0)
    as_before = alike(now.close_ups[0], earlier.close_ups[0])
    assert as_before >= AS_BEFORE
    assert now.said(0.4, as_before).reasons == ("steady", "as minutes before")
    assert Filmed(fire, WINDOW_S).said(WINDOW_S, AS_BEFORE).says == "open"
    assert alike(Filmed(fire, 0.0, from_s=9.0).close_ups[0], Filmed(fire, 0.0).close_ups[0]) < AS_BEFORE


def test_a_close_up_is_bounded_whatever_its_box() -> None:
    """At most SIDE_PX on its longer side, with a margin, inside the picture; a tiny one as it is."""
    luma = np.zeros((1080, 1920), np.uint8)
    whole = close_up(luma, window_of((0.0, 0.0, 1.0, 1.0), (1920, 1080)))
    assert whole.shape == (18, SIDE_PX)
    tiny = window_of((0.5, 0.5, 0.5 + 5 / 1920, 0.5 + 5 / 1080), (1920, 1080))
    assert tiny == (958, 538, 967, 547)
    assert close_up(luma, tiny).shape == (9, 9)
