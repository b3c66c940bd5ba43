# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bodies of the ledger's lines that are made from what workers and gaps say; docs/formats.md."""

from __future__ import annotations

from typing import Any

from daemon.clock import rfc3339
from daemon.domain import Gap, Incident, Run


def run(of: Run, run_seq: int) -> dict[str, Any]:
    """Of a `run` line."""
    return {
        "id": of.id,
        "run_seq": run_seq,
        "camera": of.camera,
        **_moment("started", of.started_at_ns),
        "started_mono_ns": str(of.started_mono_ns),
        "time_base": list(of.time_base),
        "codec": of.codec,
        "width_px": of.width_px,
        "height_px": of.height_px,
        "cause": of.cause,
    }


def incident(of: Incident) -> dict[str, Any]:
    """Of an `incident` line."""
    return {
        "id": of.id,
        "camera": of.camera,
        "state": of.state,
        "kind": of.kind,
        "drill": of.drill,
        **_moment("first_suspect", of.first_suspect_at_ns),
        **_moment("first_confirmed", of.first_confirmed_at_ns),
        **_moment("ended", of.ended_at_ns),
        "labels": list(of.labels),
        "max_confidence": float(of.max_confidence),
        "place": [float(each) for each in of.place],
        "previous": of.previous,
        "ignored_zones": list(of.ignored_zones),
        "reason": of.reason,
    }


def gap(of: Gap) -> dict[str, Any]:
    """Of a `gap` line."""
    return {
        "id": of.id,
        "camera": of.camera,
        "reason": of.reason,
        **_moment("from", of.from_at_ns),
        **_moment("to", of.to_at_ns),
        "detail": of.detail,
    }


def _moment(name: str, at_ns: int | None) -> dict[str, str | None]:
    """A time twice: for people, and exact."""
    if at_ns is None:
        return {f"{name}_at": None, f"{name}_at_ns": None}
    return {f"{name}_at": rfc3339(at_ns), f"{name}_at_ns": str(at_ns)}
