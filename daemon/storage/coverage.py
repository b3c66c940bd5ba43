# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each camera's hours come to: frames watched, and seconds watched. No clock, no I/O.

Watched time is what the gaps leave of it: a gap that proves to have begun earlier, or that overlaps because the wall
clock stepped back, wins. Hours are kept for `_KEPT_NS` after they ended, so that such a gap can still correct them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from daemon.clock import NS, rfc3339
from daemon.domain import Gap
from daemon.storage.gaps import Event, Frames, Watched

HOUR_NS = 3600 * NS
_KEPT_NS = 2 * HOUR_NS

Span = tuple[int, int]


@dataclass(slots=True)
class _Hour:
    frames: int = 0
    spans: list[Span] = field(default_factory=list)
    """Disjoint and in order."""
    told: tuple[int, float] = (0, 0.0)
    """Frames and seconds as last said in a line."""


class Coverage:
    """All cameras' hours of late."""

    def __init__(self) -> None:
        self._hours: dict[str, dict[int, _Hour]] = {}
        self._gaps: dict[str, dict[str, Gap]] = {}

    def continue_from(self, camera: str, hour_at_ns: int, frames: int, watched_s: float, until_ns: int) -> None:
        """What the heartbeat of an earlier process says of the hour that it was in."""
        until_ns = min(until_ns, hour_at_ns + HOUR_NS)
        from_ns = max(hour_at_ns, until_ns - round(watched_s * NS))
        spans = [(from_ns, until_ns)] if until_ns > from_ns else []
        self._hours.setdefault(camera, {})[hour_at_ns] = _Hour(frames, spans)

    def add(self, event: Event) -> None:
        """Takes in what a camera's watch says."""
        match event:
            case Frames(camera, at_ns, count):
                self._hour(camera, hour_of(at_ns)).frames += count
            case Watched(camera, from_ns, to_ns):
                for hour_at_ns, span in _by_hour(from_ns, to_ns):
                    self._hour(camera, hour_at_ns).spans = _united(self._hour(camera, hour_at_ns).spans, span)
            case Gap(id=name, camera=camera):
                self._gaps.setdefault(camera, {})[name] = event

    def ended(self, known_until_ns: Mapping[str, int]) -> list[dict[str, Any]]:
        """Bodies of `coverage` lines: hours that are over for their camera and not yet told as they are now."""
        lines: list[dict[str, Any]] = []
        for camera, until_ns in known_until_ns.items():
            over = [each for each in self._hours.get(camera, {}) if each + HOUR_NS <= until_ns]
            lines += self._untold(camera, over)
            self._forget(camera, until_ns - _KEPT_NS)
        return lines

    def all(self) -> list[dict[str, Any]]:
        """Bodies of `coverage` lines of everything not yet told, at the end."""
        return [line for camera, hours in self._hours.items() for line in self._untold(camera, hours)]

    def of(self, camera: str, hour_at_ns: int) -> tuple[int, float]:
        """(frames, seconds watched) of an hour so far."""
        hour = self._hours.get(camera, {}).get(hour_at_ns, _Hour())
        spans = hour.spans
        for gap in self._gaps.get(camera, {}).values():
            spans = _without(spans, gap)
        return hour.frames, round(sum(end - start for start, end in spans) / NS, 3)

    def _untold(self, camera: str, hours: Iterable[int]) -> Iterator[dict[str, Any]]:
        for hour_at_ns in sorted(hours):
            hour, now = self._hours[camera][hour_at_ns], self.of(camera, hour_at_ns)
            if now != hour.told:
                hour.told = now
                yield {
                    "camera": camera,
                    "hour_at": rfc3339(hour_at_ns),
                    "hour_at_ns": str(hour_at_ns),
                    "frames": now[0],
                    "watched_s": now[1],
                }

    def _hour(self, camera: str, hour_at_ns: int) -> _Hour:
        return self._hours.setdefault(camera, {}).setdefault(hour_at_ns, _Hour())

    def _forget(self, camera: str, before_ns: int) -> None:
        hours, gaps = self._hours.get(camera, {}), self._gaps.get(camera, {})
        for hour_at_ns in [each for each in hours if each + HOUR_NS <= before_ns]:
            del hours[hour_at_ns]
        first_ns = min(hours, default=before_ns)
        for name in [name for name, gap in gaps.items() if gap.to_at_ns is not None and gap.to_at_ns <= first_ns]:
            del gaps[name]


def hour_of(at_ns: int) -> int:
    """When the hour (UTC) of a moment began."""
    return at_ns - at_ns % HOUR_NS


def _by_hour(from_ns: int, to_ns: int) -> Iterator[tuple[int, Span]]:
    while from_ns < to_ns:
        hour_at_ns = hour_of(from_ns)
        end_ns = min(to_ns, hour_at_ns + HOUR_NS)
        yield hour_at_ns, (from_ns, end_ns)
        from_ns = end_ns


def _united(spans: list[Span], new: Span) -> list[Span]:
    start, end = new
    apart = [each for each in spans if each[1] < start or each[0] > end]
    touching = [each for each in spans if not (each[1] < start or each[0] > end)]
    joined = (min([start, *(each[0] for each in touching)]), max([end, *(each[1] for each in touching)]))
    return sorted([*apart, joined])


def _without(spans: list[Span], gap: Gap) -> list[Span]:
    left = []
    for start, end in spans:
        if start < gap.from_at_ns:
            left.append((start, min(end, gap.from_at_ns)))
        if gap.to_at_ns is not None and end > gap.to_at_ns:
            left.append((max(start, gap.to_at_ns), end))
    return left
