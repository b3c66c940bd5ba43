# SPDX-License-Identifier: AGPL-3.0-or-later
"""A few reference stills that stand for all of them: of every camera, from first to last, at all hours."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from daemon.domain import REFERENCE
from daemon.storage.index import EvidenceRow

_GOLDEN = 0.6180339887498949
"""Its multiples fall evenly between 0 and 1, and never into step with anything."""


class Reference(NamedTuple):
    """One of them."""

    id: str
    camera: str
    captured_at_ns: int
    path: str


def places(count: int, most: int) -> list[int]:
    """At most `most` of 0 to count - 1, one in each of as many equal parts; always the same.

    Not at the same place of each part: where a part is as long as a day, that would be the same hour every time.
    """
    if count <= most:
        return list(range(count))
    bounds = [part * count // most for part in range(most + 1)]
    return [begin + int(part * _GOLDEN % 1 * (end - begin)) for part, (begin, end) in enumerate(pairwise(bounds))]


def references_evenly(session: Session, most: int) -> tuple[list[Reference], int]:
    """The chosen ones, camera by camera and in time, and how many there are in all."""
    row = EvidenceRow
    count = session.scalar(select(func.count()).where(row.kind == REFERENCE)) or 0
    place = (func.row_number().over(order_by=(row.camera, row.captured_at_ns, row.id)) - 1).label("place")
    numbered = select(row.id, place).where(row.kind == REFERENCE).subquery()
    query = (
        select(row.id, row.camera, row.captured_at_ns, row.path)
        .join(numbered, numbered.c.id == row.id)
        .where(numbered.c.place.in_(places(count, most)))
        .order_by(numbered.c.place)
    )
    return [Reference(*found) for found in session.execute(query)], count
