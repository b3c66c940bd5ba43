# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which closed clip holds a still's frame: found by the still's run and PTS, for a whole page of stills at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from daemon.storage.index import ClipRow, EvidenceRow


def filmed(session: Session, stills: Sequence[EvidenceRow]) -> dict[str, dict[str, Any]]:
    """Still → its frame's place in a clip; one that no clip's span holds is not in it."""
    wanted = [(row.id, row.record.get("run"), row.pts) for row in stills if not row.is_clip]
    return {
        still: {
            "id": clip,
            "video": f"/api/v1/evidence/{clip}/video",
            "pts": str(pts),
            "at_s": _at_s(pts - int(told["first_dts"]), told["time_base"]),
        }
        for still, pts, clip, told in session.execute(filmed_query(wanted))
    }


def filmed_query(wanted: Sequence[tuple[str, str | None, int]]) -> Select[Any]:
    """(still, PTS, clip, the clip's record) of those (still, run, PTS) that a clip's span holds.

    Looked at is the clip of the run that began last before the frame, one step in the index. Clips of a run follow each
    other: where an earlier one holds the frame too, it may have key frames only there.
    """
    each = func.json_each(json.dumps(wanted)).table_valued("value", name="wanted")
    still, run, pts = (func.json_extract(each.c.value, f"$[{place}]") for place in range(3))
    clip, row = ClipRow, EvidenceRow
    earlier = select(clip.id).where(clip.run == run, clip.first_pts <= pts)
    newest = earlier.order_by(clip.first_pts.desc()).limit(1).correlate(each).scalar_subquery()
    held = (clip.last_pts >= pts, row.missing.is_(False))
    return (
        select(still, pts, clip.id, row.record)
        .select_from(each)
        .join(clip, clip.id == newest)
        .join(row, row.id == clip.id)
        .where(*held)
    )


def _at_s(ticks: int, time_base: Sequence[int]) -> float:
    """Of presentation in the file."""
    numerator, denominator = time_base
    return round(ticks * numerator / denominator, 3)
