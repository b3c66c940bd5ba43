# SPDX-License-Identifier: AGPL-3.0-or-later
"""The right disk: an unmounted, foreign, filled or exchanged root is never taken for the store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage.disk import reserve_bytes
from daemon.storage.store import Store
from tests.storage.store_kit import BEGIN_NS, FakeClocks, evidence_of, opened, settings_of, still_entries


def once(settings: StorageSettings, *, new_store: bool = False) -> str:
    """Opens and closes; the store's id."""
    with opened(settings, FakeClocks(), new_store=new_store) as store:
        store.close("stop")
        return store.id


def refused(settings: StorageSettings) -> StoreError:
    """What opening says; nothing may have been made in the root."""
    before = sorted(settings.root.rglob("*")) if settings.root.exists() else None
    with pytest.raises(StoreError) as caught:
        once(settings)
    assert before == (sorted(settings.root.rglob("*")) if settings.root.exists() else None)
    return caught.value


def test_first_start_makes_a_store_and_remembers_it(tmp_path: Path) -> None:
    """Root and state_dir agree on the id; the next start keeps it."""
    settings = settings_of(tmp_path)
    store = once(settings)
    assert json.loads((tmp_path / "state/stores.json").read_text()) == {str(settings.root): store}
    assert once(settings) == store


@pytest.mark.parametrize(
    ("change", "state", "says"),
    [
        (lambda root: shutil.rmtree(root), "gone", "not mounted"),
        (lambda root: (shutil.rmtree(root), root.mkdir()), "wrong", "no store"),
        (lambda root: (root / ".firewitness").unlink(), "wrong", "no store"),
        (lambda root: (root / ".firewitness").write_text("{}"), "damaged", "does not hold the id"),
    ],
    ids=["gone", "empty", "no id", "broken id"],
)
def test_a_known_path_with_another_content(
    tmp_path: Path, change: Callable[[Path], object], state: str, says: str
) -> None:
    """A mount point without its disk is an empty folder: it must not become a second store."""
    settings = settings_of(tmp_path)
    once(settings)
    change(settings.root)
    error = refused(settings)
    assert error.state == state
    assert says in str(error)


def test_another_store_at_a_known_path(tmp_path: Path) -> None:
    """The wrong disk is refused until the operator says that it is the right one; then it keeps its own id."""
    settings = settings_of(tmp_path)
    once(settings)
    other = settings_of(tmp_path / "other")
    foreign = once(other)
    shutil.rmtree(settings.root)
    shutil.copytree(other.root, settings.root)
    assert foreign in str(refused(settings))
    assert once(settings, new_store=True) == foreign
    assert once(settings) == foreign


def test_new_store_on_an_exchanged_empty_disk(tmp_path: Path) -> None:
    """`init --new-store` is the way on with a new disk, which a fresh ext4's lost+found does not make non-empty."""
    settings = settings_of(tmp_path)
    old = once(settings)
    shutil.rmtree(settings.root)
    (settings.root / "lost+found").mkdir(parents=True)
    assert once(settings, new_store=True) != old


@pytest.mark.parametrize("new_store", [False, True])
def test_a_folder_with_other_files_never_becomes_a_store(tmp_path: Path, new_store: bool) -> None:
    """Somebody's home is not ours to fill."""
    settings = settings_of(tmp_path)
    settings.root.mkdir()
    (settings.root / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"not empty and no store \(it holds 'thesis.tex'\)"):
        once(settings, new_store=new_store)
    assert [path.name for path in settings.root.iterdir()] == ["thesis.tex"]


def test_a_store_of_another_host_is_taken_over(tmp_path: Path) -> None:
    """A root with an id at a path that had none is a moved disk."""
    settings = settings_of(tmp_path)
    store = once(settings)
    shutil.rmtree(tmp_path / "state")
    assert once(settings) == store


def test_a_kill_between_the_two_ids(tmp_path: Path) -> None:
    """The root's id is written first, so that dying before stores.json does not lock the store out."""
    settings = settings_of(tmp_path)
    settings.root.mkdir()
    (settings.root / "..firewitness.part").write_text("torn")
    store = once(settings)
    (tmp_path / "state/stores.json").unlink()
    assert once(settings) == store


def test_the_reserve_by_default() -> None:
    """5 % or 10 GB, the smaller."""
    assert reserve_bytes(StorageSettings(), 10**11) == 5 * 10**9
    assert reserve_bytes(StorageSettings(), 10**12) == 10**10
    assert reserve_bytes(StorageSettings(reserve=7), 10**12) == 7


def test_state_dir_that_cannot_keep_the_clock_does_not_stop_storing(tmp_path: Path) -> None:
    """Another disk's fault is said, and evidence is stored."""
    settings, clocks = settings_of(tmp_path), FakeClocks()
    with opened(settings, clocks) as store:
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").write_text("no folder")
        clocks.run_for(10**12)
        assert "state" in store.clock_state()
        store.commit(still_entries(store, evidence_of(1, BEGIN_NS)))


def test_schema_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """An index that this version does not know is not written to."""
    settings = settings_of(tmp_path)
    with opened(settings, FakeClocks()) as store:
        store._writing.connection.exec_driver_sql("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="has schema 99"):
        Store.open(settings, FakeClocks(), version="0", cameras=[])
