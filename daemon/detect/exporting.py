# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes of a network what the daemon loads; `firewitness model export` and `python -m training export` share it.

torch, Ultralytics, onnx and OpenVINO are imported where they are used: none of it is needed to watch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.detect.weights import Weights, read_weights
from daemon.domain import LABELS
from daemon.errors import DetectorError

CLOSE = 1e-3  # of an answer's largest value: between torch and ONNX Runtime, in f32


def write_onnx(network: Any, out: Path) -> None:
    """A fused Ultralytics detector (torch, f32, on the CPU) as ONNX of any batch and size, with our classes' names.

    In a form that runtimes agree on (docs/detector.md, "Runtimes agree"); the network given is changed to it. Raises
    DetectorError when ONNX Runtime does not give what torch gives.
    """
    import onnxruntime
    import torch

    head = network.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", True
    _round_to_bf16(network)
    head.dfl = _expected_distance(head.dfl)
    blank = torch.zeros(1, 3, 256, 256)
    with torch.no_grad():
        network(blank)  # the head makes its grid at the first picture
        axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "places"}}
        torch.onnx.export(
            network, (blank,), str(out), input_names=["images"], output_names=["output0"], dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )  # fmt: skip
        picture = torch.rand(1, 3, 192, 320, generator=torch.Generator().manual_seed(0))
        expected = network(picture)
    _name_classes(out)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": picture.numpy()})[0]
    wanted = (expected[0] if isinstance(expected, tuple) else expected).numpy()
    if not close(found, wanted):
        raise DetectorError(f"{out}: ONNX Runtime gives something else than torch; nothing to be used")


def close(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> bool:
    """Whether two runtimes' answers are the same but for rounding; never where one of them is no number."""
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= CLOSE * np.abs(wanted).max() < np.inf)


def _round_to_bf16(network: Any) -> None:
    """What bf16 and f16 hold too: else f32 would compute another network than those, which round weights when they load."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:  # the others are biases, which stay in f32
                parameter.copy_(parameter.bfloat16())


def _expected_distance(dfl: Any) -> Any:
    """Ultralytics' DFL (Li et al., Generalized Focal Loss, 2020, section 3.2) as a sum instead of a convolution.

    Behind the last convolution OpenVINO computes in f32, whatever it was asked for: so are box sides then.
    """
    import torch

    class ExpectedDistance(torch.nn.Module):  # type: ignore[misc]
        """(pictures, 4 × bins, places) of scores -> (pictures, 4, places) of distances in strides."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("distances", torch.arange(dfl.c1, dtype=torch.float32).view(1, 1, dfl.c1, 1))

        def forward(self, scores: Any) -> Any:
            pictures, _, places = scores.shape
            return (scores.view(pictures, 4, dfl.c1, places).softmax(2) * self.distances).sum(2)

    return ExpectedDistance()


def pickle_to_onnx(weights: Weights, out: Path) -> None:
    """An Ultralytics checkpoint, whose code is run; raises DetectorError when it finds other things than fire and smoke."""
    from daemon.detect.runtime_torch import from_pickle

    network, labels = from_pickle(weights)
    if labels != LABELS:
        raise DetectorError(
            f"{weights.path}: finds {', '.join(labels or ())}; it must find {', '.join(LABELS)}, in this order"
        )
    write_onnx(network.float().eval(), out)


def onnx_to_openvino(onnx: Path, out: Path) -> None:
    """As OpenVINO's .xml with its .bin, in full precision; raises DetectorError for what OpenVINO cannot read."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # see runtimes.py
    import openvino

    try:
        model = openvino.convert_model(str(onnx))
    except Exception as error:  # its frontends share no base but Exception
        raise DetectorError(f"{onnx}: not a model that OpenVINO can read") from error
    openvino.save_model(model, str(out), compress_to_fp16=False)


def onnx_to_engine(onnx: Path, out: Path, input_px: int, batch: int) -> None:
    """As TensorRT's engine for the GPU that is here, in f16. **Never run on a GPU yet** (docs/detector.md)."""
    from ultralytics.utils.export.engine import onnx2engine

    from daemon.detect import engines

    if not engines.possible_here():
        raise DetectorError("an engine is made on the GPU that will use it, by TensorRT: here is none, or no TensorRT")
    shape = (batch, 3, input_px, input_px)
    names = dict(enumerate(LABELS))
    onnx2engine(str(onnx), str(out), quantize=16, dynamic=True, shape=shape, metadata={"names": names, "stride": 32})
    made = engines.marked(out.read_bytes(), engines.of_this_host(), read_weights(onnx).sha256)
    out.write_bytes(made)


def _name_classes(path: Path) -> None:
    import onnx

    model = onnx.load(str(path))
    for key, value in (("names", str(dict(enumerate(LABELS)))), ("stride", "32"), ("task", "detect")):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
