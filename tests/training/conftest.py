# SPDX-License-Identifier: AGPL-3.0-or-later
"""Made-up folders of labelled pictures, and trainings of a tiny network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from daemon.detect.detector import REFERENCE_PICTURE
from daemon.domain import Detection
from training import folders
from training.arguments import Weighted
from training.data import Pictures
from training.folders import Pixels, Sample
from training.seen import Seen

PLAN: dict[str, Any] = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]],
                 [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
    "head": [[[2, 3, 4], 1, "Detect", ["nc"]]],
}  # fmt: skip
"""Of a tiny network, as Ultralytics writes it."""


def put(folder: Path, name: str, picture: Pixels, labels: str = "") -> None:
    """One picture and its labels."""
    folders.put(folder, f"{name}.png", cv2.imencode(".png", picture)[1].tobytes(), labels)


def seen(*detections: tuple[str, float], sample: Sample | None = None) -> Seen:
    """A picture of 100 × 100 in which these labels were seen with these confidences."""
    found = tuple(Detection(label, confidence, (10.0, 10.0, 20.0, 20.0)) for label, confidence in detections)
    return Seen(sample or Sample(Path("x.png"), "val", "made", "scene", ()), (100, 100), found)


def film(folder: Path, name: str, picture: Pixels) -> None:
    """A clip of that picture in which nothing burns, two seconds long, in its folder's list."""
    (folder / "clips").mkdir(parents=True)
    (folder / "clips.csv").write_text(f"name,kind,onset_s,box_at_onset\n{name},none,,\n")
    with av.open(str(folder / "clips" / f"{name}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))


def flame(side: int = 60) -> Pixels:
    """A bright warm tongue on black."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    inside = np.abs(columns - 0.5) < 0.35 * np.sin(np.pi * rows) * (0.4 + 0.6 * rows)
    picture = np.zeros((side, side, 3), np.uint8)
    picture[inside] = (40, 160, 250)
    return picture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Val with one burning picture (the shipped reference) and one without, and the two folders of empty pictures."""
    reference = cv2.imread(str(REFERENCE_PICTURE))
    assert reference is not None
    burning = np.asarray(reference, np.uint8)
    empty = np.full_like(burning, 90)
    top = tmp_path / "data"
    put(top / "val", "made_0000001_fire", burning, "0 0.5 0.5 0.5 0.5\n")
    put(top / "val", "made_0000002_none", empty)
    for folder in ("val_cctv_neg", "neg_hard"):
        for number in range(3):
            put(top / folder, f"made_000000{number}_yard{number}", empty)
    return top


def boxes_inside(boxes: Sequence[tuple[float, float, float, float]], width: float, height: float) -> bool:
    """Whether all lie in a picture of that size and have an area."""
    return all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for x1, y1, x2, y2 in boxes)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Four burning pictures."""
    for number in range(4):
        picture = np.full((64, 64, 3), 30 + number, np.uint8)
        picture[10:40, 10:40] = flame(30)
        put(tmp_path / "fire", f"a{number}", picture, "0 0.39 0.39 0.47 0.47\n")
    return Pictures([Weighted(tmp_path / "fire")], 1)


def begun(steps: int = 6, seed: int = 3) -> Any:
    """A training of a tiny network, untrained."""
    import torch

    from training.loop import Settings, Training
    from training.network import network

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return Training(network(PLAN), PLAN, Settings(steps, batch=2, side_px=64, last_side_px=96, seed=5), "cpu")


def weights(training: Any) -> dict[str, Any]:
    """Model and average."""
    return {**training.model.state_dict(), **{f"mean {k}": v for k, v in training.average.state_dict().items()}}
