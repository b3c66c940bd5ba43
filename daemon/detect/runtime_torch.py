# SPDX-License-Identifier: AGPL-3.0-or-later
"""PyTorch with Ultralytics' network, on CUDA or the CPU; the only module that may import them.

From an ONNX no pickle is needed: its initializers bear the names of the fused network's parameters, and one answer is
compared with what the file's graph gives. Ultralytics'
predictor is not used, since it needs torchvision, which a CPU torch may lack.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from daemon.detect.class_names import class_names
from daemon.detect.exporting import close
from daemon.detect.model import Picture
from daemon.detect.weights import Weights
from daemon.domain import LABELS
from daemon.errors import DetectorError, OtherNetwork, first_line

_ARCHITECTURE = "yolo11n.yaml"
_COMPARED_PX = 64  # takes 0.1 s; another activation moves boxes by half of it, rounding by a millionth

# Ultralytics installs what a checkpoint asks for and calls home, unless it is told not to before its import.
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_VERBOSE"] = "false"


class TorchRuntime:
    """See Runtime; `device` is "cuda" or "cpu". Half precision on CUDA, where it is twice as fast."""

    def __init__(self, weights: Weights, device: str) -> None:
        self._device = torch.device(device)
        self._dtype = torch.float16 if device == "cuda" else torch.float32
        network, self._labels = from_pickle(weights) if weights.format == "pt" else from_onnx(weights)
        self._network = network.to(self._device, self._dtype).eval()

    @property
    def name(self) -> str:
        where = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        return f"PyTorch {torch.__version__} {where} {'f16' if self._dtype == torch.float16 else 'f32'}"

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self._labels

    def prepare(self, size_px: tuple[int, int]) -> None:
        """See Runtime: one size is as good as another."""

    def infer(self, pictures: Picture) -> NDArray[np.float32]:
        """See Runtime."""
        try:
            with torch.inference_mode():
                tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device)
                tensor = tensor.flip(-1).permute(0, 3, 1, 2).to(self._dtype) / 255
                answer = self._network(tensor)[0]  # [1] are the maps before decoding
                raw: NDArray[np.float32] = answer.float().cpu().numpy()
        except RuntimeError as error:
            raise DetectorError(f"inference failed in PyTorch: {str(error).splitlines()[0]}") from error
        return raw


def from_onnx(weights: Weights) -> tuple[Any, tuple[str, ...] | None]:
    """Ultralytics' yolo11n with the file's parameters, and what the file calls its classes.

    Raises OtherNetwork for what that network is not.
    """
    import onnx
    from onnx import numpy_helper
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    try:
        model = onnx.load_from_string(weights.content)
    except Exception as error:  # protobuf's DecodeError, whose package has no types and is not ours to name
        raise DetectorError(f"{weights.path}: not an ONNX model") from error
    given = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in model.graph.initializer}
    # named in any case: where a plan names none, Ultralytics takes the activation of the network made before
    plan = {**yaml_model_load(_ARCHITECTURE), "activation": _activation({node.op_type for node in model.graph.node})}
    network = DetectionModel(plan, nc=len(LABELS), verbose=False)
    network.fuse(verbose=False)
    # bins of the box's distribution are no parameters: our export writes them otherwise (exporting.py)
    wanted = {name: value for name, value in network.state_dict().items() if ".dfl." not in name}
    unfit = [name for name, value in wanted.items() if name not in given or given[name].shape != value.shape]
    if unfit:
        raise OtherNetwork(
            f"{weights.path}: not a fused YOLO11n of {len(LABELS)} classes ({', '.join(LABELS)}): "
            f"{unfit[0]} is missing or of another shape"
        )
    network.load_state_dict({name: given[name] for name in wanted}, strict=False)
    _compare(network.eval(), model, weights.path)
    metadata = {each.key: each.value for each in model.metadata_props}
    return network, class_names(weights.path, metadata.get("names"))


def _compare(network: Any, model: Any, path: Path) -> None:
    """With what the file's own graph gives: parameters of the right shapes say nothing of what is done with them."""
    from onnx.reference import ReferenceEvaluator

    picture = np.random.default_rng(0).random((1, 3, _COMPARED_PX, _COMPARED_PX), np.float32)
    try:
        evaluator: Any = ReferenceEvaluator(model)
        wanted = evaluator.run(None, {model.graph.input[0].name: picture})[0]
    except Exception as error:  # what an operator raises is its own
        raise OtherNetwork(f"{path}: not a YOLO11n that can be compared: {first_line(error)}") from error
    with torch.no_grad():
        found = network(torch.from_numpy(picture))[0].numpy()
    if not close(found, wanted):
        raise OtherNetwork(
            f"{path}: a YOLO11n that computes otherwise than Ultralytics' does, such as by another activation"
        )


def _activation(operators: set[str]) -> str:
    """Parameters do not tell it, the graph does: HardSwish is what `python -m training` makes, SiLU what Ultralytics does."""
    return "torch.nn.Hardswish()" if "HardSwish" in operators else "torch.nn.SiLU()"


def _of_our_training(path: Path) -> bool:
    """Whether it is what training/checkpoint.py writes: tensors and plain values, read without running anything."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a pickle can raise anything, and what it is, who opens it next says
        return False
    return isinstance(content, dict) and "format" in content


def from_pickle(weights: Weights) -> tuple[Any, tuple[str, ...] | None]:
    """The network of an Ultralytics checkpoint and its classes' names: runs whatever code is in it."""
    from ultralytics.nn.tasks import load_checkpoint

    with tempfile.TemporaryDirectory(prefix="firewitness-") as private:
        # It loads only from a path; the file given may have changed since its bytes were checked.
        copy = Path(private) / "weights.pt"
        copy.write_bytes(weights.content)
        if _of_our_training(copy):
            raise DetectorError(
                f"{weights.path}: a checkpoint of `python -m training train`; `python -m training export` makes ONNX of it"
            )
        try:
            network, _ = load_checkpoint(str(copy), device="cpu", fuse=True)
        except Exception as error:  # a pickle can raise anything
            raise DetectorError(f"{weights.path}: not an Ultralytics checkpoint ({type(error).__name__})") from error
    return network, class_names(weights.path, str(network.names))
