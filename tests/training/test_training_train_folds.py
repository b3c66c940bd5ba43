# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trainings side by side: each learns from its rows of one stream, none from what it is measured with, and all go on together."""

from __future__ import annotations

import importlib.util
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import begun, flame, put, weights
from training.__main__ import main
from training.arguments import Weighted
from training.data import Pictures

if importlib.util.find_spec("torch"):  # else all of this is deselected
    import torch

    from training import checkpoint, train_folds
    from training.loop import Stream, learn_together, selected, together

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
NAMES = ("without-0", "without-1", "all")


def own(folder: Path, level: int) -> None:
    """Two pictures of a fold's own, one burning."""
    picture = np.full((64, 64, 3), level, np.uint8)
    put(folder, "made_0000001_empty", picture)
    picture[20:50, 20:50] = flame(30)
    put(folder, "made_0000002_burns", picture, "0 0.55 0.55 0.47 0.47\n")


@pytest.fixture
def words(tmp_path: Path, pictures: Pictures) -> list[str]:
    """A command of four steps of 4 + 2 + 2 pictures; of a fold's own there is val, and in the first one neg_hard."""
    for fold, level in enumerate((60, 120)):
        own(tmp_path / "folds" / f"without-{fold}" / "val", level)
    own(tmp_path / "folds" / "without-0" / "neg_hard", 200)
    begun().save(tmp_path / "start.pt")
    common = ["train-folds", str(tmp_path / "fire"), "--weights", str(tmp_path / "start.pt"), "--seed", "2"]
    mine = ["--folds", str(tmp_path / "folds"), "--own", "val=2", "val_cctv=6", "neg_hard", "--own-share", "0.3"]
    return [*common, *mine, "--batch", "6", "--epochs", "4", "--side-px", "64", "--last-side-px", "64"]


def states(out: Path) -> dict[str, dict[str, Any]]:
    """Model and average of each result."""
    found = {name: checkpoint.load(out / f"{name}.pt") for name in NAMES}
    return {
        name: {f"{part} {key}": value for part in ("model", "average") for key, value in each[part].items()}
        for name, each in found.items()
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_each_learns_from_its_rows_as_if_they_alone_had_been_drawn(tmp_path: Path, pictures: Pictures) -> None:
    """A step of two side by side is that of each of them with those pictures of the stream, to the last bit."""
    own(tmp_path / "own", 90)
    groups = [pictures, Pictures([Weighted(tmp_path / "own")], 1)]
    first, second, alone, other = (begun() for _ in range(4))
    stream = Stream(groups, [2, 1], first.settings)
    assert len(stream) == 6 * 3
    learners = [(first, [0, 1]), (second, [2, 0])]
    learn_together(learners, islice(stream.batches(0, 0), 2), lambda _: None, lambda: None)
    for training, rows in ((alone, [0, 1]), (other, [2, 0])):
        for step in range(2):
            training.learn(together([stream[step * 3 + row] for row in rows]))
    assert same(weights(first), weights(alone))
    assert same(weights(second), weights(other))
    assert not same(weights(first), weights(second))


def test_a_picture_keeps_its_boxes_wherever_it_stands() -> None:
    """The third picture with its two boxes becomes the first of the selected ones; the second has none."""
    batch = {
        "img": torch.arange(3.0).reshape(3, 1, 1, 1),
        "cls": torch.tensor([[0.0], [1.0], [1.0]]),
        "bboxes": torch.arange(12.0).reshape(3, 4),
        "known": torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        "batch_idx": torch.tensor([0.0, 2.0, 2.0]),
    }
    found = selected(batch, [2, 1])
    assert found["img"].flatten().tolist() == [2.0, 1.0]
    assert found["batch_idx"].tolist() == [0.0, 0.0]
    assert torch.equal(found["bboxes"], batch["bboxes"][1:])
    assert found["cls"].tolist() == [[1.0], [1.0]]
    assert found["known"].tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert selected(batch, range(3)) is batch


def test_no_training_knows_what_it_is_measured_with(words: list[str], tmp_path: Path) -> None:
    """Other pictures of without-1's own change without-1 and all, and not a bit of without-0; those of without-0 the reverse."""
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    for changed, outs in (("without-1", ("a", "b")), ("without-0", ("b", "c"))):
        shutil.rmtree(tmp_path / "folds" / changed / "val")
        own(tmp_path / "folds" / changed / "val", 250)
        assert main([*words, "--out", str(tmp_path / outs[1])]) == 0
        before, after = (states(tmp_path / each) for each in outs)
        differ = {name for name in NAMES if not same(before[name], after[name])}
        assert differ == {changed, "all"}
    steps = {checkpoint.load(tmp_path / "a" / f"{name}.pt")["step"] for name in NAMES}
    assert steps == {4}, "four times four common pictures, four a step"


def test_stopped_and_gone_on_with_they_are_unbroken(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the last bit; another process draws the rest. Once done, the same words change nothing."""
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(
            train_folds,
            "learn_together",
            lambda learners, batches, *told: learn_together(learners, islice(batches, 2), *told),
        )
        assert main([*words, "--out", str(tmp_path / "half")]) == 0
    assert checkpoint.load(tmp_path / "half" / "all.pt")["step"] == 2
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "half"), "--workers", "1"]) == 0
    assert "going on from step 2 of 4" in capsys.readouterr().err
    for _ in range(2):
        whole, half = states(tmp_path / "whole"), states(tmp_path / "half")
        assert all(same(whole[name], half[name]) for name in NAMES)
        assert main([*words, "--out", str(tmp_path / "half")]) == 0


def test_flames_of_the_common_pictures_burn_in_a_folds_own_and_never_the_reverse(
    words: list[str], tmp_path: Path
) -> None:
    """Else what a fold must not know would be pasted before its eyes."""
    folders = [[Weighted(tmp_path / "fire")], [Weighted(tmp_path / "folds" / "without-0" / "val")]]
    common, mine = (each.pictures for each in train_folds._groups(folders, [2, 1], 0))
    before = Pictures(folders[0], 0).flames, Pictures(folders[1], 0).flames
    assert (len(common.flames), len(mine.flames)) == (len(before[0]), len(before[0]) + len(before[1]))
    assert len(before[0]) > 0
    assert all(any(each is flame for flame in mine.flames) for each in common.flames)


def test_what_is_exported_says_how_it_was_made(words: list[str], tmp_path: Path) -> None:
    """Its command, the steps, how many of a step's pictures are of what; the mean of several is exported, too."""
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    first, second, whole = (tmp_path / "out" / f"{name}.pt" for name in NAMES)
    assert main(["export", str(whole), "--out", str(tmp_path / "all.onnx")]) == 0
    card, folds = (tmp_path / "all.md").read_text(), tmp_path / "folds"
    assert "**Made** with `python -m training train-folds` in 4 steps; steps 4, batch 8," in card
    assert "Begun from start.pt (SHA-256 `" in card
    assert (
        f"drawn: 4 of 8 from {tmp_path / 'fire'}; 2 of 8 from {folds}/without-0/val=2 {folds}/without-0/neg_hard; "
        in card
    )
    assert f"; 2 of 8 from {folds}/without-1/val=2; SHA-256" in card
    assert main(["export", str(first), str(second), "--out", str(tmp_path / "mean.onnx")]) == 0
    assert "train-folds` in 4 steps each: the mean of 2 trainings" in (tmp_path / "mean.md").read_text()


def test_exported_weights_are_measured_once_and_begun_from_by_all(pictures: Pictures, tmp_path: Path) -> None:
    """Whatever is drawn by lot where tensors do not fit, and what batch norms were measured to be, all have alike."""
    from daemon import shipped
    from training.network import begun_from
    from training.unfused import of_onnx

    groups = [train_folds.Group("fire", pictures, range(2)), train_folds.Group("own", pictures, range(2, 3))]
    source = of_onnx(shipped.WEIGHTS)
    seen = {Path("a.pt"): groups[:1], Path("b.pt"): groups}
    one, other = train_folds._begun(source, seen, begun().settings, "cpu", [shipped.WEIGHTS]).values()
    assert same(weights(one), weights(other))
    unmeasured = begun_from(source)[0].state_dict()
    assert not same(unmeasured, one.model.state_dict())
    assert (one.settings.batch, other.settings.batch) == (2, 3)


def test_a_mistake_gets_one_sentence(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the pictures are read, or the files of a training that went another way are touched."""
    out, folds = ["--out", str(tmp_path / "out")], tmp_path / "folds"

    def refused(*arguments: str) -> str:
        assert main([*words, *arguments]) == 2
        said = capsys.readouterr().err
        assert said.splitlines()[-1].startswith("training train-folds: ")
        return said

    assert "no folders without-0 and without-1 in it" in refused(*out, "--folds", str(folds / "without-0"))
    assert "--own vla=2: none of val, val_cctv, val_cctv_neg, neg_hard" in refused(*out, "--own", "vla=2")
    assert "without-1: none of the folders of --own is in it (neg_hard)" in refused(*out, "--own", "neg_hard")
    assert "--own-share 0.3: of 1 pictures a step all would be" in refused(*out, "--batch", "1")
    assert "a folder cannot be made there" in refused("--out", str(tmp_path / "none" / "out"))
    assert main([*words, *out]) == 0
    own(folds / "without-1" / "val_cctv", 10)
    assert "without-1.pt: was trained with other pictures" in refused(*out)
    shutil.rmtree(folds / "without-1" / "val_cctv")
    assert "without-0.pt: at step 4, made with other settings" in refused(*out, "--seed", "3")
    begun(seed=4).save(tmp_path / "other.pt")
    assert "began from other weights than --weights" in refused(*out, "--weights", str(tmp_path / "other.pt"))
    before = (tmp_path / "out" / "all.pt").read_bytes()
    (tmp_path / "out" / "without-1.pt").unlink()
    assert "go on only together, all from the same step (without-0.pt at step 4, without-1.pt missing," in refused(*out)
    begun().save(tmp_path / "out" / "without-1.pt")
    assert "without-1.pt at step 0, all.pt at step 4); name another --out" in refused(*out)
    assert (tmp_path / "out" / "all.pt").read_bytes() == before
    at = words.index("--weights")
    assert main([*words[:at], *words[at + 2 :], "--out", str(tmp_path / "new")]) == 2
    assert "--weights: name the checkpoint" in capsys.readouterr().err
