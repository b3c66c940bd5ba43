# SPDX-License-Identifier: AGPL-3.0-or-later
"""Weights that the daemon runs, as a network that can be trained on; needs torch.

An exported network has no batch norms: each is folded into the convolution before it. To be trained, every convolution
gets one again, first one that changes nothing and knows nothing (`of_onnx`), then, from what a few pictures bring about
in it, its mean and variance (`with_statistics`). Both leave the answers as they are: of a batch norm
y = w (x - mean) / sqrt(variance + eps) + b (Ioffe and Szegedy, 2015, algorithm 1) only the scale w and the shift b change
along, and a batch in training is then normalised to about what the weights were made for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import yaml_model_load

from training.folders import FolderError
from training.network import ACTIVATION, Source, network

SIZES = "nsmlx"
"""Of Ultralytics' YOLO11, whose plans come with it: an exported network does not hold its own."""

Norms = dict[str, tuple[torch.nn.Conv2d, torch.nn.BatchNorm2d]]


def of_onnx(path: Path) -> Source:
    """What `training export` wrote; raises FolderError for other networks."""
    found = _tensors(path)
    for size in SIZES:
        plan = {**yaml_model_load(f"yolo11{size}.yaml"), "activation": ACTIVATION}
        tensors = _unfolded(found, plan)
        if tensors is not None:
            return Source(plan, tensors, fused=True)
    raise FolderError(
        f"{path}: not a YOLO11 with the classes fire and smoke as `training export` writes it; begin from a checkpoint"
    )


def with_statistics(model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Gives every batch norm the mean and variance of what reaches it; batches are (N, 3, H, W), RGB from 0 to 1.

    In f32 and double sums on the CPU, wherever the model is; what it answers in evaluation stays the same. Raises FolderError
    without any picture.
    """
    norms = _norms(model)
    sums = {name: torch.zeros(3, norm.num_features, dtype=torch.float64) for name, (_, norm) in norms.items()}
    training = model.training
    with _watched(norms, sums), torch.no_grad():
        model.eval()
        for batch in batches:
            model(batch)
    model.train(training)
    for name, (_, norm) in norms.items():
        values, total, squares = sums[name]
        if not values.all():
            raise FolderError("there are no pictures to measure a network with")
        mean = total / values
        variance = (squares / values - mean**2).clamp(min=0)
        _normalise(norm, mean, variance)


def _normalise(norm: torch.nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """The same function with another mean and variance, from whichever device."""
    mean, variance = mean.to(norm.weight), variance.to(norm.weight)
    with torch.no_grad():
        slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias += slope * (mean - norm.running_mean)
        norm.weight.copy_(slope * torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def _norms(model: torch.nn.Module) -> Norms:
    """Every convolution that a batch norm follows, by the name of the module that has both."""
    return {
        name: (module.conv, module.bn)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "conv", None), torch.nn.Conv2d) and hasattr(module, "bn")
    }


@contextmanager
def _watched(norms: Norms, sums: dict[str, torch.Tensor]) -> Iterator[None]:
    """Adds up how many values, the values and their squares, of each channel that a convolution gives."""

    def add(name: str, values: torch.Tensor) -> None:
        channels = values.cpu().double().transpose(0, 1).flatten(1)
        sums[name] += torch.stack(
            (torch.full((len(channels),), float(channels.shape[1])), channels.sum(1), (channels**2).sum(1))
        )

    hooks = [
        conv.register_forward_hook(lambda _module, _given, values, name=name: add(name, values))
        for name, (conv, _) in norms.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """All weights and biases by name."""
    import onnx  # with torch's other packages: nothing else here needs it
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from error
    except DecodeError as error:
        raise FolderError(f"{path}: not an ONNX file") from error
    return {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in model.graph.initializer}


def _unfolded(found: dict[str, torch.Tensor], plan: dict[str, Any]) -> dict[str, torch.Tensor] | None:
    """A state for the plan's network with batch norms that only add the bias; None where the tensors are another one's."""
    made, missing = network(plan), torch.empty(0)
    wanted: dict[str, torch.Tensor] = made.state_dict()
    state = {  # how far a box's sides are is no weight: exported as a sum
        name: value if ".bn." in name or ".dfl." in name else found.get(name, missing) for name, value in wanted.items()
    }
    for name, (_, norm) in _norms(made).items():
        state[f"{name}.bn.weight"] = torch.full_like(norm.weight, (1 + norm.eps) ** 0.5)
        state[f"{name}.bn.bias"] = found.get(f"{name}.conv.bias", missing)
    fits = all(state[name].shape == value.shape for name, value in wanted.items())
    return state if fits else None
