# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips in the store: they grow, are attested as they grow, and are closed by their end or by recovery."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from daemon.clock import NS
from daemon.domain import Clip
from daemon.ids import new_id
from daemon.storage import index
from daemon.storage.clips import Appended, Ended, Span
from daemon.storage.queries import Index
from daemon.storage.reindex import reindex
from daemon.storage.store import Store
from daemon.storage.verify import verify
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    INCIDENT,
    ClipWriter,
    FakeClocks,
    clip_of,
    evidence_of,
    incident_entry,
    opened,
    run_entry,
    settings_of,
    still_entries,
)

OTHER = "0193a000-0000-7000-8000-000000000003"


def lines_of(root: Path, kind: str) -> list[dict[str, object]]:
    """The bodies of all lines of a kind."""
    found = []
    for path in sorted((root / "ledger").iterdir()):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found += [line["body"] for line in lines if line["kind"] == kind]
    return found


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in (root / "evidence").rglob("*") if path.is_file())


def grow(store: Store, writer: ClipWriter, seconds: int) -> None:
    for _ in range(seconds):
        store.commit([], [writer.next()])


def rows_of(store: Store) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """(closed clips, (incident, clip) pairs, clips with open segments)."""
    with store._writing.session() as session:
        closed = list(session.scalars(select(index.ClipRow.id)))
        pairs = [
            tuple(row) for row in session.execute(select(index.ClipIncidentRow.incident, index.ClipIncidentRow.clip))
        ]
        return closed, pairs, list(session.scalars(select(index.SegmentRow.clip)))


def test_a_clip_grows_is_attested_and_closed(tmp_path: Path) -> None:
    """Every ten seconds of frames are a segment line while the file grows; its end gives it its name and its line."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        writer = ClipWriter(clip_of(5), BEGIN_NS, (INCIDENT, OTHER))
        store.commit([run_entry(store.next_run_seq()), incident_entry("confirmed")])
        grow(store, writer, 23)
        (path,) = files_of(settings.root)
        assert path.name.endswith(f"-{writer.clip.id}.mp4.open")
        assert path.read_bytes() == writer.content
        segments = lines_of(settings.root, "segment")
        assert [segment["frames"] for segment in segments] == [22, 22]
        assert rows_of(store) == ([], [], [writer.clip.id] * 2)
        assert verify(settings.root).findings == ()
        store.commit([], [writer.next(), Ended(writer.clip.id, "ended")])
        (path,) = files_of(settings.root)
        assert path.name.endswith(f"-{writer.clip.id}.mp4")
        assert stat.S_IMODE(path.stat().st_mode) == 0o440
        (stored,) = lines_of(settings.root, "stored")
        assert (stored["sha256"], stored["bytes"]) == (hashlib.sha256(writer.content).hexdigest(), len(writer.content))
        assert stored["clip"] == stored["clip"] | {"frames": 48, "closed": "ended", "incidents": [INCIDENT, OTHER]}
        attested = b"".join(
            writer.content[each["from_byte"] : each["from_byte"] + each["bytes"]]  # type: ignore[operator,misc]
            for each in lines_of(settings.root, "segment")
        )
        assert attested == writer.content
        assert rows_of(store) == ([writer.clip.id], [(INCIDENT, writer.clip.id), (OTHER, writer.clip.id)], [])
        store.close("stop")
    found = verify(settings.root)
    assert (found.findings, found.stills) == ((), 1)


@pytest.mark.parametrize("tail", [b"", b"\x00" * 5000, b"\x00\x00\x00\x10uuidtorn"])
def test_recovery_closes_a_clip_that_a_kill_left(tmp_path: Path, tail: bytes) -> None:
    """Behind the last whole fragment it is cut, what was cut is hashed in a line, and the clip is stored like any other."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    writer = ClipWriter(clip_of(5), BEGIN_NS)
    with opened(settings, clocks) as store:
        store.commit([run_entry(store.next_run_seq())])
        grow(store, writer, 13)
    (path,) = files_of(settings.root)
    with path.open("ab") as file:
        file.write(tail)
    assert verify(settings.root).findings == ()
    with opened(settings, clocks) as store:
        assert store.recovered.closed == [writer.clip.id]
        (closed,) = files_of(settings.root)
        assert closed.read_bytes() == writer.content
        said = [body for body in lines_of(settings.root, "repaired") if body["what"] == "clip_tail"]
        assert [body["sha256"] for body in said] == ([hashlib.sha256(tail).hexdigest()] if tail else [])
        (stored,) = lines_of(settings.root, "stored")
        assert stored["clip"] == stored["clip"] | {"frames": 26, "closed": "recovery", "incidents": [INCIDENT]}
        assert rows_of(store) == ([writer.clip.id], [(INCIDENT, writer.clip.id)], [])
        store.close("stop")
    assert verify(settings.root).findings == ()


def test_recovery_cuts_at_a_fragment_whose_pages_are_not_there(tmp_path: Path) -> None:
    """A fragment whose length is right and whose bytes are zeros is none: its own hash says so."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    writer = ClipWriter(clip_of(5), BEGIN_NS)
    with opened(settings, clocks) as store:
        grow(store, writer, 3)
    whole = writer.content
    torn = writer.next(9000)
    (path,) = files_of(settings.root)
    with path.open("ab") as file:
        file.write(torn.data[:-8192] + bytes(8192))
    with opened(settings, clocks):
        (closed,) = files_of(settings.root)
        assert closed.read_bytes() == whole


def test_a_changed_clip_is_found_with_the_segment_that_was_changed(tmp_path: Path) -> None:
    """Verify names clip and segment, of an open clip too; one that vanished is found as well."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    writer, second = ClipWriter(clip_of(5), BEGIN_NS), ClipWriter(clip_of(6), BEGIN_NS)
    with opened(settings, clocks) as store:
        grow(store, writer, 25)
        store.commit([], [Ended(writer.clip.id, "ended")])
        grow(store, second, 12)
        for path in files_of(settings.root):
            path.chmod(0o640)
            content = bytearray(path.read_bytes())
            content[len(content) // 3] ^= 1
            path.write_bytes(content)
        found = verify(settings.root)
        assert len(found.findings) == 2, found.findings
        assert all("which ledger/" in str(finding) and "was changed" in str(finding) for finding in found.findings)
        files_of(settings.root)[1].unlink()
        assert any("is not there" in str(finding) for finding in verify(settings.root).findings)


def test_a_vanished_open_clip_is_told_as_missing(tmp_path: Path) -> None:
    """What the ledger attests of a clip that is gone at the next start becomes a `missing` line, once."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        grow(store, ClipWriter(clip_of(5), BEGIN_NS), 12)
    files_of(settings.root)[0].unlink()
    for _ in range(2):
        with opened(settings, clocks) as store:
            assert rows_of(store) == ([], [], [])
            store.close("stop")
        assert [body["id"] for body in lines_of(settings.root, "missing")] == [clip_of(5).id]
    assert verify(settings.root).findings == ()


def test_a_stop_closes_clips_and_a_purge_removes_them_whole(tmp_path: Path) -> None:
    """A store that is closed in order leaves no open clip; when due, a clip goes with all its rows."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        grow(store, ClipWriter(clip_of(5), BEGIN_NS), 12)
        store.close("stop")
    (stored,) = lines_of(settings.root, "stored")
    assert isinstance(stored["clip"], dict)
    assert stored["clip"]["closed"] == "stop"
    with opened(settings, clocks) as store:
        assert store.recovered == type(store.recovered)()
        clocks.run_for(31 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == 1
        assert files_of(settings.root) == []
        assert rows_of(store) == ([], [], [])
        store.close("stop")
    assert verify(settings.root).findings == ()


def test_an_index_made_anew_has_the_same_clips(tmp_path: Path) -> None:
    """Ledger and files are enough: without its index a store has the rows of its clips again."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        store.commit([run_entry(store.next_run_seq())])
        for number in (5, 6):
            writer = ClipWriter(clip_of(number), BEGIN_NS + number * NS)
            grow(store, writer, 12)
            store.commit([], [Ended(writer.clip.id, "ended")])
        before = rows_of(store)
        store.close("stop")
    for path in settings.root.glob("index.sqlite*"):
        path.unlink()
    with opened(settings, clocks) as store:
        assert rows_of(store) == before
        store.close("stop")
    assert verify(settings.root).findings == ()


def test_a_part_that_does_not_continue_its_clip_is_refused(tmp_path: Path) -> None:
    """A clip has no holes: what begins behind its end is nothing that can be appended."""
    clip: Clip = clip_of(5)
    writer = ClipWriter(clip, BEGIN_NS)
    with opened(settings_of(tmp_path), FakeClocks()) as store:
        first, _, third = writer.next(), writer.next(), writer.next()
        store.commit([], [first])
        with pytest.raises(ValueError, match="the next begins at"):
            store.commit([], [third])


def served(store: Store, incident: str) -> list[tuple[str, str, list[str], list[str]]]:
    """(clip, kind, incidents of its camera, those of others) of an incident's clips."""
    found = Index(store.root, FakeClocks()).clips_of(incident)
    return [(each["id"], each["kind"], each["incidents"], each["sibling_of"]) for each in found]


def counted(index_: Index) -> list[str]:
    """Its own camera's stills, as they are listed; the incident counts these and nothing else."""
    incident = index_.incident_one(INCIDENT)
    assert incident is not None
    found = [each["id"] for each in index_.evidence_page(incident=INCIDENT, camera=incident["camera"])["items"]]
    assert incident["evidence_count"] == len(found)
    return found


def test_a_clip_for_another_cameras_incident(tmp_path: Path) -> None:
    """Evidence of kind sibling, that incident's, listed behind its own camera's: growing, closed by recovery, in an index made anew."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    own, other = ClipWriter(clip_of(6), BEGIN_NS), ClipWriter(clip_of(5, camera="yard"), BEGIN_NS, (), (INCIDENT,))
    expected = [(own.clip.id, "clip", [INCIDENT], []), (other.clip.id, "sibling", [], [INCIDENT])]
    with opened(settings, clocks) as store:
        store.commit([run_entry(store.next_run_seq()), incident_entry("confirmed")])
        hit, kept = (
            evidence_of(1, BEGIN_NS, incident=INCIDENT),
            evidence_of(2, BEGIN_NS, kind="sibling", incident=INCIDENT),
        )
        store.commit(still_entries(store, hit, replace(kept, camera="yard")))
        grow(store, other, 12)
        grow(store, own, 12)
        assert served(store, INCIDENT) == expected
    with opened(settings, clocks) as store:  # as after a kill
        stored = {body["id"]: body for body in lines_of(settings.root, "stored")}
        assert (stored[other.clip.id]["kind"], stored[other.clip.id]["incident"]) == ("sibling", INCIDENT)
        assert served(store, INCIDENT) == expected
        index_ = Index(store.root, clocks)
        found = index_.clip_files(INCIDENT, own.clip.run, 2**40)
        assert [path.stem[-36:] for path, _ in found] == [own.clip.id], "of its own camera"
        assert {each["id"] for each in index_.evidence_page(kind="sibling")["items"]} == {other.clip.id, kept.id}
        assert {each["id"] for each in index_.evidence_page()["items"]} == {hit.id, kept.id}
        assert counted(index_) == [hit.id]
        store.close("stop")
    assert verify(settings.root).findings == ()
    reindex(settings, clocks, version="0.1.0", cameras=["hall", "yard"])
    with opened(settings, clocks) as store:
        assert served(store, INCIDENT) == expected
        assert counted(Index(store.root, clocks)) == [hit.id]
        store.close("stop")
    assert verify(settings.root).findings == ()


def test_clips_come_in_the_order_of_their_runs_whatever_the_wall_clock_did(tmp_path: Path) -> None:
    """It was set back by a minute ten seconds after the first run's beginning; what begins behind a frame is none up to it."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    after = new_id()
    stepped = run_entry(2, after, at_ns=BEGIN_NS - 50 * NS)
    stepped.body["started_mono_ns"] = str(10 * NS + 1)
    first, second = ClipWriter(clip_of(6), BEGIN_NS), ClipWriter(clip_of(7, run=after), BEGIN_NS - 50 * NS)
    with opened(settings, clocks) as store:
        store.commit([run_entry(1), stepped, incident_entry("confirmed")])
        for writer in (second, first):
            grow(store, writer, 3)
            store.commit([], [Ended(writer.clip.id, "run")])
        index_ = Index(store.root, clocks)
        found = [(path.stem[-36:], ahead_ns) for path, ahead_ns in index_.clip_files(INCIDENT, after, 90_000)]
        assert found == [(first.clip.id, -60 * NS), (second.clip.id, 0)]
        assert [path.stem[-36:] for path, _ in index_.clip_files(INCIDENT, first.clip.run, 90_000)] == [first.clip.id]
        store.close("stop")


def test_a_sibling_that_comes_to_burn_itself_is_a_clip_of_its_own_incident(tmp_path: Path) -> None:
    """What it is tells what it served to its end; it belongs to both incidents."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    writer = ClipWriter(clip_of(5), BEGIN_NS, (), (OTHER,))
    with opened(settings, clocks) as store:
        grow(store, writer, 3)
        writer.incidents = (INCIDENT,)
        grow(store, writer, 3)
        store.commit([], [Ended(writer.clip.id, "ended")])
        assert served(store, INCIDENT) == served(store, OTHER) == [(writer.clip.id, "clip", [INCIDENT], [OTHER])]
        assert [body["incident"] for body in lines_of(settings.root, "stored")] == [INCIDENT]
        store.close("stop")
    assert verify(settings.root).findings == ()


@pytest.mark.parametrize("step", ["a piece", "its end"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_kill_in_the_midst_of_an_import(tmp_path: Path, container: str, step: str) -> None:
    """Half a file of somebody else's is removed at the next start, with a line that says so; the whole one stays."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    imported = replace(clip_of(5), camera="imported", cause="imported", container=container)
    span = Span(500, 0, 20 * 90_000, BEGIN_NS, BEGIN_NS + 20 * NS)
    with opened(settings, clocks) as store:
        store.commit([], [Appended(imported, 0, b"\0\0\0\x14ftypisom" * 1000, (INCIDENT,), span)])
        if step == "its end":
            store.commit([], [Ended(imported.id, "imported")])
    with opened(settings, clocks) as store:
        root = store.root
        (there,) = files_of(root) or [None]
        if step == "its end":
            assert there is not None
            assert there.suffix == f".{container}"
            assert stat.S_IMODE(there.stat().st_mode) == 0o440
        else:
            assert there is None
        told = [body["what"] for body in lines_of(root, "repaired")]
        assert told == ([] if step == "its end" else ["broken_clip"])
        assert lines_of(root, "segment") == []
    assert verify(root).findings == ()
