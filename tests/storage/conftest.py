# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the storage tests share: evidence to be stored, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from daemon.domain import Detection, Evidence, FrameTime, ModelInfo
from daemon.ids import new_id

MODEL = ModelInfo(sha256="ab" * 32, name="firewitness-11n", runtime="openvino 2026.4 bf16", input_px=640)
CAPTURED_AT_NS = 1_795_449_909_123_456_789  # 2026-11-23T16:05:09.123Z
FIRE = Detection("fire", 0.61, (100.5, 40.0, 164.25, 90.0))
SMOKE = Detection("smoke", 0.4, (80.0, 0.0, 200.0, 60.0), "burner")


@pytest.fixture
def make_evidence() -> Callable[..., Evidence]:
    """Makes evidence; keywords replace its fields, and those of its time."""

    def make(**changes: Any) -> Evidence:
        times = {name: changes.pop(name) for name in list(changes) if name in FrameTime.__dataclass_fields__}
        time = replace(FrameTime(CAPTURED_AT_NS, 0.05, 0.03, True, False), **times)
        evidence = Evidence(
            id=new_id(),
            camera="hall",
            kind="hit",
            run="0193a000-0000-7000-8000-000000000001",
            pts=2**40 + 7,
            time_base=(1, 90000),
            time=time,
            width_px=320,
            height_px=180,
            detections=(FIRE, SMOKE),
            incident=None,
            model=MODEL,
            thresholds={"fire": 0.3, "smoke": 0.35},
            damage="no",
            colour=("bt709", "limited"),
            version="0.1.0",
        )
        return replace(evidence, **changes)

    return make


@pytest.fixture
def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture (180, 320, 3) BGR with structure and noise."""
    random = np.random.default_rng(7)
    ramp = np.linspace(0, 200, 320, dtype=np.uint8)[None, :, None].repeat(180, 0).repeat(3, 2)
    return (ramp + random.integers(0, 40, ramp.shape, dtype=np.uint8)).astype(np.uint8)
