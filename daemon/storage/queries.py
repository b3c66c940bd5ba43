# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the API and the recorder's start ask of the index. It reads only, and keeps no transaction across calls.

Lists are newest first and paged by the last item's (time, id), never by an offset: what is stored or purged meanwhile
neither repeats nor hides an item. Times are UTC nanoseconds, `from_ns` inclusive, `to_ns` exclusive.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, exists, func, literal_column, or_, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session

from daemon.clock import NS, Clocks, rfc3339
from daemon.domain import OPEN_STATES, SIBLING, AssessmentSays, Gap
from daemon.origin.sequence import Event
from daemon.storage import heartbeat, shares
from daemon.storage.apply import batches
from daemon.storage.clip_queries import clip_item, clips_of, path_of, paths_of
from daemon.storage.clips import present
from daemon.storage.coverage import HOUR_NS, hour_of
from daemon.storage.filmed import filmed
from daemon.storage.heartbeat import CameraBeat, Heartbeat
from daemon.storage.index import (
    AnalysisRow,
    AssessmentRow,
    CameraRow,
    ClipRow,
    CoverageRow,
    EvidenceRow,
    GapRow,
    IncidentRow,
    SightingRow,
    reading_engine,
    store_error,
)
from daemon.storage.site_events import site_events

MOST_ITEMS = 500
REFERENCE = "reference"
CLIP = "clip"
UNANALYSED = (REFERENCE, "manual", SIBLING, CLIP)
"""Kinds of stills that do not tell that their camera was watched."""
_DAY_NS = 86_400 * NS
_SILENCE_NS = round(2 * heartbeat.PERIOD_S * NS)  # beyond the limit: one heartbeat that came late

Item = dict[str, Any]
Page = dict[str, Any]


class Known(NamedTuple):
    """The last that the index knows of a camera: nanoseconds, 0 where there is nothing."""

    first_seen_at_ns: int
    gap_ended_at_ns: int
    captured_at_ns: int


class Index:
    """The index of the store at `root`. Every method raises StoreError when it cannot be read."""

    def __init__(self, root: Path, clocks: Clocks) -> None:
        self._root, self._clocks = root, clocks
        self._engine = reading_engine(root)

    # ---- evidence

    def evidence_page(
        self,
        camera: str | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        label: str | None = None,
        min_confidence: float | None = None,
        incident: str | None = None,
        kind: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Stills; with `label` and `min_confidence` those in which one detection has both. ValueError: a bad cursor.

        Reference stills and clips only where `kind` asks for them: they tell what a camera saw, not that anything was seen.
        Of kind `sibling` are both.
        """
        query = evidence_query(camera, from_ns, to_ns, label, min_confidence, incident, kind)
        key = _evidence_key(camera, label, incident)
        with self._session() as session:
            rows = session.scalars(_page(query, key, limit, cursor)).all()
            clips = filmed(session, rows)
            items = [_evidence(row, clips.get(row.id)) for row in rows]
            return _paged(items, [(row.captured_at_ns, row.id) for row in rows], limit)

    def evidence_one(self, id: str) -> Item | None:
        """One still with its whole record; None when there is none (or no more)."""
        with self._session() as session:
            row = session.get(EvidenceRow, id)
            if row is None:
                return None
            more = {"path": row.path, "missing": row.missing, "run_seq": row.run_seq, "ledger_seq": row.ledger_seq}
            return _evidence(row, filmed(session, [row]).get(id)) | more | {"record": row.record}

    def clips_of(self, incident: str) -> list[Item]:
        """An incident's clips: its own camera's first, then those of the site's others, each in the order of their runs.

        `closed` is None of one that is still being written.
        """
        with self._session() as session:
            return clips_of(session, incident)

    def clip_path(self, id: str) -> Path | None:
        """Where a clip's file is, also while it is being written; None where there is no such clip."""
        with self._session() as session:
            path = path_of(session, id)
        return None if path is None else present(self._root / path)

    def evidence_file(self, id: str) -> Path | None:
        """Where a still's file is, or should be; None when there is no such evidence."""
        with self._session() as session:
            path = session.scalar(select(EvidenceRow.path).where(EvidenceRow.id == id))
            return None if path is None else self._root / path

    def days(self, camera: str | None = None) -> list[str]:
        """The UTC days that have evidence, newest first, such as "2026-11-23"."""
        found: list[str] = []
        before_ns = 2**63 - 1
        with self._session() as session:
            while True:  # from day to day through the index, instead of through all rows
                newest = select(EvidenceRow.captured_at_ns).where(EvidenceRow.captured_at_ns < before_ns)
                if camera is not None:
                    newest = newest.where(EvidenceRow.camera == camera)
                at_ns = session.scalar(newest.order_by(EvidenceRow.captured_at_ns.desc()).limit(1))
                if at_ns is None:
                    return found
                found.append(rfc3339(at_ns)[:10])
                before_ns = at_ns - at_ns % _DAY_NS

    # ---- incidents

    def incidents_page(
        self,
        camera: str | None = None,
        state: str | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Incidents by their first suspicion. ValueError: a bad cursor."""
        query = incidents_query(camera, state, from_ns, to_ns)
        with self._session() as session:
            rows = session.scalars(_page(query, (IncidentRow.first_suspect_at_ns, IncidentRow.id), limit, cursor)).all()
            return _paged(_incidents(session, rows), [(row.first_suspect_at_ns, row.id) for row in rows], limit)

    def incidents_during(self, from_ns: int, to_ns: int, camera: str | None = None) -> list[Item]:
        """All incidents that have a part in the interval, however long ago they began; in the order in which they did."""
        with self._session() as session:
            return _incidents(session, session.scalars(incidents_during_query(from_ns, to_ns, camera)).all())

    def incident_one(self, id: str) -> Item | None:
        """With all that people made of it, the newest first."""
        with self._session() as session:
            row = session.get(IncidentRow, id)
            if row is None:
                return None
            its = select(AssessmentRow).where(AssessmentRow.incident == id).order_by(AssessmentRow.ledger_seq.desc())
            told = [
                {key: getattr(each, key) for key in ("id", "at", "says", "by", "note")} for each in session.scalars(its)
            ]
            return _incident(row, told[0]["says"] if told else None) | {"assessments": told}

    def pictures_assessed(self, says: AssessmentSays) -> list[Path]:
        """The detector's stills of the incidents of which the newest assessment says that, where their files are."""
        newest = select(func.max(AssessmentRow.ledger_seq)).group_by(AssessmentRow.incident)
        its = select(AssessmentRow.incident).where(AssessmentRow.ledger_seq.in_(newest), AssessmentRow.says == says)
        row = EvidenceRow
        wanted = (row.incident.in_(its), row.kind.not_in(UNANALYSED), row.missing.is_(False))
        with self._session() as session:
            return [self._root / path for path in session.scalars(select(row.path).where(*wanted).order_by(row.id))]

    def confirmed_at_ns(self, id: str) -> int | None:
        """When an incident was first confirmed; None when it never was."""
        with self._session() as session:
            return session.scalar(select(IncidentRow.first_confirmed_at_ns).where(IncidentRow.id == id))

    def clip_files(self, incident: str, until_ns: int) -> list[Path]:
        """Where its own camera's closed clips of an incident that begin before that moment are, in order."""
        with self._session() as session:
            return [self._root / path for path in paths_of(session, incident, until_ns)]

    def imported(self, sha256: str) -> str | None:
        """The id of the clip that was imported from a file with this hash."""
        claimed = func.json_extract(EvidenceRow.record, "$.times") == "claimed"
        wanted = select(EvidenceRow.id).where(EvidenceRow.kind == CLIP, EvidenceRow.sha256 == sha256, claimed)
        with self._session() as session:
            return session.scalar(wanted.where(EvidenceRow.missing.is_(False)).limit(1))

    def unanalysed(self) -> list[str]:
        """Incidents that the detector confirmed, that are over, and that nobody has gone back for; the newest first."""
        row = IncidentRow
        over = and_(row.first_confirmed_at_ns.is_not(None), row.state.in_(("ended", "interrupted")))
        wanted = (over, row.kind == "detected", row.drill.is_(False))
        known = exists().where(AnalysisRow.incident == row.id)
        with self._session() as session:
            return list(session.scalars(select(row.id).where(*wanted, ~known).order_by(row.first_suspect_at_ns.desc())))

    def analyses(self, incident: str) -> list[Item]:
        """The bodies of an incident's analyses (docs/formats.md), the newest first."""
        row = AnalysisRow
        with self._session() as session:
            return list(
                session.scalars(select(row.body).where(row.incident == incident).order_by(row.ledger_seq.desc()))
            )

    def site_events(self, incident: str, cameras: Sequence[str], interval_s: float) -> list[Event]:
        """First sights and losses of those cameras during an incident, in no order yet; none where there is no such incident."""
        with self._session() as session:
            row = session.get(IncidentRow, incident)
            return (
                []
                if row is None
                else site_events(session, self._root, row, cameras, interval_s, self._clocks.wall_ns())
            )

    # ---- what was not seen

    def gaps_page(
        self,
        camera: str | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Gaps that have a part in the interval, by their beginning. ValueError: a bad cursor."""
        query = gaps_query(camera, from_ns, to_ns)
        with self._session() as session:
            rows = session.scalars(_page(query, (GapRow.from_at_ns, GapRow.id), limit, cursor)).all()
            return _paged([_gap(_gap_of(row)) for row in rows], [(row.from_at_ns, row.id) for row in rows], limit)

    def coverage(self, camera: str | None = None, from_ns: int | None = None, to_ns: int | None = None) -> Page:
        """Per camera what was watched of the interval up to now: frames, share and the gaps that make up the rest.

        Without `from_ns` it begins when the camera was first configured. Gaps with the id null are not recorded: the
        time before that, and the time since the recorder last said anything.
        """
        now_ns, beat = self._clocks.wall_ns(), heartbeat.read(self._root)
        with self._session() as session:
            rows = session.scalars(select(CameraRow).order_by(CameraRow.name))
            cameras = [row for row in rows if camera in (None, row.name)]
            items = []
            for row in cameras:
                start_ns = row.first_seen_at_ns if from_ns is None else from_ns
                span = (start_ns, max(start_ns, min(now_ns, now_ns if to_ns is None else to_ns)))
                items.append(_covered(session, row, span, beat, now_ns))
            return {"items": items}

    # ---- cameras

    def cameras(self) -> list[Item]:
        """Every camera that was ever configured, by name."""
        with self._session() as session:
            rows = session.scalars(select(CameraRow).order_by(CameraRow.name))
            return [{"name": row.name, "first_seen_at": rfc3339(row.first_seen_at_ns)} for row in rows]

    def has_of(self, camera: str) -> bool:
        """Whether any evidence or incident names this camera, configured ever or not: recordings from elsewhere name theirs."""
        with self._session() as session:
            named = (exists().where(row.camera == camera) for row in (IncidentRow, EvidenceRow))
            return bool(session.scalar(select(or_(*named))))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session:
                yield session
        except SQLAlchemyError as error:
            raise store_error(error, self._root) from error


# ------------------------------------------------------------------ statements


def evidence_query(
    camera: str | None,
    from_ns: int | None,
    to_ns: int | None,
    label: str | None,
    min_confidence: float | None,
    incident: str | None,
    kind: str | None,
) -> Select[EvidenceRow]:
    """The stills that are asked for, in no order yet."""
    row, sighting = EvidenceRow, SightingRow
    at_ns, _ = _evidence_key(camera, label, incident)
    wanted = _within(at_ns, from_ns, to_ns)
    if incident is not None:
        wanted.append(row.incident == incident)
    if camera is not None:  # an incident's own index is the narrower one
        wanted.append((row.camera if incident is None else _aside(row.camera)) == camera)
    if kind is not None:
        wanted.append((row.kind if incident is camera is label is None else _aside(row.kind)) == kind)
    elif incident is None and at_ns is not sighting.captured_at_ns:  # what has either is no reference still
        wanted.append((row.kind if camera is None else _aside(row.kind)) != literal_column(f"'{REFERENCE}'"))
    if kind is None and label is None:  # nothing was detected in a clip
        wanted += [_aside(row.kind) != CLIP, ~exists().where(ClipRow.id == row.id)]
    query = select(row)
    if label is not None:
        strong = [sighting.label == label, *([] if min_confidence is None else [sighting.confidence >= min_confidence])]
        if at_ns is sighting.captured_at_ns:
            query = query.join(sighting, sighting.evidence == row.id).where(*strong)
        else:
            wanted.append(exists().where(sighting.evidence == row.id, *strong))
    elif min_confidence is not None:
        wanted.append(row.max_confidence >= min_confidence)
    return query.where(*wanted)


def incidents_query(
    camera: str | None, state: str | None, from_ns: int | None, to_ns: int | None
) -> Select[IncidentRow]:
    """The incidents that are asked for, in no order yet."""
    row = IncidentRow
    wanted = _within(row.first_suspect_at_ns, from_ns, to_ns)
    if camera is not None:
        wanted.append(row.camera == camera)
    if state is not None:
        wanted.append(_aside(row.state) == state)
    return select(row).where(*wanted)


def incidents_during_query(from_ns: int, to_ns: int, camera: str | None) -> Select[IncidentRow]:
    """Those that began in the interval, and those from before that were not over when it began."""
    row = IncidentRow
    begun = row.first_suspect_at_ns
    went_on = and_(begun < from_ns, or_(row.state.in_(OPEN_STATES), row.ended_at_ns > from_ns))
    wanted = [or_(and_(begun >= from_ns, begun < to_ns), went_on)]
    if camera is not None:
        wanted.append(row.camera == camera)
    return select(row).where(*wanted).order_by(begun, row.id)


def gaps_query(camera: str | None, from_ns: int | None, to_ns: int | None) -> Select[GapRow]:
    """The gaps that are asked for, in no order yet."""
    wanted = _within(GapRow.from_at_ns, None, to_ns)
    if from_ns is not None:
        wanted.append(or_(GapRow.to_at_ns.is_(None), GapRow.to_at_ns > from_ns))
    if camera is not None:
        wanted.append(GapRow.camera == camera)
    return select(GapRow).where(*wanted)


_Key = tuple[InstrumentedAttribute[int], InstrumentedAttribute[str]]


def _evidence_key(camera: str | None, label: str | None, incident: str | None) -> _Key:
    """(time, id) from the table whose index leads: sightings where the label alone narrows the search."""
    if label is not None and camera is None and incident is None:
        return SightingRow.captured_at_ns, SightingRow.evidence
    return EvidenceRow.captured_at_ns, EvidenceRow.id


def _aside(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """The column as a value that no index serves, so that SQLite takes the one that gives the order."""
    return func.coalesce(column, "")


def _within(at_ns: InstrumentedAttribute[int], from_ns: int | None, to_ns: int | None) -> list[ColumnElement[bool]]:
    bounds = [None if from_ns is None else at_ns >= from_ns, None if to_ns is None else at_ns < to_ns]
    return [bound for bound in bounds if bound is not None]


def _page(query: Select[Any], key: _Key, limit: int, cursor: str | None) -> Select[Any]:
    """One more than is shown, to know whether there is more."""
    if not 1 <= limit <= MOST_ITEMS:
        raise ValueError(f"a page has 1 to {MOST_ITEMS} items")
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*_position(cursor)))
    return query.order_by(*(column.desc() for column in key)).limit(limit + 1)


def _paged(items: list[Item], keys: Sequence[tuple[int, str]], limit: int) -> Page:
    return {"items": items[:limit], "next": _cursor(*keys[limit - 1]) if len(items) > limit else None}


def _cursor(at_ns: int, id: str) -> str:
    return base64.urlsafe_b64encode(f"{at_ns} {id}".encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        at_ns, _, id = text.partition(" ")
        position = int(at_ns), id
    except (binascii.Error, ValueError) as error:
        raise ValueError("the cursor is none that this service gave out") from error
    if not id or abs(position[0]) >= 2**63 or _cursor(*position) != cursor:
        raise ValueError("the cursor is none that this service gave out")
    return position


# ------------------------------------------------------------------ rows as items


def _evidence(row: EvidenceRow, clip: Item | None) -> Item:
    record = row.record  # empty where the file was gone before its row was made
    if row.is_clip:
        return clip_item(row)
    return {
        "id": row.id,
        "camera": row.camera,
        "captured_at": rfc3339(row.captured_at_ns),
        "uncertainty_s": record.get("uncertainty_s"),
        "relative_uncertainty_s": record.get("relative_uncertainty_s"),
        "sha256": row.sha256,
        "bytes": row.bytes,
        "width": record.get("width_px"),
        "height": record.get("height_px"),
        "reduced_from": record.get("reduced_from_px"),
        "times": record.get("times", "measured"),
        "kind": row.kind,
        "drill": row.drill,
        "analysed": record.get("model") is not None if record else None,
        "detections": record.get("detections", []),
        "incident": row.incident,
        "image": f"/api/v1/evidence/{row.id}/image",
        "clip": clip,
    }


def _incidents(session: Session, rows: Sequence[IncidentRow]) -> list[Item]:
    says: dict[str, str] = {}
    for some in batches([row.id for row in rows]):
        told = select(AssessmentRow.incident, AssessmentRow.says).where(AssessmentRow.incident.in_(some))
        says.update((incident, said) for incident, said in session.execute(told.order_by(AssessmentRow.ledger_seq)))
    return [_incident(row, says.get(row.id)) for row in rows]


def _incident(row: IncidentRow, assessed: str | None) -> Item:
    return {
        "id": row.id,
        "camera": row.camera,
        "kind": row.kind,
        "drill": row.drill,
        "state": row.state,
        "first_suspect_at": rfc3339(row.first_suspect_at_ns),
        "first_confirmed_at": _time(row.first_confirmed_at_ns),
        "ended_at": _time(row.ended_at_ns),
        "labels": row.labels,
        "max_confidence": row.max_confidence,
        "evidence_count": row.evidence_count,
        "previous": row.previous,
        "place": row.place,
        "ignored_zones": row.ignored_zones,
        "reason": row.reason,
        "assessed": assessed,
    }


def _gap_of(row: GapRow) -> Gap:
    return Gap(row.id, row.camera, row.reason, row.from_at_ns, row.to_at_ns, row.detail)


def _gap(gap: Gap) -> Item:
    return {
        "id": gap.id or None,
        "camera": gap.camera,
        "reason": gap.reason,
        "from": rfc3339(gap.from_at_ns),
        "to": _time(gap.to_at_ns),
        "detail": gap.detail,
    }


def _covered(session: Session, row: CameraRow, span: shares.Span, beat: Heartbeat | None, now_ns: int) -> Item:
    seen = beat.cameras.get(row.name) if beat else None
    rows = session.scalars(gaps_query(row.name, *span).order_by(GapRow.from_at_ns, GapRow.id))
    gaps = [_gap_of(each) for each in rows]
    until_ns = _known_until_ns(seen, beat, row.first_seen_at_ns, now_ns)
    unknown = shares.unknown(row.name, row.first_seen_at_ns, until_ns, span, gaps)
    not_watched = [*(shares.clipped(gap, span) for gap in gaps), *(part for part, _ in unknown)]
    return {
        "camera": row.name,
        "from": rfc3339(span[0]),
        "to": rfc3339(span[1]),
        **shares.frames(_frames(session, row.name, span, seen), span),
        "watched_share": shares.share(span, not_watched),
        "gaps": [_gap(gap) for gap in sorted([*gaps, *(gap for _, gap in unknown)], key=lambda gap: gap.from_at_ns)],
    }


def _known_until_ns(seen: CameraBeat | None, beat: Heartbeat | None, first_seen_at_ns: int, now_ns: int) -> int:
    """Until when nothing but the recorded gaps was missed: now, while the heartbeat's watermark is fresh."""
    watched_at_ns = int(seen.watched_at_ns) if seen else first_seen_at_ns
    patience_ns = _SILENCE_NS + (round(beat.limit_s * NS) if beat else 0)
    return now_ns if now_ns - watched_at_ns <= patience_ns else watched_at_ns


def _frames(session: Session, camera: str, span: shares.Span, seen: CameraBeat | None) -> dict[int, int]:
    row = CoverageRow
    touched = and_(row.camera == camera, row.hour_at_ns > span[0] - HOUR_NS, row.hour_at_ns < span[1])
    counts = {each.hour_at_ns: each.frames for each in session.scalars(select(row).where(touched))}
    if seen is not None and hour_of(span[0]) <= int(seen.hour_at_ns) < span[1]:  # its line comes when the hour is over
        counts[int(seen.hour_at_ns)] = max(seen.frames, counts.get(int(seen.hour_at_ns), 0))
    return counts


def last_known(session: Session) -> dict[str, Known]:
    """For the recorder's start: the last of each camera."""
    return {row.name: _last_known(session, row) for row in session.scalars(select(CameraRow))}


def _last_known(session: Session, row: CameraRow) -> Known:
    ended = select(func.max(GapRow.to_at_ns)).where(GapRow.camera == row.name)
    captured = select(func.max(EvidenceRow.captured_at_ns)).where(
        EvidenceRow.camera == row.name, EvidenceRow.kind.not_in(UNANALYSED)
    )
    return Known(row.first_seen_at_ns, session.scalar(ended) or 0, session.scalar(captured) or 0)


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)
