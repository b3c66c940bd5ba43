# SPDX-License-Identifier: AGPL-3.0-or-later
"""The queries: what the API shows of the index, its pages while rows come and go, and the indices they take."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, event
from sqlalchemy.dialects import sqlite

from daemon.clock import NS, rfc3339
from daemon.domain import Detection, Gap, Incident
from daemon.errors import StoreError
from daemon.storage import bodies, evidence_queries, gap_queries, heartbeat, incident_queries, paging
from daemon.storage.clips import Appended, Ended, Span
from daemon.storage.filmed import filmed_query
from daemon.storage.heartbeat import CameraBeat, Heartbeat
from daemon.storage.index import GapRow, IncidentRow
from daemon.storage.queries import Index
from daemon.storage.store import Store
from daemon.storage.writing import Entry
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    HOUR_NS,
    INCIDENT,
    FakeClocks,
    clip_of,
    coverage_entry,
    evidence_of,
    numbered,
    opened,
    run_entry,
    settings_of,
    still_entries,
)

HOUR_AT_NS = BEGIN_NS - BEGIN_NS % HOUR_NS


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
def store(tmp_path: Path, clocks: FakeClocks) -> Iterator[Store]:
    """A store of two cameras, first configured at BEGIN_NS."""
    with opened(settings_of(tmp_path), clocks) as store:
        yield store


@pytest.fixture
def index(store: Store, clocks: FakeClocks) -> Index:
    return Index(store.root, clocks)


def _add_stills(store: Store, count: int, every_ns: int = NS, **more: Any) -> list[str]:
    """Stills from BEGIN_NS on; their ids, oldest first."""
    several = [evidence_of(number, BEGIN_NS + number * every_ns, **more) for number in range(count)]
    store.commit(still_entries(store, *several))
    return [each.id for each in several]


def _ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def _beat(store: Store, watched_at_ns: int, frames: int = 0, limit_s: float = 4.0) -> None:
    seen = CameraBeat(str(watched_at_ns), str(watched_at_ns - watched_at_ns % HOUR_NS), frames, 10.0, "r", "1")
    heartbeat.write(store.disk, store.root, Heartbeat(str(watched_at_ns), "boot-1", limit_s, {"hall": seen}))


def _gap(number: int, from_s: float, to_s: float | None, camera: str = "hall", reason: str = "stalled") -> Entry:
    to_ns = None if to_s is None else BEGIN_NS + round(to_s * NS)
    return Entry("gap", bodies.gap(Gap(numbered(number), camera, reason, BEGIN_NS + round(from_s * NS), to_ns, "why")))


def _incident(number: int, at_s: float, state: str = "ended", camera: str = "hall") -> Entry:
    at_ns = BEGIN_NS + round(at_s * NS)
    made = Incident(numbered(number), camera, state, at_ns, None, at_ns + NS, ("fire",), 0.5, (0.1, 0.1, 0.2, 0.2))
    return Entry("incident", bodies.incident(made))


# ------------------------------------------------------------------ evidence


def test_item_has_the_fields_of_the_api(store: Store, index: Index) -> None:
    """Exactly the fields that callers were promised."""
    evidence = evidence_of(1, BEGIN_NS)
    [entry] = still_entries(store, evidence)
    store.commit([run_entry(1), entry])
    [item] = index.evidence_page()["items"]
    assert item == {
        "id": evidence.id,
        "camera": "hall",
        "captured_at": rfc3339(BEGIN_NS),
        "uncertainty_s": evidence.time.uncertainty_s,
        "relative_uncertainty_s": evidence.time.relative_uncertainty_s,
        "sha256": entry.body["sha256"],
        "bytes": entry.body["bytes"],
        "width": evidence.width_px,
        "height": evidence.height_px,
        "reduced_from": None,
        "kind": evidence.kind,
        "drill": False,
        "analysed": True,
        "detections": [
            {"label": each.label, "confidence": each.confidence, "box": list(each.box), "zone": each.zone}
            for each in evidence.detections
        ],
        "incident": evidence.incident,
        "image": f"/api/v1/evidence/{evidence.id}/image",
        "clip": None,
        "times": "measured",
    }
    one = index.evidence_one(evidence.id)
    assert one is not None
    assert one.items() >= item.items()
    assert (one["run_seq"], one["missing"], one["record"]["pts"]) == (1, False, str(evidence.pts))
    assert index.evidence_file(evidence.id) == store.root / entry.body["path"]


def test_what_is_not_there(index: Index) -> None:
    """An unknown id is nothing, not an error."""
    assert index.evidence_one(numbered(9)) is None
    assert index.evidence_file(numbered(9)) is None
    assert index.incident_one(numbered(9)) is None


@pytest.mark.parametrize("limit", [1, 3, 7, 20])
def test_pages_are_whole(store: Store, index: Index, limit: int) -> None:
    """Page by page everything comes once, newest first, also where many stills have the same time."""
    expected = [*reversed(_add_stills(store, 20, every_ns=0))]
    found, cursor = [], None
    while True:
        page = index.evidence_page(limit=limit, cursor=cursor)
        found += _ids(page)
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) == limit
    assert found == sorted(expected, reverse=True)


def test_a_cursor_is_stable(store: Store, index: Index) -> None:
    """What is stored between two pages neither repeats nor hides an item."""
    ids = _add_stills(store, 10)
    page = index.evidence_page(limit=4)
    store.commit(still_entries(store, *(evidence_of(100 + number, BEGIN_NS + 99 * NS) for number in range(5))))
    assert _ids(index.evidence_page(limit=4, cursor=page["next"])) == ids[5:1:-1]


@pytest.mark.parametrize(
    "cursor", ["", "x", "****", "MTIz", "LTEgYQ==", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5IGE", "é", "MSBh\n"]
)
def test_bad_cursor(index: Index, cursor: str) -> None:
    """A cursor that was not given out is a ValueError."""
    for query in (index.evidence_page, index.incidents_page, index.gaps_page):
        with pytest.raises(ValueError, match="cursor"):
            query(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_bad_limit(index: Index, limit: int) -> None:
    """Nobody asks for everything at once."""
    with pytest.raises(ValueError, match="500"):
        index.evidence_page(limit=limit)


def test_from_is_inclusive_and_to_exclusive(store: Store, index: Index) -> None:
    """So that neighbouring intervals share nothing and miss nothing."""
    ids = _add_stills(store, 5)
    found = index.evidence_page(from_ns=BEGIN_NS + NS, to_ns=BEGIN_NS + 3 * NS)
    assert _ids(found) == [ids[2], ids[1]]


def test_label_and_confidence_are_of_one_detection(store: Store, index: Index) -> None:
    """Strong smoke beside weak fire is no strong fire."""
    mixed = (Detection("fire", 0.3, (0, 0, 1, 1)), Detection("smoke", 0.9, (0, 0, 1, 1)))
    strong = (Detection("fire", 0.8, (0, 0, 1, 1)), Detection("fire", 0.1, (0, 0, 1, 1)))
    several = [
        evidence_of(1, BEGIN_NS, detections=mixed),
        evidence_of(2, BEGIN_NS + NS, detections=strong),
        evidence_of(3, BEGIN_NS + 2 * NS, detections=()),
        evidence_of(4, BEGIN_NS + 3 * NS, detections=strong, camera="yard"),
    ]
    store.commit(still_entries(store, *several))
    first, second, third, fourth = (each.id for each in several)
    assert _ids(index.evidence_page(label="fire", min_confidence=0.5)) == [fourth, second]
    assert _ids(index.evidence_page(label="fire")) == [fourth, second, first]
    assert _ids(index.evidence_page(label="smoke", min_confidence=0.9)) == [first]
    assert _ids(index.evidence_page(label="fire", min_confidence=0.5, camera="hall")) == [second]
    assert _ids(index.evidence_page(min_confidence=0.85)) == [first]
    assert _ids(index.evidence_page(min_confidence=0.0)) == [fourth, third, second, first]


def test_all_filters_agree_with_counting(store: Store, index: Index) -> None:
    """Every combination of filters gives what going through all stills gives, in pages."""
    several = []
    for number in range(60):
        detections = (Detection(("fire", "smoke")[number % 2], number % 10 / 10, (0, 0, 1, 1)),) * (number % 3)
        made = evidence_of(
            number, BEGIN_NS + number % 17 * NS, camera=("hall", "yard")[number % 5 == 0], detections=detections
        )
        kind, incident = ("hit", "context")[number % 4 == 0], INCIDENT if number % 7 < 3 else None
        several.append(replace(made, kind=kind, incident=incident))
    store.commit(still_entries(store, *several))
    choices: dict[str, list[Any]] = {
        "camera": [None, "hall"], "label": [None, "fire"], "min_confidence": [None, 0.4], "incident": [None, INCIDENT],
        "kind": [None, "context"], "from_ns": [None, BEGIN_NS + 3 * NS], "to_ns": [None, BEGIN_NS + 12 * NS],
    }  # fmt: skip
    for values in itertools.product(*choices.values()):
        asked = dict(zip(choices, values, strict=True))
        wanted = [each for each in several if _matches(each, asked)]
        wanted.sort(key=lambda each: (each.time.captured_at_ns, each.id), reverse=True)
        found, cursor = [], None
        while not found or cursor:
            page = index.evidence_page(**asked, limit=13, cursor=cursor)
            found += _ids(page)
            cursor = page["next"]
            if cursor is None:
                break
        assert found == [each.id for each in wanted], asked


def _matches(evidence: Any, asked: dict[str, Any]) -> bool:
    floor = asked["min_confidence"] or 0.0
    found = [each for each in evidence.detections if asked["label"] in (None, each.label) and each.confidence >= floor]
    needs_one = asked["label"] is not None or asked["min_confidence"] is not None
    at_ns = evidence.time.captured_at_ns
    return (
        asked["camera"] in (None, evidence.camera)
        and asked["kind"] in (None, evidence.kind)
        and asked["incident"] in (None, evidence.incident)
        and (asked["from_ns"] is None or at_ns >= asked["from_ns"])
        and (asked["to_ns"] is None or at_ns < asked["to_ns"])
        and (bool(found) or not needs_one)
    )


def test_reference_stills_are_listed_when_asked_for(store: Store, index: Index) -> None:
    """They would hide the rest: a quiet day has one a minute. Nobody has looked at them, and the item says so."""
    plain = {"detections": (), "model": None, "thresholds": {}}
    reference = evidence_of(1, BEGIN_NS, kind="reference", reduced_from_px=(1920, 1080), **plain)
    manual = evidence_of(2, BEGIN_NS + NS, kind="manual", incident=INCIDENT, **plain)
    hit = evidence_of(3, BEGIN_NS + 2 * NS)
    store.commit(still_entries(store, reference, manual, hit))
    for asked in ({}, {"camera": "hall"}, {"min_confidence": 0.0}, {"from_ns": BEGIN_NS}):
        assert _ids(index.evidence_page(**asked)) == [hit.id, manual.id], asked
    [item] = index.evidence_page(kind="reference", camera="hall")["items"]
    assert (item["id"], item["analysed"], item["reduced_from"]) == (reference.id, False, [1920, 1080])
    [first, second] = index.evidence_page()["items"]
    assert (first["analysed"], first["reduced_from"]) == (True, None)
    assert (second["analysed"], second["kind"]) == (False, "manual")
    known = store.read(gap_queries.last_known)["hall"]
    assert known.captured_at_ns == hit.time.captured_at_ns, "what was kept unseen does not tell that it was watched"


def test_days(store: Store, index: Index) -> None:
    """The days that have evidence, newest first, by camera or of all."""
    assert index.days() == []
    _add_stills(store, 3, every_ns=DAY_NS)
    store.commit(still_entries(store, evidence_of(50, BEGIN_NS + 9 * DAY_NS, camera="yard")))
    assert index.days("hall") == ["2026-11-25", "2026-11-24", "2026-11-23"]
    assert index.days() == ["2026-12-02", "2026-11-25", "2026-11-24", "2026-11-23"]


# ------------------------------------------------------------------ incidents, gaps, cameras


def test_incidents(store: Store, index: Index) -> None:
    """Newest first, by camera, state and time; each with what the API promises."""
    store.commit([_incident(1, 0), _incident(2, 10, "confirmed"), _incident(3, 20, camera="yard")])
    assert _ids(index.incidents_page()) == [numbered(3), numbered(2), numbered(1)]
    assert _ids(index.incidents_page(camera="hall", state="ended")) == [numbered(1)]
    assert _ids(index.incidents_page(from_ns=BEGIN_NS + 10 * NS, to_ns=BEGIN_NS + 20 * NS)) == [numbered(2)]
    page = index.incidents_page(limit=2)
    assert _ids(index.incidents_page(limit=2, cursor=page["next"])) == [numbered(1)]
    one = index.incident_one(numbered(1))
    assert one is not None
    promised = {
        "id", "camera", "kind", "drill", "state", "first_suspect_at", "first_confirmed_at", "ended_at", "labels",
        "max_confidence", "evidence_count", "previous",
    }  # fmt: skip
    assert promised <= set(one)
    assert (one["kind"], one["first_confirmed_at"], one["evidence_count"]) == ("detected", None, 0)


def test_incidents_of_an_interval_are_all_that_have_a_part_in_it(store: Store, index: Index) -> None:
    """However many, and however long ago they began: those that are over before, and that begin at its end, are not."""
    old = [_incident(1, 0), _incident(2, 5, "confirmed"), _incident(3, 7)]
    later_s = 5 * 86_400
    store.commit(
        [*old, *(_incident(10 + place, later_s + place) for place in range(520)), _incident(999, later_s + 600)]
    )
    from_ns = BEGIN_NS + later_s * NS
    found = [each["id"] for each in index.incidents_during(from_ns, from_ns + 600 * NS)]
    assert found == [numbered(2), *(numbered(10 + place) for place in range(520))]
    assert index.incidents_during(from_ns, from_ns + 600 * NS, "yard") == []
    at_its_end_ns = BEGIN_NS + NS  # of the first
    assert [each["id"] for each in index.incidents_during(at_its_end_ns, from_ns)] == [numbered(2), numbered(3)]


def test_a_name_is_known_by_what_has_it(store: Store, index: Index) -> None:
    """Of a recording from elsewhere: no camera, and yet there is something of it."""
    assert not index.has_of("imported")
    store.commit([_incident(1, 0, camera="imported")])
    assert index.has_of("imported")
    assert not index.has_of("import")
    store.commit(still_entries(store, evidence_of(50, BEGIN_NS, camera="phone")))
    assert index.has_of("phone")


def test_gaps_that_touch_the_interval(store: Store, index: Index) -> None:
    """Also one that began before it, or is still open; not one that only touches its edge."""
    store.commit([_gap(1, 0, 10), _gap(2, 20, 30), _gap(3, 40, None), _gap(4, 22, 25, "yard")])
    assert _ids(index.gaps_page()) == [numbered(3), numbered(4), numbered(2), numbered(1)]
    assert _ids(index.gaps_page(camera="hall", from_ns=BEGIN_NS + 10 * NS, to_ns=BEGIN_NS + 40 * NS)) == [numbered(2)]
    assert _ids(index.gaps_page(camera="hall", from_ns=BEGIN_NS + 99 * NS)) == [numbered(3)]
    [gap] = index.gaps_page(camera="yard")["items"]
    assert gap == {
        "id": numbered(4), "camera": "yard", "reason": "stalled", "from": rfc3339(BEGIN_NS + 22 * NS),
        "to": rfc3339(BEGIN_NS + 25 * NS), "detail": "why",
    }  # fmt: skip


def test_cameras(store: Store, index: Index) -> None:
    """Those that were ever configured."""
    assert index.cameras() == [{"name": name, "first_seen_at": rfc3339(BEGIN_NS)} for name in ("hall", "yard")]


# ------------------------------------------------------------------ coverage


def _share(index: Index, from_s: float | None = None, to_s: float | None = None) -> float | None:
    bounds = [None if each is None else BEGIN_NS + round(each * NS) for each in (from_s, to_s)]
    [item] = index.coverage("hall", *bounds)["items"]
    share: float | None = item["watched_share"]
    return share


def test_share_is_what_gaps_leave(store: Store, index: Index, clocks: FakeClocks) -> None:
    """Of the interval, up to now; an open gap runs to now."""
    store.commit([_gap(1, 10, 20), _gap(2, 90, None)])
    clocks.run_for(100 * NS)
    _beat(store, clocks.wall)
    assert _share(index) == pytest.approx(0.8, abs=1e-4)
    assert _share(index, 10, 20) == 0.0
    assert _share(index, 20, 90) == 1.0
    assert _share(index, 15, 25) == 0.5
    assert _share(index, 0, 10**6) == pytest.approx(0.8, abs=1e-4)
    assert _share(index, 10**6, 2 * 10**6) is None


def test_gaps_that_overlap_count_once(store: Store, index: Index, clocks: FakeClocks) -> None:
    """A wall clock that stepped back can make them overlap."""
    store.commit([_gap(1, 10, 50), _gap(2, 30, 60), _gap(3, 35, 40)])
    clocks.run_for(100 * NS)
    _beat(store, clocks.wall)
    assert _share(index, 0, 100) == 0.5


def test_before_it_was_configured_nothing_was_watched(store: Store, index: Index, clocks: FakeClocks) -> None:
    """The time before is listed as a gap that no line records."""
    clocks.run_for(100 * NS)
    _beat(store, clocks.wall)
    assert _share(index, -100, 100) == pytest.approx(0.5, abs=1e-4)
    assert _share(index, -200, -100) == 0.0
    [item] = index.coverage("hall", BEGIN_NS - 100 * NS, BEGIN_NS + 100 * NS)["items"]
    assert [(gap["id"], gap["reason"]) for gap in item["gaps"]] == [(None, "disabled")]


def test_silence_of_the_recorder_is_not_watching(store: Store, index: Index, clocks: FakeClocks) -> None:
    """When nothing was recorded for long, not even a gap, the time since the heartbeat's watermark is not watched."""
    clocks.run_for(100 * NS)
    _beat(store, clocks.wall)
    clocks.run_for(10 * NS)
    assert _share(index) == pytest.approx(1.0, abs=1e-4)
    clocks.run_for(90 * NS)
    assert _share(index, 0, 200) == pytest.approx(0.5, abs=1e-4)
    [item] = index.coverage("hall")["items"]
    assert [(gap["reason"], gap["to"]) for gap in item["gaps"]] == [("recorder", None)]
    store.commit([_gap(1, 100, None)])
    [item] = index.coverage("hall")["items"]
    assert [(gap["id"], gap["to"]) for gap in item["gaps"]] == [(numbered(1), None)]


def test_never_watched(store: Store, index: Index, clocks: FakeClocks) -> None:
    """A camera of which nothing was ever recorded has not been watched."""
    clocks.run_for(3600 * NS)
    assert _share(index) == 0.0


def test_frames_by_the_hour(store: Store, index: Index, clocks: FakeClocks) -> None:
    """Of whole hours, which the answer names; the current one from the heartbeat."""
    store.commit([coverage_entry(HOUR_AT_NS + hour * HOUR_NS, 100 + hour) for hour in range(3)])
    clocks.run_for(3 * HOUR_NS)
    _beat(store, clocks.wall, frames=7)
    [item] = index.coverage("hall", HOUR_AT_NS + HOUR_NS, HOUR_AT_NS + 2 * HOUR_NS)["items"]
    assert (item["frames"], item["frames_from"], item["frames_to"]) == (
        101, rfc3339(HOUR_AT_NS + HOUR_NS), rfc3339(HOUR_AT_NS + 2 * HOUR_NS),
    )  # fmt: skip
    [item] = index.coverage("hall", BEGIN_NS, BEGIN_NS + 1)["items"]
    assert (item["frames"], item["frames_from"]) == (100, rfc3339(HOUR_AT_NS))
    [item] = index.coverage("hall")["items"]
    assert item["frames"] == 100 + 101 + 102 + 7
    assert [each["camera"] for each in index.coverage()["items"]] == ["hall", "yard"]


# ------------------------------------------------------------------ how it is carried out


def _plan(store: Store, query: Select[Any]) -> str:
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    rows = store._writing.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
    return "\n".join(row[3] for row in rows)


def _evidence_plan(store: Store, **asked: Any) -> str:
    names = ("camera", "from_ns", "to_ns", "label", "min_confidence", "incident", "kind")
    query = evidence_queries.evidence_query(*(asked.get(name) for name in names))
    key = evidence_queries.evidence_key(asked.get("camera"), asked.get("label"), asked.get("incident"))
    return _plan(store, paging.page(query, key, 50, paging._cursor(BEGIN_NS, numbered(1))))


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ({}, "evidence_shown"),
        ({"from_ns": 1, "to_ns": 2}, "evidence_shown"),
        ({"min_confidence": 0.5}, "evidence_shown"),
        ({"kind": "reference", "from_ns": 1, "to_ns": 2}, "evidence_kind_time"),
        ({"kind": "reference", "camera": "hall", "from_ns": 1, "to_ns": 2}, "evidence_camera_time"),
        ({"camera": "hall"}, "evidence_camera_time"),
        ({"camera": "hall", "from_ns": 1, "to_ns": 2}, "evidence_camera_time"),
        ({"camera": "hall", "kind": "hit"}, "evidence_camera_time"),
        ({"camera": "hall", "label": "fire", "min_confidence": 0.5}, "evidence_camera_time"),
        ({"label": "fire"}, "sightings_label_time"),
        ({"label": "fire", "min_confidence": 0.5, "from_ns": 1, "to_ns": 2}, "sightings_label_time"),
        ({"label": "fire", "kind": "hit"}, "sightings_label_time"),
        ({"kind": "first_confirmed"}, "evidence_kind_time"),
        ({"incident": INCIDENT}, "evidence_incident"),
        ({"incident": INCIDENT, "camera": "hall", "kind": "hit", "label": "fire"}, "evidence_incident"),
    ],
)
def test_evidence_takes_its_index(store: Store, asked: dict[str, Any], taken: str) -> None:
    """No full scan and no sorting, on the first page and on later ones."""
    _check_plan(_evidence_plan(store, **asked), taken)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ((None, None, None, None), "incidents_time"),
        (("hall", None, 1, 2), "incidents_camera_time"),
        (("hall", "ended", None, None), "incidents_camera_time"),
        ((None, "ended", None, None), "incidents_time"),
    ],
)
def test_incidents_take_their_index(store: Store, asked: tuple[Any, ...], taken: str) -> None:
    """As the evidence."""
    key = (IncidentRow.first_suspect_at_ns, IncidentRow.id)
    _check_plan(_plan(store, paging.page(incident_queries.incidents_query(*asked), key, 50, None)), taken)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [((None, None, None), "gaps_time"), ((None, 1, 2), "gaps_time"), (("hall", 1, 2), "gaps_camera_time")],
)
def test_gaps_take_their_index(store: Store, asked: tuple[Any, ...], taken: str) -> None:
    """As the evidence; the gaps of one moment may be sorted among themselves."""
    plan = _plan(store, paging.page(gap_queries.gaps_query(*asked), (GapRow.from_at_ns, GapRow.id), 50, None))
    _check_plan(plan.replace("USE TEMP B-TREE FOR LAST TERM OF ORDER BY", ""), taken)


def test_clips_of_stills_take_their_index(store: Store) -> None:
    """One step into the index for each still of a page, however many clips its run has."""
    plan = _plan(store, filmed_query([("still", "run", 7)]))
    _check_plan(plan.replace("SCAN wanted VIRTUAL TABLE INDEX 1:", ""), "clips_run (run=? AND first_pts<?)")


def test_a_page_s_clips_are_one_query(store: Store, index: Index) -> None:
    """Not one for each still; of two clips that hold a frame it is the one that began last."""
    stills = [evidence_of(number, BEGIN_NS + number) for number in range(4)]
    store.commit([run_entry(1), *still_entries(store, *stills)])
    clips = {number: clip_of(900 + number) for number in range(2)}
    for number, clip in clips.items():
        span = Span(50, stills[number].pts, stills[number + 1].pts, BEGIN_NS, BEGIN_NS + NS)
        store.commit([], [Appended(clip, 0, b"moof", (INCIDENT,), span), Ended(clip.id, "ended")])
    asked: list[str] = []
    event.listen(index._engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    items = index.evidence_page()["items"]
    named = [item["clip"] and item["clip"]["id"] for item in items]
    assert named == [None, clips[1].id, clips[1].id, clips[0].id]
    assert len(asked) == 2


def _check_plan(plan: str, taken: str) -> None:
    assert f"INDEX {taken}" in plan
    assert "TEMP B-TREE" not in plan
    for line in plan.splitlines():
        assert not line.startswith("SCAN") or "USING INDEX" in line or "USING COVERING INDEX" in line


def test_readers_keep_no_transaction(store: Store, index: Index) -> None:
    """After a query the WAL can be emptied: nobody holds an old state of it."""
    _add_stills(store, 50)
    index.evidence_page()
    index.coverage()
    index.days()
    with store._writing._engine.connect() as connection:
        busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert busy == 0


def test_no_index_is_a_store_error(tmp_path: Path, clocks: FakeClocks) -> None:
    """Before there is a store, or when its disk is gone: one sentence, and nothing is made."""
    with pytest.raises(StoreError, match=r"index\.sqlite"):
        Index(tmp_path / "none", clocks).evidence_page()
    assert not (tmp_path / "none").exists()
