# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hard negatives: what the detector takes for fire becomes a folder without labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.clock import HostClocks
from daemon.detect.detector import REFERENCE_PICTURE
from daemon.settings import Settings
from daemon.storage.assessing import assess
from tests.api.shelf import Shelf
from training.__main__ import main
from training.folders import read_folder


def test_what_is_taken_for_fire_is_copied_once_with_an_empty_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped picture, in two copies at two depths, is mined once; a grey one is not; the result can be trained with."""
    reference = REFERENCE_PICTURE.read_bytes()
    (tmp_path / "kept" / "deeper").mkdir(parents=True)
    (tmp_path / "kept" / "lamp.jpg").write_bytes(reference)
    (tmp_path / "kept" / "deeper" / "again.JPG").write_bytes(reference)
    cv2.imwrite(str(tmp_path / "kept" / "grey.png"), np.full((90, 160, 3), 90, np.uint8))
    words = ["mine", str(tmp_path / "kept"), "--out", str(tmp_path / "mined"), "--input-px", "320"]
    assert main(words) == 0
    assert "1 of 3 pictures" in capsys.readouterr().out
    (sample,) = read_folder(tmp_path / "mined", tmp_path)
    assert sample.boxes == ()
    assert sample.path.read_bytes() == reference
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_what_people_called_a_false_alarm_is_mined_from_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stills of those incidents, byte for byte; not of a fire, nor of one that was called a false alarm at first."""
    picture = cv2.imdecode(np.frombuffer(REFERENCE_PICTURE.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    settings = Settings.model_validate(
        {"storage": {"root": tmp_path / "store", "state_dir": tmp_path / "state", "reserve": 0}}
    )
    shelf = Shelf(settings)
    at_ns = HostClocks().wall_ns()
    for place, words in enumerate((("false_alarm",), ("fire",), ("false_alarm", "fire"), ())):
        incident = shelf.incident(at_ns + place)
        shelf.still(at_ns + place, incident=incident.id, picture=picture)
        for says in words:
            assess(shelf.store, {"incident": incident.id, "says": says})
    shelf.close()
    words = ["mine", "--store", str(settings.storage.root), "--out", str(tmp_path / "mined"), "--input-px", "320"]
    assert main(words) == 0
    assert "1 of 1 pictures" in capsys.readouterr().out
    (sample,) = read_folder(tmp_path / "mined", tmp_path)
    stored = {path.read_bytes() for path in settings.storage.root.rglob("*.jpg")}
    assert sample.path.read_bytes() in stored
    assert main(["mine", "--store", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err == f"training mine: {tmp_path} holds no store\n"


def test_what_only_a_tile_shows_is_mined_as_the_tile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lamp far away in a large picture: scaled whole it is not seen, and only the tile shows what the patrol takes for fire."""
    lamp = cv2.imread(str(REFERENCE_PICTURE))
    far = np.full((1440, 2560, 3), 90, np.uint8)
    far[700:1060, 900:1540] = lamp
    (tmp_path / "kept").mkdir()
    cv2.imwrite(str(tmp_path / "kept" / "far.png"), far)
    words = ["mine", str(tmp_path / "kept"), "--input-px", "320", "--from-confidence", "0.3", "--out"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    assert "0 of 1 pictures" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "mined"), "--tiles"]) == 0
    (sample,) = read_folder(tmp_path / "mined", tmp_path)
    left, top = (int(each) for each in sample.path.stem.split("-")[-2:])
    assert sample.path.stem == f"0000-far-at-{left}-{top}"
    cut = far[top : top + 352, left : left + 352]
    assert sample.pixels().shape == cut.shape
    assert np.abs(sample.pixels().astype(int) - cut).mean() < 3, "but for what JPEG loses"
    cv2.imwrite(str(tmp_path / "kept" / "far.png"), lamp)
    assert main([*words, str(tmp_path / "near"), "--tiles"]) == 0
    (sample,) = read_folder(tmp_path / "near", tmp_path)
    assert sample.path.name == "0000-far.png", "what the whole shows is copied whole"


def test_a_broken_picture_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of many does not cost the looks at all the others."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "broken.jpg").write_bytes(b"\xff\xd8x")
    (tmp_path / "kept" / "lamp.jpg").write_bytes(REFERENCE_PICTURE.read_bytes())
    words = ["mine", str(tmp_path / "kept"), "--out", str(tmp_path / "mined"), "--input-px", "320"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert f"{tmp_path / 'kept' / 'broken.jpg'}: not a picture that can be read: left out\n" in said.err
    assert "1 of 2 pictures" in said.out


def test_a_folder_that_is_none_gets_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the detector is loaded."""
    assert main(["mine", str(tmp_path / "nowhere"), "--out", str(tmp_path / "mined")]) == 2
    assert capsys.readouterr().err == f"training mine: {tmp_path / 'nowhere'}: there is no such folder\n"
