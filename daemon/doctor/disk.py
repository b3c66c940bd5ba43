# SPDX-License-Identifier: AGPL-3.0-or-later
"""The evidence's disk: the right one, writable, with room, and of a kind that keeps what it has promised to keep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.commands.folders import nearest
from daemon.config_file import state_dir
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.errors import StoreError
from daemon.settings import Settings
from daemon.storage import disk as disks
from daemon.storage.durable import RealDisk
from daemon.storage.paths import EVIDENCE, LEDGER

REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"}
FLEETING = {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class Mount:
    """What a folder lies on."""

    point: str
    kind: str
    options: frozenset[str]


def look(settings: Settings) -> Iterator[Finding]:
    """All findings about the disk; the root's nearest folder stands for one that is not there yet."""
    storage = settings.storage
    yield of_store(settings)
    there = nearest(storage.root)
    mount = mount_of(there, Path("/proc/self/mountinfo").read_bytes())
    yield of_mount(mount)
    yield of_owner(storage.root, there, os.access(there, os.W_OK | os.X_OK), os.geteuid())
    free, total = RealDisk().space_bytes(there)
    yield of_space(free, total, disks.reserve_bytes(storage, total))
    parts = {
        name: (storage.root / name).stat().st_dev for name in (EVIDENCE, LEDGER) if os.path.isdir(storage.root / name)
    }
    yield of_one_disk(there.stat().st_dev, parts)
    state = nearest(state_dir(storage))
    yield of_state(state.stat().st_dev, there.stat().st_dev, Path("/").stat().st_dev, state_dir(storage))


def of_store(settings: Settings) -> Finding:
    """Whether the root is the store that was there before."""
    root = settings.storage.root
    try:
        store = disks.standing(RealDisk(), root, state_dir(settings.storage))
    except StoreError as error:
        return problem("store", str(error), "mount the disk that belongs there; see docs/operating.md")
    except PermissionError as error:
        return problem("store", f"{error.filename} cannot be read by this user", "ask as the service's user")
    return ok("store", f"{root}, id {store}" if store else f"{root}: a store will begin there")


def of_mount(mount: Mount) -> Finding:
    what = f"{mount.kind} mounted at {mount.point}"
    if mount.kind in REMOTE:
        return problem(
            "file system", f"{what}: over a network neither the index nor a sync can be relied on", "give a local disk"
        )
    if "ro" in mount.options:
        return problem("file system", f"{what}, read-only", f"see `dmesg`, then `mount -o remount,rw {mount.point}`")
    if mount.kind in FLEETING:
        return warning("file system", f"{what}: it is gone with the next restart", "give a disk")
    return ok("file system", what)


def of_owner(root: Path, there: Path, writable: bool, uid: int) -> Finding:
    what = f"{there} by uid {uid}"
    if not writable:
        return problem("writable", f"not {what}", f"chown the folder {root} to the service's user")
    owner = there.stat().st_uid
    if uid == 0 and owner != 0:
        return warning(
            "writable", f"{what}, who may write all", "ask as the service's user: the installed command does"
        )
    return ok("writable", what)


def of_space(free: int, total: int, reserve: int) -> Finding:
    what = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free, {reserve / 1e9:.1f} GB of them held in reserve"
    if free < reserve:
        return problem(
            "space", f"{what}: nothing can be written", "free some, give a larger disk, or lower storage.reserve"
        )
    if free < 2 * reserve:
        return warning(
            "space", f"{what}: evidence will give way soon", "see `firewitness status` for the retention to expect"
        )
    return ok("space", what)


def of_one_disk(root: int, parts: dict[str, int]) -> Finding:
    """A still gets its name by a rename, which is one only within a file system."""
    if other := [name for name, device in parts.items() if device != root]:
        return problem(
            "one disk",
            f"{', '.join(other)} in the store is another file system",
            "mount the disk at storage.root itself",
        )
    return ok("one disk", "the store is on one file system")


def of_state(state: int, store: int, system: int, folder: Path) -> Finding:
    if state != store:
        return ok("state", f"{folder}, apart from the evidence's disk")
    if store == system:
        return ok("state", f"{folder}; the evidence shares the system's disk")
    return warning(
        "state",
        f"{folder} is on the evidence's disk: with that disk, what tells a wrong one is gone",
        "set storage.state_dir to a folder of the system's disk",
    )


_ESCAPED = re.compile(rb"\\([0-7]{3})")  # a space is \040; letters beyond ASCII stand as they are


def mount_of(folder: Path, mountinfo: bytes) -> Mount:
    """The mount that a folder lies on, from /proc/self/mountinfo (proc(5)); of several at one place the last."""
    best = Mount("/", "unknown", frozenset())
    resolved = folder.resolve()
    for line in mountinfo.split(b"\n")[:-1]:
        before, _, after = line.partition(b" - ")
        fields = os.fsdecode(before).split(" ")
        kind, _source, over, *_ = os.fsdecode(after).split(" ")
        point = os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), before.split(b" ")[4]))
        if resolved.is_relative_to(point) and len(point) >= len(best.point):
            best = Mount(point, kind, frozenset([*fields[5].split(","), *over.split(",")]))
    return best
