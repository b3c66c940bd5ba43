# SPDX-License-Identifier: AGPL-3.0-or-later
"""1080p25 camera streams of 3 Mbit/s to measure with: the drawn scene, quiet or burning, with a key frame every 2 s."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target
from daemon.simulate.scene import Scene

FPS = 25
SIZE = (1920, 1080)
GOP_S = 2
BITRATE = 3_000_000
SUB_SIZE = (640, 360)
SUB_BITRATE = 500_000
QUIET, BURNING = [(50.0, 70.0)], [(22.0, 38.0)]  # seconds of the scene


def folder() -> Path:
    """Where films are kept from one benchmark to the next; there after this."""
    made = Path(tempfile.gettempdir()) / "firewitness-bench"
    made.mkdir(exist_ok=True)
    return made


def film(
    path: Path, stretches: Iterable[tuple[float, float]], size: tuple[int, int] = SIZE, bitrate: int = BITRATE
) -> Path:
    """The stretches (from, to: seconds of the scene) one after another; made once."""
    if path.exists():
        return path
    scene, noise = Scene(), np.random.default_rng(1)
    grain = [noise.integers(0, 6, (size[1], size[0], 3), np.uint8) for _ in range(4)]
    with Encoder(
        path, Target(CODECS["h264"], size, Fraction(FPS), FPS * GOP_S, bitrate, preset="ultrafast")
    ) as encoder:
        for begin, end in stretches:
            for number in range(round((end - begin) * FPS)):
                picture = cv2.resize(scene.picture(begin + number / FPS), size, interpolation=cv2.INTER_AREA)
                encoder.add(_frame(cv2.add(picture, grain[number % len(grain)])))
    return path


def _frame(picture: NDArray[np.uint8]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(picture, format="bgr24")


def quiet(folder: Path) -> Path:
    """20 s of a room without fire."""
    return film(folder / "quiet-1080p25.mp4", QUIET)


def sub_quiet(folder: Path) -> Path:
    """The same room as the camera's small stream sends it."""
    return film(folder / "quiet-360p25.mp4", QUIET, SUB_SIZE, SUB_BITRATE)


def sub_burning(folder: Path) -> Path:
    """The same fire in the small stream."""
    return film(folder / "burning-360p25.mp4", BURNING, SUB_SIZE, SUB_BITRATE)


def burning(folder: Path) -> Path:
    """16 s of a fire."""
    return film(folder / "burning-1080p25.mp4", BURNING)


# Frames in a loop of 10 s after which it burns: just after a key frame, which is the worst moment, and a quarter of a GOP on each
OUTBREAK_FRAMES = (151, 163, 176, 188)
LOOP_S = 10


def outbreaks(folder: Path, at_frame: int) -> Path:
    """10 s: a quiet room, then a fire is there; played in a loop, an outbreak every 10 s."""
    quiet_s = at_frame / FPS
    return film(folder / f"outbreak-{at_frame}-1080p25.mp4", [(0, quiet_s), (20, 20 + LOOP_S - quiet_s)])
