# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is found out of a model before it is trusted: that it runs here, sees a drawn fire, how fast, and what it takes for a fire."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from daemon.detect.detector import FireDetector, reference_picture
from daemon.detect.letterbox import GREY, reduced
from daemon.detect.model import Picture
from daemon.detect.served import cameras, tile_picture

if TYPE_CHECKING:
    from daemon.settings import DetectSettings

_DRAWN_AT_PX = (472, 165)  # where it burns in the reference picture
_TIMES = 10
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out."""

    runtime: str
    drawn_fire: float | None
    """How surely it sees the drawn fire; None: not at all."""
    picture_ms: float
    """One picture of 16:9 in which nothing is, alone, with all that belongs to it (median)."""
    cameras: int
    """How many it serves while nothing burns."""
    stills: int
    alarmed: int
    """In how many of the stills it sees something at or above the thresholds."""


def check(weights: Path, sha256: str | None, detect: DetectSettings, stills: Sequence[Picture]) -> Checked:
    """Raises DetectorError when the weights cannot be used on this host, or are no fitting model."""
    detector = FireDetector(
        weights, sha256=sha256, device=detect.device, input_px=detect.input_px, batch=detect.batch,
        allow_pickle=detect.allow_pickle, closer=detect.closer_look,
    )  # fmt: skip
    detector.warm()
    picture = reference_picture()
    drawn = [
        each.confidence
        for each in detector.detect([picture], detect.floor)[0]
        if each.label == "fire"
        and each.box[0] <= _DRAWN_AT_PX[0] <= each.box[2]
        and each.box[1] <= _DRAWN_AT_PX[1] <= each.box[3]
    ]
    quiet = np.full_like(picture, GREY)  # what is found costs a closer look
    alone_ms = statistics.median(_took_ms(detector, [quiet], detect.floor) for _ in range(_TIMES))
    tile = tile_picture(detect)
    tile_s = _each_s(detector, np.full_like(tile, GREY), detect) if tile is not None else 0.0
    return Checked(
        runtime=detector.info.runtime,
        drawn_fire=max(drawn, default=None),
        picture_ms=alone_ms,
        cameras=cameras(_each_s(detector, quiet, detect), tile_s, detect),
        stills=len(stills),
        alarmed=_alarmed(detector, detect, stills),
    )


def _each_s(detector: FireDetector, picture: Picture, detect: DetectSettings) -> float:
    """In full batches, as when many wait."""
    batch = [picture] * detect.batch
    return statistics.median(_took_ms(detector, batch, detect.floor) for _ in range(3)) / 1000 / detect.batch


def _took_ms(detector: FireDetector, pictures: Sequence[Picture], floor: float) -> float:
    began_s = time.perf_counter()
    detector.detect(pictures, floor)
    return (time.perf_counter() - began_s) * 1000


def _alarmed(detector: FireDetector, detect: DetectSettings, stills: Sequence[Picture]) -> int:
    thresholds = detect.thresholds.as_dict()
    alarmed = 0
    for at in range(0, len(stills), _AT_ONCE):
        # of a larger picture the closer look would see more than it does of a camera
        live = [reduced(each, detect.input_px) for each in stills[at : at + _AT_ONCE]]
        for found in detector.detect(live, detect.floor):
            alarmed += any(each.confidence >= thresholds[each.label] for each in found)
    return alarmed
