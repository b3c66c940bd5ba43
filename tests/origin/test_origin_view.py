# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the camera moved since its components were drawn: real clips, warped, dimmed, glaring, with their own traffic."""

from __future__ import annotations

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from daemon.origin.picture import Picture
from daemon.origin.view import compare
from tests.origin.drawn import as_sent, wall

DATA = os.environ.get("FIREWITNESS_DATA")
# parking and shopfog are left out: those cameras do move (a swaying mast, a hand)
FIXED = ["corridor", "pedestrians", "night_road", "traffic", "bedroom", "warehouse", "office", "driveway"]
real = pytest.mark.skipif(DATA is None, reason="FIREWITNESS_DATA names no folder with clips")


def frames(name: str) -> list[Picture]:
    """The first frame of a clip and one in every 40 after it, at most five."""
    found = []
    with av.open(str(Path(DATA or "") / "clips" / f"{name}.mp4")) as container:
        for number, frame in enumerate(container.decode(container.streams.video[0])):
            if number % 40 == 0:
                found.append(frame.to_ndarray(format="bgr24"))
            if len(found) == 5:
                break
    return found


def warped(picture: Picture, across: float = 0, down: float = 0, turn: float = 0, zoom: float = 1) -> Picture:
    """As a camera that was pushed, turned (degrees) or zoomed would show it."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    matrix[:, 2] += (across * width, down * height)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def night(picture: Picture) -> Picture:
    """A fifth of the light, nearly no colour, and noise."""
    dim = picture * 0.18 + np.random.default_rng(2).normal(0, 5, picture.shape)
    return np.clip(0.3 * dim + 0.7 * dim.mean(axis=2, keepdims=True), 0, 255).astype(np.uint8)


def bright(picture: Picture) -> Picture:
    return np.clip((picture / 255) ** 0.6 * 290, 0, 255).astype(np.uint8)


def headlights(picture: Picture) -> Picture:
    """Dusk, and four lamps that glare."""
    chance = np.random.default_rng(3)
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    light = np.zeros((height, width))
    for _ in range(4):
        away = np.hypot(x - chance.integers(0, width), y - chance.integers(height // 2, height))
        light += 255 * np.exp(-((away / (0.03 * width)) ** 2)) + 80 * np.exp(-away / (0.1 * width))
    return np.clip(picture * 0.5 + light[..., None], 0, 255).astype(np.uint8)


CHANGES = {
    "as it is": lambda picture: picture,
    "night": night,
    "bright": bright,
    "headlights": headlights,
    "noise": lambda picture: as_sent(picture, 5, noise=14, quality=40),
}
MOVES = {"shift": (0.03, 0.01, 0, 1), "far": (-0.1, 0.05, 0, 1), "turn": (0, 0, 3, 1), "zoom": (0, 0, 0, 1.1)}


@real
@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_camera_is_never_said_to_have_moved(name: str) -> None:
    """Traffic, people, night, glare and noise are not a move; and the view is known again in nearly all of them."""
    first, *later = frames(name)
    found = [compare(first, change(picture)).verdict for change in CHANGES.values() for picture in later[::2]]
    assert "moved" not in found
    assert found.count("same") >= 0.8 * len(found)


@real
@pytest.mark.parametrize("name", FIXED)
def test_a_moved_camera_is_never_taken_for_the_same_view(name: str) -> None:
    """A shift of 3 %, a turn of 3°, a zoom of 1.1 are found, with other traffic and by night; or it cannot be told."""
    first, *later = frames(name)
    moved = [warped(later[-1], *move) for move in MOVES.values()]
    by_day = [compare(first, picture).verdict for picture in moved]
    assert by_day == ["moved"] * len(MOVES)
    assert "same" not in [compare(first, night(picture)).verdict for picture in moved]


@real
def test_another_scene_is_never_taken_for_the_same_view() -> None:
    """A camera that was pointed elsewhere has not the view of the map."""
    firsts = [frames(name)[0] for name in FIXED[:5]]
    for one in firsts:
        for other in firsts:
            if other is not one:
                resized = np.asarray(cv2.resize(other, one.shape[1::-1]), np.uint8)
                assert compare(one, resized).verdict != "same"


def test_darkness_cannot_be_told() -> None:
    """A black picture is no sign of a move, and none of the view."""
    black = as_sent(np.zeros_like(wall()), 4)
    assert compare(wall(), black).verdict == "cannot_tell"


def test_a_small_slip_of_the_mount_is_the_same_view() -> None:
    """A move by far less than any component is none; its size is told."""
    view = compare(wall(), as_sent(warped(wall(), 0.004, 0.002), 4))
    assert view.verdict == "same"
    assert view.offset_share == pytest.approx(0.004, abs=0.002)


def test_another_size_of_the_same_view_is_the_same() -> None:
    """The reference may be a smaller still of the camera; another aspect is another view."""
    small = np.asarray(cv2.resize(wall(), (640, 360), interpolation=cv2.INTER_AREA), np.uint8)
    assert compare(small, as_sent(wall(), 4)).verdict == "same"
    assert compare(small, np.asarray(cv2.resize(wall(), (640, 480)), np.uint8)).verdict == "moved"
