# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model as records and analyses name it (docs/formats.md)."""

from __future__ import annotations

from typing import Any

from daemon.domain import ModelInfo, VerifierInfo


def model_record(model: ModelInfo) -> dict[str, Any]:
    """JSON; what is not there is left out."""
    verifier, card_sha256 = model.verifier, model.card_sha256
    return {
        "sha256": model.sha256,
        "name": model.name,
        "runtime": model.runtime,
        "input_px": model.input_px,
        "labels": list(model.labels),
        **({} if card_sha256 is None else {"card_sha256": card_sha256}),
        **({} if verifier is None else {"verifier": _verifier(verifier)}),
    }


def _verifier(verifier: VerifierInfo) -> dict[str, Any]:
    return {
        "sha256": verifier.sha256,
        "name": verifier.name,
        "input_px": verifier.input_px,
        "threshold": float(verifier.threshold),
    }
