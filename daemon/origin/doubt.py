# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether it may have been visible before first visible, though there are clean frames before that; docs/origin.md, In doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.clock import NS, rfc3339
from daemon.origin.search import CLEAN_NS, Ended


@dataclass(frozen=True, slots=True)
class Doubt:
    """Of one analysis."""

    why: tuple[str, ...]
    """glimpsed, unwatched, looks_the_same, record_begins, bound."""
    since_ns: int | None
    """From when on it may have been; None: what was looked at does not tell."""


def doubt_about(
    *,
    burning_already: bool,
    ended: Ended,
    glimpsed_ns: int | None,
    looks_the_same: bool,
    unwatched_ns: int | None = None,
) -> Doubt | None:
    """None where 3 clean seconds bear first visible out, and where it was burning already and no beginning is claimed."""
    if burning_already:
        return None
    since_ns = {"glimpsed": glimpsed_ns, "unwatched": unwatched_ns}
    told = {name: at_ns for name, at_ns in since_ns.items() if at_ns is not None}
    why = [*told, *["looks_the_same"] * looks_the_same]
    if ended != "clean":
        why.append(ended)
    if not why:
        return None
    return Doubt(tuple(why), min(told.values()) if len(why) == len(told) else None)


def to_json(of: Doubt) -> dict[str, Any]:
    """As an analysis has it."""
    since = None if of.since_ns is None else rfc3339(of.since_ns)
    return {"why": list(of.why), "since": since, "since_ns": None if of.since_ns is None else str(of.since_ns)}


def doubt_in(body: dict[str, Any]) -> dict[str, Any] | None:
    """That of a stored analysis (`why`, `since`, `since_ns`); where it is one of before they told it, what follows from it."""
    if "doubt" in body:
        return None if body["doubt"] is None else dict(body["doubt"])
    made = doubt_about(
        burning_already=body["last_clean"] is None and body["ended"] == "record_begins",
        ended=body["ended"],
        glimpsed_ns=None,
        looks_the_same=False,
    )
    if made is None and body["ended"] == "clean" and body["clean_s"] * NS < CLEAN_NS:
        made = Doubt(("glimpsed",), None)
    return None if made is None else to_json(made)
