# SPDX-License-Identifier: AGPL-3.0-or-later
"""New weights become the shipped ones: every place that names them follows, or none does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset8

from daemon import shipped
from daemon.detect.detector import REFERENCE_ANSWER
from daemon.detect.runtimes import Choice, Host, in_best_form
from daemon.detect.weights import read_weights
from training import ship
from training.__main__ import main
from training.card import without_int8


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
    content = {"weights": {"sha256": sha256}, "closer_look": True, "chosen": {"fire": 0.41, "smoke": 0.5}}
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


def test_what_is_shipped_can_be_shipped_again(models: Path, tmp_path: Path) -> None:
    """For new thresholds, from where it lies: its own files are the ones that come into their place."""
    kept = {each: each.read_bytes() for each in (shipped.WEIGHTS, shipped.CARD, *ship._both(shipped.INT8))}
    (tmp_path / "found.json").write_text(
        json.dumps({"weights": {"sha256": shipped.SHA256}, "closer_look": True, "chosen": {"fire": 0.41, "smoke": 0.5}})
    )
    words = ["ship", str(shipped.WEIGHTS), "--evaluated", str(tmp_path / "found.json")]
    assert main([*words, *(["--int8", str(shipped.INT8)] if shipped.INT8 else [])]) == 0
    told = without_int8(kept.pop(shipped.CARD).decode())
    assert {each: each.read_bytes() for each in kept} == kept
    assert without_int8(shipped.CARD.read_text()) == told
    assert shipped.INT8 is None or shipped.INT8_SHA256 in shipped.CARD.read_text(), "records on such a host name it"
    assert json.loads((models / "shipped.json").read_text())["thresholds"] == {"fire": 0.41, "smoke": 0.5}
    assert {each.name for each in models.iterdir()} == {
        *(each.name for each in kept), shipped.CARD.name, "reference.jpg", "reference.json", "shipped.json",
    }  # fmt: skip


def quantised(out: Path, lowest: float, highest: float) -> Path:
    """The shipped network with its picture in 256 steps from one value to the other, as OpenVINO writes it."""
    model = openvino.convert_model(str(shipped.WEIGHTS))
    (picture,) = model.inputs
    ends = [opset8.constant(np.float32(each)) for each in (lowest, highest)]
    readers = list(picture.get_target_inputs())
    steps = opset8.fake_quantize(picture, *ends, *ends, levels=256)
    for reader in readers:
        reader.replace_source_output(steps.output(0))
    openvino.save_model(model, str(out), compress_to_fp16=False)
    return out


def test_the_quantised_form_ships_beside_and_is_taken_where_it_is_fast(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both of its files and its hash; a form that does not see what the other one sees changes nothing."""
    words = measured(tmp_path / "made")
    before = {each.name: each.read_bytes() for each in models.iterdir()}
    blind = quantised(tmp_path / "blind.xml", 0.0, 0.01)
    assert main([*words, "--int8", str(blind)]) == 2
    assert "not the quantised form of these weights" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in models.iterdir()} == before

    form = quantised(tmp_path / "next-int8.xml", 0.0, 1.0)
    assert main([*words, "--int8", str(form)]) == 0
    facts = json.loads((models / "shipped.json").read_text())
    made = read_weights(models / "next-int8.xml")
    assert facts["int8"] == {"weights": "next-int8.xml", "sha256": made.sha256}
    assert (models / "next-int8.bin").is_file()
    told = (models / "next.md").read_text()
    assert (
        told.count(
            f"`next-int8.xml`, quantised from these weights (`python -m training quantise`), SHA-256 `{made.sha256}`"
        )
        == 1
    )
    shutil.copyfile(models / "next.md", tmp_path / "made" / "next.md")
    assert main([*words, "--int8", str(form)]) == 0
    assert (models / "next.md").read_text() == told, "said once, however often it is shipped"

    monkeypatch.setattr(shipped, "WEIGHTS", models / "next.onnx")
    monkeypatch.setattr(shipped, "INT8", models / "next-int8.xml")
    monkeypatch.setattr(shipped, "INT8_SHA256", made.sha256)
    weights, choice = read_weights(models / "next.onnx"), Choice("openvino", "a CPU")
    fast = Host(torch=False, cuda=False, openvino=True, onnxruntime=True, vnni=True)
    slow = Host(torch=False, cuda=False, openvino=True, onnxruntime=True, vnni=False)
    assert in_best_form(weights, choice, fast)[0].sha256 == made.sha256
    assert in_best_form(weights, choice, slow)[0].sha256 == shipped.SHA256


def test_what_was_measured_with_other_weights_changes_nothing(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and every file as it was."""
    words = measured(tmp_path / "made", sha256="0" * 64)
    before = {each.name: each.read_bytes() for each in models.iterdir()}
    assert main(words) == 2
    assert "measured with other weights" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in models.iterdir()} == before


@pytest.mark.parametrize("chosen", [{"fire": float("nan"), "smoke": 0.3}, {"fire": 0.3, "smoke": 7}, {"fire": 0.3}, 5])
def test_thresholds_that_cannot_be_change_nothing(
    chosen: object, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every host that starts anew would read them; one sentence, and every file as it was."""
    words = measured(tmp_path / "made")
    content = {"weights": {"sha256": shipped.SHA256}, "closer_look": True, "chosen": chosen}
    (tmp_path / "made" / "found.json").write_text(json.dumps(content))
    before = files(models)
    assert main(words) == 2
    assert "could choose thresholds, numbers from 0 to 1\n" in capsys.readouterr().err
    assert files(models) == before


def test_what_cannot_be_shipped_whole_is_not_shipped_in_part(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A settings' file without the line that is renewed, a card that is no text: one sentence, and every file as it was."""
    words = measured(tmp_path / "made")
    config, card = tmp_path / "config.yaml", tmp_path / "made" / "next.md"
    told = card.read_bytes()
    kept = config.read_text()
    config.write_text(kept.replace("\n  thresholds: {fire: 0.", "\n  thresholds: {smoke: 0.35, fire: 0."))
    assert config.read_text() != kept
    before = files(models)
    assert main(words) == 2
    line = "`  thresholds: {fire: 0.41, smoke: 0.50}`"
    sentence = f"{config}: no line of detect.thresholds to be renewed; it has to be written as {line}"
    assert capsys.readouterr().err == f"training ship: {sentence}\n"
    assert files(models) == before

    config.write_text(kept)
    before = files(models)
    card.write_bytes(told + b"\xff")
    assert main(words) == 2
    assert capsys.readouterr().err == f"training ship: {card}: not a text that can be read\n"
    assert files(models) == before


def files(models: Path) -> dict[str, bytes]:
    """What is shipped, and the settings' file."""
    return {each.name: each.read_bytes() for each in (*models.iterdir(), models.parent / "config.yaml")}
