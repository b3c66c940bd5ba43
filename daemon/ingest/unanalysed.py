# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record of a still that is kept without the detector's having looked at it: of a capture, or a reference still."""

from __future__ import annotations

from daemon.domain import Evidence, EvidenceKind
from daemon.ids import new_id
from daemon.ingest.frames import Picture
from daemon.ingest.plan import WorkerPlan


def record_of(
    plan: WorkerPlan,
    picture: Picture,
    kind: EvidenceKind,
    incident: str | None = None,
    size_px: tuple[int, int] | None = None,
) -> Evidence:
    """`size_px` is the stored picture's, where it is not the frame's."""
    width_px, height_px = size_px or picture.size_px
    return Evidence(
        id=new_id(),
        camera=plan.camera,
        kind=kind,
        run=picture.run.id,
        pts=picture.pts,
        time_base=picture.run.time_base,
        time=picture.time,
        width_px=width_px,
        height_px=height_px,
        detections=(),
        incident=incident,
        model=None,
        thresholds={},
        damage=picture.damage,
        colour=(picture.colour.matrix, picture.colour.range),
        version=plan.version,
        drill=plan.drill,
        reduced_from_px=picture.size_px if (width_px, height_px) != picture.size_px else None,
    )
