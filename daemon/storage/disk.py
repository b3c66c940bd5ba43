# SPDX-License-Identifier: AGPL-3.0-or-later
"""Is this the right disk, and is there room on it: an unmounted mount point is an empty folder.

The store's id lies in its root (`.firewitness`); which id belongs to which path lies outside, in
`<state_dir>/stores.json`. Nothing is made in a root before both agree.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

from daemon.clock import Clocks, rfc3339
from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage.durable import Disk, make_folders, part_of, read, replace
from daemon.storage.record import canonical

MARKER = ".firewitness"
STORES = "stores.json"
SHARE_RESERVED, MOST_RESERVED_BYTES = 0.05, 10 * 10**9
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_CONTENT = {"lost+found"}  # a fresh ext4 has it: still an empty disk


def state_dir_of(settings: StorageSettings) -> Path:
    """Where what is known about disks and clocks lies: not on the evidence's disk."""
    return (settings.state_dir or Path("var/state")).absolute()


def root_of(settings: StorageSettings) -> Path:
    return settings.root.absolute()


def identify(disk: Disk, root: Path, state_dir: Path, clocks: Clocks, *, new_store: bool) -> str:
    """The id of the store at `root`, made where that is allowed; StoreError `wrong` or `gone` where it is not."""
    make_folders(disk, state_dir, _existing(disk, state_dir))
    stores = _known_stores(disk, state_dir / STORES)
    known, found = stores.get(str(root)), marker_of(disk, root)
    if not new_store:
        _refuse_wrong_disk(root, known, found)
    if found is None:
        _refuse_strangers_files(disk, root)
        found = _make(disk, root, clocks)
    if known != found:
        stores[str(root)] = found
        replace(disk, state_dir / STORES, canonical(stores))
    return found


def standing(disk: Disk, root: Path, state_dir: Path) -> str | None:
    """The id of the store that is at `root`, None where a start would make one; StoreError as a start would. Makes nothing."""
    known = _known_stores(disk, state_dir / STORES).get(str(root))
    if known is not None and disk.names(root) is None:
        raise _gone(root)
    found = marker_of(disk, root)
    _refuse_wrong_disk(root, known, found)
    if found is None:
        _refuse_strangers_files(disk, root)
    return found


def marker_of(disk: Disk, root: Path) -> str | None:
    """The id in the root, or None."""
    try:
        raw = read(disk, root / MARKER)
    except FileNotFoundError:
        return None
    try:
        store = str(json.loads(raw)["store"])
    except (ValueError, KeyError, TypeError):
        store = ""
    if not _UUID.fullmatch(store):
        raise StoreError("damaged", f"{root / MARKER} does not hold the id of a store")
    return store


def make_root(disk: Disk, root: Path, state_dir: Path, *, new_store: bool = False) -> None:
    """The root's folder, for a path that never had a store; StoreError `gone` for one that had, unless it is given up."""
    if disk.names(root) is not None:
        return
    if not new_store and str(root) in _known_stores(disk, state_dir / STORES):
        raise _gone(root)
    make_folders(disk, root, _existing(disk, root))


def reserve_bytes(settings: StorageSettings, total_bytes: int) -> int:
    """Free bytes below which nothing is written."""
    if settings.reserve is not None:
        return settings.reserve
    return min(round(total_bytes * SHARE_RESERVED), MOST_RESERVED_BYTES)


def _gone(root: Path) -> StoreError:
    advice = "mount it, or begin anew with `firewitness init --new-store`"
    return StoreError("gone", f"{root} is gone: its store may be on a disk that is not mounted; {advice}")


def _refuse_wrong_disk(root: Path, known: str | None, found: str | None) -> None:
    if known is None or known == found:
        return
    what = "no store" if found is None else f"another store ({found})"
    raise StoreError(
        "wrong",  # design, The right disk
        f"{root} holds {what}, where store {known} was: mount the right disk, "
        "or say `firewitness init --new-store` to go on with this one",
    )


def _refuse_strangers_files(disk: Disk, root: Path) -> None:
    names = set(disk.names(root) or []) - _NO_CONTENT - {part_of(root / MARKER).name}
    if names:
        raise StoreError("wrong", f"{root} is not empty and no store (it holds {min(names)!r}): give an empty folder")


def _make(disk: Disk, root: Path, clocks: Clocks) -> str:
    store = str(uuid.uuid4())  # random: two stores must differ also where the clocks of both lie
    replace(disk, root / MARKER, canonical({"store": store, "created_at": rfc3339(clocks.wall_ns())}))
    return store


def _known_stores(disk: Disk, path: Path) -> dict[str, str]:
    try:
        value = json.loads(read(disk, path))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError("damaged", f"{path} is not JSON; it tells which store belongs to which path") from error
    if not isinstance(value, dict):
        raise StoreError("damaged", f"{path} does not tell which store belongs to which path")
    return {str(key): str(store) for key, store in value.items()}


def _existing(disk: Disk, path: Path) -> Path:
    while disk.names(path) is None and path != path.parent:
        path = path.parent
    return path
