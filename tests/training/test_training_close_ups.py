# SPDX-License-Identifier: AGPL-3.0-or-later
"""Close-ups: what the detector sees in labelled pictures becomes a folder of what its closer look is shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.detect.closer import CONTEXT
from daemon.detect.detector import REFERENCE_PICTURE
from daemon.domain import Box, Detection
from training.__main__ import main
from training.close_ups import MOST, SIDE_PX, CloseUp, _put, close_ups
from training.folders import Labelled, Pixels, Sample, put, read_folder

WIDTH, HEIGHT = 1600, 1200


class Sees:
    """A detector that sees these in every picture."""

    def __init__(self, *found: tuple[float, Box]) -> None:
        self._found = tuple(Detection("fire", confidence, box) for confidence, box in found)

    def detect(
        self, images: list[Pixels], floor: float, input_px: list[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        assert floor <= 0.10
        return [self._found] * len(images)


def _sample(tmp_path: Path, *boxes: Labelled) -> Sample:
    picture = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "yard_0001.png"), picture)
    return Sample(tmp_path / "yard_0001.png", "val", "val", "val/yard", tuple(boxes))


def _made(sample: Sample, sees: Sees, seed: int = 0) -> list[CloseUp]:
    return list(close_ups([sample], sees, 640, np.random.default_rng(seed)))


def test_a_close_up_has_the_labels_that_lie_in_it_and_none_of_the_others(tmp_path: Path) -> None:
    """Fire that the detector saw beside its label, smoke that reaches in, and smoke far away."""
    fire = Labelled("fire", (400 / WIDTH, 300 / HEIGHT, 500 / WIDTH, 400 / HEIGHT))
    smoke = Labelled("smoke", (420 / WIDTH, 100 / HEIGHT, 480 / WIDTH, 340 / HEIGHT))
    far = Labelled("smoke", (1400 / WIDTH, 900 / HEIGHT, 1500 / WIDTH, 1000 / HEIGHT))
    box = (410.0, 300.0, 510.0, 400.0)
    (each,) = _made(_sample(tmp_path, fire, smoke, far), Sees((0.3, box)))
    side = CONTEXT * 100
    assert (each.left, each.top) == (460 - side / 2, 350 - side / 2)
    assert each.pixels.shape == (side, side, 3)
    assert [one.label for one in each.boxes] == ["fire", "smoke"]
    placed = [[round(value * side) for value in one.box] for one in each.boxes]
    assert placed == [[90, 100, 190, 200], [110, 0, 170, 140]]


def test_a_large_one_is_shrunk_and_its_labels_with_it(tmp_path: Path) -> None:
    """A fire of 300 px: 900 px are cut out."""
    fire = Labelled("fire", (600 / WIDTH, 450 / HEIGHT, 900 / WIDTH, 750 / HEIGHT))
    (each,) = _made(_sample(tmp_path, fire), Sees((0.9, (600.0, 450.0, 900.0, 750.0))))
    assert each.pixels.shape == (SIDE_PX, SIDE_PX, 3)
    assert np.allclose(each.boxes[0].box, (1 / 3, 1 / 3, 2 / 3, 2 / 3), atol=0.01)


def test_of_many_two_are_taken_by_chance_and_none_of_what_no_look_is_spent_on(tmp_path: Path) -> None:
    """Which, the seed says; what is weaker than the closer look's least is not among them."""
    lamps = [(0.5, (float(left), 600.0, left + 20.0, 620.0)) for left in range(200, 1400, 150)]
    weak = (0.01, (50.0, 50.0, 60.0, 60.0))
    sample, sees = _sample(tmp_path), Sees(*lamps, weak)
    chosen = {seed: [each.left for each in _made(sample, sees, seed)] for seed in range(8)}
    assert all(len(each) == MOST for each in chosen.values())
    assert len({tuple(each) for each in chosen.values()}) > 1
    assert chosen[3] == [each.left for each in _made(sample, sees, 3)]
    assert all(each.boxes == () for each in _made(sample, sees))
    assert _made(sample, Sees(weak)) == []
    assert len(_made(sample, Sees((0.03, weak[1])))) == 1, "small in a large picture: looked at from 0.02 on"


def test_in_a_small_picture_what_would_be_cut_out_alike_is_cut_out_once(tmp_path: Path) -> None:
    """Of one that is hardly larger than the least cut-out: two names, two files, or one."""
    cv2.imwrite(str(tmp_path / "small_0001.png"), np.full((150, 200, 3), 90, np.uint8))
    sample = Sample(tmp_path / "small_0001.png", "val", "val", "val/small", ())
    near, far = (0.5, (20.0, 20.0, 40.0, 40.0)), (0.4, (120.0, 90.0, 150.0, 120.0))
    assert len(_made(sample, Sees(near, far))) == 1
    cv2.imwrite(str(tmp_path / "small_0001.png"), np.full((300, 300, 3), 90, np.uint8))
    corner, larger = (0.5, (0.0, 0.0, 20.0, 20.0)), (0.4, (0.0, 0.0, 90.0, 90.0))
    made = _made(sample, Sees(corner, larger))
    assert sorted((each.left, each.top, each.side_px) for each in made) == [(0, 0, 224), (0, 0, 270)]
    names = {_put(tmp_path / "out", each) for each in made}
    assert len(names) == len(list((tmp_path / "out" / "images").iterdir())) == 2


def test_folders_become_folders_that_can_be_trained_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped weights: the shipped picture's fire, labelled where it is; a folder without smoke's labels stays one."""
    fire = "0 0.5 0.5 0.4 0.6\n"
    for name in ("burning", "partly"):
        put(tmp_path / name, "yard_0001.jpg", REFERENCE_PICTURE.read_bytes(), fire)
        cv2.imwrite(str(tmp_path / name / "images" / "grey_0001.png"), np.full((90, 160, 3), 90, np.uint8))
        (tmp_path / name / "labels" / "grey_0001.txt").write_text("")
    (tmp_path / "partly" / "PARTIAL").touch()
    words = ["close-ups", str(tmp_path / "burning"), str(tmp_path / "partly"), "--out", str(tmp_path / "close")]
    assert main([*words, "--input-px", "320"]) == 0
    said = capsys.readouterr().out
    for name, known in (("burning", True), ("partly", False)):
        made = read_folder(tmp_path / "close" / name, tmp_path)
        assert 1 <= len(made) <= MOST
        assert f"{name}: {len(made)} close-ups of 2 pictures" in said
        assert {each.scene for each in made} == {f"close/{name}/yard"}, "a close-up is of its picture's scene"
        assert {each.smoke_known for each in made} == {known}
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_two_folders_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the detector is loaded."""
    folders = [str(tmp_path / each / "yard") for each in ("north", "south")]
    assert main(["close-ups", *folders, "--out", str(tmp_path / "close")]) == 2
    assert "two folders of one name" in capsys.readouterr().err
