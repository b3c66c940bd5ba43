# SPDX-License-Identifier: AGPL-3.0-or-later
"""In which order cameras first saw a fire and were lost in it: intervals, and what can be said of their order; pure.

Each event has an error bar, on this host's monotonic clock. One is before another only if its whole interval is: where
intervals overlap their order is not determined, however far apart their middles are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from daemon.clock import NS

What = Literal["first_sight", "lost"]


@dataclass(frozen=True, slots=True)
class Event:
    """A camera's first sight of the fire, or its loss."""

    id: str
    """Of the incident that it is the first sight of, or of the gap that is the loss."""
    what: What
    camera: str
    from_ns: int | None
    """It happened not before this (None: nobody saw the place before, or could tell) …"""
    to_ns: int
    """… and not after this."""
    at_ns: int
    """The frame's own time: of the first that shows it, or of the last that came."""
    how: str = ""
    """Of a loss: the gap's reason. Of a first sight: `gone_back`, `in_doubt`, `burning_when_record_begins`, or, where no analysis says
    more, `suspected`."""
    evidence: str | None = None
    """The still: first visible, or the last good frame; or the clip that has it, as `frame`."""
    frame: int | None = None
    """Its number in the clip, counted from 0 as its frames are shown."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An event in the sequence."""

    event: Event
    not_determined_with: tuple[str, ...]
    """Ids of the events whose interval overlaps its own: before, after or with it."""


def first_sight(
    incident: str,
    camera: str,
    at_ns: int,
    relative_uncertainty_s: float,
    how: str,
    evidence: str | None,
) -> Event:
    """`relative_uncertainty_s` holds the distance to the last clean frame, in which it can have begun unseen."""
    margin_ns = round(relative_uncertainty_s * NS)
    return Event(incident, "first_sight", camera, at_ns - margin_ns, at_ns + margin_ns, at_ns, how, evidence)


def reaching_back(sight: Event, since_ns: int | None) -> Event:
    """A first sight of what may have been visible earlier: from then on, or None: at any time before."""
    if since_ns is None or sight.from_ns is None:
        return replace(sight, from_ns=None)
    return replace(sight, from_ns=min(sight.from_ns, since_ns))


def loss(
    gap: str,
    camera: str,
    last_ns: int,
    relative_uncertainty_s: float,
    interval_s: float,
    reason: str,
    evidence: str | None,
    frame: int | None = None,
) -> Event:
    """After its last frame, and before the next one would have come, which takes the camera's interval."""
    margin_ns = round(relative_uncertainty_s * NS)
    until_ns = last_ns + margin_ns + round(interval_s * NS)
    return Event(gap, "lost", camera, last_ns - margin_ns, until_ns, last_ns, reason, evidence, frame)


def sequence(events: Iterable[Event]) -> tuple[Placed, ...]:
    """By their middles, which is the order wherever there is one: an interval wholly before another has the earlier middle.

    One that is open to the past has its end in place of its middle, and goes before all others.
    """
    ordered = sorted(events, key=_place)
    return tuple(
        Placed(each, tuple(other.id for other in ordered if other is not each and _overlap(each, other)))
        for each in ordered
    )


def _place(event: Event) -> tuple[bool, int, str, str]:
    middle = event.to_ns if event.from_ns is None else event.from_ns + event.to_ns
    return event.from_ns is not None, middle, event.id, event.camera


def _overlap(one: Event, other: Event) -> bool:
    return _reaches(one, other.to_ns) and _reaches(other, one.to_ns)


def _reaches(event: Event, back_to_ns: int) -> bool:
    return event.from_ns is None or event.from_ns <= back_to_ns
