# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which weights are trusted, and which runtime takes them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon import shipped
from daemon.detect.class_names import class_names
from daemon.detect.runtimes import Choice, Host, choose, load
from daemon.detect.weights import read_weights
from daemon.errors import DetectorError


def test_the_shipped_weights_are_the_ones_on_their_card() -> None:
    """Code and card name the same hash, and the file has it."""
    weights = read_weights()
    assert weights.sha256 == shipped.SHA256
    assert shipped.SHA256 in shipped.CARD.read_text()


def test_changed_shipped_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed byte in the shipped file is found before anything opens it."""
    changed = tmp_path / "firewitness-11n.onnx"
    content = bytearray(shipped.WEIGHTS.read_bytes())
    content[5_000_000] ^= 1
    changed.write_bytes(content)
    monkeypatch.setattr("daemon.shipped.WEIGHTS", changed)
    with pytest.raises(DetectorError, match=f"it should be {shipped.SHA256}"):
        read_weights()


def test_own_weights_are_checked_against_their_configured_hash(tmp_path: Path) -> None:
    """detect.weights_sha256 is what the file must hash to; without it, own weights are taken as they are."""
    own = tmp_path / "own.onnx"
    own.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert read_weights(own).sha256 == right
    assert not read_weights(own, right).shipped
    with pytest.raises(DetectorError, match="not the weights expected"):
        read_weights(own, "0" * 64)


def test_a_copy_of_the_shipped_weights_is_known_for_what_it_is(tmp_path: Path) -> None:
    """Weights are known by their content, not by their place."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(shipped.WEIGHTS.read_bytes())
    assert read_weights(copy).shipped


def test_pickles_need_permission(tmp_path: Path) -> None:
    """A .pt is not even read unless it is allowed: by the daemon's settings, or by a word of `python -m training`."""
    path = tmp_path / "there_is_no_such_file.pt"
    with pytest.raises(
        DetectorError, match=r"runs code when it is opened.*allow_pickle: true in the settings, or --allow-pickle"
    ):
        read_weights(path)
    path.write_bytes(b"x")
    assert read_weights(path, allow_pickle=True).format == "pt"


@pytest.mark.parametrize(("name", "says"), [("missing.onnx", "cannot be read"), ("model.tflite", "not a weights file")])
def test_unreadable_weights_are_one_sentence(tmp_path: Path, name: str, says: str) -> None:
    """A missing file or a file of another kind is said in one line with its path."""
    with pytest.raises(DetectorError, match=says) as raised:
        read_weights(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_empty_file_and_a_folder_are_no_weights(tmp_path: Path) -> None:
    """Neither is opened as a model."""
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    for name in ("empty.onnx", "folder.onnx"):
        with pytest.raises(DetectorError):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("content", [b"not a model at all", shipped.WEIGHTS.read_bytes()[:100_000]])
def test_what_is_no_model_is_one_sentence(tmp_path: Path, runtime: str, content: bytes) -> None:
    """Garbage and a cut file are refused by each runtime, with the path."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match="not a model") as raised:
        load(Choice(runtime, ""), read_weights(path))
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("names", "classes"), [({0: "fire"}, 1), ({0: "smoke", 1: "fire"}, 2), ({0: "a", 1: "b", 2: "c"}, 3), (None, 5)]
)
def test_a_model_of_other_classes_is_refused(
    tmp_path: Path, runtime: str, names: dict[int, str] | None, classes: int
) -> None:
    """Neither another number of classes nor fire and smoke the other way round is taken."""
    path = _model(tmp_path, names, classes)
    with pytest.raises(DetectorError, match="must find fire, smoke, in this order"):
        load(Choice(runtime, ""), read_weights(path))


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("['smoke', 'fire']", "that finds smoke, fire; it must find fire, smoke, in this order"),
        ('{"0": "smoke", "1": "fire"}', "that finds smoke, fire"),
        ("{1: 'fire', 0: 'smoke'}", "that finds smoke, fire"),
        ("{0: 'smoke', 1: 'fire'", "cannot be read"),
    ],
)
def test_smoke_and_fire_are_never_exchanged(tmp_path: Path, runtime: str, names: str, says: str) -> None:
    """Names in another form than Ultralytics' are read too, and where they cannot be, the weights are not taken."""
    with pytest.raises(DetectorError, match=says):
        load(Choice(runtime, ""), read_weights(_model(tmp_path, names, 2)))


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_model_of_our_classes_is_taken(tmp_path: Path, runtime: str) -> None:
    """The check above refuses for the classes, not for being a made-up model; names may be missing."""
    for names in ({0: "fire", 1: "smoke"}, None):
        load(Choice(runtime, ""), read_weights(_model(tmp_path, names, 2)))


_PICTURES = ["n", 3, "height", "width"]
_OTHERS: dict[str, tuple[str, dict[str, Any], list[list[Any]], list[Any]]] = {
    "two inputs": ("Add", {}, [_PICTURES, _PICTURES], _PICTURES),
    "rows of numbers": ("Relu", {}, [["n", 10]], ["n", 10]),
    "grey pictures": ("Relu", {}, [["n", 1, "height", "width"]], ["n", 1, "height", "width"]),
    "a picture for an answer": ("Relu", {}, [_PICTURES], _PICTURES),
    "a number each for an answer": ("ReduceMean", {"axes": [1, 2, 3], "keepdims": 0}, [_PICTURES], ["n"]),
    "a single number for an answer": ("ReduceMean", {"keepdims": 0}, [_PICTURES], []),
    "pictures of one size": ("Relu", {}, [["n", 3, 640, 640]], ["n", 3, 640, 640]),
}


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("kind", _OTHERS)
def test_a_network_of_another_kind_is_one_sentence(tmp_path: Path, runtime: str, kind: str) -> None:
    """Whatever it takes and answers, it is refused with its path: the process that loads it must not end by it."""
    path = other_network(tmp_path, kind)
    with pytest.raises(DetectorError, match=r"it must (take|answer)") as raised:
        load(Choice(runtime, ""), read_weights(path))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")


def other_network(folder: Path, kind: str) -> Path:
    """ONNX that computes, but is no detector."""
    onnx = pytest.importorskip("onnx")
    operator, attributes, inputs, answer = _OTHERS[kind]
    shaped = onnx.helper.make_tensor_value_info
    names = ["first", "second"][: len(inputs)]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, names, ["answer"], **attributes)],
        "other",
        [shaped(name, onnx.TensorProto.FLOAT, shape) for name, shape in zip(names, inputs, strict=True)],
        [shaped("answer", onnx.TensorProto.FLOAT, answer)],
    )
    path = folder / "other.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def _model(folder: Path, names: dict[int, str] | str | None, classes: int) -> Path:
    """A model whose answer has the shape of a detector of so many classes."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    image = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["batch", 3, "height", "width"])
    answer = helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, ["batch", "channels", "places"])
    kernel = onnx.numpy_helper.from_array(np.zeros((4 + classes, 3, 32, 32), "float32"), "kernel")
    shape = onnx.numpy_helper.from_array(np.array([0, 0, -1], "int64"), "shape")
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["map"], strides=[32, 32]),
        helper.make_node("Reshape", ["map", "shape"], ["output0"]),
    ]
    graph = helper.make_graph(nodes, "made_up", [image], [answer], [kernel, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if names is not None:
        helper.set_model_props(model, {"names": str(names)})
    path = folder / "made_up.onnx"
    path.write_bytes(model.SerializeToString())
    return path


EVERYTHING = Host(torch=True, cuda=True, openvino=True, onnxruntime=True)
NO_GPU = Host(torch=True, cuda=False, openvino=True, onnxruntime=True)
BASE = Host(torch=False, cuda=False, openvino=True, onnxruntime=True)
NO_OPENVINO = Host(torch=False, cuda=False, openvino=False, onnxruntime=True)
ONLY_TORCH = Host(torch=True, cuda=False, openvino=False, onnxruntime=False)


@pytest.mark.parametrize(
    ("host", "device", "format", "taken"),
    [
        (EVERYTHING, "auto", "onnx", "torch-cuda"),
        (EVERYTHING, "cuda", "pt", "torch-cuda"),
        (EVERYTHING, "cpu", "onnx", "openvino"),
        (NO_GPU, "auto", "onnx", "openvino"),
        (NO_GPU, "auto", "pt", "torch-cpu"),
        (BASE, "auto", "onnx", "openvino"),
        (BASE, "cpu", "onnx", "openvino"),
        (NO_OPENVINO, "auto", "onnx", "onnxruntime"),
        (ONLY_TORCH, "auto", "onnx", "torch-cpu"),
    ],
)
def test_the_runtime_taken(host: Host, device: str, format: str, taken: str) -> None:
    """CUDA when it is there and not forbidden, else OpenVINO, else ONNX Runtime, else torch; with a reason."""
    choice = choose(host, device, format)
    assert choice.runtime == taken
    assert choice.why


@pytest.mark.parametrize(
    ("host", "device", "format", "says"),
    [
        (BASE, "cuda", "onnx", "detect.device is cuda, but torch and ultralytics are not installed"),
        (NO_GPU, "cuda", "onnx", "detect.device is cuda, but PyTorch sees no NVIDIA GPU"),
        (BASE, "auto", "pt", "a .pt file needs torch"),
        (Host(False, False, False, False), "auto", "onnx", "nothing can compute the network"),
    ],
)
def test_what_cannot_be_is_one_sentence(host: Host, device: str, format: str, says: str) -> None:
    """A host that cannot do what is asked says what it lacks."""
    with pytest.raises(DetectorError, match=says):
        choose(host, device, format)


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'smoke', 1: 'fire'}",
        "{1: 'fire', 0: 'smoke'}",
        '{"0": "smoke", "1": "fire"}',
        "['smoke', 'fire']",
        "('smoke', 'fire')",
    ],
)
def test_class_names_in_their_order(text: str) -> None:
    """However a tool writes them down."""
    assert class_names(Path("site.onnx"), text) == ("smoke", "fire")


@pytest.mark.parametrize("text", [None, ""])
def test_class_names_that_are_not_given(text: str | None) -> None:
    """Then the number of classes decides."""
    assert class_names(Path("site.onnx"), text) is None


@pytest.mark.parametrize(
    "text",
    ["fire", "{1: 'fire'}", "{0: 'fire', '0': 'smoke'}", "{None: 'fire'}", "__import__('os')", "{0: " * 5000],
)
def test_class_names_that_cannot_be_read_are_one_sentence(text: str) -> None:
    """Metadata is read, never evaluated; weights whose order nobody knows are not taken."""
    with pytest.raises(DetectorError, match=r"^site\.onnx: its classes' names .* cannot be read") as raised:
        class_names(Path("site.onnx"), text)
    assert "\n" not in str(raised.value)
