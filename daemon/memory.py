# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures between processes: anonymous memory (memfd_create(2)) passed by descriptor.

A sealed memfd can be neither resized nor written by its sender any more, so the receiver needs no copy to be
safe; and unlike /dev/shm segments, nothing is left behind by a kill -9 of everything.
"""

from __future__ import annotations

import fcntl
import mmap
import os

from daemon.errors import MessageError

_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_ALL_SEALS = _SIZE_SEALS | fcntl.F_SEAL_WRITE


def sealed(name: str, content: bytes | memoryview) -> int:
    """A descriptor of anonymous memory that holds `content` and can never change."""
    descriptor = _create(name)
    try:
        view = memoryview(content).cast("B")
        written = 0
        while written < len(view):
            written += os.write(descriptor, view[written:])
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _ALL_SEALS | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def shared(name: str, size_bytes: int) -> int:
    """A descriptor of writable anonymous memory of a fixed size."""
    descriptor = _create(name)
    try:
        os.ftruncate(descriptor, size_bytes)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SIZE_SEALS | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def map_sealed(descriptor: int, most_bytes: int) -> mmap.mmap:
    """Maps a sealed memfd for reading.

    Raises MessageError when it is not sealed against writing and shrinking (its sender could then change or
    crash us while we read), empty, or larger than `most_bytes`. The descriptor may be closed afterwards.
    """
    size = os.fstat(descriptor).st_size
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise MessageError("a picture came in something that is no memfd") from error
    if seals & _ALL_SEALS != _ALL_SEALS:
        raise MessageError("a picture came in memory that its sender can still change")
    if not 0 < size <= most_bytes:
        raise MessageError(f"a picture of {size} bytes; allowed are 1 to {most_bytes}")
    return mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)


def map_shared(descriptor: int) -> mmap.mmap:
    """Maps shared memory made by `shared` for reading and writing."""
    return mmap.mmap(descriptor, os.fstat(descriptor).st_size)


def _create(name: str) -> int:
    return os.memfd_create(f"firewitness-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
