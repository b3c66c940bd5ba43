# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics' detection loss, of what is known of a picture, towards confidences that mean "it burns here"; needs torch.

Task-aligned assignment (Feng et al., TOOD, 2021, section 3.3) teaches each object's best anchor the IoU of its box as its
confidence. Flames and smoke have no outline that two people would draw alike: however surely it is seen, a small or glowing
fire's IoU is about 0.45, and so became its confidence, while a streak of glare with sharp borders got the same. The IoU to
the power of OVERLAP_WEIGHS is taught instead.
"""

from __future__ import annotations

from typing import Any

import torch
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner

OVERLAP_WEIGHS = 0.5  # 1: as Ultralytics has it; 0: the best anchor is always to be sure


class _KnownOnly(torch.nn.Module):  # type: ignore[misc]
    """Binary cross-entropy that is nothing where a picture's label is not known; `known` is (pictures, classes)."""

    def __init__(self, entropy: torch.nn.Module, known: torch.Tensor) -> None:
        super().__init__()
        self._entropy, self._known = entropy, known

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        masked: torch.Tensor = self._entropy(scores, targets) * self._known[:, None, :].to(scores.dtype)
        return masked


class _Surer(TaskAlignedAssigner):  # type: ignore[misc]
    """Which anchors are an object's is decided as ever; only what the best of them are taught differs."""

    def get_box_metrics(self, *given: Any, **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
        alignments, overlaps = super().get_box_metrics(*given, **more)
        return alignments, overlaps.pow(OVERLAP_WEIGHS)


class MaskedLoss(v8DetectionLoss):  # type: ignore[misc]
    """Takes `known` in the batch besides what Ultralytics' takes."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model)
        theirs = self.assigner  # type: ignore[has-type]
        self.assigner = _Surer(
            topk=theirs.topk,
            num_classes=theirs.num_classes,
            alpha=theirs.alpha,
            beta=theirs.beta,
            stride=theirs.stride,
            topk2=theirs.topk2,
        )

    def get_assigned_targets_and_loss(self, preds: Any, batch: dict[str, Any], **how: Any) -> Any:
        entropy: torch.nn.Module = self.bce  # type: ignore[has-type]
        self.bce = _KnownOnly(entropy, batch["known"].to(self.device))
        try:
            return super().get_assigned_targets_and_loss(preds, batch, **how)
        finally:
            self.bce = entropy
