# SPDX-License-Identifier: AGPL-3.0-or-later
"""What happened to a site's cameras during one incident: their first sights of a fire, and their losses, from the index.

Times are UTC, by the pair of clocks that was read when an event's run began. Where the wall clock was set between two such
readings, or the host was started anew, times of the one say nothing exact about times of the other: the error bars grow by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.domain import SILENT
from daemon.origin.doubt import doubt_in
from daemon.origin.sequence import Event, first_sight, loss, reaching_back
from daemon.storage.index import AnalysisRow, EvidenceRow, GapRow, IncidentRow, RunRow, SegmentRow
from daemon.storage.last_frames import last_frame

ROUND_NS = 300 * NS  # before and after the incident: what belongs to it began by then
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
    own = _run_of_sight(session, incident, _newest_analysis(session, incident.id))
    return [
        *(_first_sight(session, each, interval_s, own) for each in seen),
        *(_loss(session, root, each, interval_s, own) for each in lost),
    ]


def _first_sight(session: Session, incident: IncidentRow, interval_s: float, own: RunRow | None) -> Event:
    body = _newest_analysis(session, incident.id)
    off_s = _off_s(_run_of_sight(session, incident, body), own)
    if body is None:  # the detector suspects late: nobody has looked yet at how long it had been visible by then
        at_ns = incident.first_suspect_at_ns
        suspected = first_sight(incident.id, incident.camera, at_ns, interval_s + off_s, "suspected", None)
        return reaching_back(suspected, None)
    first, doubt = body["first_visible"], doubt_in(body)
    how = "in_doubt" if doubt else "gone_back" if body["last_clean"] is not None else "burning_when_record_begins"
    uncertainty_s, evidence = first["relative_uncertainty_s"] + off_s, _kept(session, first["evidence"])
    sight = first_sight(incident.id, incident.camera, int(first["at_ns"]), uncertainty_s, how, evidence)
    if how == "gone_back":
        return sight
    since_ns = doubt and doubt["since_ns"]
    return reaching_back(sight, int(since_ns) - round(off_s * NS) if since_ns else None)


def _loss(session: Session, root: Path, gap: GapRow, interval_s: float, own: RunRow | None) -> Event:
    """A gap begins with the last frame that was watched; one that only fell silent can have sent others until the next was due."""
    until_ns = gap.from_at_ns + (round(interval_s * NS) if gap.reason in SILENT else 0)
    last = last_frame(session, root, gap.camera, gap.from_at_ns - LAST_FRAME_NS, until_ns)
    if last is None:  # nothing is kept that would tell how exact its time is
        off_s = _off_s(_run_at(session, gap.camera, gap.from_at_ns), own)
        return loss(gap.id, gap.camera, gap.from_at_ns, interval_s + off_s, interval_s, gap.reason, None)
    last_ns, off_s = max(gap.from_at_ns, last.at_ns), _off_s(_run_of(session, last.evidence), own)
    uncertainty_s = last.relative_uncertainty_s + off_s
    return loss(gap.id, gap.camera, last_ns, uncertainty_s, interval_s, gap.reason, last.evidence, last.frame)


def _kept(session: Session, evidence: str | None) -> str | None:
    """A still that is there: an analysis stays when what it names is purged."""
    row = session.get(EvidenceRow, evidence) if evidence is not None else None
    return None if row is None or row.missing else row.id


def _newest_analysis(session: Session, incident: str) -> dict[str, Any] | None:
    row = AnalysisRow
    newest = select(row.body).where(row.incident == incident).order_by(row.ledger_seq.desc())
    return session.scalars(newest.limit(1)).first()


# ------------------------------------------------------------------ by which clock


def _off_s(run: RunRow | None, own: RunRow | None) -> float:
    """By how much its run's clocks disagree with those of the incident's own run."""
    return 0.0 if run is None or own is None else abs(run.utc_ahead_ns - own.utc_ahead_ns) / NS


def _run_of_sight(session: Session, incident: IncidentRow, body: dict[str, Any] | None) -> RunRow | None:
    """`body` is its newest analysis."""
    run = (
        session.get(RunRow, body["first_visible"]["run"]) if body is not None else _run_suspected(session, incident.id)
    )
    return run or _run_at(session, incident.camera, incident.first_suspect_at_ns)


def _run_suspected(session: Session, incident: str) -> RunRow | None:
    row = EvidenceRow
    earliest = select(row.id).where(row.incident == incident, row.kind == "first_suspect").order_by(row.run_seq)
    still = session.scalar(earliest.limit(1))
    return None if still is None else _run_of(session, still)


def _run_of(session: Session, evidence: str) -> RunRow | None:
    """Of a still or a closed clip, else of one that grows."""
    row = EvidenceRow
    stored = select(RunRow).join(row, row.run_seq == RunRow.run_seq).where(row.id == evidence)
    if (run := session.scalar(stored)) is not None:
        return run
    body = session.scalar(select(SegmentRow.body).where(SegmentRow.clip == evidence).limit(1))
    return None if body is None else session.get(RunRow, body["run"])


def _run_at(session: Session, camera: str, at_ns: int) -> RunRow | None:
    """The camera's newest that began before that moment: the best guess where nothing of the event is kept."""
    began = select(RunRow).where(RunRow.camera == camera, RunRow.started_at_ns <= at_ns)
    return session.scalar(began.order_by(RunRow.run_seq.desc()).limit(1))
