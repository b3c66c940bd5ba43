# SPDX-License-Identifier: AGPL-3.0-or-later
"""Analyses for the tests of what stores and shows them."""

from __future__ import annotations

from typing import Any

from daemon.clock import NS
from daemon.domain import ModelInfo
from daemon.ids import new_id
from daemon.origin.record import (
    Analysis,
    Arrival,
    Candidate,
    Compared,
    Component,
    Extent,
    FirstVisible,
    LastClean,
    Link,
)

VIEW = Compared("same", 0.002, "cd" * 32)
MODEL = ModelInfo(sha256="ab" * 32, name="firewitness-11n", runtime="openvino", input_px=640)


def analysis_of(incident: str, at_ns: int, camera: str = "hall", **changes: Any) -> Analysis:
    """An analysis of a fire that was first visible at `at_ns` and confirmed 2 s later."""
    run = new_id()
    first = FirstVisible(
        at_ns, 0.09, 0.07, run, 90_000, "fire", 0.21, (100.0, 200.0, 140.0, 260.0), (121.5, 259.0), new_id()
    )
    chain = tuple(Link(at_ns + step * NS // 5, "fire", 0.2 + step / 50, sighting=True) for step in range(10))
    given: dict[str, Any] = {
        "id": new_id(), "incident": incident, "camera": camera, "source": "ring", "times": "measured",
        "analysed_at_ns": at_ns + 5 * NS, "model": MODEL, "thresholds": {"fire": 0.15, "smoke": 0.175},
        "confirmed_at_ns": at_ns + 2 * NS, "first_visible": first,
        "last_clean": LastClean(at_ns - NS // 25, run, 86_400, new_id()), "clean_s": 3.2, "doubt": None, "ended": "clean", "looks": 71,
        "component": Component("pump", 0.8, (Candidate("pump", 0.8), Candidate("wall", 0.2)), view=VIEW),
        "chain": (Link(at_ns - NS // 25, None, 0.0, sighting=False), *chain),
        "growth": (Extent(at_ns, 0.001, 0.0), Extent(at_ns + 2 * NS, 0.02, 0.004)),
        "arrival": (Arrival(31, 20, "fire", 0.0), Arrival(31, 19, "fire", 1.5), Arrival(30, 10, "smoke", 2.0)),
        "version": "0.1.0",
    }  # fmt: skip
    return Analysis(**(given | changes))
