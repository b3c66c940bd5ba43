# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folds: scenes stay whole, and what is measured is never known to the weights that it is measured with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from daemon.detect.model import Picture
from daemon.domain import Detection
from daemon.shipped import WEIGHTS
from tests.training.conftest import put
from training.__main__ import main
from training.card import card
from training.folders import read_folder, read_split
from training.folds import dealt, look_apart
from training.scenes import scene_of
from training.seen import SPLITS


class Fixed:
    """A detector that sees one fire everywhere, as surely as it is told."""

    def __init__(self, confidence: float) -> None:
        self._found = (Detection("fire", confidence, (0.0, 0.0, 4.0, 4.0)),)

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        return [self._found for _ in images]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A video of four frames and three single pictures in val, two cameras, and two empty scenes; one of val's is in neg_hard too."""
    picture, top = np.full((32, 32, 3), 90, np.uint8), tmp_path / "data"
    for frame in range(4):
        put(top / "val", f"made_000000{frame}_film-mp4-{frame}", picture, "0 0.5 0.5 0.5 0.5\n")
    for number in range(3):
        put(top / "val", f"made_000001{number}_house{number}", picture)
    for camera in ("gate", "yard"):
        put(top / "val_cctv" / camera, f"made_0000020_{camera}", picture, "0 0.5 0.5 0.5 0.5\n")
    for number in range(2):
        put(top / "neg_hard", f"made_000003{number}_house{number}", picture)
    (top / "val" / "PARTIAL").touch()
    return top


def scenes_in(folder: Path) -> set[str]:
    return {scene_of(sample.path.stem) for name in SPLITS for sample in read_split(folder, name)}


def test_scenes_are_dealt_whole_and_evenly(scenes: Path) -> None:
    """The film is one fold's, the three pictures the other's; the cameras are apart; a scene is of one fold in every split."""
    folds = dealt(scenes, 2)
    assert folds["made:film-mp4"] == 0
    assert [folds[f"made:house{number}"] for number in range(3)] == [1, 1, 1]
    assert {folds["made:gate"], folds["made:yard"]} == {0, 1}
    assert folds == dealt(scenes, 2)


def test_a_sites_own_camera_is_one_scene(tmp_path: Path) -> None:
    """Its numbered frames stay together, as those of a video do."""
    for camera in ("yard_cam1", "gate"):
        for frame in range(3):
            put(tmp_path / "val", f"{camera}_{frame:04}", np.full((32, 32, 3), 90, np.uint8))
    assert dealt(tmp_path, 2) == {"gate": 0, "yard_cam1": 1}


def test_what_is_written_leaves_out_its_fold_and_nothing_else(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders to train with, labels and PARTIAL included."""
    words = ["folds", "--data", str(scenes), "--out", str(tmp_path / "folds")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("6 scenes of 11 pictures\n")
    assert f"{tmp_path / 'folds' / 'without-1'}: train with it" in said
    folds = dealt(scenes, 2)
    for fold in range(2):
        assert scenes_in(tmp_path / "folds" / f"without-{fold}") == {name for name, of in folds.items() if of != fold}
    burning = read_folder(tmp_path / "folds" / "without-1" / "val", tmp_path)
    assert [each.boxes[0].label for each in burning] == ["fire"] * 4
    assert not burning[0].smoke_known
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_each_picture_is_asked_about_where_its_scene_is_not_known(scenes: Path) -> None:
    """In the order of the samples; progress counts over all."""
    samples, told = read_folder(scenes / "val", scenes), list[int]()
    found = look_apart([Fixed(0.3), Fixed(0.7)], dealt(scenes, 2), samples, told.append)
    assert [each.sample for each in found] == samples
    assert [each.detections[0].confidence for each in found] == [0.3] * 4 + [0.7] * 3
    assert told == [4, 7]


def test_the_tables_are_the_folds_and_the_card_says_so(data: Path, tmp_path: Path) -> None:
    """The same weights as both folds give the tables that they give alone; JSON, page and card name the folds."""
    page = tmp_path / "page.md"
    page.write_text("<!-- made by python -m training evaluate -->\n<!-- end of what training evaluate makes -->\n")
    weights = shutil.copy(WEIGHTS, tmp_path / "mine.onnx")
    common = ["evaluate", "--data", str(data), "--weights", str(weights), "--input-px", "320", "--no-clips"]
    assert main([*common, "--out", str(tmp_path / "alone.json")]) == 0
    apart = [*common, "--out", str(tmp_path / "apart.json"), "--page", str(page)]
    assert main([*apart, "--folds", str(weights), str(weights)]) == 0
    alone, folded = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "apart"))
    assert folded["tables"] == alone["tables"]
    assert [each["sha256"] for each in folded["folds"]] == [folded["weights"]["sha256"]] * 2
    assert "say too much" not in page.read_text()
    assert (alone["folds"], "of 2 weights that were" in page.read_text()) == ([], True)
    assert "of 2 weights that were" in card(Path(weights), "10 steps", {}, [], [], folded)
    text = card(Path(weights), "10 steps", {}, [], [], folded, "red cars")
    assert "Pictures, at the thresholds:" in text
    assert "| val_cctv_neg | – | – | 0.000 (0.000–0.000) |" in text
    assert "In brackets: 95 % intervals" in text
    assert text.endswith("**Weak**: red cars\n")
    assert "in folds" not in card(Path(weights), "10 steps", {}, [], [], alone)


def test_one_fold_is_none(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence."""
    assert main(["evaluate", "--data", str(data), "--folds", str(WEIGHTS)]) == 2
    assert capsys.readouterr().err == "training evaluate: --folds needs the weights of every fold, at least two\n"
