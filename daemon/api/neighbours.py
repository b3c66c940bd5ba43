# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pictures of its camera before and after one: of its incident, where it belongs to one; reference stills apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.api.parameters import MOST_ITEMS, time_ns
from daemon.clock import NS
from daemon.domain import REFERENCE
from daemon.storage.queries import Index

_MILLISECOND_NS = NS // 1000  # to which `captured_at` is rounded down
_SAME_MILLISECOND = 20  # more stills than any camera has within one
# Lists come newest first, so "the next later" is the last of a window; the window doubles until something is in it.
_FIRST_WINDOW_NS = 10 * NS
_LONGEST_WINDOW_NS = 100 * 86_400 * NS

Item = dict[str, Any]


def of(index: Index, evidence: Item) -> tuple[str | None, str | None]:
    """(earlier, later): their ids, or None at either end."""
    among: Item = {"incident": evidence["incident"], "camera": evidence["camera"]}
    if evidence["kind"] == REFERENCE:
        among["kind"] = REFERENCE
    at_ns = time_ns(evidence["captured_at"])
    return _earlier(index, among, at_ns, evidence["id"]), _later(index, among, at_ns, evidence["id"])


def _earlier(index: Index, among: Item, at_ns: int, name: str) -> str | None:
    page = index.evidence_page(**among, to_ns=at_ns + _MILLISECOND_NS, limit=_SAME_MILLISECOND)
    names = [item["id"] for item in page["items"]]
    after = names[names.index(name) + 1 :] if name in names else []
    return after[0] if after else None


def _later(index: Index, among: Item, at_ns: int, name: str) -> str | None:
    window_ns = _FIRST_WINDOW_NS
    while window_ns < _LONGEST_WINDOW_NS:
        newer = None
        for found in _newest_first(index, among, at_ns, at_ns + window_ns):
            if found == name:
                break
            newer = found
        if newer is not None:
            return newer
        window_ns *= 2
    return None


def _newest_first(index: Index, among: Item, from_ns: int, to_ns: int) -> Iterator[str]:
    cursor = None
    while True:
        page = index.evidence_page(**among, from_ns=from_ns, to_ns=to_ns, limit=MOST_ITEMS, cursor=cursor)
        yield from (item["id"] for item in page["items"])
        cursor = page["next"]
        if cursor is None:
            return
