# SPDX-License-Identifier: AGPL-3.0-or-later
"""New weights become the shipped ones: every place that names them follows, or none does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from daemon import shipped
from daemon.detect.detector import REFERENCE_ANSWER
from training import ship
from training.__main__ import main


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is shipped, and of config.yaml, that may be changed."""
    folder = tmp_path / "models"
    shutil.copytree(shipped.MODELS, folder)
    shutil.copyfile(ship.CONFIG, tmp_path / "config.yaml")
    for name in ("WEIGHTS", "CARD", "FACTS", "INT8"):
        if getattr(shipped, name) is not None:
            monkeypatch.setattr(shipped, name, folder / getattr(shipped, name).name)
    monkeypatch.setattr(shipped, "MODELS", folder)
    monkeypatch.setattr(ship, "CONFIG", tmp_path / "config.yaml")
    monkeypatch.setattr(ship, "REFERENCE_ANSWER", folder / REFERENCE_ANSWER.name)
    return folder


def measured(folder: Path, sha256: str = shipped.SHA256) -> list[str]:
    """The shipped weights under another name, with card and measurement, and the words that ship them."""
    folder.mkdir()
    shutil.copyfile(shipped.WEIGHTS, folder / "next.onnx")
    (folder / "next.md").write_text(f"# next\n\nSHA-256 `{shipped.SHA256}`\n")
    content = {"weights": {"sha256": sha256}, "chosen": {"fire": 0.41, "smoke": 0.5}}
    (folder / "found.json").write_text(json.dumps(content))
    return ["ship", str(folder / "next.onnx"), "--evaluated", str(folder / "found.json")]


def test_file_card_hash_thresholds_and_answer_follow(models: Path, tmp_path: Path) -> None:
    """The old file goes; the settings' file says the new thresholds; the answer is the one that was written by hand for them."""
    before = json.loads((models / "reference.json").read_text())
    assert main(measured(tmp_path / "made")) == 0
    assert {each.name for each in models.iterdir()} == {
        "next.onnx",
        "next.md",
        "reference.jpg",
        "reference.json",
        "shipped.json",
    }
    facts = json.loads((models / "shipped.json").read_text())
    assert facts == {"weights": "next.onnx", "sha256": shipped.SHA256, "thresholds": {"fire": 0.41, "smoke": 0.5}}
    assert "  thresholds: {fire: 0.41, smoke: 0.50}   # from which" in (tmp_path / "config.yaml").read_text()
    after = json.loads((models / "reference.json").read_text())
    assert after["weights_sha256"] == shipped.SHA256
    assert after["detections"][0]["confidence"] == pytest.approx(before["detections"][0]["confidence"], abs=0.002)
    assert after["detections"][0]["box"] == pytest.approx(before["detections"][0]["box"], abs=0.5)


def test_what_was_measured_with_other_weights_changes_nothing(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and every file as it was."""
    words = measured(tmp_path / "made", sha256="0" * 64)
    before = {each.name: each.read_bytes() for each in models.iterdir()}
    assert main(words) == 2
    assert "measured with other weights" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in models.iterdir()} == before
