# SPDX-License-Identifier: AGPL-3.0-or-later
"""OpenVINO on the CPU: the runtime of hosts without a GPU, in bf16 where the CPU computes in it.

Pictures are computed one by one on parallel streams, not as one tensor: that was the fastest (docs/detector.md), and
makes an answer independent of what else was in the batch.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino.preprocess import ColorFormat, PrePostProcessor

from daemon.detect.class_names import class_names
from daemon.detect.model import Picture, check_inputs
from daemon.detect.weights import Weights
from daemon.errors import DetectorError, first_line


class OpenVinoRuntime:
    """See Runtime. OpenVINO's worker threads sleep between inferences; tests/detect measures that they do."""

    def __init__(self, weights: Weights) -> None:
        self._core = openvino.Core()
        model = _read(self._core, weights)
        check_inputs(weights.path, [_shape(each.partial_shape) for each in model.inputs])
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if has_bf16 else "f32"
        self._settings: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
        self._labels = class_names(weights.path, _names(model))
        self._model = _taking_bgr_bytes(model)
        self._any_size = self._compiled(self._model)
        self._sized: dict[tuple[int, ...], Any] = {}
        self._raw: dict[int, NDArray[np.float32]] = {}
        computes_in = f"int8 and {precision}" if weights.quantised else precision
        self._name = f"OpenVINO {openvino.__version__.split('-')[0]} CPU {computes_in}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self._labels

    def prepare(self, size_px: tuple[int, int]) -> None:
        """See Runtime: compiled for one size, a picture takes an eighth less (docs/detector.md)."""
        if size_px in self._sized:
            return
        model = self._model.clone()
        try:
            model.reshape([1, *size_px, 3])
            self._sized[size_px] = self._compiled(model)
        except RuntimeError as error:
            what = f"cannot be computed at {size_px[1]}×{size_px[0]}"
            raise DetectorError(f"the network {what}: {first_line(error)}") from error

    def infer(self, pictures: Picture) -> NDArray[np.float32]:
        """See Runtime."""
        self._raw = {}
        queue = self._sized.get(pictures.shape[1:3], self._any_size)
        try:
            for place in range(len(pictures)):
                queue.start_async({0: pictures[place : place + 1]}, place, share_inputs=True)
            queue.wait_all()
        except RuntimeError as error:
            raise DetectorError(f"inference failed in OpenVINO: {first_line(error)}") from error
        return np.concatenate([self._raw[place] for place in range(len(pictures))])

    def _compiled(self, model: Any) -> Any:
        queue = openvino.AsyncInferQueue(self._core.compile_model(model, "CPU", self._settings))
        queue.set_callback(self._keep)
        return queue

    def _keep(self, request: Any, place: int) -> None:
        # a copy: the request's own memory is used again by the next picture
        self._raw[place] = np.atleast_1d(request.get_output_tensor(0).data).copy()


def _read(core: Any, weights: Weights) -> Any:
    try:
        return core.read_model(io.BytesIO(weights.content), io.BytesIO(weights.values) if weights.values else None)
    except RuntimeError as error:
        raise DetectorError(f"{weights.path}: not a model that OpenVINO can read: {first_line(error)}") from error


def _shape(partial: Any) -> tuple[int | None, ...] | None:
    if partial.rank.is_dynamic:
        return None
    return tuple(side.get_length() if side.is_static else None for side in partial)


def _names(model: Any) -> str | None:
    names = ["framework", "names"]  # where OpenVINO puts an ONNX file's metadata
    return model.get_rt_info(names).astype(str) if model.has_rt_info(names) else None


def _taking_bgr_bytes(model: Any) -> Any:
    """The model with the conversion from uint8 BGR NHWC to 0..1 RGB NCHW compiled in."""
    steps = PrePostProcessor(model)
    tensor = steps.input().tensor()
    tensor.set_element_type(openvino.Type.u8)
    tensor.set_layout(openvino.Layout("NHWC"))
    tensor.set_color_format(ColorFormat.BGR)
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).convert_color(ColorFormat.RGB).scale(255.0)
    return steps.build()
