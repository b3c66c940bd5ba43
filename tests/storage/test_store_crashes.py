# SPDX-License-Identifier: AGPL-3.0-or-later
"""L1-L4 on the model file system: the power fails at every step of storing, purging and recovering, in every way.

SQLite is real; a power failure leaves it at its last commit, and each of its commits is a step, too.
"""

from __future__ import annotations

import functools
import hashlib
import io
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url, select

from daemon.clips.reading import fragments, read_head
from daemon.storage import index, rows, working_set
from daemon.storage.clips import Ended
from daemon.storage.ledger import Head, Line, files, follow
from daemon.storage.store import Store
from daemon.storage.verify import verify
from daemon.storage.writing import Entry
from tests.storage.modelfs import Crash, ModelDisk
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    HOUR_NS,
    INCIDENT,
    ClipWriter,
    FakeClocks,
    clip_of,
    coverage_entry,
    evidence_of,
    gap_entry,
    incident_entry,
    run_entry,
    settings_of,
    still_entries,
)

pytestmark = pytest.mark.timeout(240)  # 20 s on an idle machine; a slow runner must not fail them
VERSION = "0.1.0"


@dataclass
class Scene:
    """One life of a store on the model, and what its outside knows: what was acknowledged, what a purge may take."""

    folder: Path
    disk: ModelDisk
    clocks: FakeClocks = field(default_factory=FakeClocks)
    acked: dict[str, bytes] = field(default_factory=dict)
    acked_ledger: dict[str, bytes] = field(default_factory=dict)
    acked_clips: dict[str, bytes] = field(default_factory=dict)
    """Clip → what was acknowledged of it."""
    may_go: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def on(self, disk: ModelDisk) -> Scene:
        """The same life as it goes on from another disk."""
        clocks = FakeClocks(self.clocks.wall, self.clocks.boot)
        return Scene(
            self.folder, disk, clocks, dict(self.acked), self.acked_ledger, dict(self.acked_clips), set(self.may_go),
            set(self.gone),
        )  # fmt: skip

    @property
    def root(self) -> Path:
        return self.folder / "store"

    def open(self) -> Store:
        return Store.open(
            settings_of(self.folder), self.clocks, version=VERSION, cameras=["hall", "yard"], disk=self.disk
        )

    def ledger(self) -> dict[str, bytes]:
        prefix = f"{self.root}/ledger/"
        return {path: data for path, data in self.disk.files().items() if path.startswith(prefix)}

    def store(self, store: Store, *entries: Entry) -> None:
        store.commit(entries)
        self.acked |= {str(self.root / e.body["path"]): bytes(e.jpeg) for e in entries if e.jpeg is not None}
        self.acked_ledger = self.ledger()

    def grow(self, store: Store, writer: ClipWriter, seconds: int, *more: Ended) -> None:
        store.commit([], [*(writer.next(9000) for _ in range(seconds)), *more])
        self.acked_clips[writer.clip.id] = writer.content
        self.acked_ledger = self.ledger()

    def purge(self, store: Store) -> None:
        due = {path for path in self.acked if "160509.123" in path}
        self.may_go |= due
        result = store.purge.run(dry_run=False, all_due=True)
        assert result.removed == len(due)
        self.gone |= due
        self.acked_ledger = self.ledger()

    def make_room(self, store: Store) -> None:
        oldest = next(path for path in self.acked if path not in self.gone)
        self.may_go.add(oldest)
        self.disk.free_bytes = 0  # other files take all: whatever is there may go
        assert [str(self.root / due.path) for due in store.purge.make_room(1)] == [oldest]
        self.disk.free_bytes = 10**12
        self.gone.add(oldest)
        self.acked_ledger = self.ledger()


def live(scene: Scene) -> None:
    """Stores groups on several days and cameras, purges the older ones, stores again, and stops."""
    store = scene.open()
    scene.store(
        store,
        run_entry(store.next_run_seq()),
        *still_entries(store, evidence_of(1, BEGIN_NS), evidence_of(2, BEGIN_NS + 1, incident=INCIDENT)),
    )
    clip, other = (
        ClipWriter(clip_of(40), BEGIN_NS + HOUR_NS),
        ClipWriter(clip_of(41, camera="yard"), BEGIN_NS + HOUR_NS),
    )
    scene.grow(store, clip, 2)
    scene.store(store, incident_entry("suspect"), gap_entry(90, BEGIN_NS, None))
    scene.grow(store, clip, 10)
    scene.grow(store, clip, 1, Ended(clip.clip.id, "ended"))
    scene.grow(store, other, 1)
    others = still_entries(store, evidence_of(3, BEGIN_NS + 2 * HOUR_NS), evidence_of(4, BEGIN_NS, camera="yard"))
    scene.store(store, *others, incident_entry("confirmed"))
    scene.clocks.run_for(30 * DAY_NS + HOUR_NS)
    late = scene.clocks.wall
    scene.store(store, *still_entries(store, evidence_of(5, late, incident=INCIDENT)), gap_entry(90, BEGIN_NS, late))
    scene.purge(store)
    scene.make_room(store)
    scene.store(store, *still_entries(store, evidence_of(6, late + 1)), coverage_entry(late - late % HOUR_NS, 7))
    store.close("stop")


@pytest.fixture(autouse=True)
def engines_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """One engine per module for a thousand stores: compiling its statements anew would take most of the time."""
    engines: dict[str, Engine] = {}
    connect: dict[str, Any] = {}

    def lasting(owner: ModuleType, /, url: str, **more: Any) -> Engine:
        name = owner.__name__
        connect[name] = more.pop("creator", None) or functools.partial(sqlite.connect, make_url(url).database)
        if name not in engines:
            engines[name] = create_engine("sqlite+pysqlite://", creator=lambda: connect[name](), **more)
        return engines[name]

    for module in (index, rows, working_set):
        monkeypatch.setattr(module, "create_engine", functools.partial(lasting, module))


@pytest.fixture
def folder() -> Iterator[Path]:
    """On tmpfs where there is one: SQLite syncs for real at every step of thousands."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    path = Path(tempfile.mkdtemp(dir=base))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def commits_are_steps() -> Iterator[list[ModelDisk]]:
    """Makes each of SQLite's commits a step of the disk that the list holds."""
    current: list[ModelDisk] = []

    def on_commit(_: Connection) -> None:
        current[-1].step()

    event.listen(Engine, "commit", on_commit)
    yield current
    event.remove(Engine, "commit", on_commit)


def new_scene(folder: Path) -> Scene:
    """A host with an empty folder for the store; the real one is only SQLite's."""
    disk = ModelDisk()
    for path in reversed([folder / "store", *(folder / "store").parents][:-1]):
        disk.make_folder(path)
        disk.sync_folder(path.parent)
    (folder / "store").mkdir(exist_ok=True)
    disk.steps = 0
    return Scene(folder, disk)


def keep_index(root: Path, to: Path) -> None:
    """The index as a kill leaves it: read before SQLite tidies up."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for path in root.glob("index.sqlite*"):
        shutil.copyfile(path, to / path.name)


def put_index(root: Path, kept: Path) -> None:
    for path in root.glob("index.sqlite*"):
        path.unlink()
    for path in kept.iterdir():
        shutil.copyfile(path, root / path.name)


def lives(folder: Path, current: list[ModelDisk]) -> list[tuple[Scene, Path]]:
    """One whole life, and of the moment before each step what a kill would leave, with the index."""
    scene, moments = new_scene(folder), list[tuple[Scene, Path]]()

    def before_step(step: int) -> None:
        kept = folder / f"kept-{step}"
        keep_index(scene.root, kept)
        moments.append((scene.on(scene.disk.killed()), kept))

    scene.disk.before_step = before_step
    current.append(scene.disk)
    live(scene)
    return moments


def check(scene: Scene, *, reopen: bool = True) -> None:
    """All that must hold after any crash, once recovered; and that the store is of use."""
    store = scene.open()
    try:
        check_files(scene)
        lines = ledger_lines(scene)
        assert store.head() == (lines[-1].seq, lines[-1].hash)
        check_rows(scene, store, lines)
        found = verify(scene.root, disk=scene.disk)
        assert found.findings == (), found.findings
        assert not found.notes, found.notes
        scene.store(store, *still_entries(store, evidence_of(77, scene.clocks.wall)))
        store.close("stop")
    finally:
        if not store._writing.connection.closed:
            store._release()
    if not reopen:
        return
    again = scene.open()
    try:
        assert again.recovered == type(again.recovered)()
        check_files(scene)
    finally:
        again._release()


def check_files(scene: Scene) -> None:
    there = scene.disk.files()
    assert not [path for path in there if path.endswith(".open")], "recovery closes what was open"
    for id_, content in scene.acked_clips.items():
        (clip,) = [data for path, data in there.items() if path.endswith(f"-{id_}.mp4")]
        assert clip.startswith(content), "acknowledged of a clip, and not there"
        with io.BytesIO(clip) as file:
            assert [each.end for each in fragments(file, read_head(file), checked_from=0)][-1] == len(clip)
    for path, jpeg in scene.acked.items():
        if path in there or path not in scene.may_go:
            assert there.get(path) == jpeg, f"acknowledged, and not there: {path}"
    assert not scene.gone & there.keys(), "acknowledged as purged, and there"
    assert not [path for path in there if path.endswith(".part")]
    for path, data in scene.acked_ledger.items():
        assert there[path].startswith(data), f"a durable line was changed: {path}"


def ledger_lines(scene: Scene) -> list[Line]:
    folder = scene.root / "ledger"
    spans = {name: (0, size) for name, size in files(scene.disk, folder).items()}
    return list(follow(scene.disk, folder, Head(), spans))


def check_rows(scene: Scene, store: Store, lines: list[Line]) -> None:
    expected: dict[str, Any] = {}
    stored: set[str] = set()
    for line in lines:
        if line.kind == "stored":
            assert line.body["id"] not in stored, "purged, and stored again"
            stored.add(line.body["id"])
            expected[line.body["id"]] = line.body["path"]
        elif line.kind == "purged":
            for id_ in line.body["ids"]:
                expected.pop(id_, None)
        assert line.kind != "missing", "nothing was taken away, and something is missing"
    with store._writing.session() as session:
        rows = dict(session.execute(select(index.EvidenceRow.id, index.EvidenceRow.path)).all())
        seen = set(session.scalars(select(index.SightingRow.evidence)))
        clips = set(session.scalars(select(index.ClipRow.id)))
        assert session.scalars(select(index.SegmentRow)).all() == [], "attested of what is closed"
    assert rows == expected
    assert clips == {id_ for id_, path in expected.items() if path.endswith(".mp4")}
    assert seen == expected.keys() - clips
    stills = {path for path in scene.disk.files() if "/evidence/" in path}
    assert stills == {str(scene.root / path) for path in rows.values()}


def every_crash(folder: Path, current: list[ModelDisk]) -> Iterator[Scene]:
    """Each step's crash states that differ, the kill first, with the index of that moment put back."""
    for seed, (scene, kept) in enumerate(lives(folder, current)):
        states = [scene.disk.killed(), *scene.disk.crashes(seed, randoms=6)]
        for state in {state.shows(): state for state in states}.values():
            put_index(scene.root, kept)
            current.append(state)
            yield scene.on(state)


def test_power_failure_at_every_step(folder: Path, commits_are_steps: list[ModelDisk]) -> None:
    """Whatever a power failure leaves: all that was acknowledged is there, chained and with rows; verify is clean."""
    checked = 0
    for scene in every_crash(folder, commits_are_steps):
        check(scene, reopen=checked % 4 == 0)
        checked += 1
    assert checked > 300


def test_power_failure_during_recovery(folder: Path, commits_are_steps: list[ModelDisk]) -> None:
    """A kill at every step, whose page cache recovery trusts, and then the power fails: in mid-recovery and behind it."""
    source = random.Random(1)
    checked = 0
    for first, kept in lives(folder, commits_are_steps):
        put_index(first.root, kept)
        whole = first.on(first.disk.killed())
        commits_are_steps.append(whole.disk)
        whole.open()._release()
        keep_index(whole.root, folder / "second")
        fails(whole, folder / "second", commits_are_steps, source)
        cut = first.on(first.disk.killed())
        commits_are_steps.append(cut.disk)
        cut.disk.crash_at = source.randrange(whole.disk.steps)
        put_index(cut.root, kept)
        with pytest.raises(Crash):
            cut.open()
        keep_index(cut.root, folder / "second")
        fails(cut, folder / "second", commits_are_steps, source)
        checked += 2
    assert checked > 200


def fails(scene: Scene, kept: Path, current: list[ModelDisk], source: random.Random) -> None:
    """The power fails now; one state of those that may be left, and half the time that in which all unsynced is lost."""
    lost, *others = scene.disk.crashes(source.randrange(1000), randoms=6)
    state = source.choice([lost, source.choice(others or [lost])])
    put_index(scene.root, kept)
    current.append(state)
    check(scene.on(state), reopen=source.random() < 0.25)


def test_ledger_torn_at_every_byte(folder: Path, commits_are_steps: list[ModelDisk]) -> None:
    """A group that was cut anywhere goes, said in a line with the hash of what went; the lines before it stay."""
    scene = new_scene(folder)
    commits_are_steps.append(scene.disk)
    store = scene.open()
    scene.store(store, *still_entries(store, evidence_of(1, BEGIN_NS)))
    keep_index(scene.root, folder / "first")
    path = next(iter(scene.acked_ledger))
    durable = scene.acked_ledger[path]
    store.commit([coverage_entry(BEGIN_NS - BEGIN_NS % HOUR_NS, 7)])
    group = scene.ledger()[path][len(durable) :]
    store._release()
    for cut in range(len(group)):
        torn = scene.on(scene.disk.killed())
        torn.disk.truncate(Path(path), len(durable) + cut)
        put_index(scene.root, folder / "first")
        commits_are_steps.append(torn.disk)
        again = torn.open()
        said = [line.body for line in ledger_lines(torn) if line.kind == "repaired"]
        assert again.recovered.cut_bytes == cut
        assert [body["sha256"] for body in said] == [hashlib.sha256(group[:cut]).hexdigest()][: 1 if cut else 0]
        assert torn.ledger()[path].startswith(durable)
        again._release()
