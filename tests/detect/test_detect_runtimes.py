# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every runtime sees the same, in every form that weights come in; and an engine is only used where it was made for."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon import shipped
from daemon.detect import detector as detector_module
from daemon.detect import engines, exporting, runtimes
from daemon.detect.detector import REFERENCE_PICTURE, FireDetector
from daemon.detect.engines import MadeFor
from daemon.detect.model import Runtime
from daemon.detect.runtimes import Choice, Host, choose, in_best_form, load, runtimes_for
from daemon.detect.weights import Weights, read_weights
from daemon.domain import Detection
from daemon.errors import DetectorError, OtherNetwork
from daemon.simulate.scene import Scene

OTHERS = ["openvino", pytest.param("torch-cpu", marks=pytest.mark.torch)]
SURE = 0.1  # detect.floor
CONFIDENCE, BOX_PX = 0.02, 2.0
"""How far runtimes may be apart (issue 10)."""
INT8_CONFIDENCE = 0.08
"""How far int8 may be from f32 on drawn pictures: another network by design, which calibration makes of the same weights."""


def drawn(count: int) -> list[np.ndarray]:
    """Drawn scenes from before the fire until it is large, in several shapes."""
    scene = Scene()
    moments = np.linspace(5, 30, count)
    return [cv2.resize(scene.picture(at), ((640, 360), (800, 600), (1280, 720))[n % 3]) for n, at in enumerate(moments)]


def apart(
    found: list[tuple[Detection, ...]], expected: list[tuple[Detection, ...]], longer_sides_px: list[int]
) -> list[tuple[float, float]]:
    """Confidence and box (pixels of the input) by which each expected detection and the nearest found one differ."""
    differences = []
    for answer, wanted, longer_px in zip(found, expected, longer_sides_px, strict=True):
        for each in wanted:
            if each.confidence >= SURE:
                same = [one for one in answer if one.label == each.label]
                scale = 640 / longer_px  # at the detector's input, whatever the picture's size
                boxes = [(float(np.abs(np.subtract(one.box, each.box)).max()) * scale, one) for one in same]
                assert boxes, each
                pixels, nearest = min(boxes, key=lambda pair: pair[0])
                differences.append((abs(nearest.confidence - each.confidence), pixels))
    return differences


@pytest.mark.parametrize("runtime", OTHERS)
def test_runtimes_agree_on_drawn_pictures(runtime: str) -> None:
    """Boxes within 2 px and confidences within 0.02 of ONNX Runtime's f32, with bf16 too."""
    pytest.importorskip({"torch-cpu": "torch"}.get(runtime, runtime))
    pictures = drawn(12)
    expected = FireDetector(runtime="onnxruntime").detect(pictures, SURE / 2)
    differences = apart(
        FireDetector(runtime=runtime).detect(pictures, SURE / 2), expected, [max(each.shape) for each in pictures]
    )
    assert len(differences) >= 6
    assert max(confidence for confidence, _ in differences) <= CONFIDENCE
    assert max(pixels for _, pixels in differences) <= BOX_PX


def test_openvinos_own_format_is_the_same_network(tmp_path: Path) -> None:
    """Exported, it gives the same answers; its hash is of both files; a changed .bin is found."""
    out = tmp_path / "site.xml"
    exporting.onnx_to_openvino(shipped.WEIGHTS, out)
    weights = read_weights(out)
    assert choose(Host(False, False, True, True), "auto", weights.format).runtime == "openvino"
    picture = cv2.imread(str(REFERENCE_PICTURE))
    detector = FireDetector(out, sha256=weights.sha256)
    detector.warm()
    same = FireDetector(runtime="openvino")
    same.warm()  # a size that is prepared is computed in another order
    assert detector.detect([picture], 0.3) == same.detect([picture], 0.3)
    values = out.with_suffix(".bin")
    values.write_bytes(values.read_bytes()[:-1] + b"x")
    with pytest.raises(DetectorError, match="not the weights expected"):
        FireDetector(out, sha256=weights.sha256)
    values.unlink()
    with pytest.raises(DetectorError, match=r"site\.bin: the weights cannot be read"):
        read_weights(out)


def test_formats_that_one_runtime_reads() -> None:
    """Where that is missing it is one sentence; ONNX is for all."""
    with pytest.raises(DetectorError, match="needs OpenVINO"):
        choose(Host(True, True, False, True), "auto", "xml")
    with pytest.raises(DetectorError, match=r"detect\.device is cuda"):
        choose(Host(True, True, True, True), "cuda", "xml")
    with pytest.raises(DetectorError, match="TensorRT is not installed"):
        choose(Host(True, True, True, True), "auto", "engine")
    with pytest.raises(DetectorError, match="no NVIDIA GPU"):
        choose(Host(True, False, True, True, tensorrt=True), "auto", "engine")
    assert choose(Host(True, True, True, True, tensorrt=True), "auto", "engine").runtime == "tensorrt"
    assert runtimes_for(Host(False, False, True, True), read_weights()) == ["openvino", "onnxruntime"]


HERE = MadeFor(gpu="NVIDIA GeForce RTX 3090", tensorrt="10.9.0")


def engine(path: Path, made_for: MadeFor, weights_sha256: str) -> Path:
    head = b'{"names": {"0": "fire", "1": "smoke"}}'
    path.write_bytes(engines.marked(len(head).to_bytes(4, "little") + head + b"\x00engine", made_for, weights_sha256))
    return path


def test_an_engine_is_taken_only_where_it_was_made_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of these weights, for this GPU, by this TensorRT; else PyTorch, and the log says why."""
    monkeypatch.setattr(engines, "of_this_host", lambda: HERE)
    onnx = tmp_path / "site.onnx"
    onnx.write_bytes(b"weights")
    weights, taken, host = (
        read_weights(onnx),
        Choice("torch-cuda", "a GPU"),
        Host(True, True, True, True, tensorrt=True),
    )
    assert in_best_form(weights, taken, host) == (weights, taken)
    for made_for, sha256, says in (
        (
            MadeFor("NVIDIA H100", "10.9.0"),
            weights.sha256,
            "made for NVIDIA H100, TensorRT 10.9.0; here are NVIDIA GeForce",
        ),
        (MadeFor(HERE.gpu, "10.8.0"), weights.sha256, "export it anew"),
        (HERE, "0" * 64, "made of other weights"),
    ):
        engine(tmp_path / "site.engine", made_for, sha256)
        form, choice = in_best_form(weights, taken, host)
        assert (form, choice.runtime) == (weights, "torch-cuda")
        assert says in choice.why
    engine(tmp_path / "site.engine", HERE, weights.sha256)
    form, choice = in_best_form(weights, taken, host)
    assert (form.path.suffix, choice.runtime) == (".engine", "tensorrt")
    assert engines.head_of(form.content)[1] == b"\x00engine"


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01", b"\x05\x00\x00\x00[1,2]", b"\xff\xff\xff\x7fabc", b"\x02\x00\x00\x00{}rest"]
)
def test_an_engine_without_our_mark_is_not_used(content: bytes) -> None:
    """Nobody knows for which GPU it was made."""
    with pytest.raises(DetectorError, match="nothing in it says"):
        engines.check(content, HERE)


def test_int8_sees_the_same_in_drawn_pictures() -> None:
    """Every fire that f32 sees is there, where it is, and about as sure: what most hosts run is not left unseen."""
    pytest.importorskip("openvino")
    pictures = drawn(12)
    expected = FireDetector(runtime="onnxruntime").detect(pictures, SURE / 2)
    int8 = FireDetector(shipped.INT8, runtime="openvino")
    differences = apart(int8.detect(pictures, SURE / 2), expected, [max(each.shape) for each in pictures])
    assert len(differences) >= 6
    assert max(confidence for confidence, _ in differences) <= INT8_CONFIDENCE
    assert max(pixels for _, pixels in differences) <= BOX_PX


@pytest.fixture(scope="module")
def real() -> list[np.ndarray]:
    """200 of val."""
    paths = sorted((Path(os.environ["FIREWITNESS_DATA"]) / "val" / "images").iterdir())[:200]
    return [np.asarray(cv2.imread(str(path))) for path in paths]


@pytest.mark.slow
@pytest.mark.skipif("FIREWITNESS_DATA" not in os.environ, reason="needs labelled pictures")
@pytest.mark.timeout(300)
def test_int8_is_near_on_real_pictures(real: list[np.ndarray]) -> None:
    """Nothing lost, and 19 of 20 detections within 0.05 (docs/detector.md has the figures)."""
    pytest.importorskip("openvino")
    expected = FireDetector(runtime="onnxruntime").detect(real, SURE / 2)
    found = FireDetector(shipped.INT8, runtime="openvino").detect(real, SURE / 5)
    differences = apart(found, expected, [max(each.shape) for each in real])
    assert np.mean([confidence <= 0.05 for confidence, _ in differences]) >= 0.95


@pytest.mark.slow
@pytest.mark.skipif("FIREWITNESS_DATA" not in os.environ, reason="needs labelled pictures")
@pytest.mark.parametrize("runtime", OTHERS)
@pytest.mark.timeout(300)
def test_runtimes_agree_on_real_pictures(runtime: str, real: list[np.ndarray]) -> None:
    """f32 to the last; bf16 in at least nine of ten detections (docs/detector.md has the figures)."""
    pytest.importorskip({"torch-cpu": "torch"}.get(runtime, runtime))
    expected = FireDetector(runtime="onnxruntime").detect(real, SURE / 2)
    detector = FireDetector(runtime=runtime)
    differences = apart(detector.detect(real, SURE / 2), expected, [max(each.shape) for each in real])
    agree = np.mean([confidence <= CONFIDENCE and pixels <= BOX_PX for confidence, pixels in differences])
    assert agree >= (0.9 if "bf16" in detector.info.runtime else 1.0), detector.info.runtime


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a GPU, whose PyTorch knows no network but YOLO11n."""

    def refuse(weights: Weights) -> Runtime:
        raise OtherNetwork(f"{weights.path}: not a fused YOLO11n")

    monkeypatch.setitem(runtimes._LOADERS, "torch-cuda", refuse)
    monkeypatch.setattr(detector_module, "look", lambda: Host(True, True, True, True))


@pytest.mark.usefixtures("gpu")
def test_a_network_that_pytorch_does_not_know_is_computed_by_the_next_runtime(tmp_path: Path) -> None:
    """A GPU must not be what a site's own model cannot be used with; the line that is logged says why."""
    site = tmp_path / "site.onnx"
    site.write_bytes(shipped.WEIGHTS.read_bytes())
    detector = FireDetector(site, batch=1)
    assert detector.info.runtime.startswith("OpenVINO")
    assert f"an NVIDIA GPU is here, but not for PyTorch: {site}: not a fused YOLO11n" in detector.why


@pytest.mark.usefixtures("gpu")
def test_where_the_gpu_is_demanded_no_other_runtime_is_taken(tmp_path: Path) -> None:
    """One sentence, with what to do."""
    site = tmp_path / "site.onnx"
    site.write_bytes(shipped.WEIGHTS.read_bytes())
    with pytest.raises(DetectorError, match=r"not a fused YOLO11n; detect\.device is cuda: with auto another"):
        FireDetector(site, device="cuda", batch=1)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", ["torch.nn.SiLU()", "torch.nn.Hardswish()"])
def test_pytorch_takes_the_activation_from_the_graph(activation: str, tmp_path: Path) -> None:
    """A file's parameters fit either: untrained weights of both kinds give what ONNX Runtime gives, to rounding."""
    weights = read_weights(untrained(tmp_path / "site.onnx", activation))
    picture = np.asarray(cv2.imread(str(REFERENCE_PICTURE)), np.uint8)[None, :320, :320]
    raw = [load(Choice(name, ""), weights).infer(picture) for name in ("torch-cpu", "onnxruntime")]
    assert np.abs(raw[0] - raw[1]).max() < 0.05


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("architecture", "activation", "says"),
    [("yolo11n.yaml", "torch.nn.ReLU()", "computes otherwise"), ("yolo11s.yaml", "torch.nn.SiLU()", "not a fused")],
)
def test_what_pytorch_would_compute_otherwise_is_for_another_runtime(
    architecture: str, activation: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters that fit are not enough: the network is built anew, and could be another one without anybody's notice."""
    site = untrained(tmp_path / "site.onnx", activation, architecture)
    with pytest.raises(OtherNetwork, match=says):
        load(Choice("torch-cpu", ""), read_weights(site))
    monkeypatch.setitem(runtimes._LOADERS, "torch-cuda", runtimes._LOADERS["torch-cpu"])
    monkeypatch.setattr(detector_module, "look", lambda: Host(True, True, True, True))
    assert says in FireDetector(site, batch=1).why


def untrained(out: Path, activation: str, architecture: str = "yolo11n.yaml") -> Path:
    """A network of that kind as our export writes it."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    from daemon.detect.exporting import write_onnx

    network = DetectionModel({**yaml_model_load(architecture), "activation": activation}, nc=2, verbose=False)
    torch.manual_seed(5)
    for name, each in network.named_parameters():
        if name.endswith("bias"):  # alike ones the exporter writes once for all
            torch.nn.init.normal_(each, 0, 0.1)
    write_onnx(network.eval().fuse(), out)
    return out
