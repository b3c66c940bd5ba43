# SPDX-License-Identifier: AGPL-3.0-or-later
"""What happened to a site's cameras during one incident: their first sights of a fire, and their losses, from the index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.origin.doubt import doubt_in
from daemon.origin.sequence import Event, first_sight, loss, reaching_back
from daemon.storage.index import AnalysisRow, GapRow, IncidentRow
from daemon.storage.last_frames import last_frame

ROUND_NS = 300 * NS  # before and after the incident: what belongs to it began by then
SILENT = ("unreachable", "refused", "stalled")
LOSSES = (*SILENT, "no_picture", "frozen", "decode")
LAST_FRAME_NS = 60 * NS  # a frame from longer before a loss says nothing about it


def site_events(
    session: Session, root: Path, incident: IncidentRow, cameras: Sequence[str], interval_s: float, now_ns: int
) -> list[Event]:
    """Of those cameras; `interval_s` is how far apart watched frames may be, `root` the store's."""
    begin_ns = incident.first_suspect_at_ns - ROUND_NS
    end_ns = (incident.ended_at_ns or now_ns) + ROUND_NS
    row, gap = IncidentRow, GapRow
    seen = session.scalars(
        select(row).where(
            row.camera.in_(cameras),
            row.kind == "detected",
            row.first_confirmed_at_ns.is_not(None),
            row.first_suspect_at_ns <= end_ns,
            or_(row.ended_at_ns.is_(None), row.ended_at_ns >= begin_ns),
        )
    ).all()
    lost = session.scalars(
        select(gap).where(
            gap.camera.in_(cameras), gap.reason.in_(LOSSES), gap.from_at_ns >= begin_ns, gap.from_at_ns <= end_ns
        )
    ).all()
    return [
        *(_first_sight(session, each, interval_s) for each in seen),
        *(_loss(session, root, each, interval_s) for each in lost),
    ]


def _first_sight(session: Session, incident: IncidentRow, interval_s: float) -> Event:
    newest = select(AnalysisRow.body).where(AnalysisRow.incident == incident.id).order_by(AnalysisRow.ledger_seq.desc())
    body = session.scalars(newest.limit(1)).first()
    if body is None:
        return first_sight(incident.id, incident.camera, incident.first_suspect_at_ns, interval_s, "suspected", None)
    first, doubt = body["first_visible"], doubt_in(body)
    how = "in_doubt" if doubt else "gone_back" if body["last_clean"] is not None else "burning_when_record_begins"
    uncertainty_s, evidence = first["relative_uncertainty_s"], first["evidence"]
    sight = first_sight(incident.id, incident.camera, int(first["at_ns"]), uncertainty_s, how, evidence)
    if how == "gone_back":
        return sight
    since_ns = doubt and doubt["since_ns"]
    return reaching_back(sight, int(since_ns) if since_ns else None)


def _loss(session: Session, root: Path, gap: GapRow, interval_s: float) -> Event:
    """A gap begins with the last frame that was watched; one that only fell silent can have sent others until the next was due."""
    until_ns = gap.from_at_ns + (round(interval_s * NS) if gap.reason in SILENT else 0)
    last = last_frame(session, root, gap.camera, gap.from_at_ns - LAST_FRAME_NS, until_ns)
    if last is None:
        return loss(gap.id, gap.camera, gap.from_at_ns, 0.0, interval_s, gap.reason, None)
    last_ns, uncertainty_s = max(gap.from_at_ns, last.at_ns), last.relative_uncertainty_s
    return loss(gap.id, gap.camera, last_ns, uncertainty_s, interval_s, gap.reason, last.evidence, last.frame)
