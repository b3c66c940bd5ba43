# SPDX-License-Identifier: AGPL-3.0-or-later
"""A copy that is made while evidence is stored, in the order that docs/operating.md tells, is a whole store again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from daemon.storage.clips import Ended
from daemon.storage.reindex import reindex
from daemon.storage.verify import verify
from tests.storage.store_kit import (
    BEGIN_NS,
    INCIDENT,
    NS,
    ClipWriter,
    FakeClocks,
    clip_of,
    evidence_of,
    incident_entry,
    numbered,
    opened,
    run_entry,
    settings_of,
    still_entries,
)


def test_a_copy_of_a_store_that_is_written_to_verifies_once_it_is_indexed(tmp_path: Path) -> None:
    """Marker and ledger before the evidence: what came in between has its line afterwards, and nothing is called missing."""
    clocks, settings, copy = FakeClocks(), settings_of(tmp_path / "live"), settings_of(tmp_path / "copy")
    with opened(settings, clocks) as store:
        store.commit([run_entry(1), incident_entry("suspect"), *_stills(store, 0)])
        growing, begun_later = (ClipWriter(clip_of(number), BEGIN_NS) for number in (900, 901))
        store.commit([], [growing.next()])
        copy.root.mkdir(parents=True)
        shutil.copy2(settings.root / ".firewitness", copy.root)
        shutil.copytree(settings.root / "ledger", copy.root / "ledger")
        store.commit([incident_entry("confirmed"), *_stills(store, 10)], [growing.next(), begun_later.next()])
        store.commit([], [Ended(growing.clip.id, "ended"), Ended(begun_later.clip.id, "ended")])
        shutil.copytree(settings.root / "evidence", copy.root / "evidence")
        store.commit(_stills(store, 20))
    done = reindex(copy, clocks, version="0.1.0", cameras=["hall"])
    assert (done.stills, done.stills_before) == (12, None)
    told = verify(copy.root)
    assert (told.exit_status, told.findings, told.missing, told.stills) == (0, (), 0, 12)
    assert numbered(10) in (copy.root / "ledger").joinpath(_newest(copy.root / "ledger")).read_text()


def _stills(store: object, first: int) -> list[object]:
    evidence = [
        replace(evidence_of(first + each, BEGIN_NS + (first + each) * NS), incident=INCIDENT) for each in range(5)
    ]
    return still_entries(store, *evidence)  # type: ignore[arg-type, return-value]


def _newest(folder: Path) -> str:
    return max(each.name for each in folder.iterdir())
