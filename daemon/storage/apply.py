# SPDX-License-Identifier: AGPL-3.0-or-later
"""One ledger line → its rows: the only place where rows of the index are made, changed or removed.

Used alike when storing, recovering, verifying and reindexing, so that the index is a function of ledger and
stills. Applying a line twice leaves what applying it once does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, inspect, not_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.domain import REFERENCE, SIBLING, Evidence
from daemon.storage import index, mark, record
from daemon.storage.ledger import Line

UNCOUNTED = ("clip", SIBLING)
"""Kinds of an incident's evidence that are not its own camera's pictures."""


def apply(session: Session, line: Line, evidence: Evidence | None = None) -> None:
    """Makes the rows of `line`.

    `evidence` is the record of a `stored` line's still; None where its file is gone: the row has what the line says.
    """
    _APPLIERS[line.kind](session, line, evidence)


def _nothing(session: Session, line: Line, evidence: Evidence | None) -> None:
    """Lines that tell of the store itself have no rows."""


def _opened(session: Session, line: Line, evidence: Evidence | None) -> None:
    _cameras(session, line, line.body["cameras"])


def _settings(session: Session, line: Line, evidence: Evidence | None) -> None:
    """A reload's can name cameras that the last `opened` line did not; a line of version 0.1 names none."""
    _cameras(session, line, line.body.get("cameras", []))


def _cameras(session: Session, line: Line, names: Iterable[str]) -> None:
    at_ns = at_ns_of(line.at)
    for name in names:
        session.execute(insert(index.CameraRow).values(name=name, first_seen_at_ns=at_ns).on_conflict_do_nothing())


def _run(session: Session, line: Line, evidence: Evidence | None) -> None:
    body = line.body
    values = {
        "id": body["id"], "run_seq": body["run_seq"], "camera": body["camera"],
        "started_at_ns": int(body["started_at_ns"]), "body": body,
    }  # fmt: skip
    _put(session, index.RunRow, values)
    row = index.EvidenceRow
    session.execute(  # a still completed by recovery can stand before its run's line
        update(row)
        .where(row.run_seq.is_(None), func.json_extract(row.record, "$.run") == body["id"])
        .values(run_seq=body["run_seq"])
        .execution_options(synchronize_session=False)
    )


def _stored(session: Session, line: Line, evidence: Evidence | None) -> None:
    values = evidence_values(session, line, evidence)
    _put(session, index.EvidenceRow, values)
    for sighting in sightings(line, evidence):
        _put(session, index.SightingRow, sighting)
    clip_rows(session, line)
    _follow_stills(session, [line.body["incident"]], values["max_confidence"])


def clip_rows(session: Session, line: Line) -> None:
    """The rows of a clip's `stored` line beside that in `evidence`."""
    body = line.body
    if "clip" not in body:
        return
    span = {key: int(body["clip"][key]) for key in ("frames", "first_pts", "last_pts", "from_at_ns", "to_at_ns")}
    _put(session, index.ClipRow, {"id": body["id"], "run": body["run"], **span})
    for incident in (*body["clip"]["incidents"], *body["clip"].get("sibling_of", ())):
        _put(session, index.ClipIncidentRow, {"incident": incident, "clip": body["id"]})
    session.execute(delete(index.SegmentRow).where(index.SegmentRow.clip == body["id"]))


def _segment(session: Session, line: Line, evidence: Evidence | None) -> None:
    body = line.body
    told = json.loads(record.canonical(body))  # as the ledger gives it back, so that a row made anew is the same
    values = {key: body[key] for key in ("clip", "from_byte", "bytes", "path")}
    _put(session, index.SegmentRow, values | {"body": told})


def forget_clips(session: Session, ids: list[str]) -> None:
    """Removes the rows of clips beside those in `evidence`."""
    session.execute(delete(index.ClipRow).where(index.ClipRow.id.in_(ids)))
    session.execute(delete(index.ClipIncidentRow).where(index.ClipIncidentRow.clip.in_(ids)))
    session.execute(delete(index.SegmentRow).where(index.SegmentRow.clip.in_(ids)))


def evidence_values(session: Session, line: Line, evidence: Evidence | None) -> dict[str, Any]:
    """The row of a `stored` line in `evidence`."""
    body, is_clip = line.body, "clip" in line.body
    run_seq = session.scalar(select(index.RunRow.run_seq).where(index.RunRow.id == body["run"]))
    return {
        "id": body["id"], "camera": body["camera"], "kind": body["kind"],
        "captured_at_ns": int(body["captured_at_ns"]), "run_seq": run_seq, "pts": int(body["pts"]),
        "incident": body["incident"],
        "max_confidence": max((found.confidence for found in evidence.detections), default=0.0) if evidence else 0.0,
        "drill": bool(body["clip"]["drill"] if is_clip else evidence and evidence.drill),
        "path": body["path"], "sha256": body["sha256"], "bytes": body["bytes"], "ledger_seq": line.seq,
        "missing": False, "record": _record(line, evidence),
    }  # fmt: skip


def _record(line: Line, evidence: Evidence | None) -> dict[str, Any]:
    """A clip's line holds all that there is to say of it."""
    body = line.body
    if "clip" in body:
        told = {key: body[key] for key in ("id", "camera", "kind", "run", "incident", "captured_at", "captured_at_ns")}
        whole: dict[str, Any] = json.loads(record.canonical(told | body["clip"]))
        return whole
    return record.to_json(evidence) if evidence else {}


def sightings(line: Line, evidence: Evidence | None) -> list[dict[str, Any]]:
    """The rows of a `stored` line in `sightings`: the strongest detection per label."""
    strongest: dict[str, float] = {}
    for found in evidence.detections if evidence else ():
        strongest[found.label] = max(found.confidence, strongest.get(found.label, 0.0))
    captured_at_ns = int(line.body["captured_at_ns"])
    return [
        {"evidence": line.body["id"], "label": label, "captured_at_ns": captured_at_ns, "confidence": confidence}
        for label, confidence in sorted(strongest.items())
    ]


def _incident(session: Session, line: Line, evidence: Evidence | None) -> None:
    body = line.body
    known = session.scalar(select(index.IncidentRow.max_confidence).where(index.IncidentRow.id == body["id"]))
    same = ("id", "camera", "kind", "state", "drill", "labels", "place", "previous", "ignored_zones")
    values = {key: body[key] for key in same}
    values |= {key: _time(body[key]) for key in ("first_suspect_at_ns", "first_confirmed_at_ns", "ended_at_ns")}
    values |= {
        "max_confidence": max(body["max_confidence"], known or 0.0),
        "evidence_count": 0,
        "reason": body.get("reason", ""),
    }
    _put(session, index.IncidentRow, values)
    strongest = session.scalar(
        select(func.max(index.EvidenceRow.max_confidence)).where(index.EvidenceRow.incident == body["id"])
    )
    _follow_stills(session, [body["id"]], strongest or 0.0)


def _analysis(session: Session, line: Line, evidence: Evidence | None) -> None:
    body = line.body
    values = {key: body[key] for key in ("id", "incident", "camera")}
    told = json.loads(record.canonical(body))  # as the ledger gives it back, so that a row made anew is the same
    _put(session, index.AnalysisRow, values | {"ledger_seq": line.seq, "body": told})


def _assessment(session: Session, line: Line, evidence: Evidence | None) -> None:
    values = {key: line.body[key] for key in ("id", "incident", "says", "by", "note")}
    _put(session, index.AssessmentRow, values | {"ledger_seq": line.seq, "at": line.at})


def _gap(session: Session, line: Line, evidence: Evidence | None) -> None:
    body = line.body
    values = {key: body[key] for key in ("id", "camera", "reason", "detail")}
    values |= {key: _time(body[key]) for key in ("from_at_ns", "to_at_ns")}
    _put(session, index.GapRow, values)


def _coverage(session: Session, line: Line, evidence: Evidence | None) -> None:
    body = line.body
    values = {key: body[key] for key in ("camera", "frames", "watched_s")}
    _put(session, index.CoverageRow, values | {"hour_at_ns": int(body["hour_at_ns"])})


def _purged(session: Session, line: Line, evidence: Evidence | None) -> None:
    ids = line.body["ids"]
    row = index.EvidenceRow
    incidents: set[str | None] = set()
    for some in batches(ids):
        incidents.update(session.scalars(select(row.incident).where(row.id.in_(some)).distinct()))
        mark.write_gone(session, _newest(session, some))
        session.execute(delete(index.SightingRow).where(index.SightingRow.evidence.in_(some)))
        forget_clips(session, some)
        session.execute(delete(row).where(row.id.in_(some)).execution_options(synchronize_session=False))
        drop_incidents(session, some)
    _follow_stills(session, incidents, 0.0)


def _newest(session: Session, ids: list[str]) -> dict[tuple[str, bool], int]:
    """The newest line of these, of each camera's reference stills and of all else that is no drill's."""
    row, reference = index.EvidenceRow, index.EvidenceRow.kind == REFERENCE
    newest = select(row.camera, reference, func.max(row.ledger_seq)).where(row.id.in_(ids), not_(row.drill))
    return {(camera, bool(own)): seq for camera, own, seq in session.execute(newest.group_by(row.camera, reference))}


def drop_incidents(session: Session, ids: list[str]) -> None:
    """A `purged` line of drills names their incidents, too; what was found and said of them goes as well."""
    for column in (index.AnalysisRow.incident, index.AssessmentRow.incident, index.IncidentRow.id):
        session.execute(delete(column.class_).where(column.in_(ids)).execution_options(synchronize_session=False))


def _missing(session: Session, line: Line, evidence: Evidence | None) -> None:
    row = index.EvidenceRow
    session.execute(update(row).where(row.id == line.body["id"]).values(missing=True))
    session.execute(delete(index.SegmentRow).where(index.SegmentRow.clip == line.body["id"]))  # it was open still


def _follow_stills(session: Session, incidents: Iterable[str | None], confidence: float) -> None:
    row = index.IncidentRow
    for incident in incidents:
        if incident is None:
            continue
        its = index.EvidenceRow.incident == incident, index.EvidenceRow.kind.not_in(UNCOUNTED)
        count = select(func.count()).where(*its).scalar_subquery()
        session.execute(
            update(row)
            .where(row.id == incident)
            .values(evidence_count=count, max_confidence=func.max(row.max_confidence, confidence))
            .execution_options(synchronize_session=False)
        )


def batches(ids: list[str], of: int = 500) -> Iterable[list[str]]:
    """Ids in portions that fit one statement."""
    return (ids[start : start + of] for start in range(0, len(ids), of))


def at_ns_of(at: str) -> int:
    """UTC nanoseconds of a line's `at` (RFC 3339, milliseconds, Z)."""
    moment = datetime.fromisoformat(at)
    return round(moment.timestamp() * 1000) * (NS // 1000)


def _time(value: str | None) -> int | None:
    return None if value is None else int(value)


def _put(session: Session, table: type[index.Row], values: dict[str, Any]) -> None:
    keys = [column.name for column in inspect(table).primary_key]
    statement = insert(table).values(values)
    changed = {name: statement.excluded[name] for name in values if name not in keys}
    if changed:
        session.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
    else:
        session.execute(statement.on_conflict_do_nothing())


_Applier = Callable[[Session, Line, Evidence | None], None]
_APPLIERS: dict[str, _Applier] = {
    "opened": _opened, "closed": _nothing, "settings": _settings, "run": _run, "stored": _stored, "segment": _segment,
    "incident": _incident, "analysis": _analysis, "assessment": _assessment, "gap": _gap, "coverage": _coverage, "purged": _purged,
    "missing": _missing, "repaired": _nothing, "head": _nothing,
}  # fmt: skip
KINDS = frozenset(_APPLIERS)
