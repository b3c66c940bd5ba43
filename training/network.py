# SPDX-License-Identifier: AGPL-3.0-or-later
"""The network: Ultralytics' YOLO with two classes, begun from weights of another training; needs torch."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel, load_checkpoint
from ultralytics.utils import DEFAULT_CFG_DICT

from daemon.domain import LABELS
from training.folders import FolderError

ACTIVATION = "torch.nn.Hardswish()"
"""Of what is trained here, whatever it begins from: nearly SiLU (Howard et al., MobileNetV3, 2019, section 5.2), without
the exponential that half of the time in int8 goes to (docs/detector.md, INT8)."""


def network(plan: dict[str, Any]) -> DetectionModel:
    """As its plan says (Ultralytics' YAML as a dict), with our two classes, untrained; raises FolderError for one that says more."""
    # Ultralytics evaluates the activation, and calls with its arguments whatever a layer's name means in its module
    if plan.get("activation", ACTIVATION) != ACTIVATION or not all(_is_layer(name) for name in _layers(plan)):
        raise FolderError(
            "a network's plan names what is no layer of YOLO, or another activation: it could execute code"
        )
    # where a plan names none, Ultralytics takes the activation of the network made before
    # and of a plan that names other than our classes it says aloud that they were overridden
    made = DetectionModel({"activation": "torch.nn.SiLU()", **plan, "nc": len(LABELS)}, verbose=False)
    made.args = SimpleNamespace(**DEFAULT_CFG_DICT)
    made.names = dict(enumerate(LABELS))
    return made


def _layers(plan: dict[str, Any]) -> list[str]:
    return [name for _, _, name, _ in plan["backbone"] + plan["head"]]


def _is_layer(name: str) -> bool:
    found = getattr(torch.nn, name[3:], None) if name.startswith("nn.") else getattr(tasks, name, None)
    return isinstance(found, type) and issubclass(found, torch.nn.Module)


@dataclass(frozen=True, slots=True)
class Source:
    """Weights to begin with: Ultralytics' YAML of their network as a dict, and their tensors by name."""

    plan: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    fused: bool = False
    """Whether its batch norms know nothing yet of what reaches them (unfused.py)."""


def mean(sources: Sequence[Source], weights: Sequence[float] | None = None) -> Source:
    """Of several trainings that began from the same weights, what is often better than each (model soups, Wortsman et al. 2022).

    `weights`: how much each of them counts; by default all the same. Raises FolderError where they are not the same network.
    """
    first, *others = sources
    counts = torch.tensor(weights or [1.0] * len(sources), dtype=torch.float64)
    if not others:
        return first
    shapes = {name: each.shape for name, each in first.tensors.items()}
    if any({name: one.shape for name, one in other.tensors.items()} != shapes for other in others):
        raise FolderError("a mean can be taken of checkpoints of the same network only")
    if len({each.fused for each in sources}) > 1:
        raise FolderError("a mean can be taken of checkpoints or of exported weights, not of both together")
    tensors = {
        name: (torch.stack([each.tensors[name].double() for each in sources], -1) @ counts / counts.sum()).to(one.dtype)
        for name, one in first.tensors.items()
    }
    return Source(first.plan, tensors, first.fused)


def of_ultralytics(path: Path) -> Source:
    """A checkpoint of theirs, which can execute code; raises FolderError for what is none."""
    try:
        source, _ = load_checkpoint(str(path))
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise FolderError(f"{path}: not an Ultralytics checkpoint that can be loaded") from error
    return Source(dict(source.yaml), source.float().state_dict())


def begun_from(source: Source) -> tuple[DetectionModel, dict[str, Any], int]:
    """A network of ours with all of its tensors that fit, its plan, and how many those are."""
    plan = {**source.plan, "activation": ACTIVATION}
    made = network(plan)
    wanted = made.state_dict()
    fitting = {
        name: value for name, value in source.tensors.items() if name in wanted and value.shape == wanted[name].shape
    }
    made.load_state_dict(fitting, strict=False)
    for parameter in made.parameters():
        parameter.requires_grad_(True)
    return made, plan, len(fitting)


def averaged_into(average: torch.nn.Module, model: torch.nn.Module, share: float) -> None:
    """Moves the average a `share` of the way to the model."""
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value.detach(), share)
            else:
                mean.copy_(value)
