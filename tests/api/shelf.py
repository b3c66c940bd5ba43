# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fills a true store with made-up evidence, for tests of what reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from daemon.clock import NS, HostClocks
from daemon.domain import Detection, Evidence, FrameTime, Gap, Incident, ModelInfo, Run
from daemon.ids import new_id
from daemon.settings import Settings
from daemon.storage import bodies, still
from daemon.storage.store import Store
from daemon.storage.writing import Entry

MODEL = ModelInfo(sha256="ab" * 32, name="firewitness-11n", runtime="openvino bf16", input_px=640)
FIRE = Detection("fire", 0.61, (100.5, 40.0, 164.25, 90.0))
SMOKE = Detection("smoke", 0.4, (80.0, 0.0, 200.0, 60.0))
Picture = np.ndarray[Any, np.dtype[np.uint8]]


def scene(width: int = 320, height: int = 180) -> Picture:
    """A picture with structure, (height, width, 3) BGR."""
    ramp = np.linspace(0, 200, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    return (ramp + np.random.default_rng(7).integers(0, 40, ramp.shape, dtype=np.uint8)).astype(np.uint8)


class Shelf:
    """An open store that takes evidence, incidents and gaps; close it before the daemon's own recorder starts."""

    def __init__(self, settings: Settings, cameras: Sequence[str] = ("hall",)) -> None:
        self.store = Store.open(settings.storage, HostClocks(), version="0.1.0", cameras=cameras)
        self._runs: dict[str, str] = {}

    def still(
        self,
        at_ns: int,
        camera: str = "hall",
        kind: str = "hit",
        incident: str | None = None,
        detections: tuple[Detection, ...] = (FIRE, SMOKE),
        picture: Picture | None = None,
        **changes: Any,
    ) -> Evidence:
        picture = scene() if picture is None else picture
        evidence = Evidence(
            id=new_id(), camera=camera, kind=kind, run=self._run(camera), pts=at_ns // 11_111, time_base=(1, 90000),
            time=FrameTime(at_ns, 0.052, 0.031, True, False),
            width_px=picture.shape[1], height_px=picture.shape[0], detections=detections, incident=incident, model=MODEL,
            thresholds={"fire": 0.3, "smoke": 0.35}, damage="no", colour=("bt709", "limited"), version="0.1.0",
        )  # fmt: skip
        evidence = replace(evidence, **changes)
        self.store.commit([self.store.still_entry(evidence, still.encode(picture, evidence))])
        return evidence

    def incident(self, at_ns: int, camera: str = "hall", state: str = "ended", **changes: Any) -> Incident:
        confirmed = None if state in ("suspect", "unconfirmed") else at_ns + NS
        ended = None if state in ("suspect", "confirmed") else at_ns + 60 * NS
        incident = replace(
            Incident(new_id(), camera, state, at_ns, confirmed, ended, ("fire",), 0.61, (0.3, 0.2, 0.5, 0.5)), **changes
        )
        self.store.commit([Entry("incident", bodies.incident(incident))])
        return incident

    def gap(
        self, from_ns: int, to_ns: int | None, camera: str = "hall", reason: str = "stalled", detail: str = ""
    ) -> Gap:
        gap = Gap(new_id(), camera, reason, from_ns, to_ns, detail)
        self.store.commit([Entry("gap", bodies.gap(gap))])
        return gap

    def close(self) -> None:
        self.store.close("stop")

    def _run(self, camera: str) -> str:
        if camera not in self._runs:
            run = Run(
                new_id(),
                camera,
                HostClocks().wall_ns(),
                HostClocks().monotonic_ns(),
                (1, 90000),
                "h264",
                320,
                180,
                "connected",
            )
            self.store.commit([Entry("run", bodies.run(run, self.store.next_run_seq()))])
            self._runs[camera] = run.id
        return self._runs[camera]
