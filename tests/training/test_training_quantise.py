# SPDX-License-Identifier: AGPL-3.0-or-later
"""The quantised network, as the command makes it, sees what the one it was made of sees."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon import shipped
from daemon.detect.detector import REFERENCE_PICTURE, FireDetector
from daemon.detect.weights import read_weights
from daemon.simulate.scene import Scene
from tests.detect import verifier_kit
from training import quantise
from training.__main__ import main
from training.folders import FolderError
from training.quantise import calibration_pictures


@pytest.mark.torch
@pytest.mark.timeout(300)
def test_int8_sees_the_drawn_fire(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Calibrated with drawn pictures; the runtime's name says what it computes in, and both were timed."""
    pytest.importorskip("nncf")
    scene = Scene()
    (tmp_path / "pictures").mkdir()
    for at in np.linspace(5, 30, 8):
        cv2.imwrite(str(tmp_path / "pictures" / f"{at:.0f}.png"), scene.picture(at))
    out = tmp_path / "int8.xml"
    assert main(["quantise", str(shipped.WEIGHTS), str(tmp_path / "pictures"), "--out", str(out)]) == 0
    assert "one core, 640×384" in capsys.readouterr().out
    made = read_weights(out)
    assert made.quantised
    card = out.with_suffix(".md").read_text()
    assert card.startswith(shipped.CARD.read_text().partition("**In int8**")[0].rstrip())
    assert (
        f"**In int8**: `int8.xml`, quantised from these weights (`python -m training quantise`), SHA-256 `{made.sha256}`"
        in card
    )
    detector = FireDetector(out)
    assert "int8" in detector.info.runtime
    (found,) = detector.detect([cv2.imread(str(REFERENCE_PICTURE))], 0.5)[0]
    (full,) = FireDetector(runtime="openvino").detect([cv2.imread(str(REFERENCE_PICTURE))], 0.5)[0]
    assert found.label == full.label == "fire"
    assert np.abs(np.subtract(found.box, full.box)).max() <= 12
    assert found.confidence == pytest.approx(full.confidence, abs=0.1)


def test_what_cannot_be_quantised_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only ONNX becomes .xml."""
    assert main(["quantise", str(shipped.WEIGHTS), str(tmp_path), "--out", str(tmp_path / "int8.onnx")]) == 2
    assert "what is quantised is an .onnx" in capsys.readouterr().err
    with pytest.raises(FolderError, match="no pictures in"):
        calibration_pictures([tmp_path], 1, 0, 640)


def test_what_is_no_detector_is_not_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor what could not be compared or written afterwards: one sentence, before a picture is read, and nothing is left behind."""
    monkeypatch.setattr(quantise, "calibration_pictures", lambda *_: pytest.fail("pictures were read"))
    (tmp_path / "bad.onnx").write_bytes(b"none")
    verifier = verifier_kit.write(tmp_path / "redness.onnx")
    (tmp_path / "full.bin").mkdir()
    (tmp_path / "nothere").mkdir()
    before = sorted(tmp_path.iterdir())
    out = ["--out", str(tmp_path / "q.xml")]
    for words, sentence in (
        ([str(tmp_path / "bad.onnx"), "x", *out], f"{tmp_path}/bad.onnx: not a model that OpenVINO can read: "),
        (
            [str(verifier), "x", *out],
            f"{verifier}: a network that answers (1, 2); it must answer (pictures, 4 + classes",
        ),
        (
            [str(shipped.WEIGHTS), "x", *out, "--data", str(tmp_path / "nothere")],
            f"{tmp_path}/nothere: none of the folders val, val_cctv is there\n",
        ),
        ([str(shipped.WEIGHTS), "x", "--out", str(tmp_path / "full.xml")], f"{tmp_path}/full.bin: a file of that name"),
    ):
        assert main(["quantise", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"training quantise: {sentence}")
        assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
