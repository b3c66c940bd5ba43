# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opens a file below one of the allowed folders, following no symbolic link and never hanging on what is no file.

Each component is opened on its own with O_NOFOLLOW (as openat2(2) with RESOLVE_NO_SYMLINKS would; Python has no
such call), so that nobody can swap a folder for a link between a check and its use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a FIFO without writer would hang


def read_below(roots: Iterable[Path], path: str, most_bytes: int) -> bytes | None:
    """At most `most_bytes` + 1 bytes of the regular file at the absolute `path`; None unless allowed and there."""
    asked = PurePosixPath(path)
    if "\0" in path or not asked.is_absolute() or ".." in asked.parts:
        return None
    for root in roots:
        if PurePosixPath(root) in asked.parents:
            content = _read(root, asked.relative_to(root).parts, most_bytes)
            if content is not None:
                return content
    return None


def _read(root: Path, parts: tuple[str, ...], most_bytes: int) -> bytes | None:
    try:
        descriptor = _open(root, parts)
    except (OSError, UnicodeEncodeError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _open(root: Path, parts: tuple[str, ...]) -> int:
    folder = os.open(root, _FOLDER)  # the root itself may be a link: the operator named it
    try:
        for name in parts[:-1]:
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
