# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is closed, missing or in the way: every command says it in one sentence, before the work that it would end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from daemon import shipped
from tests.training.conftest import begun, put
from training.__main__ import main
from training.mine import pictures_below

SOURCE = """[[source]]
name = "made"
repository = "someone/fires"
commit = "HEAD"
folder = "set"
classes = { 0 = "fire" }
licence = "none stated"
"""
RIGHTS = "-dac_override,-dac_read_search"  # with which root reads and writes what is closed


def without_rights(*words: str, stdout: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """`python -m training` by a user to whom what is closed is closed."""
    prefix = ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"] if os.geteuid() == 0 else []
    command = [*prefix, sys.executable, "-m", "training", *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.fixture
def folder(data: Path) -> Path:
    """Where `data`, `sources.toml`, a file `afile` and what is made lie."""
    (data.parent / "sources.toml").write_text(SOURCE)
    (data.parent / "afile").write_text("a file\n")
    return data.parent


@pytest.mark.parametrize(
    "words",
    [
        "folds --data {0}/data --out {0}/new",
        "evaluate --data {0}/data --no-clips",
        "close-ups {0}/data/val --out {0}/new",
        "mine {0}/data --out {0}/new",
        "assemble --repositories {0}/data --sources {0}/sources.toml --out {0}/new",
        "small-flames --data {0}/data --out {0}/new",
        pytest.param("train {0}/data/val --weights {0}/start.pt --out {0}/new.pt", marks=pytest.mark.torch),
        pytest.param("verifier {0}/data/val --out {0}/new.onnx", marks=pytest.mark.torch),
        pytest.param(f"quantise {shipped.WEIGHTS} {{0}}/data --out {{0}}/new.xml", marks=pytest.mark.torch),
    ],
)
def test_a_closed_folder_is_not_a_missing_one(folder: Path, words: str) -> None:
    """Which it is and that it is closed, and nothing is begun."""
    if "start.pt" in words:
        begun().save(folder / "start.pt")
    (folder / "data").chmod(0)
    answer = without_rights(*words.format(folder).split())
    (folder / "data").chmod(0o700)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"training {words.split()[0]}: {folder}/data")
    assert answer.stderr.endswith(": Permission denied\n")
    assert answer.stderr.count("\n") == 1
    assert not list(folder.glob("new*"))


@pytest.mark.parametrize("closed", ["data/val_cctv/gate", "data/val_cctv/gate/images"])
@pytest.mark.parametrize("words", ["folds --data {0}/data --out {0}/new", "mine {0}/data --out {0}/new"])
def test_one_scene_of_many_that_is_closed_is_not_left_out(folder: Path, words: str, closed: str) -> None:
    """What is measured, or looked through, is all or nothing."""
    for camera in ("gate", "yard"):
        put(folder / "data" / "val_cctv" / camera, f"{camera}_1", np.zeros((32, 32, 3), np.uint8))
    (folder / closed).chmod(0)
    answer = without_rights(*words.format(folder).split())
    (folder / closed).chmod(0o700)
    assert answer.returncode == 2
    assert f"{folder / closed}" in answer.stderr
    assert answer.stderr.endswith(": Permission denied\n")
    assert answer.stderr.count("\n") == 1


MAKERS = [
    "folds --data {0}/data --out {1}",
    "close-ups {0}/data/val --out {1}",
    "mine {0}/data --out {1}",
    "assemble --repositories {0}/data --sources {0}/sources.toml --out {1}",
    "small-flames --data {0}/data --out {1}",
]


@pytest.mark.parametrize("words", MAKERS)
def test_where_no_folder_can_be_made_nothing_is_looked_at(folder: Path, words: str) -> None:
    """Below a file, and in a folder in which this user may not write."""
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    for above in (folder / "afile", locked):
        answer = without_rights(*words.format(folder, above / "x").split())
        assert answer.returncode == 2
        assert answer.stderr.startswith(f"training {words.split()[0]}: {above}/x")
        assert f": a folder cannot be made there, {above} is not one that can be written to\n" in answer.stderr
        assert answer.stderr.count("\n") == 1


@pytest.mark.torch
def test_a_checkpoint_that_cannot_be_written_is_said_at_once(folder: Path) -> None:
    """Not after the first five minutes."""
    begun().save(folder / "start.pt")
    (folder / "locked").mkdir(mode=0)
    words = "train {0}/data/val --weights {0}/start.pt --out {0}/locked/new.pt"
    answer = without_rights(*words.format(folder).split())
    assert answer.returncode == 2
    assert answer.stderr == f"training train: {folder}/locked/new.pt: Permission denied\n"


def test_an_answer_that_cannot_be_written_is_no_answer(folder: Path) -> None:
    """One sentence and a status that says so, as of the daemon's own commands."""
    with Path("/dev/full").open("w") as full:
        answer = without_rights(*f"folds --data {folder}/data --out {folder}/new".split(), stdout=full.fileno())
    assert (answer.returncode, answer.stderr) == (2, "training folds: No space left on device\n")


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")], ids=["folder", "dangling link"])
def test_what_is_only_named_as_a_picture_is_named(
    folder: Path, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is copied; `mine`, which looks through whole trees, passes over it."""
    val = folder / "data" / "val"
    (val / "labels" / "zz.txt").touch()
    make(val / "images" / "zz.jpg")
    assert main(["folds", "--data", str(folder / "data"), "--out", str(folder / "new")]) == 2
    said = f"training folds: {val}/images/zz.jpg: named as a picture, and not a file that can be read\n"
    assert capsys.readouterr().err == said
    assert not (folder / "new").exists()
    assert len(pictures_below([folder / "data"])) == 8
