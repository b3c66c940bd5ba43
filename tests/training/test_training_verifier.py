# SPDX-License-Identifier: AGPL-3.0-or-later
"""The verifier's training: what is cut out of which pictures, and that what is written runs in the daemon."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from daemon import shipped
from daemon.detect.detector import FireDetector
from daemon.detect.runtimes import load_verifier, look
from daemon.detect.verifier import Verifier, Verify
from daemon.detect.weights import read_weights
from daemon.domain import Detection, Verdict
from tests.detect import verifier_kit
from tests.training.conftest import flame, put
from training.__main__ import main
from training.cutouts import TIMES, cut_out_all
from training.folders import FolderError, Labelled, Sample, read_folder
from training.seen import Seen
from training.verifier_table import verifier_table


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six burning pictures, of which a labelled flame is in two thirds and labelled smoke in one, and six empty ones."""
    rng = np.random.default_rng(5)
    for number in range(6):
        picture = np.full((200, 260, 3), 40 + number, np.uint8)
        picture[20:80, 30:90] = np.maximum(picture[20:80, 30:90], flame(60))
        put(
            tmp_path / "fire",
            f"f{number}",
            picture,
            "1 0.6 0.6 0.2 0.2\n" if number % 3 == 0 else "0 0.23 0.25 0.23 0.3\n",
        )
        put(tmp_path / "none", f"n{number}", rng.integers(0, 90, (200, 260, 3)).astype(np.uint8))
    return tmp_path / "fire", tmp_path / "none"


def samples_of(folders: tuple[Path, Path]) -> list[Sample]:
    return [each for folder in folders for each in read_folder(folder, folder.parent)]


def test_cut_outs_say_only_what_is_known(folders: tuple[Path, Path]) -> None:
    """A labelled flame says nothing of smoke, an empty picture that there is neither; the same seed gives the same."""
    samples = samples_of(folders)
    false = [Seen(samples[-1], (260, 200), (Detection("fire", 0.2, (50.0, 50.0, 90.0, 80.0)),))]
    cut = cut_out_all(samples, false, 32, seed=3)
    kinds = Counter(zip(map(tuple, cut.targets.tolist()), map(tuple, cut.known.tolist()), strict=True))
    assert kinds[((0.0, 1.0), (0.0, 1.0))] == 2 * TIMES["labelled"]
    assert kinds[((1.0, 0.0), (1.0, 0.0))] >= 4 * TIMES["labelled"]
    assert kinds[((0.0, 0.0), (1.0, 1.0))] == TIMES["false"] + 6 * TIMES["anywhere"]
    assert len(kinds) == 3
    assert cut.pixels.shape == (len(cut), 32, 32, 3)
    again = cut_out_all(samples, false, 32, seed=3)
    assert np.array_equal(again.pixels, cut.pixels)
    assert not np.array_equal(cut_out_all(samples, false, 32, seed=4).pixels, cut.pixels)


def test_a_picture_of_one_pixel_is_cut_out_too(folders: tuple[Path, Path]) -> None:
    """However small it is drawn, a pixel of it is left."""
    put(folders[0], "tiny", np.full((1, 1, 3), 90, np.uint8), "0 0.5 0.5 1 1\n")
    cut = cut_out_all(samples_of(folders), [], 32, seed=3)
    assert cut.pixels.shape == (len(cut), 32, 32, 3)


def test_without_empty_pictures_there_is_nothing_to_tell_apart(folders: tuple[Path, Path]) -> None:
    """One sentence, either way."""
    for samples in (samples_of(folders)[:6], samples_of(folders)[6:]):
        with pytest.raises(FolderError, match="empty pictures"):
            cut_out_all(samples, [], 32, seed=0)


def seen(scene: str, burns: bool, *found: tuple[float, float]) -> Seen:
    """A picture with a flame or without, in which these confidences stand, with the verifier's."""
    detections = [
        Detection("fire", sure, (10.0, 10.0, 30.0, 30.0), None, Verdict(verified, True)) for sure, verified in found
    ]
    labelled = (Labelled("fire", (0.1, 0.1, 0.3, 0.3)),) if burns else ()
    return Seen(Sample(Path("x.png"), "s", "made", scene, labelled), (100, 100), tuple(detections))


def test_the_table_compares_at_equal_recall() -> None:
    """Two flames of which the detector alone finds one; with a verifier that tells them from lamps both may count."""
    splits = {
        "val": [seen("a", True, (0.6, 0.9)), seen("b", True, (0.2, 0.9))],
        "val_cctv_neg": [seen("c", False, (0.7, 0.1)), seen("d", False, (0.3, 0.1))],
    }
    table = verifier_table(splits, {"chosen": {"fire": 0.2, "smoke": 0.2}}, own=0.5)
    rows = {row[2]: row for row in table.rows if row[0] == "fire"}
    assert (rows["none"][4], rows["none"][5].value) == (1.0, 1.0)
    assert (rows[0.5][3], rows[0.5][4], rows[0.5][5].value) == (0.2, 1.0, 0.0)
    assert rows[0.05][5].value == 1.0


def test_evaluate_looks_through_a_verifier(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its tables are those with it, and one says what it changes; a file that is none gets a sentence."""
    weights = verifier_kit.write(tmp_path / "redness.onnx")
    words = ["evaluate", "--data", str(data), "--input-px", "320", "--no-clips", "--verify"]
    assert main([*words, str(weights), "--verify-px", "32"]) == 0
    assert "### With and without the verifier, at equal recall" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx" in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore")
def test_what_is_trained_runs_in_the_daemon(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """It tells its training pictures' flames from noise, in the daemon's runtime; the same seed gives the same file."""
    pytest.importorskip("torch")

    def trained(name: str, epochs: int) -> str:
        words = ["verifier", *map(str, folders), "--side-px", "32", "--epochs", str(epochs), "--input-px", "320"]
        assert main([*words, "--out", str(tmp_path / name)]) == 0
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    assert trained("b.onnx", 3) == trained("c.onnx", 3)
    sha256 = trained("a.onnx", 40)
    verifier = Verifier(load_verifier(look(), read_weights(tmp_path / "a.onnx")), 32)
    burning, empty = (read_folder(folder, tmp_path)[1].pixels() for folder in folders)
    sure = verifier.judge([(burning, (30.0, 20.0, 90.0, 80.0)), (empty, (30.0, 20.0, 90.0, 80.0))])[:, 0]
    assert sure[0] > 0.5 > sure[1]
    detector = FireDetector(device="cpu", input_px=320, batch=1, verify=Verify(tmp_path / "a.onnx", sha256, 32))
    assert detector.info.verifier is not None


@pytest.mark.torch
def test_a_verifier_takes_no_other_files_place(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is ONNX, and not the detector it is trained with: said before anything is looked at."""
    pytest.importorskip("torch")
    detector = tmp_path / "site.onnx"
    shutil.copyfile(shipped.WEIGHTS, detector)
    words = ["verifier", *map(str, folders), "--weights", str(detector), "--out"]
    for out, sentence in (
        (tmp_path / "v.md", "the name of what is written has to end in .onnx"),
        (detector, "is one of the files that this command works with, and would be lost; name another --out"),
    ):
        assert main([*words, str(out)]) == 2
        assert capsys.readouterr().err == f"training verifier: {out}: {sentence}\n"
    assert detector.read_bytes() == shipped.WEIGHTS.read_bytes()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_a_verifier_that_no_runtime_computes_alike_leaves_no_file(tmp_path: Path) -> None:
    """One whose answers are no numbers, say: nothing is there that could be taken into use."""
    import torch

    from training.verifier import write

    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    torch.nn.init.constant_(network[2].weight, float("nan"))
    with pytest.raises(FolderError, match="ONNX Runtime gives something else than torch"):
        write(network, tmp_path / "v.onnx")
    assert not list(tmp_path.iterdir())
