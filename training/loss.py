# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics' detection loss, without the class term of what is not known of a picture; needs torch."""

from __future__ import annotations

from typing import Any

import torch
from ultralytics.utils.loss import v8DetectionLoss


class _KnownOnly(torch.nn.Module):  # type: ignore[misc]
    """Binary cross-entropy that is nothing where a picture's label is not known; `known` is (pictures, classes)."""

    def __init__(self, entropy: torch.nn.Module, known: torch.Tensor) -> None:
        super().__init__()
        self._entropy, self._known = entropy, known

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        masked: torch.Tensor = self._entropy(scores, targets) * self._known[:, None, :].to(scores.dtype)
        return masked


class MaskedLoss(v8DetectionLoss):  # type: ignore[misc]
    """Takes `known` in the batch besides what Ultralytics' takes."""

    def get_assigned_targets_and_loss(self, preds: Any, batch: dict[str, Any], **how: Any) -> Any:
        entropy: torch.nn.Module = self.bce  # type: ignore[has-type]
        self.bce = _KnownOnly(entropy, batch["known"].to(self.device))
        try:
            return super().get_assigned_targets_and_loss(preds, batch, **how)
        finally:
            self.bce = entropy
