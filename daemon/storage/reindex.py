# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes the whole index anew from ledger and stills: by the recovery of a lost index, which a kill can only interrupt.

The old one is set aside first, as `index-before-reindex.sqlite` (daemon/storage/anew.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pysqlite3.dbapi2 as sqlite

from daemon.clock import Clocks
from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage import anew, index
from daemon.storage import disk as disks
from daemon.storage.durable import RealDisk
from daemon.storage.recovery import GoingOn, Recovery
from daemon.storage.store import Store

KEPT = "index-before-reindex.sqlite"


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What was made."""

    stills: int
    stills_before: int | None
    """None where the old index could not be read."""
    recovered: Recovery


def reindex(
    settings: StorageSettings,
    clocks: Clocks,
    *,
    version: str,
    cameras: Sequence[str],
    going_on: GoingOn = lambda lines: True,
) -> Reindexed:
    """Raises StoreError; the store is then as it was, or the next start of anybody goes on with it."""
    before = _begin(disks.root_of(settings))
    store = Store.open(settings, clocks, version=version, cameras=cameras, going_on=going_on)
    try:
        stills = store.count()
    finally:
        store.close("stop")
    return Reindexed(stills, before, store.recovered)


def _begin(root: Path) -> int | None:
    """Sets the old index aside, under the store's lock; how many stills it had."""
    disk = RealDisk()
    if disks.marker_of(disk, root) is None:
        raise StoreError("wrong", f"{root} is no store: there is no {disks.MARKER} in it")
    lock = disk.lock(root)
    if lock is None:
        raise StoreError("wrong", f"another Firewitness is writing to {root}: stop it first")
    try:
        path, kept = index.path_of(root), root / KEPT
        if _is_rebuilding(path):
            return _count(kept)
        anew.begin(disk, root, kept)
        return _count(kept)
    finally:
        lock.release()


def _is_rebuilding(path: Path) -> bool:
    """Whether an earlier one was broken off."""
    if not path.exists():
        return False
    try:
        with closing(sqlite.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT count(*) FROM meta WHERE key = 'rebuilding'").fetchone()[0])
    except sqlite.Error:
        return False


def _count(path: Path) -> int | None:
    if not path.exists():
        return None
    try:
        with closing(sqlite.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM evidence").fetchone()[0])
    except sqlite.Error:
        return None
