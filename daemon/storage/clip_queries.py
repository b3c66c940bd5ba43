# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the index knows of an incident's clips: closed ones, and those that are still being written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from daemon.clock import rfc3339
from daemon.storage.clips import kind_of
from daemon.storage.index import ClipIncidentRow, ClipRow, EvidenceRow, IncidentRow, RunRow, SegmentRow

Item = dict[str, Any]


def clips_of(session: Session, incident: str) -> list[Item]:
    """See Index.clips_of. What grows is read first: what is closed meanwhile is then found as closed."""
    segments = session.scalars(select(SegmentRow).order_by(SegmentRow.clip, SegmentRow.from_byte))
    growing = {each.clip: each.body for each in segments if incident in _served(each.body)}
    row, serves = EvidenceRow, ClipIncidentRow
    closed = select(row).join(serves, serves.clip == row.id).where(serves.incident == incident)
    found = list(session.scalars(closed.order_by(row.run_seq, row.captured_at_ns, row.id)))
    ended = {each.id for each in found}
    clips = [clip_item(each) for each in found]
    clips += [_growing(body) for id_, body in growing.items() if id_ not in ended]
    return sorted(clips, key=lambda each: (incident not in each["incidents"], each["camera"]))


def path_of(session: Session, clip: str) -> str | None:
    """Of a clip that grows, else of one that is closed: in the order in which it is one, then the other."""
    growing = select(SegmentRow.path).where(SegmentRow.clip == clip).limit(1)
    closed = select(EvidenceRow.path).join(ClipRow, ClipRow.id == EvidenceRow.id).where(EvidenceRow.id == clip)
    return session.scalar(growing) or session.scalar(closed)


def clips_up_to(session: Session, incident: str, run: str, pts: int) -> list[tuple[str, int]]:
    """See Index.clip_files."""
    row, clip, of, begun = EvidenceRow, ClipRow, ClipIncidentRow, RunRow
    camera = select(IncidentRow.camera).where(IncidentRow.id == incident).scalar_subquery()
    last = session.get(begun, run)
    seq = begun.run_seq.is_(None) if last is None else func.coalesce(begun.run_seq, 0) < last.run_seq
    begins_before = or_(seq, and_(clip.run == run, clip.first_pts <= pts))
    wanted = (of.incident == incident, row.camera == camera, row.missing.is_(False), begins_before)
    found = select(row.path, begun).join(clip, clip.id == row.id).join(of, of.clip == row.id)
    found = found.outerjoin(begun, begun.id == clip.run).where(*wanted)
    return [
        (path, last.utc_ahead_ns - its.utc_ahead_ns if last is not None and its is not None else 0)
        for path, its in session.execute(found.order_by(begun.run_seq, clip.first_pts, row.id))
    ]


def clip_item(row: EvidenceRow) -> Item:
    """A closed clip as the API tells it."""
    told = {"times": "measured", "sibling_of": []} | row.record
    same = ("frames", "first_pts", "last_pts", "to_at", "codec", "time_base", "cause", "closed", "run", "times")
    return {
        "id": row.id,
        "camera": row.camera,
        "captured_at": rfc3339(row.captured_at_ns),
        "sha256": row.sha256,
        "bytes": row.bytes,
        "width": told["width_px"],
        "height": told["height_px"],
        "kind": row.kind,
        "drill": row.drill,
        "incident": row.incident,
        "video": f"/api/v1/evidence/{row.id}/video",
        "missing": row.missing,
        **{key: told[key] for key in (*same, "incidents", "sibling_of")},
    }


def _growing(body: dict[str, Any]) -> Item:
    """Of a clip's newest segment."""
    end, own, others = body["from_byte"] + body["bytes"], body["incidents"], body.get("sibling_of", [])
    same = {key: body[key] for key in ("camera", "run", "incidents", "to_at")}
    return {
        "id": body["clip"],
        "kind": kind_of(own, others),
        "bytes": end,
        "closed": None,
        "sibling_of": others,
        **same,
    }


def _served(body: dict[str, Any]) -> list[str]:
    """The incidents that a clip serves, of its own camera and of others."""
    return [*body["incidents"], *body.get("sibling_of", [])]
