# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hours in which nothing burns: other light, noise and cars each time, the same for the same seed; what is confirmed is counted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from daemon.domain import Detection
from daemon.settings import DetectSettings
from training.__main__ import parser
from training.clips import Clip, Timed, frames
from training.folders import Pixels
from training.hours import GREY_BELOW, Changed, _thresholds, play

FPS, SECONDS = 10, 8
AT = {"fire": 0.3, "smoke": 0.35}


class Lamps:
    """Takes the bright part of a picture for a fire."""

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        return [(Detection("fire", 0.8, (60.0, 40.0, 90.0, 70.0)),) for _ in images]


def film(path: Path) -> Path:
    """A lit window on a dark wall; a key frame every two seconds."""
    picture = np.full((120, 160, 3), 40, np.uint8)
    picture[42:68, 62:88] = (60, 160, 230)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": str(2 * FPS), "bf": "0", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(FPS * SECONDS):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_window_is_confirmed_by_detections_alone_and_held_by_time(tmp_path: Path) -> None:
    """A minute of a film of eight seconds, with a night in it: the places where time is asked and where it is not differ."""
    clip = Clip("made", "none", None, (), film(tmp_path / "made.mp4"))
    hours = play(clip, Lamps(), DetectSettings(), AT, 60.0, (1, 0))
    assert 59 < hours.seconds <= 60
    assert hours.alone == 1
    assert hours.confirmed == ()
    assert hours.analysed > 5 * 55, "a suspect is looked at closely all the time"


def test_a_threshold_of_nothing_is_one_that_was_asked_for() -> None:
    """0 is not "not given"; what is not given is as configured."""
    detect = DetectSettings()
    options = parser().parse_args(["hours", "--data", "x", "--fire", "0"])
    assert _thresholds(options, detect) == {"fire": 0.0, "smoke": detect.thresholds.smoke}


def test_light_noise_and_cars_follow_from_the_seed(tmp_path: Path) -> None:
    """The same frame at the same time looks the same again, at night darker and grey, and with another seed otherwise."""
    timed = next(frames(film(tmp_path / "made.mp4")))[0]
    one, same, other = (Changed(100.0, (seed, 0)) for seed in (1, 1, 2))
    day, night = (Timed(timed.frame, at_s * 1_000_000_000, key=True) for at_s in (1, 50))
    assert np.array_equal(one.small(day, 640), same.small(day, 640))
    assert not np.array_equal(one.small(day, 640), other.small(day, 640))
    assert one.luma(night).mean() < GREY_BELOW * one.luma(day).mean()
    colours = one.small(night, 640).astype(int)
    assert np.ptp(colours, axis=2).max() == 0, "grey"
    assert np.ptp(one.small(day, 640).astype(int), axis=2).max() > 80
