# SPDX-License-Identifier: AGPL-3.0-or-later
"""Third layer of POST /fire_detector: what was found, or why nothing was looked for → the envelope."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.api import codes
from daemon.api.codes import NO_REQ_ID, Code, Refusal
from daemon.api.headers import Header
from daemon.api.orientation import box_as_stored
from daemon.domain import Box, Detection, ModelInfo

_SHA256_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ResponseArgument:
    """The envelope; `req_id` is JSON text, put in as it is."""

    req_id: str
    code: Code
    err_msg: str
    result: dict[str, Any] | None = None

    @classmethod
    def from_refusal(cls, refusal: Refusal, req_id: str = NO_REQ_ID) -> ResponseArgument:
        return cls(req_id if refusal.req_id == NO_REQ_ID else refusal.req_id, refusal.code, str(refusal))

    @classmethod
    def from_detections(
        cls,
        req_id: str,
        header: Header,
        detections: tuple[Detection, ...],
        thresholds: Mapping[str, float],
        model: ModelInfo,
        elapsed_ms: float,
    ) -> ResponseArgument:
        """Detections at or above their class's threshold, strongest first, boxes in pixels as stored.

        Apart from them stands what the verifier rejected, where there is one.
        """
        counted = [each for each in detections if each.confidence >= thresholds.get(each.label, 1.0)]
        counted.sort(key=lambda each: -each.confidence)
        result: dict[str, Any] = {"detections": [_found(each, header) for each in counted if not each.rejected]}
        if model.verifier is not None:
            result["rejected"] = [_found(each, header) for each in counted if each.rejected]
        result |= {
            "width": header.width_px,
            "height": header.height_px,
            "orientation": header.orientation,
            "model": f"{model.name}@{model.sha256[:_SHA256_SHOWN]}",
            "elapsed_ms": round(elapsed_ms, 1),
        }
        return cls(req_id, codes.SUCCESS, codes.SUCCESS.sentence, result)

    def body(self) -> bytes:
        """JSON, ASCII only, so that a `req_id` with half a surrogate pair goes back as it came."""
        return (
            f'{{"req_id": {self.req_id}, "err_no": {self.code.number}, "err_msg": {json.dumps(self.err_msg)}, '
            f'"result": {json.dumps(self.result, allow_nan=False)}}}\n'
        ).encode("ascii")


def _found(detection: Detection, header: Header) -> dict[str, Any]:
    found = {
        "label": detection.label,
        "confidence": round(detection.confidence, 4),
        "box": _box(detection.box, header),
    }
    if detection.looks is not None:
        found["looks"] = {"whole": round(detection.looks.whole, 4), "close": round(detection.looks.close, 4)}
    if detection.verdict is not None:
        found["verified"] = round(detection.verdict.confidence, 4)
    return found


def _box(upright: Box, header: Header) -> list[float]:
    x1, y1, x2, y2 = box_as_stored(upright, header.orientation, header.width_px, header.height_px)
    sizes = (header.width_px, header.height_px)
    return [round(min(max(value, 0.0), sizes[place % 2]), 2) for place, value in enumerate((x1, y1, x2, y2))]
