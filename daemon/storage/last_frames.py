# SPDX-License-Identifier: AGPL-3.0-or-later
"""The last frame of a camera before it fell silent: a still, or a frame in one of its clips, closed or still growing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from daemon.clips.reading import fragments, read_head
from daemon.clock import NS
from daemon.storage.clips import present
from daemon.storage.index import ClipRow, EvidenceRow, SegmentRow

_SAME_NS = NS // 100  # a frame's time is told again while its run's clock settles


class LastFrame(NamedTuple):
    """`evidence` is the still's id, or the clip's with `frame`, counted from 0 as its frames are shown."""

    evidence: str
    frame: int | None
    at_ns: int
    relative_uncertainty_s: float


def last_frame(session: Session, root: Path, camera: str, since_ns: int, until_ns: int) -> LastFrame | None:
    """The newest between these moments (UTC); of the same one the still, which is evidence by itself."""
    still = _still(session, camera, since_ns, until_ns)
    filmed = [_in_clip(path, id_, until_ns) for id_, path in _clips(session, root, camera, since_ns, until_ns)]
    newest = max((each for each in filmed if each is not None), key=lambda each: each.at_ns, default=None)
    if newest is None or newest.at_ns < since_ns or (still is not None and newest.at_ns <= still.at_ns + _SAME_NS):
        return still
    return newest


def _still(session: Session, camera: str, since_ns: int, until_ns: int) -> LastFrame | None:
    row = EvidenceRow
    wanted = (row.camera == camera, row.captured_at_ns.between(since_ns, until_ns), row.missing.is_(False))
    newest = select(row).where(*wanted, ~exists().where(ClipRow.id == row.id))
    found = session.scalars(newest.order_by(row.captured_at_ns.desc(), row.id.desc()).limit(1)).first()
    if found is None:
        return None
    return LastFrame(found.id, None, found.captured_at_ns, float(found.record.get("relative_uncertainty_s", 0.0)))


def _clips(session: Session, root: Path, camera: str, since_ns: int, until_ns: int) -> Iterator[tuple[str, Path]]:
    """Those that may hold a frame of that time."""
    row, clip = EvidenceRow, ClipRow
    closed = select(row.id, row.path).join(clip, clip.id == row.id).where(row.camera == camera)
    closed = closed.where(clip.from_at_ns <= until_ns, clip.to_at_ns >= since_ns)
    growing = select(SegmentRow.clip, SegmentRow.path).distinct()
    growing = growing.where(func.json_extract(SegmentRow.body, "$.camera") == camera)
    for id_, path in (*session.execute(closed), *session.execute(growing)):
        yield id_, present(root / path)


def _in_clip(path: Path, id_: str, until_ns: int) -> LastFrame | None:
    """Its last frame up to a moment; None where it has none, or cannot be read: `firewitness verify` tells why."""
    try:
        with path.open("rb") as file:
            told = [
                (frame.pts, frame.at_ns, part.relative_uncertainty_s)
                for part in fragments(file, read_head(file))
                for frame in part.frames
            ]
    except (OSError, ValueError):
        return None
    told.sort()
    number = next((place for place in reversed(range(len(told))) if told[place][1] <= until_ns), None)
    return None if number is None else LastFrame(id_, number, told[number][1], told[number][2])
