# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chooses what computes the network on this host; each runtime's module is imported only when it is taken."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from daemon.detect.model import Runtime
from daemon.detect.weights import Weights
from daemon.domain import LABELS
from daemon.errors import DetectorError

_SMALL_PX = 64  # enough to see the shape of an answer


@dataclass(frozen=True, slots=True)
class Host:
    """What this host offers; a value, so that the choice can be tested without the hardware."""

    torch: bool
    """Whether torch and ultralytics are installed."""
    cuda: bool
    openvino: bool
    onnxruntime: bool


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
    )


def choose(host: Host, device: str, pickled: bool) -> Choice:
    """The best runtime for `device` (auto, cpu or cuda); raises DetectorError when none will do."""
    if device == "cuda" and not host.cuda:
        lacking = "PyTorch sees no NVIDIA GPU" if host.torch else "torch and ultralytics are not installed (extra gpu)"
        raise DetectorError(f"detect.device is cuda, but {lacking}; use auto or cpu")
    if device != "cpu" and host.cuda:
        return Choice("torch-cuda", "an NVIDIA GPU is here")
    no_gpu = "detect.device is cpu" if device == "cpu" else "no NVIDIA GPU that PyTorch can use"
    if pickled:
        if not host.torch:
            raise DetectorError("a .pt file needs torch and ultralytics (extra gpu or train); or export it to ONNX")
        return Choice("torch-cpu", f"{no_gpu}, and only PyTorch reads a .pt file")
    if host.openvino:
        return Choice("openvino", no_gpu)
    if host.onnxruntime:
        return Choice("onnxruntime", f"{no_gpu}, and OpenVINO is not installed")
    if host.torch:
        return Choice("torch-cpu", f"{no_gpu}, and neither OpenVINO nor ONNX Runtime is installed")
    raise DetectorError("nothing can compute the network: install openvino or onnxruntime")


def load_verifier(host: Host, weights: Weights) -> Runtime:
    """Loads a verifier's weights, on the CPU whatever the detector is on: it is small, and both libraries come along.

    Raises DetectorError when they are no fitting model.
    """
    if weights.pickled:
        raise DetectorError(f"{weights.path}: a verifier has to be ONNX, as `python -m training verifier` writes it")
    runtime = _LOADERS[choose(replace(host, torch=False, cuda=False), "cpu", pickled=False).runtime](weights)
    shape = runtime.infer(np.zeros((2, _SMALL_PX, _SMALL_PX, 3), np.uint8)).shape
    if shape != (2, len(LABELS)) or (runtime.labels or LABELS) != LABELS:
        raise DetectorError(
            f"{weights.path}: not a verifier, which says of a cut-out how surely it shows {' and '.join(LABELS)}"
        )
    return runtime


def load(choice: Choice, weights: Weights) -> Runtime:
    """Loads the weights into the chosen runtime; raises DetectorError when they are no fitting model."""
    runtime = _LOADERS[choice.runtime](weights)
    classes = runtime.infer(np.zeros((1, _SMALL_PX, _SMALL_PX, 3), np.uint8)).shape[1] - 4
    named = runtime.labels or LABELS
    if classes != len(LABELS) or named != LABELS:
        what = ", ".join(runtime.labels) if runtime.labels else f"{classes} classes without names"
        wanted = f"{', '.join(LABELS)}, in this order"
        raise DetectorError(f"{weights.path}: a model that finds {what}; it must find {wanted}")
    return runtime


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


_LOADERS: dict[str, Callable[[Weights], Runtime]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "torch-cuda": _torch_cuda,
    "torch-cpu": _torch_cpu,
}


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
