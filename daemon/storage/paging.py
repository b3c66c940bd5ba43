# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keyset pagination: lists are newest first and go on after the last item's (time, id), never at an offset.

What is stored or purged meanwhile neither repeats nor hides an item.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, tuple_
from sqlalchemy.orm import InstrumentedAttribute

MOST_ITEMS = 500

Item = dict[str, Any]
Page = dict[str, Any]
Key = tuple[InstrumentedAttribute[int], InstrumentedAttribute[str]]
"""A list's (time, id)."""


def page(query: Select[Any], key: Key, limit: int, cursor: str | None) -> Select[Any]:
    """One more than is shown, to know whether there is more."""
    if not 1 <= limit <= MOST_ITEMS:
        raise ValueError(f"a page has 1 to {MOST_ITEMS} items")
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*_position(cursor)))
    return query.order_by(*(column.desc() for column in key)).limit(limit + 1)


def paged(items: list[Item], keys: Sequence[tuple[int, str]], limit: int) -> Page:
    return {"items": items[:limit], "next": _cursor(*keys[limit - 1]) if len(items) > limit else None}


def within(at_ns: InstrumentedAttribute[int], from_ns: int | None, to_ns: int | None) -> list[ColumnElement[bool]]:
    bounds = [None if from_ns is None else at_ns >= from_ns, None if to_ns is None else at_ns < to_ns]
    return [bound for bound in bounds if bound is not None]


def aside(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """The column as a value that no index serves, so that SQLite takes the one that gives the order."""
    return func.coalesce(column, "")


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
