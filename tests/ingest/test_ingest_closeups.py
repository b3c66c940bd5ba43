# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspects' places through every frame: what is held, when it lifts, and what a hole or a move does; then a real stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.lookalikes import FPS, SIZE, Scene, backdrop, film, scenes, then_burns
from daemon.detect.rules import Track
from daemon.domain import Detection, Flicker
from daemon.ingest.closeups import CloseUps
from daemon.simulate.farm import Camera, FarmThread
from tests.detect.test_detect_flicker import Filmed
from tests.ingest.worker_under_test import WorkerUnderTest

SCENES = {each.name: each for each in scenes()}


def suspect(scene: Scene, at_s: float, number: int = 1) -> Track:
    """The scene's thing, as the rules would suspect it."""
    x1, y1, x2, y2 = scene.draw(backdrop(scene.night), at_s)
    place = (x1 / SIZE[0], y1 / SIZE[1], x2 / SIZE[0], y2 / SIZE[1])
    return Track(number, "suspect", at_s, at_s, place, ("fire",), 0.6)


def watch(
    close_ups: CloseUps, scene: Scene, from_s: float, until_s: float, number: int = 1
) -> list[tuple[float, Flicker]]:
    """Every frame is decoded, and five a second are analysed; what is said then."""
    filmed, said = Filmed(scene, 0.0), []
    for step in range(round((until_s - from_s) * FPS)):
        at_s = from_s + step / FPS
        close_ups.came(filmed.luma(at_s), at_s)
        if step % 5 == 4:
            said += [(at_s, each) for key, each in close_ups.flickers(at_s).items() if key == number]
    return said


def test_a_lamp_is_held_until_its_place_burns() -> None:
    """Held once two seconds are seen; lifted within five of the fire's first frame, and then it flickers."""
    scene, close_ups = SCENES["lamp, then burns"], CloseUps(on=True)
    close_ups.follow([suspect(scene, 4.0)])
    said = watch(close_ups, scene, 4.0, 14.0)
    burns_s = scene.burns_from_s or 0.0
    assert {each.says for at_s, each in said if 6.2 <= at_s < burns_s} == {"held"}
    assert {each.says for at_s, each in said if at_s < 5.5} == {"waits"}
    lifted_s = next(at_s for at_s, each in said if at_s > 6.2 and each.says != "held")
    assert burns_s < lifted_s < burns_s + 5
    assert said[-1][1].says == "flickers"


def test_somebody_who_passes_a_lamp_does_not_make_it_a_fire() -> None:
    """It was steady before and will be after."""
    scene, close_ups = SCENES["lamp, a person passes"], CloseUps(on=True)
    close_ups.follow([suspect(scene, 2.2)])
    said = watch(close_ups, scene, 2.2, 10.0)
    assert {each.says for at_s, each in said if at_s > 4.4} == {"held"}
    assert any("until just now" in each.reasons for _, each in said)


def test_how_it_looked_minutes_before_is_known() -> None:
    """A quiet camera keeps a reduced picture a minute; a lamp that stood there is held at once."""
    scene, close_ups = SCENES["lamp, 48 px"], CloseUps(on=True)
    assert watch(close_ups, scene, 0.0, 0.5) == []
    close_ups.follow([suspect(scene, 70.0)])
    said = watch(close_ups, scene, 70.0, 71.0)
    assert said[0][1].as_before is not None
    assert said[0][1].as_before > 0.97
    assert [each.says for _, each in said] == ["held"] * len(said)


def test_a_hole_and_a_move_begin_anew() -> None:
    """What was before a hole in the frames, or at another place, says nothing of what comes."""
    scene, close_ups = SCENES["flame, 24 px"], CloseUps(on=True)
    track = suspect(scene, 0.5)
    close_ups.follow([track])
    assert watch(close_ups, scene, 0.5, 4.0)[-1][1].says == "flickers"
    assert watch(close_ups, scene, 5.0, 5.3)[-1][1].seconds < 0.3
    moved = replace(track, place=(0.1, 0.1, 0.15, 0.2))
    close_ups.follow([moved])
    assert {each.says for each in close_ups.flickers(5.4).values()} == {"waits"}


def test_a_lamp_is_held_while_its_place_begins_anew() -> None:
    """Its box has another size, and the next answer comes before the next frame: it is not confirmed for that."""
    scene, close_ups = SCENES["lamp, 48 px"], CloseUps(on=True)
    track = suspect(scene, 0.5)
    close_ups.follow([track])
    assert watch(close_ups, scene, 0.5, 4.0)[-1][1].says == "held"
    x1, y1, x2, y2 = track.place
    grown = replace(track, place=(x1 - (x2 - x1), y1 - (y2 - y1), x2, y2))
    close_ups.follow([grown])
    assert [each.says for each in close_ups.flickers(4.05).values()] == ["held"]
    assert close_ups.flickers(9.0) == {}, "no frame for so long: nothing is known of it"


def test_only_fire_that_is_suspected_is_watched() -> None:
    """Smoke has no flicker, a lamp has none beside it either; what is confirmed is decided; switched off it says nothing at all."""
    scene = SCENES["lamp, 48 px"]
    track = suspect(scene, 0.5)
    for other in (replace(track, labels=("smoke",)), replace(track, state="confirmed")):
        close_ups = CloseUps(on=True)
        close_ups.follow([other])
        assert watch(close_ups, scene, 0.5, 1.0) == []
    both = CloseUps(on=True)
    both.follow([replace(track, labels=("fire", "smoke"))])
    assert watch(both, scene, 0.5, 3.0)[-1][1].says == "held"
    off = CloseUps(on=False)
    off.follow([track])
    assert watch(off, scene, 0.5, 1.0) == []


@pytest.mark.timeout(180)  # it draws and encodes ten seconds first
def test_a_lamp_over_rtsp_stays_a_suspect_until_its_place_burns(
    start: Callable[..., WorkerUnderTest], tmp_path: Path
) -> None:
    """A detector that is sure of the lamp from the first frame on; the stills say why it was not confirmed, and why it was."""
    scene = replace(SCENES["lamp, then burns"], draw=then_burns(3), seconds=10.0)
    path = film(scene, tmp_path / "lamp.mp4")
    x1, y1, x2, y2 = 305.0, 165.0, 335.0, 200.0
    with FarmThread([Camera("hall", path, wait_for_viewer=True)]) as farm:
        worker = start(farm.url("hall"), flicker=True)
        worker.detector.sees = lambda *_: (Detection("fire", 0.9, (x1, y1, x2, y2)),)
        worker.until(lambda: any(each.incident.state == "confirmed" for each in worker.got.incidents), "the fire", 40)
    (_, confirmed) = [each.incident for each in worker.got.incidents]
    assert (confirmed.first_confirmed_at_ns or 0) - confirmed.first_suspect_at_ns > 2.5e9
    said = [evidence.flicker for evidence, _ in worker.got.stills]
    held = [each for each in said if each is not None and each.says == "held"]
    assert held
    assert all(each.reasons[0] == "steady" for each in held)
    last = said[-1]
    assert last is not None
    assert last.says in ("open", "flickers")
    assert worker.got.stills[-1][0].kind == "first_confirmed"


def test_of_fifty_frames_a_second_every_other_one_is_enough() -> None:
    """The cost does not grow with the camera's rate."""
    scene, close_ups = SCENES["lamp, 48 px"], CloseUps(on=True)
    close_ups.follow([suspect(scene, 0.0)])
    fps, luma = 50, Filmed(scene, 0.0).luma(0.0)
    for number in range(4 * fps):
        close_ups.came(luma, number / fps)
    assert close_ups.flickers(4.0)[1].frames <= 3 * fps / 2 + 2
