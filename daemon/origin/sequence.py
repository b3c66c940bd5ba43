# SPDX-License-Identifier: AGPL-3.0-or-later
"""In which order cameras first saw a fire and were lost in it: intervals, and what can be said of their order; pure.

Each event has an error bar, on this host's monotonic clock. One is before another only if its whole interval is: where
intervals overlap their order is not determined, however far apart their middles are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
    from_ns: int
    """It happened not before this …"""
    to_ns: int
    """… and not after this."""
    at_ns: int
    """The frame's own time: of the first that shows it, or of the last that came."""
    how: str = ""
    """Of a loss: the gap's reason. Of a first sight: `gone_back`, or `suspected` where no analysis says more."""
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
    """By their middles, which is the order wherever there is one: an interval wholly before another has the earlier middle."""
    ordered = sorted(events, key=lambda each: (each.from_ns + each.to_ns, each.id, each.camera))
    return tuple(
        Placed(each, tuple(other.id for other in ordered if other is not each and _overlap(each, other)))
        for each in ordered
    )


def _overlap(one: Event, other: Event) -> bool:
    return one.from_ns <= other.to_ns and other.from_ns <= one.to_ns
