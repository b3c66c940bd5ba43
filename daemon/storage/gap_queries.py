# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was not seen: the gaps that are asked for, and what of an interval a camera watched."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from daemon.clock import NS, rfc3339
from daemon.domain import Gap
from daemon.storage import heartbeat, shares
from daemon.storage.coverage import HOUR_NS, hour_of
from daemon.storage.evidence_queries import UNANALYSED
from daemon.storage.heartbeat import CameraBeat, Heartbeat
from daemon.storage.index import CameraRow, CoverageRow, EvidenceRow, GapRow
from daemon.storage.paging import Item, within

_SILENCE_NS = round(2 * heartbeat.PERIOD_S * NS)  # beyond the limit: one heartbeat that came late


class Known(NamedTuple):
    """The last that the index knows of a camera: nanoseconds, 0 where there is nothing."""

    first_seen_at_ns: int
    gap_ended_at_ns: int
    captured_at_ns: int


def gaps_query(camera: str | None, from_ns: int | None, to_ns: int | None) -> Select[GapRow]:
    """The gaps that are asked for, in no order yet."""
    wanted = within(GapRow.from_at_ns, None, to_ns)
    if from_ns is not None:
        wanted.append(or_(GapRow.to_at_ns.is_(None), GapRow.to_at_ns > from_ns))
    if camera is not None:
        wanted.append(GapRow.camera == camera)
    return select(GapRow).where(*wanted)


def gap_of(row: GapRow) -> Gap:
    """As the domain has it."""
    return Gap(row.id, row.camera, row.reason, row.from_at_ns, row.to_at_ns, row.detail)


def gap_item(gap: Gap) -> Item:
    """As the API tells it; one that is not recorded has no id."""
    return {
        "id": gap.id or None,
        "camera": gap.camera,
        "reason": gap.reason,
        "from": rfc3339(gap.from_at_ns),
        "to": None if gap.to_at_ns is None else rfc3339(gap.to_at_ns),
        "detail": gap.detail,
    }


def covered(session: Session, row: CameraRow, span: shares.Span, beat: Heartbeat | None, now_ns: int) -> Item:
    """What a camera watched of a span: see Index.coverage."""
    seen = beat.cameras.get(row.name) if beat else None
    rows = session.scalars(gaps_query(row.name, *span).order_by(GapRow.from_at_ns, GapRow.id))
    gaps = [gap_of(each) for each in rows]
    until_ns = _known_until_ns(seen, beat, row.first_seen_at_ns, now_ns)
    unknown = shares.unknown(row.name, row.first_seen_at_ns, until_ns, span, gaps)
    not_watched = [*(shares.clipped(gap, span) for gap in gaps), *(part for part, _ in unknown)]
    return {
        "camera": row.name,
        "from": rfc3339(span[0]),
        "to": rfc3339(span[1]),
        **shares.frames(_frames(session, row.name, span, seen), span),
        "watched_share": shares.share(span, not_watched),
        "gaps": [
            gap_item(gap) for gap in sorted([*gaps, *(gap for _, gap in unknown)], key=lambda gap: gap.from_at_ns)
        ],
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
