# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages for people: a day, an incident, one evidence. Rendered here; they work without JavaScript."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from pydantic import AfterValidator, BeforeValidator, Field

from daemon import __version__
from daemon.api import beginning, chart, day, footage, minutes, neighbours, sequence, siblings, words
from daemon.api.cameras import Cameras
from daemon.api.evidence import NO_SUCH_EVIDENCE, NO_SUCH_INCIDENT
from daemon.api.live import LiveStatus
from daemon.api.origin import why_none
from daemon.api.parameters import CameraName, Id, NoParameters, Parameters, parse, time_ns
from daemon.api.problems import Problem
from daemon.clock import NS, Clocks
from daemon.domain import OPEN_STATES
from daemon.settings import Settings
from daemon.storage.queries import Index

PICTURES_A_PAGE = 120


def _not_empty(value: object) -> object:
    """A form sends its empty fields too."""
    return None if value == "" else value


FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2261, 12, 31)  # whole days within the index's times


def _within(day: date | None) -> date | None:
    if day is not None and not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError("days from 1970 to 2261 are allowed")
    return day


Day = Annotated[date | None, BeforeValidator(_not_empty), AfterValidator(_within)]


class DayPage(Parameters):
    """/: `day` is a UTC date; `before` shows the incidents before this one."""

    day: Day = None
    camera: Annotated[CameraName | None, BeforeValidator(_not_empty)] = None
    before: Id | None = None


class MinutesPage(Parameters):
    """/minutes: one camera's reference stills of one hour of a UTC day."""

    camera: CameraName
    day: Day = None
    hour: Annotated[int | None, Field(ge=0, le=23)] = None


class IncidentPage(Parameters):
    """/incidents/<id>: `cursor` pages its pictures; `clip` and `frame` step through a clip."""

    cursor: Annotated[str, Field(max_length=200)] | None = None
    clip: Id | None = None
    frame: Annotated[int, Field(ge=0, le=10_000_000)] | None = None


def blueprint(settings: Settings, index: Index, live: LiveStatus, cameras: Cameras, clocks: Clocks) -> Blueprint:
    """What they show is asked of the index and the supervisor anew each time; sites and components are those of the settings."""
    pages = Blueprint("pages", __name__)
    pages.add_app_template_filter(lambda at: at[11:23] if at else "", "clock")
    pages.add_app_template_filter(lambda at: f"{at[:10]} {at[11:23]} UTC" if at else "", "moment")
    pages.add_app_template_filter(words.duration, "duration")
    pages.add_app_template_filter(words.size, "size")
    pages.add_app_template_filter(lambda gap: _lasted(gap, clocks.wall_ns()), "lasted")
    pages.record_once(
        lambda state: state.app.jinja_env.globals.update(words=words, version=__version__, say=beginning, field=chart)
    )
    pages.add_url_rule("/", view_func=lambda: _day(index, cameras, clocks), endpoint="day")
    pages.add_url_rule("/minutes", view_func=lambda: _minutes(index, cameras, clocks), endpoint="minutes")
    pages.add_url_rule(
        "/incidents/<uuid:incident_id>",
        view_func=lambda incident_id: _incident(settings, index, live, clocks, incident_id),
        endpoint="incident",
    )
    pages.add_url_rule(
        "/evidence/<uuid:evidence_id>", view_func=lambda evidence_id: _evidence(index, evidence_id), endpoint="evidence"
    )
    return pages


def _lasted(gap: dict[str, str | None], now_ns: int) -> float:
    from_at, to_at = gap["from"], gap["to"]
    return max((now_ns if to_at is None else time_ns(to_at)) - time_ns(from_at), 0) / NS


def _day(index: Index, cameras: Cameras, clocks: Clocks) -> Response:
    asked = parse(DayPage, request.args)
    cameras.check(asked.camera)
    now_ns = clocks.wall_ns()
    span = day.Span.of(asked.day or day.today(now_ns), now_ns)
    now = cameras.now()
    shown = [camera for camera in now["items"] if asked.camera in (None, camera["name"])]
    incidents = index.incidents_during(span.from_ns, span.to_ns, asked.camera)
    on_page, earlier = _last(incidents, asked.before)
    return _page(
        "day.html",
        span=span,
        asked=asked,
        daemon=now["daemon"],
        all_cameras=now["items"],
        cameras=day.camera_days(index, shown, span, incidents),
        ongoing=[incident for incident in incidents if incident["state"] in OPEN_STATES] if span.is_today else [],
        incidents=[day.view_of(index, incident) for incident in on_page],
        earlier=earlier,
    )


def _last(incidents: list[day.Item], before: str | None) -> tuple[list[day.Item], str | None]:
    """The last ones of a day (before the one named), and which to name for those before them."""
    names = [incident["id"] for incident in incidents]
    end = names.index(before) if before in names else len(names)
    start = max(end - day.INCIDENTS_SHOWN, 0)
    return incidents[start:end], names[start] if start else None


def _minutes(index: Index, cameras: Cameras, clocks: Clocks) -> Response:
    asked = parse(MinutesPage, request.args)
    cameras.check(asked.camera)
    now_ns = clocks.wall_ns()
    span = day.Span.of(asked.day or day.today(now_ns), now_ns)
    return _page("minutes.html", asked=asked, span=span, minutes=minutes.of(index, asked.camera, span, asked.hour))


def _incident(settings: Settings, index: Index, live: LiveStatus, clocks: Clocks, incident_id: UUID) -> Response:
    asked = parse(IncidentPage, request.args)
    incident = index.incident_one(str(incident_id))
    if incident is None:
        raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH_INCIDENT)
    try:
        its = {"incident": incident["id"], "camera": incident["camera"]}
        page = index.evidence_page(**its, limit=PICTURES_A_PAGE, cursor=asked.cursor)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cursor: {error}") from None
    camera = settings.cameras.get(incident["camera"])
    began = beginning.of(index, incident["id"], camera.components if camera else ())
    films = footage.of(index.clips_of(incident["id"]), began.analysis if began else None, asked.clip, asked.frame)
    return _page(
        "incident.html",
        incident=incident,
        began=began,
        footage=[each for each in films if each.clip["camera"] == incident["camera"]],
        siblings=siblings.of(index, incident, films),
        without=None if began else why_none(index, incident, clocks.wall_ns()),
        sequence=_in_order(settings, index, live, incident),
        pictures=page["items"][::-1],
        earlier=page["next"],
        asked=asked,
    )


def _in_order(settings: Settings, index: Index, live: LiveStatus, incident: day.Item) -> day.Item | None:
    """The sequence that an incident is part of; None where nothing else is in it."""
    told = sequence.of(settings, index, live, incident)
    ids = [each["id"] for each in told["items"]]
    return told if incident["id"] in ids and len(ids) > 1 and told["site"] is not None else None


def _evidence(index: Index, evidence_id: UUID) -> Response:
    parse(NoParameters, request.args)
    evidence = index.evidence_one(str(evidence_id))
    if evidence is None:
        raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH_EVIDENCE)
    if "video" in evidence:  # no picture, and shown where it is played
        to = url_for("pages.incident", incident_id=evidence["incident"], _anchor=f"clip-{evidence['id']}")
        return make_response(redirect(to, HTTPStatus.SEE_OTHER))
    earlier, later = neighbours.of(index, evidence)
    return _page("evidence.html", evidence=evidence, earlier=earlier, later=later)


def _page(template: str, **values: object) -> Response:
    answer = make_response(render_template(template, **values))
    answer.headers["Cache-Control"] = "no-store"
    return answer
