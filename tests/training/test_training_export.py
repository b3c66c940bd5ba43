# SPDX-License-Identifier: AGPL-3.0-or-later
"""What export writes is whole and takes no other file's place; what it was measured with is read before anything is written."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import begun
from training.__main__ import main
from training.measures import Estimate
from training.tables import Table

if importlib.util.find_spec("torch"):  # else all of this is deselected
    from training import export

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A checkpoint, and the words that export it."""
    begun().save(tmp_path / "a.pt")
    return ["export", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")]


@pytest.mark.parametrize("out", ["a.pt", "a.md", "a.txt", "a"])
def test_only_what_the_daemon_loads_is_written(
    out: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under any other name it would replace its own checkpoint, be replaced by its card, or be of no use."""
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert main([*words[:2], "--out", str(tmp_path / out)]) == 2
    sentence = f"training export: {tmp_path / out}: the name of what is written has to end in .onnx\n"
    assert capsys.readouterr().err == sentence
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_neither_weights_nor_card_take_the_place_of_what_is_read(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a checkpoint is called, also through a link; nor does the card become one with a folder's name."""
    for out, checkpoint in (("b.onnx", "b.onnx"), ("c.onnx", "c.md")):
        (tmp_path / "a.pt").rename(tmp_path / checkpoint)
        (tmp_path / "a.pt").symlink_to(tmp_path / checkpoint)
        before = (tmp_path / checkpoint).read_bytes()
        assert main([*words[:2], "--out", str(tmp_path / out)]) == 2
        sentence = f"{tmp_path / checkpoint}: is one of the files that this command works with, and would be lost"
        assert sentence in capsys.readouterr().err
        assert (tmp_path / checkpoint).read_bytes() == before
        (tmp_path / checkpoint).rename(tmp_path / "a.pt")
    (tmp_path / "a.md").mkdir()
    assert main(words) == 2
    assert f"{tmp_path / 'a.md'}: a file of that name cannot be written there" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def evaluated(sha256: str) -> dict[str, Any]:
    """As evaluate writes it of these weights."""
    precision = Table(
        "Average precision",
        ["split", "source", *(f"{label}, IoU {iou}" for iou in (0.5, 0.3) for label in ("fire", "smoke"))],
    )
    precision.rows.append(["val", "all", *[Estimate(0.5, 0.4, 0.6, 10, 5)] * 4])
    return {
        "weights": {"sha256": sha256},
        "closer_look": True,
        "chosen": {"fire": 0.3, "smoke": 0.4},
        "tables": [precision.as_dict()],
    }


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no evaluation": lambda _: [],
    "no thresholds": lambda found: found | {"chosen": 5},
    "one threshold": lambda found: found | {"chosen": {"fire": 0.3}},
    "a threshold that is none": lambda found: found | {"chosen": {"fire": math.nan, "smoke": 7}},
    "no tables": lambda found: found | {"tables": []},
    "tables that are none": lambda found: found | {"tables": 5},
    "rows without their source": lambda found: (
        found | {"tables": [{"title": "Average precision", "rows": [{"split": "val"}]}]}
    ),
    "rows that are none": lambda found: found | {"tables": [*found["tables"], {"title": "Pictures", "rows": [5]}]},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_evaluation_is_one_sentence_before_anything_is_written(
    damage: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of these very weights; what had been exported of them before stays, weights and card."""
    assert main(words) == 0
    sha256 = (tmp_path / "a.md").read_text().partition("SHA-256 `")[2].partition("`")[0]
    found = tmp_path / "found.json"
    found.write_text(json.dumps(evaluated(sha256)))
    assert main([*words, "--evaluated", str(found)]) == 0
    assert "**Thresholds** chosen on validation pictures: fire 0.3, smoke 0.4." in (tmp_path / "a.md").read_text()
    found.write_text(json.dumps(DAMAGES[damage](evaluated(sha256))))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    capsys.readouterr()
    assert main([*words, "--evaluated", str(found)]) == 2
    assert capsys.readouterr().err == f"training export: {found}: not what evaluate wrote of weights\n"
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_what_fails_half_way_leaves_what_was_there(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that their card does not tell of are never beside it."""
    assert main(words) == 0
    begun(seed=4).save(tmp_path / "a.pt")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "card", interrupted)
    assert main(words) == 130
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
