# SPDX-License-Identifier: AGPL-3.0-or-later
"""What export writes is whole and takes no other file's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.conftest import begun
from training.__main__ import main

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
