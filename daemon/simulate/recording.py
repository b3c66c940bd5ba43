# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scene as a file to play: rendered at its first use, kept in a folder under a name that changes with the scene."""

from __future__ import annotations

import hashlib
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from daemon.simulate.bitstream import CODECS
from daemon.simulate.encoder import Encoder, Target

FPS = 15
KEY_EVERY_S = 2
QUALITY = 25
PRESET = "ultrafast"
LEFTOVER_AGE_S = 60.0
SOURCES = ("scene", "room", "flame", "recording", "encoder")  # what decides how the clip looks


def recording_path(folder: Path) -> Path:
    """The clip's name in a folder: it carries a hash of the code that draws it, so that an update draws anew."""
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join((here / f"{name}.py").read_bytes() for name in SOURCES))
    return folder / f"simulated-{digest.hexdigest()[:16]}.mp4"


def recorded_scene(folder: Path) -> Path:
    """The clip, made first where the folder does not have it: H.264, BT.709, limited range, a key frame every 2 s."""
    path = recording_path(folder)
    if not path.exists():
        record(path)
        _remove_leftovers(folder, path)
    return path


def record(path: Path) -> None:
    """Renders the scene's loop into a file; the room after the fire is drawn for one period and then repeated."""
    from daemon.simulate.scene import FIRE_UNTIL_S, LOOP_S, QUIET_PERIOD_S, Scene

    scene = Scene()
    target = Target(CODECS["h264"], scene.size, Fraction(FPS), FPS * KEY_EVERY_S, quality=QUALITY, preset=PRESET)
    with Encoder(path, target) as encoder:
        for number in range(round((FIRE_UNTIL_S + QUIET_PERIOD_S) * FPS)):
            if number == round(FIRE_UNTIL_S * FPS):
                encoder.mark()
            encoder.add(_as_camera(scene.picture(number / FPS)))
        encoder.repeat(round((LOOP_S - FIRE_UNTIL_S) / QUIET_PERIOD_S) - 1)


def _as_camera(picture: NDArray[np.uint8]) -> av.VideoFrame:
    """The YUV 4:2:0 frame of a BGR picture in the colours of HD cameras, and saying so."""
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
    )
    frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
    frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return frame


def _remove_leftovers(folder: Path, keep: Path) -> None:
    """Earlier scenes, and parts that a killed process left; what is young may be another process's work."""
    for path in folder.glob("simulated-*"):
        if path != keep and path.stat().st_mtime < time.time() - LEFTOVER_AGE_S:
            path.unlink(missing_ok=True)
