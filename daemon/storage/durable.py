# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one module for durability: every step that must survive a power failure is a method of `Disk`.

Each method is a whole durable step, so that no caller can forget a sync; the order of the steps is the caller's
(docs/evidence-lifecycle.md). What a step does *not* make durable stands at the method. The model file system of the
tests implements the same interface. SQLite does its own syncs.

A failed fsync is never tried again: the kernel may have marked the lost pages clean, so that a second one "succeeds"
over them (https://lwn.net/Articles/752063/). It raises StoreError, and the store refuses everything until reopened.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from daemon.errors import StoreError

STILL_MODE = 0o440  # what is stored is never changed: the mode says so too
FILE_MODE = 0o640
FOLDER_MODE = 0o750
LOCK_PATIENCE_S = 1.0  # `verify` asks for the lock for a moment, to learn whether a writer runs

_STATES = {
    errno.ENOSPC: ("full", "is full"),
    errno.EDQUOT: ("full", "has no quota left"),
    errno.EROFS: ("read_only", "is mounted read-only"),
    errno.EACCES: ("read_only", "is closed to this user"),
    errno.EPERM: ("read_only", "is closed to this user"),
    errno.ENOENT: ("gone", "is gone"),
    errno.ENODEV: ("gone", "is gone"),
    errno.ENXIO: ("gone", "is gone"),
    errno.ESTALE: ("gone", "is gone"),
    errno.ENOTDIR: ("wrong", "is not what it was: a file stands where a folder should"),
}


class Lock(Protocol):
    """A held lock."""

    def release(self) -> None: ...

    def is_current(self) -> bool:
        """Whether the path still leads to the folder that was locked: not so after the disk was unmounted."""


class Disk(Protocol):
    """The steps. All raise StoreError with the disk's state; paths are absolute."""

    def make_folder(self, path: Path) -> None:
        """Makes one folder unless it is there; its name is durable only after `sync_folder` of its parent."""

    def sync_folder(self, path: Path) -> None:
        """Makes names made, renamed and removed in this folder durable."""

    def write_new(self, path: Path, data: bytes | memoryview, mode: int = STILL_MODE) -> None:
        """A new file with its contents durable; its name is not yet. Replaces what stands there."""

    def rename(self, source: Path, target: Path) -> None:
        """Within one folder, hence atomic; durable only after `sync_folder`."""

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        """Writes into a file (made when absent) and makes its contents and length durable."""

    def truncate(self, path: Path, size_bytes: int) -> None:
        """Cuts a file, durably."""

    def protect(self, path: Path) -> None:
        """Makes a file's mode say that it is never changed again, durably."""

    def unlink(self, path: Path) -> None:
        """Removes a file if it is there; durable only after `sync_folder`."""

    def remove_folder(self, path: Path) -> bool:
        """Removes an empty folder; False when it is not empty or not there. Durable only after `sync_folder`."""

    def open(self, path: Path) -> BinaryIO:
        """For reading. FileNotFoundError when absent."""

    def size_bytes(self, path: Path) -> int | None:
        """None when there is no such file."""

    def names(self, folder: Path) -> list[str] | None:
        """What is in a folder, sorted; None when there is no such folder."""

    def space_bytes(self, path: Path) -> tuple[int, int]:
        """(free for this user, total) of the file system."""

    def lock(self, folder: Path, patience_s: float = LOCK_PATIENCE_S) -> Lock | None:
        """The exclusive lock of a folder, or None when another process holds it."""


def store_error(error: OSError, path: Path) -> StoreError:
    """The system's error as the disk's state and one sentence."""
    state, what = _STATES.get(error.errno or 0, ("damaged", f"fails: {error.strerror or error}"))
    return StoreError(state, f"{path} {what}")


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_error(error, path) from error


@contextmanager
def _opened(path: Path, flags: int, mode: int = FILE_MODE) -> Iterator[int]:
    with _mapped(path):
        descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


class FolderLock:
    """flock(2) on the folder itself: no lock file is needed, and the kernel releases it however the process ends."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._folder, self._descriptor = folder, descriptor

    def release(self) -> None:
        os.close(self._descriptor)

    def is_current(self) -> bool:
        try:
            there = os.stat(self._folder)
        except OSError:
            return False
        held = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


class RealDisk:
    """The system's calls."""

    def make_folder(self, path: Path) -> None:
        with _mapped(path):
            try:
                path.mkdir(FOLDER_MODE)
            except FileExistsError:
                if not path.is_dir():
                    raise StoreError("wrong", f"{path} {_STATES[errno.ENOTDIR][1]}") from None

    def sync_folder(self, path: Path) -> None:
        with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            os.fsync(descriptor)

    def write_new(self, path: Path, data: bytes | memoryview, mode: int = STILL_MODE) -> None:
        self.unlink(path)  # a part that an earlier failure left cannot be opened for writing
        with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as descriptor:
            _write_all(descriptor, data, 0)
            os.fdatasync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        with _mapped(target):
            source.rename(target)

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        with _opened(path, os.O_WRONLY | os.O_CREAT) as descriptor:
            _write_all(descriptor, data, offset)
            os.fdatasync(descriptor)

    def truncate(self, path: Path, size_bytes: int) -> None:
        with _opened(path, os.O_WRONLY) as descriptor:
            os.ftruncate(descriptor, size_bytes)
            os.fdatasync(descriptor)

    def protect(self, path: Path) -> None:
        with _opened(path, os.O_RDONLY) as descriptor:
            os.fchmod(descriptor, STILL_MODE)
            os.fsync(descriptor)

    def unlink(self, path: Path) -> None:
        with _mapped(path):
            path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> bool:
        try:
            path.rmdir()
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                return False
            raise store_error(error, path) from error
        return True

    def open(self, path: Path) -> BinaryIO:
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise store_error(error, path) from error

    def size_bytes(self, path: Path) -> int | None:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, path) from error

    def names(self, folder: Path) -> list[str] | None:
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise store_error(error, folder) from error

    def space_bytes(self, path: Path) -> tuple[int, int]:
        with _mapped(path):
            answer = os.statvfs(path)
        return answer.f_bavail * answer.f_frsize, answer.f_blocks * answer.f_frsize

    def lock(self, folder: Path, patience_s: float = LOCK_PATIENCE_S) -> Lock | None:
        with _mapped(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(descriptor)
                    return None
                time.sleep(0.02)
            else:
                return FolderLock(folder, descriptor)


def part_of(path: Path) -> Path:
    """The temporary name of a file, in its own folder: renaming across file systems would be a copy."""
    return path.with_name(f".{path.name}.part")


def replace(disk: Disk, path: Path, data: bytes) -> None:
    """A small file that is rewritten whole (heartbeat, state): a reader or a crash sees the old one or the new one."""
    disk.write_new(part_of(path), data, FILE_MODE)
    disk.rename(part_of(path), path)
    disk.sync_folder(path.parent)


def read(disk: Disk, path: Path) -> bytes:
    """A file's contents. FileNotFoundError when absent, StoreError when unreadable."""
    with disk.open(path) as file, _mapped(path):
        return file.read()


def make_folders(disk: Disk, path: Path, below: Path) -> None:
    """Every folder between `below` (which is there) and `path`, each durable in its parent.

    The parents are synced also when the folder is there: a process that was killed may have made it and not synced.
    """
    folder = below
    for name in path.relative_to(below).parts:
        folder = folder / name
        disk.make_folder(folder)
        disk.sync_folder(folder.parent)
