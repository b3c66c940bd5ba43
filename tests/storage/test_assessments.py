# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people make of incidents, in the store: a line that changes nothing else, by the command that asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon.domain import Incident
from daemon.storage import bodies
from daemon.storage.assessing import assess
from daemon.storage.queries import Index
from daemon.storage.reindex import reindex
from daemon.storage.verify import verify
from daemon.storage.writing import Entry
from tests.storage.recorder_under_test import Host, Worker
from tests.storage.store_kit import (
    BEGIN_NS,
    INCIDENT,
    FakeClocks,
    evidence_of,
    incident_entry,
    numbered,
    opened,
    run_entry,
    settings_of,
    still_entries,
)

OTHER = numbered(77)


def test_the_newest_counts_and_all_stay(tmp_path: Path) -> None:
    """Beside the incident, which stays as it was; the pictures of what is called a false alarm can be had; also from an index made anew."""
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    with opened(settings, clocks) as store:
        other = Incident(OTHER, "hall", "ended", BEGIN_NS, None, BEGIN_NS, ("fire",), 0.5, (0.1, 0.1, 0.2, 0.2))
        stills = [
            evidence_of(number, BEGIN_NS + number, incident=INCIDENT if number < 3 else OTHER) for number in range(5)
        ]
        reference = evidence_of(9, BEGIN_NS + 9, incident=INCIDENT, kind="manual")
        store.commit([run_entry(1), incident_entry("confirmed"), Entry("incident", bodies.incident(other))])
        store.commit(still_entries(store, *stills, reference))
        before = Index(store.root, clocks).incident_one(INCIDENT)
        for says, incident in (("false_alarm", OTHER), ("fire", OTHER), ("fire", INCIDENT), ("false_alarm", INCIDENT)):
            body = assess(store, {"incident": incident, "says": says, "by": " night shift ", "note": "x"})
        assert body["by"] == "night shift"
    reindex(settings, clocks, version="0.1.0", cameras=["hall"])
    found = verify(settings.root)
    assert (found.exit_status, found.findings) == (0, ())
    index = Index(settings.root, clocks)
    after = index.incident_one(INCIDENT)
    assert before is not None
    assert after is not None
    assert [each["says"] for each in after.pop("assessments")] == ["false_alarm", "fire"]
    assert (before.pop("assessments"), before.pop("assessed"), after.pop("assessed")) == ([], None, "false_alarm")
    assert after == before
    names = [path.name for path in index.pictures_assessed("false_alarm")]
    assert [name[-40:-4] for name in names] == [numbered(number) for number in range(3)]
    assert len(index.pictures_assessed("fire")) == 2


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"says": "perhaps"}, "assess: says must be one of fire, false_alarm, unclear"),
    ({"incident": numbered(1)}, "assess: there is no such incident"),
    ({"incident": 7}, "assess: there is no such incident"),
    ({"note": "two\nlines"}, "assess: note must be one line of text, of at most 500 characters"),
    ({"by": "x" * 61}, "assess: by must be one line of text, of at most 60 characters"),
    ({"by": 7}, "assess: by must be one line of text, of at most 60 characters"),
]


def test_whoever_asks_is_checked(tmp_path: Path) -> None:
    """The recorder trusts no client of the control socket; a mistake writes nothing, and stops nothing."""
    host = Host(tmp_path)
    try:
        host.start()
        host.beat(lambda beat: beat.disk == "ok", "an open store")
        worker = Worker(host)
        worker.began()
        incident = worker.incident("suspect")
        worker.settle()
        good = {"incident": incident.id, "says": "false_alarm"}
        for arguments, sentence in MISTAKES:
            assert host.ask("assess", **{**good, **arguments}).error == sentence
        assert host.bodies("assessment") == []
        done = host.ask("assess", **good)
        assert (done.error, host.bodies("assessment")) == ("", [done.result])
    finally:
        host.close()
