# SPDX-License-Identifier: AGPL-3.0-or-later
"""The purge: what goes, how much a run, in which order, and what stays."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from daemon.clock import rfc3339
from daemon.origin import record
from daemon.storage import index, left_open
from daemon.storage.clips import Ended
from daemon.storage.ledger import Head, Line, files, follow
from daemon.storage.reindex import reindex
from daemon.storage.store import Store
from daemon.storage.verify import verify
from daemon.storage.writing import Entry
from tests.storage.analysis_kit import analysis_of
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    INCIDENT,
    ClipWriter,
    FakeClocks,
    clip_of,
    evidence_of,
    gap_entry,
    incident_entry,
    numbered,
    opened,
    settings_of,
    still_entries,
)


def fill(store: Store, count: int, at_ns: int = BEGIN_NS) -> None:
    for start in range(0, count, 100):
        store.commit(still_entries(store, *(evidence_of(n, at_ns + n) for n in range(start, min(start + 100, count)))))


def lines(store: Store) -> list[Line]:
    folder = store.root / "ledger"
    return list(
        follow(store.disk, folder, Head(), {name: (0, size) for name, size in files(store.disk, folder).items()})
    )


def test_age_decides(tmp_path: Path) -> None:
    """What is older than the retention goes, to the nanosecond; files, rows and sightings alike, and empty day folders."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS), evidence_of(2, BEGIN_NS + DAY_NS)))
        clocks.run_for(31 * DAY_NS)
        result = store.purge.run(dry_run=False, all_due=True)
        assert (result.due, result.removed, result.left) == (1, 1, 0)
        (left,) = (tmp_path / "store").rglob("*.jpg")
        assert left.name.endswith(f"{numbered(2)}.jpg")
        assert not (store.root / "evidence/hall/2026/11/23").exists()
        clocks.run_for(1)
        assert store.purge.run(dry_run=False, all_due=True).removed == 1
        assert sorted((store.root / "evidence").rglob("*")) == [store.root / "evidence/hall"]
        with store._writing.session() as session:
            assert session.scalar(select(func.count()).select_from(index.SightingRow)) == 0
        store.commit(still_entries(store, evidence_of(3, BEGIN_NS)))


def test_a_tenth_a_run(tmp_path: Path) -> None:
    """At most one in ten of all stills goes in a run, the oldest first, and at least one, so that all goes in the end."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        fill(store, 25)
        clocks.run_for(31 * DAY_NS)
        dry = store.purge.run(dry_run=True, all_due=False)
        assert (dry.due, dry.removed, dry.left, len(store.knows([numbered(n) for n in range(25)]))) == (25, 2, 23, 25)
        result = store.purge.run(dry_run=False, all_due=False)
        assert result == dry
        assert store.knows([numbered(n) for n in range(25)]) == {numbered(n) for n in range(2, 25)}
        for left in range(22, 0, -1):
            removed = store.purge.run(dry_run=False, all_due=False).removed
            assert 1 <= removed <= max(1, (left + removed) // 10 + 1)
            if not list(store.root.rglob("*.jpg")):
                break
        while store.purge.run(dry_run=False, all_due=False).removed:
            pass
        assert not list(store.root.rglob("*.jpg"))


def test_a_line_names_at_most_a_thousand(tmp_path: Path) -> None:
    """All due in one run: several lines, each of at most 1,000 ids, with the reason; stills can be stored in between."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        fill(store, 1100)
        clocks.run_for(31 * DAY_NS)
        steps = store.purge.steps(dry_run=False, all_due=True)
        assert next(steps).removed == 0
        assert next(steps).removed == 1000
        store.commit(still_entries(store, evidence_of(5000, clocks.wall)))
        assert [step.removed for step in steps] == [1100]
        purged = [line.body for line in lines(store) if line.kind == "purged"]
        assert [(len(body["ids"]), body["reason"]) for body in purged] == [(1000, "age"), (100, "age")]
        assert len(list(store.root.rglob("*.jpg"))) == 1


def test_incidents_and_gaps_stay(tmp_path: Path) -> None:
    """That something was seen outlives its pictures; the incident counts those that are left."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit([incident_entry("ended"), gap_entry(90, BEGIN_NS, BEGIN_NS + 1)])
        store.commit(still_entries(store, evidence_of(30, BEGIN_NS, incident=INCIDENT)))
        clocks.run_for(31 * DAY_NS)
        store.commit(still_entries(store, evidence_of(2, clocks.wall, incident=INCIDENT)))
        assert store.purge.run(dry_run=False, all_due=True).removed == 1
        with store._writing.session() as session:
            incident = session.scalars(select(index.IncidentRow)).one()
            assert (incident.evidence_count, incident.max_confidence) == (1, 0.55)
            assert session.scalar(select(func.count()).select_from(index.GapRow)) == 1


def test_a_file_that_somebody_removed_does_not_stop_it(tmp_path: Path) -> None:
    """Nor does a folder."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS), evidence_of(2, BEGIN_NS, camera="yard")))
        (path,) = store.root.rglob("yard/**/*.jpg")
        path.unlink()
        path.parent.rmdir()
        clocks.run_for(31 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == 2


def test_a_dry_run_writes_no_line(tmp_path: Path) -> None:
    """It says what would go, and how many bytes."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        fill(store, 3)
        clocks.run_for(31 * DAY_NS)
        head, size = store.head(), sum(path.stat().st_size for path in store.root.rglob("*.jpg"))
        result = store.purge.run(dry_run=True, all_due=True)
        assert (result.removed, result.bytes, result.left) == (3, size, 0)
        assert store.head() == head
        assert store.purge.run(dry_run=False, all_due=True) == result


def test_reference_stills_have_their_own_retention_and_quota(tmp_path: Path) -> None:
    """What is beyond its camera's share goes first stored first, for want of space; the others go after three days."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        size = still_entries(store, evidence_of(0, BEGIN_NS, kind="reference"))[0].body["bytes"]
    settings = settings_of(tmp_path, reference_bytes=2 * (4 * size + size // 2))
    with opened(settings, clocks) as store:
        hall = [evidence_of(n, BEGIN_NS + n, kind="reference") for n in range(7)]
        yard = [evidence_of(n, BEGIN_NS + n, kind="reference", camera="yard") for n in range(20, 23)]
        store.commit(still_entries(store, *hall, *yard, evidence_of(40, BEGIN_NS)))
        result = store.purge.run(dry_run=False, all_due=True)
        assert (result.due, result.removed, result.due_by) == (3, 3, {"references_over_quota": 3})
        assert store.knows([each.id for each in hall]) == {each.id for each in hall[3:]}
        clocks.run_for(3 * DAY_NS + 100)
        assert store.purge.run(dry_run=True, all_due=True).due_by == {"references": 7}
        assert store.purge.run(dry_run=False, all_due=True).removed == 7
        assert [path.stem[-2:] for path in store.root.rglob("*.jpg")] == ["28"]
        reasons = [(len(line.body["ids"]), line.body["reason"]) for line in lines(store) if line.kind == "purged"]
        assert reasons == [(3, "space"), (7, "age")]
        assert store.purge.removed == {"space": 3, "age": 7}


def test_what_is_kept_for_other_cameras_has_its_quota(tmp_path: Path) -> None:
    """Stills and clips together, the first stored first; what a camera has of its own incidents does not count, and stays."""
    clocks = FakeClocks()
    film, own = ClipWriter(clip_of(50), BEGIN_NS, (), (INCIDENT,)), ClipWriter(clip_of(51), BEGIN_NS)
    with opened(settings_of(tmp_path), clocks) as store:
        size = still_entries(store, evidence_of(0, BEGIN_NS, kind="sibling"))[0].body["bytes"]
    with opened(settings_of(tmp_path, sibling_bytes=3 * size + size // 2), clocks) as store:
        for writer in (film, own):
            store.commit([], [writer.next(), Ended(writer.clip.id, "ended")])
        kept = [evidence_of(n, BEGIN_NS + n, kind="sibling") for n in range(4)]
        store.commit(still_entries(store, *kept, evidence_of(40, BEGIN_NS)))
        assert store.purge.run(dry_run=False, all_due=True).due_by == {"siblings_over_quota": 2}
        gone = [line.body for line in lines(store) if line.kind == "purged"]
        assert gone == [{"ids": [kept[0].id, film.clip.id], "reason": "space"}]
        clocks.run_for(31 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).due_by == {"retention": 5}
        store.close("stop")
    assert verify(tmp_path / "store").findings == ()


def test_drills_are_gone_after_a_day(tmp_path: Path) -> None:
    """Their stills, for the reason `drill`, and then their incidents; verify has nothing to say of it, nor a new index."""
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    with opened(settings, clocks) as store:
        drill = incident_entry("ended")
        drill.body.update(drill=True, ended_at=rfc3339(BEGIN_NS), ended_at_ns=str(BEGIN_NS))
        found = [analysis_of(INCIDENT, BEGIN_NS, drill=True), analysis_of(numbered(800), BEGIN_NS)]
        store.commit([drill, incident_entry("ended", incident=numbered(800))])
        store.commit([Entry("analysis", record.to_json(each)) for each in found])
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS, drill=True, incident=INCIDENT)))
        store.commit(still_entries(store, evidence_of(2, BEGIN_NS), evidence_of(3, BEGIN_NS, kind="reference")))
        clocks.run_for(DAY_NS)
        assert store.purge.run(dry_run=False, all_due=False).removed == 0
        clocks.run_for(1)
        assert store.purge.run(dry_run=False, all_due=False).due_by == {"drills": 1}
        purged = [line.body for line in lines(store) if line.kind == "purged"]
        assert purged == [{"ids": [numbered(1)], "reason": "drill"}, {"ids": [INCIDENT], "reason": "drill"}]
        with store._writing.session() as session:
            assert session.scalars(select(index.IncidentRow.id)).all() == [numbered(800)]
            assert session.scalars(select(index.AnalysisRow.id)).all() == [found[1].id]
        store.close("stop")
    assert verify(settings.root).findings == ()
    reindex(settings, clocks, version="0.1.0", cameras=["hall", "yard"])
    assert verify(settings.root).findings == ()


def test_a_drill_is_not_forgotten_before_all_that_is_kept_of_it(tmp_path: Path) -> None:
    """What another camera of its site kept for it is no picture of its own, and goes first all the same."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        drill = incident_entry("ended")
        drill.body.update(drill=True, ended_at=rfc3339(BEGIN_NS), ended_at_ns=str(BEGIN_NS))
        store.commit([drill])
        later_ns = BEGIN_NS + DAY_NS
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS, drill=True, incident=INCIDENT)))
        clocks.run_for(DAY_NS)
        store.commit(still_entries(store, evidence_of(2, later_ns, kind="sibling", drill=True, incident=INCIDENT)))
        clocks.run_for(1)
        for expected in ([INCIDENT], []):
            store.purge.run(dry_run=False, all_due=True)
            with store._writing.session() as session:
                assert session.scalars(select(index.IncidentRow.id)).all() == expected
            clocks.run_for(DAY_NS)


def test_a_drill_that_runs_is_not_forgotten(tmp_path: Path) -> None:
    """An incident that is open stays, however old; so does one that still has stills."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        drill = incident_entry("confirmed")
        drill.body.update(drill=True)
        store.commit([drill])
        clocks.run_for(2 * DAY_NS)
        store.purge.run(dry_run=False, all_due=True)
        assert [each.id for each in store.read(left_open.open_incidents)] == [INCIDENT]


def test_rules_share_the_tenth_of_a_run(tmp_path: Path) -> None:
    """All that goes by any rule is at most a tenth of all stills."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        stills = [evidence_of(n, BEGIN_NS, drill=n < 3, kind="reference" if n < 6 else "hit") for n in range(50)]
        store.commit(still_entries(store, *stills))
        clocks.run_for(31 * DAY_NS)
        dry = store.purge.run(dry_run=True, all_due=False)
        assert (dry.due, dry.removed, dry.due_by) == (50, 5, {"drills": 3, "references": 3, "retention": 44})
        assert store.purge.run(dry_run=False, all_due=False) == dry
        assert [len(line.body["ids"]) for line in lines(store) if line.kind == "purged"] == [3, 2]
