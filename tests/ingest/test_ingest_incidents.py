# SPDX-License-Identifier: AGPL-3.0-or-later
"""Incidents of one camera and what is kept of them; and the plan that a worker gets from the settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from daemon import shipped
from daemon.clock import NS
from daemon.detect.rules import Zone
from daemon.domain import Detection, FrameTime, ModelInfo, Run
from daemon.ingest.colour import Colour
from daemon.ingest.frames import Picture
from daemon.ingest.incidents import Findings, Incidents
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.planning import Sockets, plan_for
from daemon.settings import Settings
from daemon.storage.record import from_json, to_json
from daemon.storage.schemas import RECORD

MODEL = ModelInfo("0" * 64, "fake", "none", 640)
SOCKETS = Sockets(Path("/run/firewitness/recorder.sock"), Path("/run/firewitness/work.sock"))
ZONE = Zone("burner", ((0.0, 0.0), (0.3, 0.0), (0.3, 0.3), (0.0, 0.3)), ("fire",))
PLAN = WorkerPlan(
    camera="hall",
    url="rtsp://127.0.0.1/hall",
    version="1.2.3",
    recorder_socket="/none",
    thresholds={"fire": 0.5, "smoke": 0.6},
    zones=(ZONE,),
)


def picture(at_s: float, width_px: int = 1000, height_px: int = 500) -> Picture:
    """A frame at that moment; its pixels play no part."""
    run = Run("run-1", "hall", 0, 0, (1, 90_000), "h264", width_px, height_px, "connected")
    time = FrameTime(round((1000 + at_s) * NS), 0.2, 0.1, True, False)
    frame: Any = None
    return Picture(frame, run, round(at_s * 90_000), round(at_s * NS), time, "no", Colour("bt709", "limited"))


def fire(x: float, y: float, confidence: float = 0.9, label: str = "fire") -> Detection:
    return Detection(label, confidence, (x, y, x + 50, y + 50))


def look(incidents: Incidents, at_s: float, *detections: Detection) -> Findings:
    """The detector's answer to the frame at that moment; all stills that are wanted are made."""
    findings = incidents.analysed(picture(at_s), detections, MODEL)
    for wanted in findings.stills:
        incidents.kept(wanted, 1000)
    return findings


def test_a_record_holds_what_it_takes_to_repeat_the_finding() -> None:
    """Run, PTS, times, model, thresholds, version, damage and colours as they were."""
    incidents = Incidents(PLAN)
    findings = look(incidents, 1.0, fire(500, 200), fire(600, 200, 0.2))
    (change,), (wanted,) = findings
    evidence = wanted.evidence
    assert (evidence.kind, evidence.incident) == ("first_suspect", change.incident.id)
    assert (evidence.run, evidence.pts, evidence.time_base) == ("run-1", 90_000, (1, 90_000))
    assert (evidence.thresholds, evidence.version, evidence.model) == (PLAN.thresholds, "1.2.3", MODEL)
    assert (evidence.damage, evidence.colour) == ("no", ("bt709", "limited"))
    assert [each.confidence for each in evidence.detections] == [0.9, 0.2], "also those below the threshold"
    assert change.incident.place == (0.5, 0.4, 0.55, 0.5)
    assert change.at_ns == change.incident.first_suspect_at_ns == evidence.time.captured_at_ns


def test_two_fires_at_once_are_two_incidents_with_a_still_each() -> None:
    """Each one's first frame is kept for what it is."""
    findings = look(Incidents(PLAN), 1.0, fire(400, 300), fire(900, 50))
    assert len({change.incident.id for change in findings.changes}) == 2
    assert {wanted.evidence.incident for wanted in findings.stills} == {each.incident.id for each in findings.changes}
    assert {wanted.evidence.kind for wanted in findings.stills} == {"first_suspect"}


def test_an_ignore_zone_marks_and_starts_nothing() -> None:
    """What burns where it is meant to is on the record of what burns elsewhere, and no incident of its own."""
    incidents = Incidents(PLAN)
    assert look(incidents, 1.0, fire(100, 50)) == ((), ())
    assert not incidents.active
    findings = look(incidents, 2.0, fire(100, 50), fire(700, 300, 0.8))
    assert [change.incident.ignored_zones for change in findings.changes] in ([()], [("burner",)])
    zones = {each.zone for each in findings.stills[0].evidence.detections}
    assert zones == {"burner", None}
    for at_s in (2.2, 2.4, 2.6):
        look(incidents, at_s, fire(100, 50), fire(700, 300))
    ended = incidents.time_passes(100 * NS, 1100 * NS)
    assert ended.changes[0].incident.ignored_zones == ("burner",)


def test_an_incident_from_suspect_to_its_end() -> None:
    """One id throughout, with the moments at which it changed; time alone ends it."""
    incidents = Incidents(PLAN)
    changes = [*look(incidents, 1.0, fire(500, 200)).changes]
    assert incidents.most_advanced == "suspect"
    for at_s in (1.2, 1.4):
        changes += look(incidents, at_s, fire(500, 200)).changes
    assert incidents.most_advanced == "confirmed"
    assert [each.evidence.kind for each in look(incidents, 1.6).stills] == ["context"]
    assert incidents.time_passes(20 * NS, 1020 * NS).changes == ()
    changes += incidents.time_passes(40 * NS, 1040 * NS).changes
    assert [each.incident.state for each in changes] == ["suspect", "confirmed", "ended"]
    assert len({each.incident.id for each in changes}) == 1
    last = changes[-1].incident
    assert (last.first_suspect_at_ns, last.first_confirmed_at_ns, last.ended_at_ns) == (
        1001 * NS,
        round(1001.4 * NS),
        1040 * NS,
    )
    assert incidents.most_advanced == ""
    assert not incidents.active


def test_a_clock_that_falls_while_it_settles_does_not_confuse_the_rules() -> None:
    """Frames whose times go back by some tenths of a second are of the same moment for the rules."""
    incidents = Incidents(PLAN)
    look(incidents, 5.0, fire(500, 200))
    look(incidents, 4.7, fire(500, 200))
    assert look(incidents, 4.9, fire(500, 200)).changes[0].incident.state == "confirmed"


def test_a_lamps_record_says_why_it_is_none() -> None:
    """Its stills have what time said, with its figures; its incident the reason; off, neither says anything."""
    lamp = np.full((500, 1000), 40, np.uint8)
    lamp[205:245, 505:545] = 230
    for flicker in (True, False):
        incidents = Incidents(msgspec.structs.replace(PLAN, flicker=flicker))
        findings = [look(incidents, 1.0, fire(500, 200))]
        for number in range(1, 76):
            incidents.decoded(lamp, round((1 + number / 25) * NS))
            if number % 5 == 0:
                findings.append(look(incidents, 1 + number / 25, fire(500, 200)))
        ended = incidents.time_passes(20 * NS, 1020 * NS).changes
        stills = [wanted.evidence for each in findings for wanted in each.stills]
        assert ("first_confirmed" in {each.kind for each in stills}) != flicker
        if flicker:
            verdict = stills[-1].flicker
            assert verdict is not None
            assert (verdict.says, verdict.reasons) == ("held", ("steady",))
            assert (verdict.stir, verdict.restless, verdict.frames) == (0.0, 0.0, 75)
            assert ended[0].incident.reason == "held: steady"
            assert from_json(to_json(stills[-1])) == stills[-1]
            jsonschema.validate(to_json(replace(stills[-1], run=stills[-1].id)), RECORD)
        else:
            assert {each.flicker for each in stills} == {None}


def test_a_picture_full_of_lamps_fits_a_record() -> None:
    """At most 200 detections, the strongest; the rest is counted."""
    many = [fire(4 * place, 300, 0.5 + place / 1000) for place in range(230)]
    findings = Incidents(PLAN).analysed(picture(1.0), many, MODEL)
    evidence = findings.stills[0].evidence
    assert len(evidence.detections) == 200
    assert evidence.detections_omitted == 30
    assert min(each.confidence for each in evidence.detections) == pytest.approx(0.53)
    assert len(findings.stills) <= 8


def test_a_plan_holds_a_cameras_own_settings() -> None:
    """Its thresholds over the general ones, its zones and colours, its credentials; nothing of other cameras."""
    settings = Settings.model_validate(
        {
            "cameras": {
                "hall": {
                    "url": "rtsp://10.0.0.1/hall",
                    "username": "operator",
                    "password": "geheim",
                    "thresholds": {"smoke": 0.9},
                    "colour": {"matrix": "bt601"},
                    "ignore": [{"name": "burner", "polygon": [[0, 0], [1, 0], [1, 1]], "labels": ["fire"]}],
                },
                "yard": {"url": "rtsp://10.0.0.2/yard"},
            },
            "ingest": {"ring_seconds": 30},
        }
    )
    plan = plan_for(settings, "hall", "geheim", SOCKETS)
    assert plan.thresholds == {"fire": shipped.FIRE, "smoke": 0.9}
    assert plan.credentials is not None
    assert plan.credentials.password == "geheim"
    assert "geheim" not in repr(plan)
    assert plan.zones[0].labels == ("fire",)
    assert (plan.matrix, plan.colour_range, plan.ring_s) == ("bt601", "auto", 30)
    assert [(step.after_s, step.every_s) for step in plan.thinning] == [(30, 1), (300, 10), (3600, 60)]
    assert plan_for(settings, "yard", None, SOCKETS).credentials is None
