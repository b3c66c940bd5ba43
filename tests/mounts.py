# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real file systems to fill, spoil and exchange, in a mount namespace of the test process's own: nothing outlives it."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import subprocess
import time
from pathlib import Path

import pytest

CLONE_NEWNS = 0x00020000
CI = os.environ.get("FIREWITNESS_CI") == "1"


@functools.cache
def own_namespace() -> None:
    """From now on, what this process and its children mount is seen by nobody else. Skips where that is not allowed."""
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rprivate", "/")
    except (OSError, subprocess.CalledProcessError) as error:
        (pytest.fail if CI else pytest.skip)(f"mounting is not allowed here: {error}")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Tmpfs:
    """A small file system in memory; `hide` and `show` are an unmounted disk and its return."""

    def __init__(self, folder: Path, size: int) -> None:
        own_namespace()
        self.folder = folder
        self._kept = folder.with_name(folder.name + ".kept")
        for each in (folder, self._kept):
            each.mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))

    def hide(self) -> None:
        """The disk is unmounted under whoever uses it."""
        run("mount", "--bind", str(self.folder), str(self._kept))
        run("umount", "-l", str(self.folder))

    def show(self) -> None:
        run("mount", "--bind", str(self._kept), str(self.folder))

    def fill(self, leave_bytes: int = 0) -> Path:
        """Somebody else's file takes what is free but for `leave_bytes`."""
        filler = self.folder / "filler"
        space = os.statvfs(self.folder)
        try:
            filler.write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - leave_bytes)))
        except OSError as error:  # somebody else wrote meanwhile
            if error.errno != errno.ENOSPC:
                raise
        return filler

    def close(self) -> None:
        for each in (self.folder, self._kept):
            while os.path.ismount(each):
                run("umount", "-l", str(each))


class Ext4:
    """A small ext4 on a loop device, which can be made to find an error: it is read-only from then on, as in real life."""

    def __init__(self, folder: Path, size: int) -> None:
        own_namespace()
        self.folder, self._image = folder, folder.with_name(folder.name + ".ext4")
        folder.mkdir(exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(size)
        run("mkfs.ext4", "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def fail(self) -> None:
        """The kernel finds the file system damaged."""
        number = os.stat(self.folder).st_dev
        device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")

    def repair(self, within_s: float = 30) -> None:
        """Unmounts it once nobody holds a file open there, and mounts it again."""
        until = time.monotonic() + within_s
        while subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < until, "somebody holds on to a disk that failed"
            time.sleep(0.1)
        self.mount()

    def close(self) -> None:
        if os.path.ismount(self.folder):
            run("umount", "-l", str(self.folder))
