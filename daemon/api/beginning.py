# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an incident's page shows of going back: its newest analysis with the stills it names; docs/origin.md.

It says when and where fire first appeared to this camera, and never a cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from daemon.api import chart, words
from daemon.api.parameters import MOST_ITEMS, time_ns
from daemon.clock import NS
from daemon.origin.doubt import doubt_in
from daemon.origin.outline import UNNAMED
from daemon.settings import ComponentOutline
from daemon.storage.queries import Index

FILM_PICTURES = 10
_FILM_AFTER_NS = 5 * NS  # beyond the confirmation, so that the film shows how it went on
_LOOK_CLOSER = 3.5  # times the box's longer side is the side of the magnified piece …
_CLOSEST_PX = 64.0  # … and at least that: what is smaller says nothing without what is round it
_GOING_BACK = ("last_clean", "first_visible")

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the filmstrip, in seconds from first visible."""

    item: Item
    after_s: float
    role: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A component as it lies on the picture, in its pixels."""

    name: str
    points: str
    label_at: tuple[float, float]
    named: bool


@dataclass(frozen=True, slots=True)
class Beginning:
    """Everything the page needs; `first` and `clean` are the stills, None where they are not there (any more)."""

    analysis: Item
    earlier: list[Item]
    first: Item | None
    clean: Item | None
    film: list[Frame]
    chain: chart.Chart
    growth: chart.Chart
    components: list[Drawn]
    closer: tuple[float, float, float, float] | None
    """The magnified piece of the picture: x, y, width, height."""

    @property
    def urls(self) -> dict[str, str]:
        """Of the API: what this is made from."""
        incident = self.analysis["incident"]
        return {
            "analyses": url_for("origin_api.origin", incident_id=incident, all=1),
            "growth": url_for("origin_api.growth", incident_id=incident, analysis=self.analysis["id"]),
            "arrival": url_for("origin_api.arrival", incident_id=incident, analysis=self.analysis["id"]),
        }


def of(index: Index, incident: str, outlines: Sequence[ComponentOutline]) -> Beginning | None:
    """Of an incident's newest analysis; None while there is none. `outlines` are its camera's components."""
    analyses = index.analyses(incident)
    if not analyses:
        return None
    analysis = analyses[0]
    first_visible = analysis["first_visible"]
    first = _still(index, first_visible["evidence"])
    clean = _still(index, (analysis["last_clean"] or {}).get("evidence"))
    return Beginning(
        analysis=analysis,
        earlier=analyses[1:],
        first=first,
        clean=clean,
        film=_film(index, analysis),
        chain=chart.chain(analysis["chain"], analysis["thresholds"], first_visible["at"]),
        growth=chart.growth(analysis["growth"], first_visible["at"]),
        components=_drawn(outlines, analysis["component"], first) if first else [],
        closer=_closer(first_visible["box"], first["width"], first["height"]) if first else None,
    )


def _still(index: Index, id: str | None) -> Item | None:
    found = index.evidence_one(id) if id else None
    return None if found is None or found["missing"] or not found["width"] else found


def _film(index: Index, analysis: Item) -> list[Frame]:
    """The stored stills round the beginning; of many an even choice, those that have a role always."""
    at_ns = time_ns(analysis["first_visible"]["at"])
    from_ns = time_ns((analysis["last_clean"] or analysis["first_visible"])["at"])
    to_ns = max(time_ns(analysis["confirmed_at"]), at_ns) + _FILM_AFTER_NS
    its = {"incident": analysis["incident"], "camera": analysis["camera"]}
    page = index.evidence_page(**its, from_ns=from_ns, to_ns=to_ns, limit=MOST_ITEMS)
    named = {(analysis[name] or {}).get("evidence") for name in _GOING_BACK}
    items = [item for item in reversed(page["items"]) if item["kind"] not in _GOING_BACK or item["id"] in named]
    first_at = analysis["first_visible"]["at"]
    frames = [Frame(item, seconds(item["captured_at"], first_at), _role(item, analysis)) for item in items]
    rest = [frame for frame in frames if not frame.role]
    room = max(FILM_PICTURES - (len(frames) - len(rest)), 1)
    kept = {id(rest[step * len(rest) // room]) for step in range(room)} if rest else set()
    return [frame for frame in frames if frame.role or id(frame) in kept]


def _role(item: Item, analysis: Item) -> str:
    if item["id"] == analysis["first_visible"]["evidence"]:
        return "first visible"
    roles = {"last_clean": clean(analysis).lower(), "first_suspect": "first suspicion", "first_confirmed": "confirmed"}
    return roles.get(item["kind"], "")


def _drawn(outlines: Sequence[ComponentOutline], component: Item, first: Item) -> list[Drawn]:
    """The polygons, where they lie on this view: not on that of a camera that has moved."""
    if not component["candidates"]:
        return []
    drawn = []
    for outline in outlines:
        corners = [(x * first["width"], y * first["height"]) for x, y in outline.polygon]
        across, down = [x for x, _ in corners], [y for _, y in corners]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        label_at = ((min(across) + max(across)) / 2, min(down) + first["width"] / 40)
        drawn.append(Drawn(outline.name, points, label_at, outline.name == component["name"]))
    return drawn


def _closer(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """A square round the box, wholly inside the picture."""
    x1, y1, x2, y2 = box
    side = min(max(_LOOK_CLOSER * max(x2 - x1, y2 - y1), _CLOSEST_PX), float(width), float(height))
    left = min(max((x1 + x2 - side) / 2, 0.0), width - side)
    top = min(max((y1 + y2 - side) / 2, 0.0), height - side)
    return round(left, 1), round(top, 1), round(side, 1), round(side, 1)


# ---------------------------------------------------------------- in sentences

_DOUBTS = {
    "glimpsed": "Some frames before it showed it as well, but most of those after them did not.",
    "unwatched": "The record has a hole less than 3 s before it, in which nobody watched.",
    "looks_the_same": "At the place it looks like the frames before it: the detector may have missed it in them.",
    "record_begins": "The record has less than 3 s of clean frames before it.",
    "bound": "Going back reached its bound before there were 3 s of clean frames.",
}


def when(analysis: Item) -> str:
    """How its first time is meant."""
    label = str(analysis["first_visible"]["label"])
    if analysis["last_clean"] is not None and doubt_in(analysis) is None:
        return f"{label.capitalize()} first appeared to this camera at"
    return f"{label.capitalize()} appeared to this camera at the latest at"


def how_far(analysis: Item) -> str:
    """Why it was not looked for further back, and what that leaves open."""
    doubt = doubt_in(analysis)
    if doubt is not None:
        return " ".join([_earlier(doubt), *(_DOUBTS[why] for why in doubt["why"] if why in _DOUBTS)])
    if analysis["last_clean"] is None:
        was = "burning" if analysis["first_visible"]["label"] == "fire" else "there"
        return f"It was already {was} when the record begins: when it first appeared is not known, only that it was earlier than this."
    return f"In the {words.duration(analysis['clean_s'])} before it, every frame that was looked at was clean."


def _earlier(doubt: Item) -> str:
    if doubt["since"] is None:
        return "It may have been visible earlier; since when is not known."
    return f"It may have been visible earlier, from {doubt['since'][11:23]} on."


def clean(analysis: Item) -> str:
    """What its last clean picture is called: it is no clean one where a flame may be in it."""
    doubt = doubt_in(analysis)
    same = doubt is not None and "looks_the_same" in doubt["why"]
    return "Last without a sighting" if same else "Last clean"


def where(component: Item) -> str:
    """On which component, or why none is named."""
    if component["name"] is None:
        return f"No component is named: {component['note'] or 'none holds the place'}."
    share = per_cent(component["share"])
    if component["name"] == UNNAMED:
        return f"In the unnamed area ({share}): no component is drawn there."
    return f"On {component['name']} ({share})."


def per_cent(share: float) -> str:
    """Of a probability: whole, and neither 0 nor 100 where it is not."""
    if 0 < share < 0.01:
        return "< 1 %"
    return f"{min(round(100 * share), 99) if share < 0.9995 else 100} %"


def seconds(at: str, from_at: str) -> float:
    """From one moment to another."""
    return (time_ns(at) - time_ns(from_at)) / NS


def source(analysis: Item) -> str:
    """What was searched."""
    name = str(analysis["source"])
    return {"ring": "what was held in memory", "clip": "the stored clip"}.get(name, name)
