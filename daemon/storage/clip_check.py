# SPDX-License-Identifier: AGPL-3.0-or-later
"""A clip's bytes against what the ledger says of them: of the whole, and of each segment that was attested as it grew."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.storage.durable import Disk
from daemon.storage.working_set import Segment

_PORTION_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """What a clip's file is now."""

    bytes: int
    sha256: str
    where: str
    """The first segment that is not as it was, or nothing."""


def check(disk: Disk, path: Path, segments: Sequence[Segment]) -> Checked:
    """Reads it once. FileNotFoundError where it is not there."""
    whole, size, broken = hashlib.sha256(), 0, ""
    with disk.open(path) as file:
        for segment in segments:
            part = hashlib.sha256()
            while size < segment.from_byte + segment.bytes:
                some = file.read(min(_PORTION_BYTES, segment.from_byte + segment.bytes - size))
                if not some:
                    break
                part.update(some)
                whole.update(some)
                size += len(some)
            if part.hexdigest() != segment.sha256 and not broken:
                end = segment.from_byte + segment.bytes
                broken = f", in bytes {segment.from_byte} to {end}, which {segment.place} attests"
        while some := file.read(_PORTION_BYTES):
            whole.update(some)
            size += len(some)
    return Checked(size, whole.hexdigest(), broken)
