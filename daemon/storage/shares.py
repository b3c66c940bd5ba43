# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which share of an interval a camera was watched: what its gaps leave of it; what nobody knows of is a gap too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from daemon.clock import rfc3339
from daemon.domain import Gap
from daemon.storage.coverage import HOUR_NS, hour_of

Span = tuple[int, int]


def unknown(
    camera: str, first_seen_at_ns: int, known_until_ns: int, span: Span, gaps: Sequence[Gap]
) -> list[tuple[Span, Gap]]:
    """Beside the recorded gaps: the time before the camera was first configured, and since the recorder fell silent.

    The latter unless an open gap says why.
    """
    from_ns, to_ns = span
    found = []
    if from_ns < first_seen_at_ns:
        until_ns = min(first_seen_at_ns, to_ns)
        found.append(((from_ns, until_ns), Gap("", camera, "disabled", from_ns, until_ns, "not configured yet")))
    since_ns = max(known_until_ns, first_seen_at_ns, from_ns)
    if since_ns < to_ns and all(gap.to_at_ns is not None for gap in gaps):
        gap = Gap("", camera, "recorder", since_ns, None, "nothing has been recorded of this time yet")
        found.append(((since_ns, to_ns), gap))
    return found


def clipped(gap: Gap, span: Span) -> Span:
    """The gap's part of the interval; it may be empty."""
    to_ns = span[1] if gap.to_at_ns is None else min(gap.to_at_ns, span[1])
    return max(gap.from_at_ns, span[0]), to_ns


def length_ns(spans: Iterable[Span]) -> int:
    """Of the union: gaps can overlap where the wall clock stepped back."""
    total, until_ns = 0, 0
    for from_ns, to_ns in sorted(spans):
        total += max(0, to_ns - max(from_ns, until_ns))
        until_ns = max(until_ns, to_ns)
    return total


def share(span: Span, not_watched: Iterable[Span]) -> float | None:
    """0 to 1, rounded down so that 1.0 means all of it; None of an interval that is empty or has not begun."""
    whole_ns = span[1] - span[0]
    if whole_ns <= 0:
        return None
    watched_ns = whole_ns - length_ns(not_watched)
    return int(watched_ns * 1_000_000 // whole_ns) / 1_000_000


def frames(counts: dict[int, int], span: Span) -> dict[str, Any]:
    """Frames are counted by the hour: of all hours that the interval touches, which are named."""
    first_ns, end_ns = hour_of(span[0]), -hour_of(-max(span))
    return {
        "frames": sum(count for hour_at_ns, count in counts.items() if first_ns <= hour_at_ns < end_ns),
        "frames_from": rfc3339(first_ns),
        "frames_to": rfc3339(max(end_ns, first_ns + HOUR_NS)),
    }
