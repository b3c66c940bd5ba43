# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked of the index. It reads only, and keeps no transaction across calls.

Lists are newest first and paged (paging.py). Times are UTC nanoseconds, `from_ns` inclusive, `to_ns` exclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import exists, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from daemon.clock import NS, Clocks, rfc3339
from daemon.domain import AssessmentSays
from daemon.origin.sequence import Event
from daemon.storage import heartbeat, incident_queries
from daemon.storage.clip_queries import clips_of, clips_up_to, path_of
from daemon.storage.clips import present
from daemon.storage.evidence_queries import CLIP, evidence_item, evidence_key, evidence_query
from daemon.storage.filmed import filmed
from daemon.storage.gap_queries import covered, gap_item, gap_of, gaps_query
from daemon.storage.incident_queries import (
    assessments_of,
    incident_item,
    incident_items,
    incidents_during_query,
    incidents_query,
    pictures_of,
)
from daemon.storage.index import AnalysisRow, CameraRow, EvidenceRow, GapRow, IncidentRow, reading_engine, store_error
from daemon.storage.paging import Item, Page, page, paged
from daemon.storage.reference_sample import Reference, references_evenly
from daemon.storage.site_events import site_events

_DAY_NS = 86_400 * NS


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
        key = evidence_key(camera, label, incident)
        with self._session() as session:
            rows = session.scalars(page(query, key, limit, cursor)).all()
            clips = filmed(session, rows)
            items = [evidence_item(row, clips.get(row.id)) for row in rows]
            return paged(items, [(row.captured_at_ns, row.id) for row in rows], limit)

    def evidence_one(self, id: str) -> Item | None:
        """One still with its whole record; None when there is none (or no more)."""
        with self._session() as session:
            row = session.get(EvidenceRow, id)
            if row is None:
                return None
            more = {"path": row.path, "missing": row.missing, "run_seq": row.run_seq, "ledger_seq": row.ledger_seq}
            return evidence_item(row, filmed(session, [row]).get(id)) | more | {"record": row.record}

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

    def references_evenly(self, most: int) -> tuple[list[Reference], int]:
        """At most so many reference stills, evenly over all cameras and all of their time, and how many there are."""
        with self._session() as session:
            return references_evenly(session, most)

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
            rows = session.scalars(page(query, (IncidentRow.first_suspect_at_ns, IncidentRow.id), limit, cursor)).all()
            return paged(incident_items(session, rows), [(row.first_suspect_at_ns, row.id) for row in rows], limit)

    def incidents_during(self, from_ns: int, to_ns: int, camera: str | None = None) -> list[Item]:
        """All incidents that have a part in the interval, however long ago they began; in the order in which they did."""
        with self._session() as session:
            return incident_items(session, session.scalars(incidents_during_query(from_ns, to_ns, camera)).all())

    def incident_one(self, id: str) -> Item | None:
        """With all that people made of it, the newest first."""
        with self._session() as session:
            row = session.get(IncidentRow, id)
            if row is None:
                return None
            told = assessments_of(session, id)
            return incident_item(row, told[0]["says"] if told else None) | {"assessments": told}

    def pictures_assessed(self, says: AssessmentSays) -> list[Path]:
        """The detector's stills of the incidents of which the newest assessment says that, where their files are."""
        with self._session() as session:
            return [self._root / path for path in pictures_of(session, says)]

    def confirmed_at_ns(self, id: str) -> int | None:
        """When an incident was first confirmed; None when it never was."""
        with self._session() as session:
            return session.scalar(select(IncidentRow.first_confirmed_at_ns).where(IncidentRow.id == id))

    def clip_files(self, incident: str, run: str, pts: int) -> list[tuple[Path, int]]:
        """Where its own camera's closed clips of an incident that begin before a frame are, in the order of their runs.

        Beside each by how many nanoseconds UTC is later by the clocks of that frame's run than by those of the clip's.
        """
        with self._session() as session:
            return [(self._root / path, ahead_ns) for path, ahead_ns in clips_up_to(session, incident, run, pts)]

    def imported(self, sha256: str) -> str | None:
        """The id of the clip that was imported from a file with this hash."""
        claimed = func.json_extract(EvidenceRow.record, "$.times") == "claimed"
        wanted = select(EvidenceRow.id).where(EvidenceRow.kind == CLIP, EvidenceRow.sha256 == sha256, claimed)
        with self._session() as session:
            return session.scalar(wanted.where(EvidenceRow.missing.is_(False)).limit(1))

    def unanalysed(self) -> list[str]:
        """Incidents that the detector confirmed, that are over, and that nobody has gone back for; the newest first."""
        with self._session() as session:
            return incident_queries.unanalysed(session)

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
            rows = session.scalars(page(query, (GapRow.from_at_ns, GapRow.id), limit, cursor)).all()
            return paged([gap_item(gap_of(row)) for row in rows], [(row.from_at_ns, row.id) for row in rows], limit)

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
                items.append(covered(session, row, span, beat, now_ns))
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
