# SPDX-License-Identifier: AGPL-3.0-or-later
"""What recovery does with a clip that a kill left open: cut behind its last whole fragment, hashed, closed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.clips.reading import fragments, read_head
from daemon.domain import Clip
from daemon.storage.clips import OPEN, Span, finish, stored_body
from daemon.storage.durable import Disk
from daemon.storage.paths import clip_path, folder_of

_PORTION_BYTES = 1 << 20


@dataclass(slots=True)
class Found:
    """A clip without its line."""

    path: str
    """As it will be called."""
    is_open: bool
    attested: int
    size_bytes: int
    end: int = 0
    """Behind the last whole fragment; 0: there is none."""
    clip: Clip | None = None
    span: Span = field(default_factory=Span)
    incidents: tuple[str, ...] = ()
    sibling_of: tuple[str, ...] = ()

    @property
    def now_at(self) -> str:
        return self.path + OPEN if self.is_open else self.path


def survey(disk: Disk, root: Path, path: str, attested: int, *, is_open: bool) -> Found:
    """Reads it through. The pages of a fragment may never have reached the disk: so each is compared with its own hash,
    except where the ledger has attested them already, which `attested` bytes from the beginning are.
    """
    found = Found(path, is_open, attested, disk.size_bytes(root / (path + OPEN if is_open else path)) or 0)
    with disk.open(root / found.now_at) as file:
        try:
            head = read_head(file)
        except ValueError:
            return found
        found.clip = head.clip
        for each in fragments(file, head, checked_from=attested):
            pts, at_ns = [frame.pts for frame in each.frames], [frame.at_ns for frame in each.frames]
            found.span.add(Span(len(each.frames), min(pts), max(pts), min(at_ns), max(at_ns)))
            found.incidents, found.sibling_of, found.end = each.incidents, each.sibling_of, each.end
    is_whole = is_open or found.end == found.size_bytes
    if found.end and not (is_whole and clip_path(head.clip, found.span.first_at_ns) == path):
        found.end = 0
    return found


def tail_body(disk: Disk, root: Path, found: Found) -> dict[str, Any] | None:
    """Of the `repaired` line that says what is cut off; None where nothing is."""
    if found.end == found.size_bytes:
        return None
    cut = found.size_bytes - found.end
    digest = _sha256(disk, root / found.now_at, found.end, found.size_bytes)
    what = "clip_tail" if found.end else "broken_clip"
    return {"what": what, "path": found.path, "bytes": cut, "sha256": digest}


def close(disk: Disk, root: Path, found: Found) -> dict[str, Any]:
    """Makes it a file like any other, durably; the body of its `stored` line."""
    assert found.clip is not None
    path = root / found.now_at
    if found.is_open:
        if found.end < found.size_bytes:
            disk.truncate(path, found.end)
        _write_again(disk, path, found.attested, found.end)
        finish(disk, root, found.path)
    else:  # a killed process may not have come to this sync
        disk.sync_folder(root / folder_of(found.path))
    digest = _sha256(disk, root / found.path, 0, found.end)
    return stored_body(found.clip, digest, found.end, found.span, (found.incidents, found.sibling_of), "recovery")


def _write_again(disk: Disk, path: Path, at: int, end: int) -> None:
    # What is read here may be in the page cache alone, a sync of it having failed: written again, a sync means something.
    with disk.open(path) as file:
        file.seek(at)
        while at < end and (some := file.read(min(_PORTION_BYTES, end - at))):
            disk.write_at(path, at, some)
            at += len(some)


def _sha256(disk: Disk, path: Path, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    with disk.open(path) as file:
        file.seek(begin)
        while begin < end and (some := file.read(min(_PORTION_BYTES, end - begin))):
            digest.update(some)
            begin += len(some)
    return digest.hexdigest()
