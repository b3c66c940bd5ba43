# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a still or a clip lies below the store's root, and the body of its `stored` line (docs/formats.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.clock import NS, rfc3339
from daemon.domain import Clip, Evidence
from daemon.storage.durable import Disk

EVIDENCE, LEDGER = "evidence", "ledger"
STILL_NAME = re.compile(r"\d{6}\.\d{3}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jpg")
CONTAINERS = ("mp4", "mkv", "avi", "ts", "mpg")  # all but the first of imported clips alone
CLIP_NAME = re.compile(STILL_NAME.pattern.removesuffix("jpg") + f"({'|'.join(CONTAINERS)})")
_LEVELS = 4  # <camera>/<YYYY>/<MM>/<DD> below evidence


def is_evidence(name: str) -> bool:
    """Whether a file of this name is, or claims to be, a whole still or clip."""
    return bool(STILL_NAME.fullmatch(name) or CLIP_NAME.fullmatch(name))


def still_path(evidence: Evidence) -> str:
    """Below the root, with forward slashes; UTC of captured_at, milliseconds rounded down."""
    return f"{_stem(evidence.camera, evidence.id, evidence.time.captured_at_ns)}.jpg"


def clip_path(clip: Clip, first_at_ns: int) -> str:
    """As that of a still of its first frame."""
    return f"{_stem(clip.camera, clip.id, first_at_ns)}.{clip.container}"


def _stem(camera: str, id_: str, at_ns: int) -> str:
    moment = datetime.fromtimestamp(at_ns // NS, UTC)
    name = f"{moment:%H%M%S}.{at_ns % NS // 1_000_000:03d}-{id_}"
    return f"{EVIDENCE}/{camera}/{moment:%Y/%m/%d}/{name}"


def folder_of(path: str) -> str:
    """The day folder of a still's or clip's path."""
    return path.rpartition("/")[0]


def stored_body(evidence: Evidence, sha256: str, size_bytes: int) -> dict[str, Any]:
    """The body of a `stored` line."""
    at_ns = evidence.time.captured_at_ns
    return {
        "id": evidence.id,
        "path": still_path(evidence),
        "sha256": sha256,
        "bytes": size_bytes,
        "camera": evidence.camera,
        "captured_at": rfc3339(at_ns),
        "captured_at_ns": str(at_ns),
        "run": evidence.run,
        "pts": str(evidence.pts),
        "kind": evidence.kind,
        "incident": evidence.incident,
    }


def day_folders(disk: Disk, root: Path) -> Iterator[str]:
    """All day folders below the root, such as evidence/hall/2026/11/23."""
    yield from _below(disk, root, EVIDENCE, _LEVELS)


def _below(disk: Disk, root: Path, folder: str, levels: int) -> Iterator[str]:
    if levels == 0:
        if disk.names(root / folder) is not None:
            yield folder
        return
    for name in disk.names(root / folder) or []:
        yield from _below(disk, root, f"{folder}/{name}", levels - 1)
