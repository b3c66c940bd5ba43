# SPDX-License-Identifier: AGPL-3.0-or-later
"""TensorRT on an NVIDIA GPU, in half precision, with PyTorch for the memory. **This has never run on a GPU** (docs/detector.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorrt
import torch
from numpy.typing import NDArray

from daemon.detect import engines
from daemon.detect.class_names import class_names
from daemon.detect.model import Picture
from daemon.detect.weights import Weights
from daemon.errors import DetectorError


class TensorRtRuntime:
    """See Runtime. The engine's shapes are those it was exported for; another one is a DetectorError."""

    def __init__(self, weights: Weights) -> None:
        here = engines.of_this_host()
        try:
            engines.check(weights.content, here)
        except DetectorError as error:
            raise DetectorError(f"{weights.path}: {error}") from error
        head, engine = engines.head_of(weights.content)
        self._labels = class_names(weights.path, str(head["names"]) if "names" in head else None)
        # host code inside an engine stays forbidden, which is TensorRT's default: weights are data
        self._engine: Any = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR)).deserialize_cuda_engine(engine)
        if self._engine is None:
            raise DetectorError(f"{weights.path}: not an engine that TensorRT {tensorrt.__version__} can read")
        self._context: Any = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        if len(names) != 2 or len(inputs) != 1:
            raise DetectorError(f"{weights.path}: an engine with one input and one output is needed")
        self._input = inputs[0]
        self._output = next(name for name in names if name != self._input)
        self._name = f"TensorRT {here.tensorrt} {here.gpu} f16"

    @property
    def name(self) -> str:
        return self._name

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self._labels

    def prepare(self, size_px: tuple[int, int]) -> None:
        """See Runtime: an engine is prepared already."""

    def infer(self, pictures: Picture) -> NDArray[np.float32]:
        """See Runtime."""
        try:
            with torch.inference_mode():
                tensor = torch.from_numpy(np.ascontiguousarray(pictures)).cuda().flip(-1).permute(0, 3, 1, 2)
                tensor = (tensor.to(self._type_of(self._input)) / 255).contiguous()
                if not self._context.set_input_shape(self._input, tuple(tensor.shape)):
                    raise DetectorError(f"the engine was not made for pictures of {tuple(tensor.shape)}")
                shape = tuple(self._context.get_tensor_shape(self._output))
                answer = torch.empty(shape, dtype=self._type_of(self._output), device="cuda")
                self._context.set_tensor_address(self._input, tensor.data_ptr())
                self._context.set_tensor_address(self._output, answer.data_ptr())
                stream = torch.cuda.current_stream()
                if not self._context.execute_async_v3(stream.cuda_stream):
                    raise DetectorError("inference failed in TensorRT")
                stream.synchronize()
                raw: NDArray[np.float32] = answer.float().cpu().numpy()
        except RuntimeError as error:
            raise DetectorError(f"inference failed in TensorRT: {str(error).splitlines()[0]}") from error
        return raw

    def _type_of(self, name: str) -> Any:
        return torch.float16 if self._engine.get_tensor_dtype(name) == tensorrt.DataType.HALF else torch.float32
