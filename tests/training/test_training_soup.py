# SPDX-License-Identifier: AGPL-3.0-or-later
"""The mean of trainings: its shares, its batch norms, and what its card says of it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import PLAN, begun
from training.__main__ import main
from training.arguments import Weighted
from training.data import Pictures

if importlib.util.find_spec("torch"):  # else all of this is deselected
    import torch

    from training import checkpoint, soup
    from training.loop import Settings, Stream, Training
    from training.network import network

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
SMALL = ["--batches", "2", "--side-px", "64"]


@pytest.fixture
def words(tmp_path: Path, pictures: Pictures) -> list[str]:
    """A soup of two trainings of one beginning, of which one has learned."""
    for name, steps in (("a", 0), ("b", 3)):
        training = begun()
        for _, batch in zip(range(steps), training.batches(pictures), strict=False):
            training.learn(batch)
        training.made_of = {"folders": f"yard-{name}", "pictures": "0", "began_from": "start.pt"}
        training.save(tmp_path / f"{name}.pt")
    both = ["soup", f"{tmp_path / 'a.pt'}=2", f"{tmp_path / 'b.pt'}=3"]
    return [*both, "--pictures", f"{tmp_path / 'fire'}=2", *SMALL, "--out", str(tmp_path / "soup.pt")]


def learned(path: Path) -> dict[str, Any]:
    """What a training learns of its averaged weights: batch norms' statistics are not."""
    names = [name for name, _ in network(PLAN).named_parameters()]
    return {name: checkpoint.load(path)["average"][name] for name in names}


def test_weights_have_their_shares(words: list[str], tmp_path: Path) -> None:
    """Two fifths and three; those that are averaged are also those that a training would go on from."""
    assert main(words) == 0
    one, other, both = (learned(tmp_path / f"{name}.pt") for name in ("a", "b", "soup"))
    assert not torch.equal(one["model.0.conv.weight"], other["model.0.conv.weight"])
    for name, value in both.items():
        assert torch.allclose(value, 0.4 * one[name] + 0.6 * other[name], rtol=1e-6), name
    content = checkpoint.load(tmp_path / "soup.pt")
    assert all(torch.equal(value, content["model"][name]) for name, value in content["average"].items())


def test_of_a_training_with_itself_only_batch_norms_change(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the statistics of what reaches them: behind the first convolution the mean of each batch's mean and variance."""
    monkeypatch.setattr(soup, "has_bf16", lambda _: False)
    itself = [f"{tmp_path / 'b.pt'}=0.3", f"{tmp_path / 'b.pt'}=0.7"]
    assert main(["soup", *itself, *words[3:]]) == 0
    before, after = learned(tmp_path / "b.pt"), learned(tmp_path / "soup.pt")
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    drawn = Stream([Pictures([Weighted(tmp_path / "fire", 2.0)], 0)], [16], Settings(2, 16, 64, 64, seed=0))
    behind = [
        torch.nn.functional.conv2d(batch["img"] / 255, after["model.0.conv.weight"], stride=2, padding=1)
        for batch in drawn.batches(0, 0)
    ]
    state = checkpoint.load(tmp_path / "soup.pt")["average"]
    for name, values in (
        ("running_mean", [each.mean((0, 2, 3)) for each in behind]),
        ("running_var", [each.var((0, 2, 3)) for each in behind]),
    ):
        assert torch.allclose(state[f"model.0.bn.{name}"], torch.stack(values).mean(0), rtol=1e-4, atol=1e-6)
    assert state["model.0.bn.num_batches_tracked"] == 2


def test_what_is_measured_behind_is_what_the_soup_brings_about(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the statistics of one batch its answers to it are those of that batch's own, in every layer."""
    monkeypatch.setattr(soup, "has_bf16", lambda _: False)
    training = begun()
    images = training.images(next(training.batches(pictures)))
    torch.nn.init.constant_(training.average.model[1].bn.running_mean, 7.0)
    soup.measured_anew(training.average, [images], "cpu")
    assert not any(each.training for each in training.average.modules())
    answered: list[torch.Tensor] = []
    for each in (training.average, training.model):
        each.model[4].bn.register_forward_hook(lambda _module, _given, values: answered.append(values.detach()))
        with torch.no_grad():
            each(images)
    assert torch.allclose(*answered, rtol=0.1, atol=0.1), "a batch's variance is unbiased where it is kept"


def test_the_card_of_a_soup_is_true_of_it(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares with hashes, what the batch norms were measured with, and how each part was made; not steps that it never made."""
    assert main(words) == 0
    assert main(["export", str(tmp_path / "soup.pt"), "--out", str(tmp_path / "soup.onnx")]) == 0
    card = (tmp_path / "soup.md").read_text()
    sums = [hashlib.sha256((tmp_path / f"{name}.pt").read_bytes()).hexdigest() for name in ("a", "b")]
    mixed = f"a weighted mean of 2 trainings (0.4 of a.pt, SHA-256 `{sums[0]}`; 0.6 of b.pt, SHA-256 `{sums[1]}`)"
    measured = "batch norms measured anew on 32 drawn pictures of 64 px, seed 0."
    assert f"**Made** with `python -m training soup` as {mixed}, {measured}\n" in card
    pictures = Pictures([Weighted(tmp_path / "fire", 2.0)], 0).sha256()
    assert f"Batch norms: folders, and how often their pictures were drawn: {tmp_path / 'fire'}=2;" in card
    assert f"`{pictures}`" in card
    for name, steps in (("a", 0), ("b", 3)):
        assert f"**{name}.pt** was made with `python -m training train` in {steps} steps; steps 6, batch 2," in card
        assert f"Begun from start.pt; folders, and how often their pictures were drawn: yard-{name};" in card
    assert card.count("**Made**") == 1
    assert "in 2 steps" not in card


def test_a_soup_of_soups_tells_all_that_went_into_it(words: list[str], tmp_path: Path) -> None:
    """And export makes the mean of several, which the card says, but none of a soup and a training."""
    assert main(words) == 0
    again = [*words[:-1], str(tmp_path / "again.pt"), "--seed", "1"]
    again[1:3] = [str(tmp_path / "soup.pt"), str(tmp_path / "a.pt")]
    assert main(again) == 0
    both = [str(tmp_path / "soup.pt"), str(tmp_path / "again.pt")]
    assert main(["export", *both, "--out", str(tmp_path / "both.onnx")]) == 0
    card = (tmp_path / "both.md").read_text()
    assert "**Made** as the mean of 2 soups, each with `python -m training soup` as a weighted mean of 2" in card
    assert "(0.5 of soup.pt, SHA-256 " in card
    assert "**soup.pt** was made with `python -m training soup` as a weighted mean of 2 trainings (0.4 of a.pt" in card
    assert card.count("**b.pt** was made with") == 1
    assert main(["export", both[0], str(tmp_path / "a.pt"), "--out", str(tmp_path / "none.onnx")]) == 2


def test_a_training_can_go_on_from_a_soup(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As what it begins from; a soup is no training that was stopped."""
    assert main(words) == 0
    train = [
        "train",
        str(tmp_path / "fire"),
        "--batch",
        "4",
        "--epochs",
        "1",
        "--side-px",
        "64",
        "--last-side-px",
        "64",
    ]
    assert main([*train, "--weights", str(tmp_path / "soup.pt"), "--out", str(tmp_path / "on.pt")]) == 0
    assert main([*train, "--out", str(tmp_path / "soup.pt")]) == 2
    assert "soup.pt: at step 2, made with other settings" in capsys.readouterr().err


def test_a_mistake_gets_one_sentence(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another network, no checkpoint, no file, an --out that is none or one of the ingredients; before any picture is read."""
    plan = {**PLAN, "head": [[[3, 4], 1, "Detect", ["nc"]]]}
    Training(network(plan), plan, begun().settings, "cpu").save(tmp_path / "other.pt")
    (tmp_path / "none.pt").write_bytes(b"none")
    for name, sentence in (
        ("other.pt", "a mean can be taken of checkpoints of the same network only"),
        ("none.pt", f"{tmp_path}/none.pt: not a checkpoint of `python -m training train`"),
        ("gone.pt", f"{tmp_path}/gone.pt: cannot be read (No such file or directory)"),
    ):
        assert main(["soup", str(tmp_path / name), *words[1:]]) == 2
        assert capsys.readouterr().err == f"training soup: {sentence}\n"
    assert not (tmp_path / "soup.pt").exists()
    before = (tmp_path / "b.pt").read_bytes()
    for name, sentence in (
        ("soup.onnx", "soup.onnx: the name of what is written has to end in .pt"),
        ("b.pt", "b.pt: is one of the files that this command works with, and would be lost; name another --out"),
    ):
        assert main([*words[:-1], str(tmp_path / name)]) == 2
        assert capsys.readouterr().err == f"training soup: {tmp_path}/{sentence}\n"
    assert (tmp_path / "b.pt").read_bytes() == before
