# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training with torch, on made-up pictures: resumed is unbroken, what is not known teaches nothing, what is exported runs."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daemon import shipped
from daemon.detect.detector import FireDetector
from daemon.detect.exporting import pickle_to_onnx
from daemon.detect.weights import read_weights
from daemon.errors import DetectorError
from tests.training.conftest import PLAN, begun, weights
from training.__main__ import main, parser
from training.arguments import Weighted
from training.data import Pictures
from training.folders import FolderError

if importlib.util.find_spec("torch"):  # else all of this is deselected
    import onnx
    import torch

    from training import checkpoint, export, train

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


def test_a_resumed_training_gives_the_same_weights_to_the_last_bit(tmp_path: Path, pictures: Pictures) -> None:
    """Stopped after three of six steps and gone on from its file; another process draws the pictures."""
    from training.loop import Training

    whole, said = begun(), []
    whole.run(pictures, said.append, lambda: None)
    assert (said[-1].step, said[-1].left_s) == (6, 0)
    half, path = begun(), tmp_path / "half.pt"
    for _, batch in zip(range(3), half.batches(pictures), strict=False):
        half.learn(batch)
    half.save(path)
    resumed = Training.resumed(path, half.settings, "cpu")
    resumed.run(pictures, said.append, lambda: resumed.save(path), workers=1)
    again = Training.resumed(path, None, "cpu")
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
        assert torch.equal(value, weights(again)[name]), name
    assert not torch.equal(weights(whole)["model.0.conv.weight"], weights(begun())["model.0.conv.weight"])


def test_a_training_that_comes_apart_stops_before_it_is_saved(tmp_path: Path, pictures: Pictures) -> None:
    """The last good checkpoint stays, and the sentence names the step."""
    training, kept = begun(), list[int]()
    next(training.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(FolderError, match="step 1: the loss or its slope is no number"):
        training.run(pictures, lambda _: None, lambda: kept.append(training.step))
    assert kept == []
    training = begun()
    next(training.model.parameters()).register_hook(lambda slope: slope * float("inf"))
    with pytest.raises(FolderError, match="step 1: the loss or its slope"):
        training.run(pictures, lambda _: None, lambda: kept.append(training.step))
    assert kept == []
    assert all(each.isfinite().all() for each in training.model.parameters()), "nothing has moved"


def test_what_is_no_number_is_not_exported(tmp_path: Path) -> None:
    """NaN is not "something else" to a comparison that asks whether the difference is too large."""
    training = begun()
    next(training.model.parameters()).data.fill_(float("nan"))
    training.average.load_state_dict(training.model.state_dict())
    training.save(tmp_path / "a.pt")
    with pytest.raises(DetectorError, match="ONNX Runtime gives something else than torch"):
        export.run(parser().parse_args(["export", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")]))


def test_other_settings_are_not_gone_on_with(tmp_path: Path) -> None:
    """The seed and the sizes decide the weights."""
    from training.loop import Training

    begun().save(tmp_path / "a.pt")
    with pytest.raises(FolderError, match="made with other settings"):
        Training.resumed(tmp_path / "a.pt", replace(begun().settings, seed=6), "cpu")
    (tmp_path / "b.pt").write_bytes(b"none")
    with pytest.raises(FolderError, match="not a checkpoint"):
        Training.resumed(tmp_path / "b.pt", None, "cpu")


def test_a_training_goes_on_only_with_what_it_is_made_of(
    tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other pictures, labels or beginnings are refused; where a checkpoint does not say what they were, it goes on."""
    for name, seed in (("a", 3), ("b", 4)):
        begun(seed=seed).save(tmp_path / f"{name}.pt")
    begins = ["--weights", str(tmp_path / "a.pt")]
    words = [
        "train",
        str(tmp_path / "fire"),
        "--out",
        str(tmp_path / "c.pt"),
        "--side-px",
        "64",
        "--last-side-px",
        "64",
    ]
    words += ["--batch", "4", "--epochs", "1"]
    assert main([*words, *begins]) == 0
    assert main([*words, *begins]) == main(words) == 0
    assert main([*words, "--weights", str(tmp_path / "b.pt")]) == 2
    assert "c.pt: began from other weights than --weights" in capsys.readouterr().err
    label = tmp_path / "fire" / "labels" / "a1.txt"
    label.write_text("1 0.39 0.39 0.47 0.47\n")
    assert main([*words, *begins]) == 2
    assert "c.pt: was trained with other pictures, labels" in capsys.readouterr().err
    before = checkpoint.load(tmp_path / "c.pt")
    checkpoint.save(tmp_path / "c.pt", {name: value for name, value in before.items() if name != "made_of"})
    assert main([*words, "--weights", str(tmp_path / "gone.pt")]) == 0
    label.write_text("")
    assert main([*words]) == 2, "from then on it says"


def test_a_training_can_be_made_longer_while_its_rate_is_constant(tmp_path: Path, pictures: Pictures) -> None:
    """Up to there both lengths give the same weights; from there on a longer one is refused."""
    from training.loop import Training

    short, longer = begun(20), begun(30)
    for each in (short, longer):
        for _, batch in zip(range(8), each.batches(pictures), strict=False):
            each.learn(batch)
    for name, value in weights(short).items():
        assert torch.equal(value, weights(longer)[name]), name
    short.save(tmp_path / "a.pt")
    assert Training.resumed(tmp_path / "a.pt", longer.settings, "cpu").step == 8
    short.step = 16
    short.save(tmp_path / "a.pt")
    with pytest.raises(FolderError, match="at step 16, made with other settings"):
        Training.resumed(tmp_path / "a.pt", longer.settings, "cpu")


def test_where_smoke_is_not_known_it_teaches_nothing(pictures: Pictures) -> None:
    """The gradient on the smoke scores is nothing in that picture, and something in the other; fire's is in both."""
    training = begun()
    batch = next(iter(training.batches(pictures)))
    batch["known"] = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    answers = training.model(batch["img"].float() / 255)
    answers["scores"].retain_grad()
    loss, _ = training._loss(answers, batch)
    loss.sum().backward()
    slope = answers["scores"].grad.abs().sum(dim=2)  # (pictures, classes)
    assert slope[0, 1] == 0
    assert min(slope[0, 0], slope[1, 0], slope[1, 1]) > 0


def test_who_sees_a_fire_and_not_its_outline_is_taught_to_be_surer_than_its_overlap() -> None:
    """Whichever anchors Ultralytics assigns are assigned; the best is taught the root of its box's IoU."""
    from ultralytics.utils.tal import TaskAlignedAssigner

    from training.loss import MaskedLoss

    ours = MaskedLoss(begun().model).assigner
    theirs = TaskAlignedAssigner(ours.topk, ours.num_classes, ours.alpha, ours.beta, ours.stride, topk2=ours.topk2)
    anchors = torch.tensor([[x, y] for y in (12.0, 20.0, 28.0, 36.0) for x in (12.0, 20.0, 28.0)])
    boxes = torch.tensor([[[10.0, 10.0, 30.0, 20.0]] * 4 + [[10.0, 10.0, 30.0, 30.0]] + [[5.0, 5.0, 9.0, 9.0]] * 7])
    fire = (torch.tensor([[[0]]]), torch.tensor([[[10.0, 10.0, 30.0, 40.0]]]), torch.ones(1, 1, 1))
    scores = torch.full((1, 12, 2), 0.3)
    taught, before = (each(scores, boxes, anchors, *fire) for each in (ours, theirs))
    assert torch.equal(taught[3], before[3])
    assert before[2].max() < 0.66, "two thirds overlap, less what CIoU takes off"
    assert float(taught[2].max()) == pytest.approx(float(before[2].max()) ** 0.5)
    assert int(taught[2][0, :, 0].argmax()) == int(before[2][0, :, 0].argmax()) == 4


def test_what_is_exported_runs_in_the_daemons_detector(tmp_path: Path, pictures: Pictures) -> None:
    """ONNX with our class names, any size of picture; the card beside it bears its hash and admits that nothing was measured."""
    training = begun()
    training.run(pictures, lambda _: None, lambda: training.save(tmp_path / "a.pt"))
    out = tmp_path / "site.onnx"
    assert main(["export", str(tmp_path / "a.pt"), "--out", str(out), "--trained-with", "yard"]) == 0
    detector = FireDetector(out, input_px=128, device="cpu")
    assert len(detector.detect([np.zeros((72, 128, 3), np.uint8)], 0.0)) == 1
    text = out.with_suffix(".md").read_text()
    assert detector.info.sha256 in text
    assert "Not measured" in text


def test_a_training_begins_from_the_averaged_weights_of_another(tmp_path: Path, pictures: Pictures) -> None:
    """Of a checkpoint of ours, unasked: no pickle is loaded. Its learning rate and steps begin anew."""
    training = begun()
    training.run(pictures, lambda _: None, lambda: training.save(tmp_path / "a.pt"))
    words = ["--weights", str(tmp_path / "a.pt"), "--out", str(tmp_path / "b.pt"), "--side-px", "64", "--batch", "1"]
    still = ["--last-side-px", "64", "--learning-rate", "1e-50", "--epochs", "1"]
    assert main(["train", str(tmp_path / "fire"), *words, *still]) == 0
    before, after = training.average.state_dict(), checkpoint.load(tmp_path / "b.pt")
    assert after["step"] == 4
    learned = [name for name, _ in training.average.named_parameters()]
    assert all(torch.equal(after["model"][name], before[name]) for name in learned)
    assert not all(torch.equal(after["model"][name], training.model.state_dict()[name]) for name in learned)
    assert main(["export", str(tmp_path / "b.pt"), "--out", str(tmp_path / "b.onnx")]) == 0
    written = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert written.count("HardSwish") == 5 + 3 * 4, "what each convolution of backbone and head ends with"


def test_the_card_says_what_weights_are_made_of(tmp_path: Path, pictures: Pictures) -> None:
    """What they began from, the folders with their weights, and the pictures' hash; checkpoints that do not say it are exported, too."""
    begun().save(tmp_path / "a.pt")
    fire, out = f"{tmp_path / 'fire'}=2", tmp_path / "b.pt"
    words = ["train", fire, "--weights", str(tmp_path / "a.pt"), "--out", str(out), "--batch", "4", "--epochs", "1"]
    assert main([*words, "--side-px", "64", "--last-side-px", "64"]) == 0
    assert main(["export", str(out), "--out", str(tmp_path / "b.onnx")]) == 0
    text, sha256 = (tmp_path / "b.md").read_text(), hashlib.sha256((tmp_path / "a.pt").read_bytes()).hexdigest()
    assert f"Begun from a.pt (SHA-256 `{sha256}`); folders, and how often their pictures were drawn: {fire};" in text
    assert f"`{Pictures([Weighted(tmp_path / 'fire', 2.0)], 0).sha256()}`" in text
    assert main(["export", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")]) == 0
    assert "Begun from" not in (tmp_path / "a.md").read_text()


def test_a_checkpoint_is_no_weights_yet(tmp_path: Path) -> None:
    """Who asks the detector to run one, or to export it, is told which command makes weights of it."""
    begun().save(tmp_path / "a.pt")
    with pytest.raises(DetectorError, match=r"a\.pt: a checkpoint of .*; `python -m training export` makes ONNX of it"):
        FireDetector(tmp_path / "a.pt", allow_pickle=True)
    with pytest.raises(DetectorError, match="a checkpoint of"):
        pickle_to_onnx(read_weights(tmp_path / "a.pt", allow_pickle=True), tmp_path / "a.onnx")


def test_the_mean_of_several_is_exported(tmp_path: Path) -> None:
    """Weights between those of both, rounded to bf16, and the card says so."""
    one, other = begun(), begun(seed=4)
    other.settings = replace(other.settings, seed=7)
    one.save(tmp_path / "a.pt")
    other.save(tmp_path / "b.pt")
    out = tmp_path / "both.onnx"
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--out", str(out)]) == 0
    card = out.with_suffix(".md").read_text()
    assert "in 0 steps each: the mean of 2 trainings" in card
    assert "seed 5 and 7" in card
    kernels = [each.average.state_dict()["model.5.cv3.0.2.weight"].numpy() for each in (one, other)]
    written = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(out).graph.initializer}
    assert not np.array_equal(*kernels)
    mean = torch.from_numpy(np.mean(kernels, axis=0)).bfloat16().float().numpy()
    assert np.allclose(written["model.5.cv3.0.2.weight"], mean, rtol=2**-7, atol=1e-6)
    rounded = [value for name, value in written.items() if name.endswith(".weight") and value.ndim == 4]
    assert len(rounded) > 10
    assert all(np.array_equal(each, torch.tensor(each).bfloat16().float().numpy()) for each in rounded)


def test_a_training_begins_from_the_mean_of_several(
    tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the averaged weights of two that went different ways from the same beginning; of other networks there is none."""
    from training.network import Source, mean

    one, other = begun(), begun()
    one.run(pictures, lambda _: None, lambda: one.save(tmp_path / "a.pt"))
    other.save(tmp_path / "b.pt")
    words = ["train", str(tmp_path / "fire"), "--side-px", "64", "--last-side-px", "64", "--learning-rate", "1e-50"]
    both = ["--weights", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--batch", "4", "--epochs", "1"]
    assert main([*words, *both, "--out", str(tmp_path / "c.pt")]) == 0
    found = checkpoint.load(tmp_path / "c.pt")["model"]
    for name, value in one.average.named_parameters():
        assert torch.allclose(found[name], (value + other.average.state_dict()[name]) / 2)
    assert not torch.equal(found["model.0.conv.weight"], one.average.state_dict()["model.0.conv.weight"])
    words = ["export", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--out", str(tmp_path / "c.onnx")]
    assert main(words) == 2, "one of them has not made a step"
    assert "of the same steps and settings only" in capsys.readouterr().err
    with pytest.raises(FolderError, match="of the same network only"):
        mean([Source(PLAN, {"a": torch.zeros(2)}), Source(PLAN, {"a": torch.zeros(3)})])


def test_a_mistake_gets_one_sentence(tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle is not loaded unasked, and what is no checkpoint is named."""
    words = ["train", str(tmp_path / "fire"), "--out", str(tmp_path / "out.pt")]
    assert main([*words, "--weights", str(tmp_path / "a.pt")]) == 2
    assert f"{tmp_path / 'a.pt'}: cannot be read (No such file or directory)\n" in capsys.readouterr().err
    (tmp_path / "a.pt").write_bytes(b"none")
    words = ["train", str(tmp_path / "fire"), "--weights", str(tmp_path / "a.pt"), "--out", str(tmp_path / "out.pt")]
    assert main(words) == 2
    assert "can execute code" in capsys.readouterr().err
    assert main([*words, "--allow-pickle"]) == 2
    assert "not an Ultralytics checkpoint" in capsys.readouterr().err
    (tmp_path / "a.xml").write_bytes(b"none")
    assert (
        main(["train", str(tmp_path / "fire"), "--weights", str(tmp_path / "a.xml"), "--out", str(tmp_path / "b.pt")])
        == 2
    )
    assert "a.xml: not what a training begins from: a checkpoint of `training train` or" in capsys.readouterr().err


def test_a_training_does_not_begin_with_pictures_that_cannot_be_read(
    tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written that could not be gone on with once they are removed."""
    begun().save(tmp_path / "start.pt")
    fire = tmp_path / "fire"
    (fire / "images" / "zz.jpg").write_bytes(b"garbage")
    (fire / "labels" / "zz.txt").touch()
    words = ["train", str(fire), "--weights", str(tmp_path / "start.pt"), "--out", str(tmp_path / "new.pt")]
    sizes = ["--side-px", "64", "--last-side-px", "64", "--batch", "4", "--epochs", "1"]
    assert main([*words, *sizes]) == 2
    assert f"1 of 5 files cannot be read as pictures: {fire}/images/zz.jpg; mend" in capsys.readouterr().err
    assert not (tmp_path / "new.pt").exists()
    (fire / "images" / "zz.jpg").unlink()
    assert main([*words, *sizes]) == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"plan": None}, "a damaged checkpoint: plan missing, or not as a training writes it"),
        ({"settings": None, "step": "3"}, "a damaged checkpoint: settings, step missing"),
        ({"format": [1, 2]}, "not a checkpoint of this version"),
        ({"plan": {"nc": 2}}, "a damaged checkpoint: its weights are not those of its network"),
        ({"average": {}}, "a damaged checkpoint: its weights are not those of its network"),
        ({"model": {"model.0.conv.weight": "none"}}, "a damaged checkpoint: its weights are not those of its network"),
    ],
    ids=["no plan", "no settings", "format", "plan", "average", "model"],
)
def test_a_damaged_checkpoint_is_named_by_every_command(
    tmp_path: Path, pictures: Pictures, damage: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exported, begun from, gone on with or mixed: one sentence, and the file stays as it is."""
    path, fire = tmp_path / "a.pt", str(tmp_path / "fire")
    content = {"format": checkpoint.FORMAT, **begun().content(), **damage}
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    before = path.read_bytes()
    for words in (
        ["export", str(path), "--out", str(tmp_path / "a.onnx")],
        ["train", fire, "--weights", str(path), "--out", str(tmp_path / "b.pt")],
        ["train", fire, "--out", str(path)],
        ["soup", str(path), "--pictures", fire, "--out", str(tmp_path / "b.pt")],
    ):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith(f"training {words[0]}: {path}: {said}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", ["activation", "backbone"])
def test_a_checkpoint_executes_nothing(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as its activation, which Ultralytics would evaluate, nor as a layer, which it would call."""
    path, ran = tmp_path / "a.pt", tmp_path / "ran"
    evil = {
        "activation": f"(open({str(ran)!r}, 'w'), __import__('torch').nn.SiLU())[1]",
        "backbone": [[-1, 1, "check_requirements", ["none-such"]], *PLAN["backbone"]],
    }
    checkpoint.save(path, {**begun().content(), "plan": {**PLAN, place: evil[place]}})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ultralytics.nn.tasks.check_requirements", lambda *_: ran.touch())
        assert main(["export", str(path), "--out", str(tmp_path / "a.onnx")]) == 2
    assert "a.pt: a damaged checkpoint: a network's plan names what is no layer" in capsys.readouterr().err
    assert not ran.exists()


def test_what_is_gone_on_with_is_whole(tmp_path: Path) -> None:
    """Settings and the optimizer's state, which only going on needs, are looked at, too."""
    from training.loop import Training

    content, path = begun().content(), tmp_path / "a.pt"
    for damage, said in (
        ({"settings": {**content["settings"], "pace": 1}}, "its settings are not those of a training"),
        ({"settings": {**content["settings"], "batch": "many"}}, "its settings are not those of a training"),
        ({"optimizer": {}}, "its optimizer's state is not that of its network"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "its optimizer's state is not that of its network"),
    ):
        checkpoint.save(path, {**content, **damage})
        with pytest.raises(FolderError, match=f"a damaged checkpoint: {said}"):
            Training.resumed(path, None, "cpu")


@pytest.mark.parametrize(
    "content", [b"hello world this is text", b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"]" * 99, bytes(99)]
)
def test_what_is_no_checkpoint_is_called_none(
    tmp_path: Path, pictures: Pictures, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever torch makes of its bytes."""
    path, fire = tmp_path / "a.pt", str(tmp_path / "fire")
    path.write_bytes(content)
    assert main(["export", str(path), "--out", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err == f"training export: {path}: not a checkpoint of `python -m training train`\n"
    assert main(["train", fire, "--weights", str(path), "--out", str(tmp_path / "b.pt")]) == 2
    assert "a .pt file can execute code" in capsys.readouterr().err


def test_what_cannot_end_well_does_not_begin(
    tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained that could not be written, and nothing exported whose measurement is missing."""
    begun().save(tmp_path / "a.pt")
    begin = ["train", str(tmp_path / "fire"), "--weights", str(tmp_path / "a.pt")]
    monkeypatch.setattr(train, "Pictures", lambda *_: pytest.fail("the pictures were read"))
    assert main([*begin, "--out", str(tmp_path / "none" / "b.pt")]) == 2
    assert f"there is no folder {tmp_path / 'none'} to write it to" in capsys.readouterr().err
    for content in (None, "{}"):
        if content is not None:
            (tmp_path / "found.json").write_text(content)
        words = ["export", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")]
        assert main([*words, "--evaluated", str(tmp_path / "found.json")]) == 2
        assert "found.json: not what evaluate wrote of weights" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def test_the_shipped_weights_can_be_trained_on(
    tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """They answer the same with batch norms as without, and these know what reaches them; a step later they are others."""
    from onnxruntime import InferenceSession

    from training.loop import Settings, Training
    from training.network import begun_from
    from training.unfused import of_onnx

    model, plan, _ = begun_from(of_onnx(shipped.WEIGHTS))
    training = Training(model, plan, Settings(6, batch=2, side_px=96, last_side_px=96, seed=5), "cpu")
    training.measure(pictures)
    norm = training.model.model[0].bn
    assert not torch.allclose(norm.running_mean, torch.zeros(16)), "it knows what reaches it"
    picture = torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    told = InferenceSession(str(shipped.WEIGHTS)).run(None, {"images": picture.numpy()})[0]
    for network in (training.model.eval(), training.average):
        with torch.no_grad():
            answered = network(picture)[0].numpy()
        assert np.abs(answered - told).max() < 1e-3 * np.abs(told).max()
    words = ["train", str(tmp_path / "fire"), "--weights", str(shipped.WEIGHTS), "--out", str(tmp_path / "on.pt")]
    assert main([*words, "--side-px", "64", "--last-side-px", "64", "--batch", "4", "--epochs", "1"]) == 0
    assert "begins with" in capsys.readouterr().err
    found = checkpoint.load(tmp_path / "on.pt")
    assert found["step"] == 1
    assert not torch.equal(found["model"]["model.0.conv.weight"], training.model.state_dict()["model.0.conv.weight"])


def test_batch_norms_are_measured_on_any_device() -> None:
    """Torch works out, without a GPU, where each value would be, and refuses sums of what lies on two devices."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from training import unfused

    with FakeTensorMode():
        block = torch.nn.Module()
        block.conv, block.bn = torch.nn.Conv2d(3, 4, 1, bias=False), torch.nn.BatchNorm2d(4)
        block.conv.weight = torch.nn.Parameter(torch.zeros(4, 3, 1, 1, device="cuda"))
        norms = unfused._norms(torch.nn.ModuleList([block]))
        sums = {name: torch.zeros(3, 4, dtype=torch.float64) for name in norms}
        with unfused._watched(norms, sums), torch.no_grad():
            assert block.conv(torch.zeros(2, 3, 8, 8, device="cuda")).device.type == "cuda"
    assert sums["0"].device.type == "cpu"
    elsewhere = torch.nn.BatchNorm2d(4, device="meta")
    unfused._normalise(elsewhere, torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    assert elsewhere.running_mean.device.type == "meta"


def test_a_plan_of_other_classes_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """COCO's 80 are of no interest to who trains two."""
    from training.network import network

    logger = logging.getLogger("ultralytics")
    logger.addHandler(caplog.handler)
    try:
        made = network({**PLAN, "nc": 80})
    finally:
        logger.removeHandler(caplog.handler)
    assert (made.model[-1].nc, caplog.text) == (2, "")


def test_only_exported_detectors_of_ours_are_trained_on(
    tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is none, another network, and a mean of what has batch norms and what has none, get one sentence each."""
    words = ["train", str(tmp_path / "fire"), "--out", str(tmp_path / "out.pt"), "--weights"]
    (tmp_path / "none.onnx").write_bytes(b"none at all")
    assert main([*words, str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx: not an ONNX file\n" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "gone.onnx")]) == 2
    assert "gone.onnx: cannot be read (No such file or directory)\n" in capsys.readouterr().err
    begun().save(tmp_path / "a.pt")
    assert main(["export", str(tmp_path / "a.pt"), "--out", str(tmp_path / "a.onnx")]) == 0
    capsys.readouterr()
    assert main([*words, str(tmp_path / "a.onnx")]) == 2
    assert "a.onnx: not a YOLO11 with the classes fire and smoke" in capsys.readouterr().err
    from training.network import Source, mean

    both = [Source(PLAN, {}), Source(PLAN, {}, fused=True)]
    with pytest.raises(FolderError, match="not of both together"):
        mean(both)
