# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command as a user runs it, with the shipped weights."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from daemon.detect.detector import FireDetector
from daemon.shipped import WEIGHTS
from tests.training.conftest import film, put
from training.__main__ import main
from training.card import card
from training.evaluate import spread_over
from training.page import marks
from training.small_flames import KINDS

ROOT = Path(__file__).parents[2]
BEGIN, END = marks("evaluate")


def test_evaluate_measures_what_runs_without_torch_and_writes_its_tables(data: Path, tmp_path: Path) -> None:
    """One run: JSON, Markdown and the page's section; the shipped weights find the shipped picture's fire; no torch loaded."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nyesterday\n{END}\nafter\n")
    out = tmp_path / "found.json"
    code = (
        "import sys; from training.__main__ import main; "
        "status = main(sys.argv[1:]); assert not {'torch', 'ultralytics'} & set(sys.modules); sys.exit(status)"
    )
    command = ["evaluate", "--data", data, "--out", out, "--page", page, "--input-px", "320", "--at", "0.5"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert len(found["weights"]["sha256"]) == 64
    assert found["chosen"] == {"fire": 0.05, "smoke": 0.05}  # nothing at all is seen in grey pictures
    tables = {each["title"]: each["rows"] for each in found["tables"]}
    recalls = [each for each in tables["Pictures"] if each["split"] == "val" and each["thresholds"] == "0.50"]
    assert recalls[0]["recall of fire"]["value"] == 1.0
    assert recalls[0]["recall of smoke"]["value"] is None
    found_there = [each for each in tables["Flames and smoke found"] if each["split"] == "val"]
    assert {each["label"] for each in found_there} == {"fire"}, "smoke is labelled nowhere"
    assert [each["all"]["value"] for each in found_there if each["thresholds"] == "0.50"] == [1.0]
    (sized,) = (each for each in tables["Average precision by size"] if each["split"] == "val")
    assert [sized[size].rpartition(" ")[2] for size in ("0–8 px", "16–32 px", "from 32 px")] == ["–", "–", "[1]"]
    empty = [each["false positives"]["value"] for each in tables["Pictures"] if each["split"] == "neg_hard"]
    assert empty == [0.0, 0.0, 0.0]
    assert page.read_text().startswith(f"before\n{BEGIN}\n\nWeights firewitness-11n")
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert "yesterday" not in page.read_text()
    assert out.with_suffix(".md").read_text() in page.read_text()
    assert "the figures say too much" in page.read_text()
    assert done.stderr.count("the figures say too much") == 1


def test_that_no_thresholds_can_be_chosen_is_said_at_the_start(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the folder that is missing; what can be measured is measured."""
    shutil.rmtree(data / "neg_hard")
    out = tmp_path / "found.json"
    assert main(["evaluate", "--data", str(data), "--input-px", "128", "--no-clips", "--out", str(out)]) == 0
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == f"thresholds cannot be chosen: {data / 'neg_hard'} with images is missing"
    assert json.loads(out.read_text())["chosen"] is None


def test_thresholds_are_admissible_for_both_forms(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The higher one of each label counts; what chose none is refused in one sentence."""
    other, out = tmp_path / "int8.json", tmp_path / "found.json"
    words = ["evaluate", "--data", str(data), "--input-px", "320", "--other-form", str(other), "--out", str(out)]
    other.write_text(json.dumps({"closer_look": True, "chosen": {"fire": 0.38, "smoke": 0.01}}))
    assert main(words) == 0
    assert json.loads(out.read_text())["chosen"] == {"fire": 0.38, "smoke": 0.05}
    assert "No lower than the same rule chose" in out.with_suffix(".md").read_text()
    assert json.loads(out.read_text())["closer_look"] is True
    assert main([*words, "--no-closer-look"]) == 2
    assert "measured with the closer look, and what is asked for is without" in capsys.readouterr().err
    for chosen in (None, 5, {"fire": 0.3}, {"fire": float("nan"), "smoke": 0.3}, {"fire": 0.3, "smoke": 7}):
        other.write_text(json.dumps({"closer_look": True, "chosen": chosen}))
        assert main(words) == 2
        sentence = "not what evaluate wrote of weights for which it could choose thresholds, numbers from 0 to 1"
        assert capsys.readouterr().err == f"training evaluate: {other}: {sentence}\n"


def test_large_pictures_are_looked_at_as_live_frames_but_for_small_flames(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thresholds are a camera's; pasted flames are asked about as they are (POST), reduced (live), and in tiles, each way once."""
    shown: list[int] = []
    looks = FireDetector.detect

    def spied(self: Any, images: Any, *rest: Any) -> Any:
        shown.extend(max(each.shape) for each in images)
        return looks(self, images, *rest)

    monkeypatch.setattr(FireDetector, "detect", spied)
    small, out = tmp_path / "small", tmp_path / "found.json"
    scene = np.full((720, 1280, 3), 90, np.uint8)
    for kind in KINDS:
        put(small / kind, "made_0000001_yard+001", scene, "0 0.5 0.5 0.02 0.03\n")
    words = ["evaluate", "--data", str(data), "--input-px", "320", "--no-clips", "--out", str(out)]
    assert main([*words, "--small", str(small), "--tiles", "1"]) == 0
    counted = Counter(shown)
    assert set(counted) == {320, 352, 1280}, "reduced to the input, tiles of 1.1 times that, and as they are"
    assert counted[1280] == len(KINDS)
    assert counted[320] == len(KINDS) + len(list(data.glob("*/images/*")))
    (table,) = (each for each in json.loads(out.read_text())["tables"] if each["title"].startswith("Small flames"))
    ways = [
        each["split"].removeprefix(f"{kind}, ") for kind in KINDS for each in table["rows"] if kind in each["split"]
    ]
    assert set(ways) == {
        "whole",
        "as a live frame",
        "as a live frame and at its hints",
        "whole, 1 of them",
        "in tiles, the same 1",
    }


def test_clips_that_the_weights_know_are_named(data: Path, tmp_path: Path) -> None:
    """In JSON, page and card: those that show the same as a picture they were trained with; unasked, that nobody looked."""
    page, out = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text(f"{BEGIN}\n{END}\n")
    coarse = np.random.default_rng(4).integers(60, 120, (6, 10, 3), np.uint8)  # nothing that would be looked at closely
    picture = np.asarray(cv2.resize(coarse, (320, 192), interpolation=cv2.INTER_CUBIC), np.uint8)
    film(data, "plant", picture)
    put(tmp_path / "trained", "made_0000001_plant", picture[:, ::-1].copy())
    weights = shutil.copy(WEIGHTS, tmp_path / "mine.onnx")
    words = ["evaluate", "--data", str(data), "--weights", str(weights), "--input-px", "128", "--page", str(page)]
    for trained, known, says in (
        ([], None, "was not looked into"),
        (["--trained", str(tmp_path / "trained")], {"plant": "made_0000001_plant.png"}, "**Known clips**: plant show"),
        (["--trained", str(data / "val_cctv_neg")], {}, "No clip shows the same"),
    ):
        assert main([*words, "--out", str(out), *trained]) == 0
        found = json.loads(out.read_text())
        assert found["known_clips"] == known
        assert says in page.read_text()
        assert says in card(Path(weights), "10 steps", {}, [], [], found)
    assert main([*words, "--trained", "nowhere"]) == 2


def test_a_clip_that_is_missing_is_said_before_anything_is_looked_at(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clips are played last: what pictures had shown by then would be lost. Who leaves them out needs none."""
    film(data, "plant", np.full((192, 320, 3), 90, np.uint8))
    clip = data / "clips" / "plant.mp4"
    clip.unlink()
    for kind in KINDS:
        put(tmp_path / "small" / kind, "made_0000001_a", np.full((192, 320, 3), 90, np.uint8))
    looked = list[str]()
    monkeypatch.setattr(FireDetector, "detect", lambda *_: looked.append("looked"))
    for words in (["evaluate"], ["tiling", "--small", str(tmp_path / "small")], ["hours"]):
        assert main([*words, "--data", str(data), "--input-px", "128"]) == 2
        assert capsys.readouterr().err == f"training {words[0]}: {clip}: not a video that can be played\n"
    assert not looked
    monkeypatch.undo()
    assert main(["evaluate", "--data", str(data), "--input-px", "128", "--no-clips"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "none of the folders val, val_cctv, val_cctv_neg, neg_hard is there"),
        (["--data", "nowhere", "--weights", "nothing.onnx"], "nothing.onnx"),
        (["--data", "nowhere", "--weights", "x/a.onnx", "--out", "x/a.json"], "written over the weights' card"),
        (["--data", "nowhere", "--small", "x"], "x: make it first: python -m training small-flames"),
        (["--data", "nowhere", "--out", "x/a.json"], "x/a.json: there is no folder x to write it to"),
        (["--data", "nowhere", "--out", "r.md"], "r.md: the name of what is written has to end in .json"),
        (["--data", "nowhere", "--out", "full.json"], "full.md: a file of that name cannot be written there"),
        (["--data", "nowhere", "--out", "acc.json", "--page", "acc.md"], "acc.md: is one of the files that this"),
        (["--data", "nowhere", "--out", "acc.json", "--page", "./../link/acc.md"], "acc.md: is one of the files that"),
        (["--data", "nowhere", "--other-form", "a.json", "--out", "a.json"], "a.json: is one of the files that this"),
        (
            ["--data", "nowhere", "--weights", "b.onnx", "--folds", "c.onnx", "x/a.onnx", "--out", "c.json"],
            "written over the weights' card",
        ),
        (["--data", "nowhere", "--page", "x.md"], "x.md: not a page that can be read"),
        (["--data", "nowhere", "--page", "empty.md"], "<!-- made by python -m training evaluate --> and"),
    ],
)
def test_a_mistake_gets_one_sentence(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 2 and one line, no traceback."""
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path / "here")
    Path("empty.md").touch()
    Path("full.md").mkdir()
    Path("acc.md").write_text(f"{BEGIN}\n{END}\n")
    Path("a.json").touch()
    assert main(["evaluate", "--input-px", "128", *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_some_of_many_are_spread_over_all() -> None:
    """Pictures are sorted by source: the first ones would be of one."""
    assert spread_over(list(range(10)), 3) == [0, 3, 6]
    assert spread_over([1, 2], 3) == spread_over([1, 2], None) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (["train", "nowhere", "--out", "a.pt"], "torch"),
        (["train-folds", "nowhere", "--folds", "none", "--own", "val", "--out", "a"], "torch"),
        (["soup", "a.pt", "--pictures", "nowhere", "--out", "b.pt"], "torch"),
        (["verifier", "nowhere", "--out", "a.onnx"], "onnx"),
        (["quantise", str(WEIGHTS), "nowhere", "--out", "a.xml"], "nncf"),
    ],
)
def test_a_package_that_is_missing_is_one_sentence(
    arguments: list[str],
    package: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what brings it, before a picture is looked for; a module of ours that is missing stays a fault."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"training.{arguments[0].replace('-', '_')}", raising=False)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert f"training {arguments[0]}: needs {package}: make setup EXTRAS=train VENV=.venv-train" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "tiling", "hours", "mine", "close-ups"])
def test_a_pickle_is_opened_only_where_it_is_allowed(
    command: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By every command that asks a detector: refused as code, then opened by what can, or told what that needs."""
    film(data, "plant", np.full((192, 320, 3), 90, np.uint8))
    (tmp_path / "mine.pt").write_bytes(b"none")
    words = {
        "evaluate": ["--data", str(data)],
        "tiling": ["--data", str(data), "--small", str(data)],
        "hours": ["--data", str(data)],
        "mine": [str(data / "val"), "--out", str(tmp_path / "out")],
        "close-ups": [str(data / "val"), "--out", str(tmp_path / "out")],
    }[command]
    asked = [command, *words, "--weights", str(tmp_path / "mine.pt"), "--device", "cpu"]
    assert main(asked) == 2
    assert "mine.pt: a .pt file runs code when it is opened" in capsys.readouterr().err
    assert main([*asked, "--allow-pickle"]) == 2
    opened = "not an Ultralytics checkpoint" if importlib.util.find_spec("torch") else "needs torch and ultralytics"
    assert opened in capsys.readouterr().err


@pytest.mark.parametrize("weight", ["often", "0", "-1", "nan", "inf"])
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["train"], "FOLDER[=WEIGHT]"),
        (["train-folds"], "FOLDER[=WEIGHT]"),
        (["train-folds", "pictures", "--own"], "--own"),
        (["soup"], "CHECKPOINT[=WEIGHT]"),
        (["soup", "a.pt", "--pictures"], "--pictures"),
    ],
)
def test_a_weight_that_cannot_be_gets_the_same_sentence_everywhere(
    arguments: list[str], option: str, weight: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of folders and of checkpoints, before anything is read or imported."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, f"x={weight}"])
    assert ended.value.code == 2
    sentence = f"x={weight}: after = stands how much it counts, more than 0 and at most 10000, such as 2 or 0.5"
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: argument {option}: {sentence}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "pictures", "--out", "a.pt", "--batch", "0"], "argument --batch: 0 is less than 1"),
        (["train-folds", "pictures", "--own-share", "1"], "argument --own-share: 1 is not between 0 and 1"),
        (["train", "pictures", "--out", "a.pt", "--side-px", "100"], "argument --side-px: 100 is no multiple of 32"),
        (["train", "pictures", "--out", "a.pt", "--last-side-px", "0"], "argument --last-side-px: 0 is no multiple"),
        (["folds", "--data", "data", "--out", "out", "--count", "0"], "argument --count: 0 is less than 2"),
        (
            ["train", "pictures", "--out", "a.pt", "--epochs", "nan"],
            "argument --epochs: nan is not a number more than 0 and at most 10000",
        ),
        (["train", "pictures", "--epochs", "1e300"], "--epochs: 1e300 is not a number more than 0 and at most 10000"),
        (
            ["hours", "--data", "data", "--hours", "1e300"],
            "--hours: 1e300 is not a number more than 0 and at most 10000",
        ),
        (["soup", "a.pt", "--seed", f"1{'0' * 20}"], f"argument --seed: 1{'0' * 20} is more than 2147483647"),
        *[
            ([command, "--seed", "-1"], "argument --seed: -1 is less than 0")
            for command in (
                "train",
                "train-folds",
                "soup",
                "quantise",
                "verifier",
                "hours",
                "close-ups",
                "small-flames",
            )
        ],
        (["train", "pictures", "--out", "a.pt", "--learning-rate", "0"], "argument --learning-rate: 0 is not a number"),
        (["train", "pictures", "--out", "a.pt", "--learning-rate", "inf"], "argument --learning-rate: inf is not"),
        (["evaluate", "--data", "data", "--at", "35"], "argument --at: 35 is not from 0 to 1"),
        (
            ["evaluate", "--data", "data", "--verify-px", "65"],
            "argument --verify-px: 65 is not a multiple of 16 from 32",
        ),
        (["verifier", "pictures", "--out", "a.onnx", "--side-px", "512"], "argument --side-px: 512 is not a multiple"),
        (["hours", "--data", "data", "--fire", "-1"], "argument --fire: -1 is not from 0 to 1"),
        (["evaluate", "--data", "data", "--input-px", "64"], "argument --input-px: 64 is not from 128 to 1920"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_the_words(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read or imported."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
