# SPDX-License-Identifier: AGPL-3.0-or-later
"""One UTC day as the page shows it: what each camera's bar holds, and the day's incidents with some of their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from daemon.api import words
from daemon.api.choice import evenly
from daemon.api.parameters import MOST_ITEMS, time_ns
from daemon.clock import NS
from daemon.domain import OPEN_STATES
from daemon.storage.queries import Index

DAY_NS = 86_400 * NS
MINUTES = 1440  # the bar's own unit
_MINUTE_NS = 60 * NS
_MILLISECOND_NS = NS // 1000
_THINNEST = 2.0  # minutes: what is shorter must still be seen
PICTURES_SHOWN = 8
INCIDENTS_SHOWN = 20

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """[from, to) of one day in UTC nanoseconds, and which part of it has passed."""

    day: date
    from_ns: int
    to_ns: int
    now_ns: int

    @classmethod
    def of(cls, day: date, now_ns: int) -> Span:
        from_ns = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS
        return cls(day, from_ns, from_ns + DAY_NS, now_ns)

    @property
    def is_today(self) -> bool:
        return self.from_ns <= self.now_ns < self.to_ns

    @property
    def passed_ns(self) -> int:
        return min(self.to_ns, max(self.now_ns, self.from_ns))

    def beside(self, days: int) -> str | None:
        """The day before or after, for a link; None for what cannot have been yet."""
        try:
            other = self.day + timedelta(days)
        except OverflowError:
            return None
        return other.isoformat() if Span.of(other, self.now_ns).from_ns in range(self.now_ns + 1) else None


def today(now_ns: int) -> date:
    return datetime.fromtimestamp(now_ns // NS, UTC).date()


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of a camera's bar, in minutes of the day."""

    x: float
    width: float
    kind: str
    says: str


@dataclass(frozen=True, slots=True)
class CameraDay:
    """One camera: how it is now, and its day."""

    camera: Item
    tone: str
    words: str
    marks: list[Mark] = field(default_factory=list)
    gaps: list[Item] = field(default_factory=list)
    watched_share: float | None = None
    frames: int = 0
    since: str | None = None
    """When it was first configured, where that was on this day."""


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident and some of its pictures, in time order."""

    incident: Item
    words: str
    pictures: list[Item]
    ongoing: bool

    @property
    def more(self) -> int:
        return max(int(self.incident["evidence_count"]) - len(self.pictures), 0)


def _end_ns(incident: Item, span: Span) -> int:
    if incident["ended_at"] is not None:
        return time_ns(incident["ended_at"])
    return span.now_ns if incident["state"] in OPEN_STATES else time_ns(incident["first_suspect_at"])


def view_of(index: Index, incident: Item) -> IncidentView:
    """With at most PICTURES_SHOWN pictures: what it began with, and its latest."""
    if incident["kind"] == "manual":
        return _view_of_capture(index, incident)
    its: Item = {"incident": incident["id"], "camera": incident["camera"]}
    latest = index.evidence_page(**its, limit=PICTURES_SHOWN)
    pictures = latest["items"]
    if latest["next"] is not None:
        firsts = [
            item
            for kind in ("first_confirmed", "first_suspect", "first_visible")
            for item in index.evidence_page(**its, kind=kind, limit=1)["items"]
        ]
        shown = {item["id"] for item in firsts}
        rest = [item for item in pictures if item["id"] not in shown]
        pictures = [*rest[: PICTURES_SHOWN - len(firsts)], *firsts]
    in_order = sorted(pictures, key=lambda item: (item["captured_at"], item["id"]))
    return IncidentView(incident, words.incident_state(incident), in_order, incident["state"] in OPEN_STATES)


def _view_of_capture(index: Index, incident: Item) -> IncidentView:
    """No picture of it matters more than another: some of the whole of it."""
    pictures = index.evidence_page(incident=incident["id"], limit=MOST_ITEMS)["items"][::-1]
    shown = evenly(pictures, PICTURES_SHOWN)
    return IncidentView(incident, words.incident_state(incident), shown, incident["state"] in OPEN_STATES)


def camera_days(index: Index, cameras: list[Item], span: Span, incidents: list[Item]) -> list[CameraDay]:
    """One for each camera, in the order given."""
    return [_camera_day(index, camera, span, incidents) for camera in cameras]


def _camera_day(index: Index, camera: Item, span: Span, incidents: list[Item]) -> CameraDay:
    tone, says = words.camera_state(camera)
    since_ns = _since_ns(camera, span)
    if since_ns is None:
        return CameraDay(camera, tone, says)
    [covered] = index.coverage(camera=camera["name"], from_ns=since_ns, to_ns=span.passed_ns)["items"]
    marks = [_mark(span, since_ns, span.passed_ns, "watched", "watched")]
    marks += [
        _mark(span, time_ns(gap["from"]), _until(gap["to"], span), "gap", _gap_words(gap)) for gap in covered["gaps"]
    ]
    marks += _incident_marks(span, [each for each in incidents if each["camera"] == camera["name"]])
    since = camera["first_seen_at"] if since_ns > span.from_ns else None
    return CameraDay(camera, tone, says, marks, covered["gaps"], covered["watched_share"], covered["frames"], since)


def _since_ns(camera: Item, span: Span) -> int | None:
    """From when on this day the camera was there to be watched; None when it was not."""
    if camera["first_seen_at"] is None:
        return None
    first_seen_ns = time_ns(camera["first_seen_at"]) + _MILLISECOND_NS  # the text is rounded down
    since_ns = max(first_seen_ns, span.from_ns)
    return since_ns if since_ns < span.passed_ns else None


def _incident_marks(span: Span, incidents: list[Item]) -> Iterator[Mark]:
    for incident in incidents:
        from_ns = time_ns(incident["first_suspect_at"])
        says = f"{words.incident_title(incident)} from {incident['first_suspect_at'][11:19]}: "
        says += words.incident_state(incident)
        kind = "fire" if incident["first_confirmed_at"] is not None else "suspect"
        if incident["kind"] == "manual":
            kind = "manual"
        yield _mark(span, from_ns, _end_ns(incident, span), kind, says)


def _until(at: str | None, span: Span) -> int:
    return span.passed_ns if at is None else time_ns(at)


def _mark(span: Span, from_ns: int, to_ns: int, kind: str, says: str) -> Mark:
    first = max(from_ns - span.from_ns, 0) / _MINUTE_NS
    last = min(max(to_ns - span.from_ns, 0) / _MINUTE_NS, float(MINUTES))
    width = last - first if kind == "watched" else max(last - first, _THINNEST)
    first = min(first, MINUTES - width)
    return Mark(round(first, 1), round(width, 1), kind, says)


def _gap_words(gap: Item) -> str:
    until = gap["to"][11:19] if gap["to"] else "now"
    why = words.REASONS.get(gap["reason"], gap["reason"]) if gap["id"] else gap["detail"]
    return f"not watched {gap['from'][11:19]} – {until}: {why}"
