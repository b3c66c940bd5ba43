# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stood there before is no fire: signs and lamps are told from flames by how they look a round later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.domain import Box, Detection
from daemon.ingest.standing import FORGET_ROUNDS, Standing

DATA = os.environ.get("FIREWITNESS_DATA")
SIGN: Box = (100.0, 60.0, 114.0, 70.0)


def scene(seed: int, *, lit: bool = True, brightness: float = 1.0) -> NDArray[np.uint8]:
    """A grey wall with noise and, lit, a red sign with a white stripe."""
    picture = np.full((180, 320, 3), 90.0)
    if lit:
        picture[60:70, 100:114] = (40, 40, 200)
        picture[64:66, 103:111] = 230
    picture += np.random.default_rng(seed).normal(0, 3, picture.shape)
    return np.clip(picture * brightness, 0, 255).astype(np.uint8)


def fire(box: Box, wander: float = 0.0) -> Detection:
    x1, y1, x2, y2 = box
    return Detection("fire", 0.4, (x1 + wander, y1 - wander, x2 + wander, y2 + wander))


def holds(standing: Standing, picture: NDArray[np.uint8], found: Detection) -> bool:
    """Whether what was found lies in a zone of what stands."""
    height, width = picture.shape[:2]
    x, y = (found.box[0] + found.box[2]) / 2 / width, (found.box[1] + found.box[3]) / 2 / height
    return any(zone.holds((x, y)) for zone in standing.look(picture, [found]))


def test_the_first_round_only_makes_acquaintance() -> None:
    """Whatever it sees may always have been there."""
    assert holds(Standing(), scene(1), fire(SIGN))


@pytest.mark.parametrize(("wander", "brightness"), [(0.0, 1.0), (1.5, 1.0), (-1.5, 0.6), (1.0, 1.3)])
def test_a_sign_stands(wander: float, brightness: float) -> None:
    """Round after round, though boxes wander and the light changes."""
    standing = Standing()
    standing.look(scene(1), [fire(SIGN)])
    assert all(holds(standing, scene(seed, brightness=brightness), fire(SIGN, wander)) for seed in range(2, 6))


def test_what_is_new_does_not_stand() -> None:
    """A lamp that is switched on, or a fire that breaks out: nothing was known of the place."""
    standing = Standing()
    standing.look(scene(1, lit=False), [])
    assert not holds(standing, scene(2), fire(SIGN))
    assert holds(standing, scene(3), fire(SIGN)), "a round later it is known, and has not changed"


def test_what_changes_does_not_stand() -> None:
    """The sign's place burns: it does not look as before."""
    standing = Standing()
    standing.look(scene(1), [fire(SIGN)])
    burning = scene(2)
    burning[52:72, 98:108] = (60, 180, 250)
    burning[56:64, 106:118] = (90, 220, 255)
    assert not holds(standing, burning, fire((97.0, 51.0, 119.0, 73.0)))


def test_what_was_away_too_long_is_new() -> None:
    """A lamp that was off for an hour of rounds raises a suspicion once more."""
    standing = Standing()
    standing.look(scene(1), [fire(SIGN)])
    for _ in range(FORGET_ROUNDS):
        standing.look(scene(2, lit=False), [])
    assert not holds(standing, scene(3), fire(SIGN))


def zones_at(standing: Standing, picture: NDArray[np.uint8], found: Detection) -> bool:
    """Whether it lies in a zone after a look at hints that showed it."""
    x, y = (found.box[0] + found.box[2]) / 640, (found.box[1] + found.box[3]) / 360
    return any(zone.holds((x, y)) for zone in standing.look(picture, [found], whole=False))


def test_a_look_at_hints_keeps_the_zones_of_the_round_but_where_it_saw_a_change() -> None:
    """A flame beside a sign lies in the sign's zone; that it does not look as before is what counts."""

    def lit(seed: int) -> NDArray[np.uint8]:
        picture = scene(seed)
        picture[90:104, 200:212] = 220
        return picture

    standing, lamp = Standing(), fire((200.0, 90.0, 212.0, 104.0))
    for seed in (1, 2):
        assert len(standing.look(lit(seed), [fire(SIGN), lamp])) == 2
    burning = lit(3)
    burning[56:66, 112:120] = (60, 180, 250)
    burning[58:62, 114:118] = (90, 220, 255)
    flame = fire((111.0, 55.0, 121.0, 67.0))
    assert not zones_at(standing, burning, flame)
    (kept,) = standing.look(lit(4), [], whole=False)
    assert kept.holds((206 / 320, 97 / 180)), "the lamp still stands"
    assert zones_at(standing, lit(5), fire(SIGN)), "and so does the sign, where it is seen"


def pictures(name: str, every_s: float) -> Iterator[NDArray[np.uint8]]:
    assert DATA is not None
    with av.open(str(Path(DATA) / "clips" / f"{name}.mp4")) as clip:
        next_s = 0.0
        for frame in clip.decode(video=0):
            if frame.time is not None and frame.time >= next_s:
                next_s = frame.time + every_s
                yield frame.to_ndarray(format="bgr24")


@pytest.mark.skipif(DATA is None, reason="FIREWITNESS_DATA names no folder with clips")
@pytest.mark.parametrize(
    ("clip", "box", "stands"),
    [
        ("warehouse", (1046.0, 113.0, 1061.0, 124.0), True),  # an exit sign
        ("warehouse", (774.0, 579.0, 785.0, 584.0), True),  # a scrap of paper
    ],
)
def test_in_real_pictures(clip: str, box: Box, stands: bool) -> None:
    """Ten seconds later, in a real camera's noise and compression."""
    standing = Standing()
    given = pictures(clip, 10.0)
    standing.look(next(given), [fire(box)])
    assert [holds(standing, each, fire(box, 1.0)) for each in given] == [stands] * 3
