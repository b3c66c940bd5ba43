# SPDX-License-Identifier: AGPL-3.0-or-later
"""ONNX Runtime on the CPU: for hosts on which OpenVINO does not load."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from daemon.detect.class_names import class_names
from daemon.detect.model import Picture, check_inputs
from daemon.detect.weights import Weights
from daemon.errors import DetectorError, first_line

_NOT_A_MODEL = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
)


class OnnxRuntime:
    """See Runtime. Spinning is off: by default its threads burn a core while they wait."""

    def __init__(self, weights: Weights) -> None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4  # what matters comes as an exception
        try:
            self._session = onnxruntime.InferenceSession(weights.content, options, providers=["CPUExecutionProvider"])
        except _NOT_A_MODEL as error:
            raise DetectorError(f"{weights.path}: not a model that ONNX Runtime can read") from error
        self._precision = "int8 and f32" if weights.quantised else "f32"
        inputs = self._session.get_inputs()
        check_inputs(weights.path, [tuple(each.shape) or None for each in inputs])
        self._input = inputs[0].name
        self._labels = class_names(weights.path, self._session.get_modelmeta().custom_metadata_map.get("names"))

    @property
    def name(self) -> str:
        return f"ONNX Runtime {onnxruntime.__version__} CPU {self._precision}"

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self._labels

    def prepare(self, size_px: tuple[int, int]) -> None:
        """See Runtime: one size is as good as another."""

    def infer(self, pictures: Picture) -> NDArray[np.float32]:
        """See Runtime."""
        tensor = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
        try:
            raw: NDArray[np.float32] = self._session.run(None, {self._input: tensor})[0]
        except Exception as error:  # its pybind classes share no base but Exception
            raise DetectorError(f"inference failed in ONNX Runtime: {first_line(error)}") from error
        return raw
