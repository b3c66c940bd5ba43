# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chooses what computes the network on this host; each runtime's module is imported only when it is taken."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from daemon import shipped
from daemon.detect import engines
from daemon.detect.model import Runtime
from daemon.detect.weights import Weights, read_weights
from daemon.domain import LABELS
from daemon.errors import DetectorError, OtherNetwork, first_line

_CPUINFO = Path("/proc/cpuinfo")
_SMALL_PX = 64  # enough to see the shape of an answer


@dataclass(frozen=True, slots=True)
class Host:
    """What this host offers; a value, so that the choice can be tested without the hardware."""

    torch: bool
    """Whether torch and ultralytics are installed."""
    cuda: bool
    openvino: bool
    onnxruntime: bool
    tensorrt: bool = False
    vnni: bool = False
    """Whether the CPU multiplies bytes as fast as int8 networks need it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A runtime and, in words for the log, why it was taken."""

    runtime: str
    why: str


def look() -> Host:
    """Looks at this host; torch is asked for CUDA only when it is installed."""
    torch = _installed("torch") and _installed("ultralytics")
    return Host(
        torch=torch,
        cuda=torch and bool(importlib.import_module("torch").cuda.is_available()),
        openvino=_installed("openvino"),
        onnxruntime=_installed("onnxruntime"),
        tensorrt=_installed("tensorrt"),
        vnni=_has_vnni(),
    )


def choose(host: Host, device: str, format: str = "onnx") -> Choice:
    """The best runtime for `device` (auto, cpu or cuda) and weights of that format (Weights.format).

    Raises DetectorError when none will do.
    """
    if device == "cuda" and not host.cuda:
        lacking = "PyTorch sees no NVIDIA GPU" if host.torch else "torch and ultralytics are not installed (extra gpu)"
        raise DetectorError(f"detect.device is cuda, but {lacking}; use auto or cpu")
    on_gpu = device != "cpu" and host.cuda
    no_gpu = "detect.device is cpu" if device == "cpu" else "no NVIDIA GPU that PyTorch can use"
    if format in _ONE_RUNTIME:
        return _only(format, host, device, no_gpu, on_gpu)
    if on_gpu:
        return Choice("torch-cuda", "an NVIDIA GPU is here")
    if host.openvino:
        return Choice("openvino", no_gpu)
    if host.onnxruntime:
        return Choice("onnxruntime", f"{no_gpu}, and OpenVINO is not installed")
    if host.torch:
        return Choice("torch-cpu", f"{no_gpu}, and neither OpenVINO nor ONNX Runtime is installed")
    raise DetectorError("nothing can compute the network: install openvino or onnxruntime")


_ONE_RUNTIME = ("pt", "xml", "engine")


def _only(format: str, host: Host, device: str, no_gpu: str, on_gpu: bool) -> Choice:
    """For formats that one library reads."""
    if format == "xml":
        if not host.openvino:
            raise DetectorError(
                "an .xml file needs OpenVINO, which is not installed; or use the ONNX that it was made of"
            )
        if device == "cuda":
            raise DetectorError("an .xml file is OpenVINO's, on the CPU, but detect.device is cuda; use auto or cpu")
        return Choice("openvino", "only OpenVINO reads an .xml file")
    if format == "engine":
        if not (on_gpu and host.tensorrt):
            lacking = "TensorRT is not installed" if on_gpu else no_gpu
            raise DetectorError(f"an .engine file needs an NVIDIA GPU and TensorRT, but {lacking}; use the ONNX")
        return Choice("tensorrt", "only TensorRT reads an .engine file")
    if not host.torch:
        raise DetectorError("a .pt file needs torch and ultralytics (extra gpu or train); or export it to ONNX")
    if on_gpu:
        return Choice("torch-cuda", "an NVIDIA GPU is here")
    return Choice("torch-cpu", f"{no_gpu}, and only PyTorch reads a .pt file")


def runtimes_for(host: Host, weights: Weights) -> list[str]:
    """All that could compute these weights here, whatever is best."""
    if weights.format in _ONE_RUNTIME:
        return [choose(host, "auto", weights.format).runtime]
    there = {"openvino": host.openvino, "onnxruntime": host.onnxruntime}
    if not weights.quantised:  # torch builds the network itself, in full precision
        there |= {"torch-cpu": host.torch, "torch-cuda": host.cuda}
    return [runtime for runtime, installed in there.items() if installed]


def in_best_form(weights: Weights, choice: Choice, host: Host) -> tuple[Weights, Choice]:
    """The same network in the form that the chosen runtime computes fastest here, and why; often the weights themselves.

    The shipped weights are quantised too. An engine counts when it was made of these very weights, by this
    TensorRT, for this GPU. Raises DetectorError when a shipped form is not what it was.
    """
    if choice.runtime == "openvino" and weights.path == shipped.WEIGHTS and shipped.INT8 is not None and host.vnni:
        return read_weights(shipped.INT8), replace(choice, why=f"{choice.why}; in int8, since the CPU has VNNI")
    if choice.runtime == "torch-cuda" and host.tensorrt and weights.format == "onnx":
        engine = weights.path.with_suffix(".engine")
        if engine.exists():
            try:
                made = read_weights(engine)
                engines.check(made.content, engines.of_this_host(), weights.sha256)
            except DetectorError as error:
                return weights, replace(choice, why=f"{choice.why}; not by TensorRT: {error}")
            return made, Choice("tensorrt", f"{choice.why}, and {engine.name} was made for it of these weights")
    return weights, choice


def load_verifier(host: Host, weights: Weights) -> Runtime:
    """Loads a verifier's weights, on the CPU whatever the detector is on: it is small, and both libraries come along.

    Raises DetectorError when they are no fitting model.
    """
    if weights.format != "onnx":
        raise DetectorError(f"{weights.path}: a verifier has to be ONNX, as `python -m training verifier` writes it")
    with in_one_sentence(weights.path):
        runtime = _LOADERS[choose(replace(host, torch=False, cuda=False), "cpu").runtime](weights)
        shape = _answer_shape(runtime, 2, weights.path)
    if shape != (2, len(LABELS)) or (runtime.labels or LABELS) != LABELS:
        raise DetectorError(
            f"{weights.path}: not a verifier, which says of a cut-out how surely it shows {' and '.join(LABELS)}"
        )
    return runtime


def load(choice: Choice, weights: Weights) -> Runtime:
    """Loads the weights into the chosen runtime; raises DetectorError when they are no fitting model."""
    with in_one_sentence(weights.path):
        runtime = _LOADERS[choice.runtime](weights)
        shape = _answer_shape(runtime, 1, weights.path)
    if len(shape) != 3:
        raise DetectorError(
            f"{weights.path}: a network that answers {shape}; it must answer (pictures, 4 + classes, places)"
        )
    classes = shape[1] - 4
    named = runtime.labels or LABELS
    if classes != len(LABELS) or named != LABELS:
        what = ", ".join(named) if runtime.labels and len(named) == classes else f"{classes} classes without names"
        wanted = f"{', '.join(LABELS)}, in this order"
        raise DetectorError(f"{weights.path}: a model that finds {what}; it must find {wanted}")
    return runtime


def load_here(choice: Choice, weights: Weights, host: Host, device: str) -> tuple[Runtime, Choice]:
    """See load; a network that PyTorch does not know is taken by the runtime that is next, where the GPU is not demanded."""
    try:
        return load(choice, weights), choice
    except OtherNetwork as error:
        if choice.runtime != "torch-cuda":
            raise
        if device == "cuda":
            raise DetectorError(f"{error}; detect.device is cuda: with auto another runtime computes it") from error
        following = choose(replace(host, torch=False, cuda=False), device, weights.format)
        return load(following, weights), replace(following, why=f"{choice.why}, but not for PyTorch: {error}")


def _answer_shape(runtime: Runtime, pictures: int, path: Path) -> tuple[int, ...]:
    try:
        return runtime.infer(np.zeros((pictures, _SMALL_PX, _SMALL_PX, 3), np.uint8)).shape
    except DetectorError as error:
        small = f"{_SMALL_PX} × {_SMALL_PX}"
        raise DetectorError(f"{path}: it must take pictures of any size, and cannot take {small}: {error}") from error


@contextmanager
def in_one_sentence(path: Path) -> Iterator[None]:
    """Whatever a library raises about weights is a DetectorError: they are data of others, and no bug of this process."""
    try:
        yield
    except DetectorError:
        raise
    except Exception as error:  # libraries' errors share no base but Exception
        raise DetectorError(f"{path}: cannot be computed: {first_line(error)}") from error


def _openvino(weights: Weights) -> Runtime:
    # OpenVINO reports its import to Google Analytics, and writes to the home folder, wherever it finds this package
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    from daemon.detect.runtime_openvino import OpenVinoRuntime

    return OpenVinoRuntime(weights)


def _onnxruntime(weights: Weights) -> Runtime:
    from daemon.detect.runtime_onnx import OnnxRuntime

    return OnnxRuntime(weights)


def _torch_cuda(weights: Weights) -> Runtime:
    from daemon.detect.runtime_torch import TorchRuntime

    return TorchRuntime(weights, "cuda")


def _torch_cpu(weights: Weights) -> Runtime:
    from daemon.detect.runtime_torch import TorchRuntime

    return TorchRuntime(weights, "cpu")


def _tensorrt(weights: Weights) -> Runtime:
    from daemon.detect.runtime_tensorrt import TensorRtRuntime

    return TensorRtRuntime(weights)


_LOADERS: dict[str, Callable[[Weights], Runtime]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "torch-cuda": _torch_cuda,
    "torch-cpu": _torch_cpu,
    "tensorrt": _tensorrt,
}


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_vnni() -> bool:
    try:
        flags = next(line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False  # another architecture, or no /proc
    return bool({"avx512_vnni", "avx_vnni"} & set(flags))
