# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a still lies below the store's root, and the body of its `stored` line (docs/formats.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.clock import NS, rfc3339
from daemon.domain import Evidence
from daemon.storage.durable import Disk

EVIDENCE, LEDGER = "evidence", "ledger"
STILL_NAME = re.compile(r"\d{6}\.\d{3}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jpg")
_LEVELS = 4  # <camera>/<YYYY>/<MM>/<DD> below evidence


def still_path(evidence: Evidence) -> str:
    """Below the root, with forward slashes; UTC of captured_at, milliseconds rounded down."""
    at_ns = evidence.time.captured_at_ns
    moment = datetime.fromtimestamp(at_ns // NS, UTC)
    name = f"{moment:%H%M%S}.{at_ns % NS // 1_000_000:03d}-{evidence.id}.jpg"
    return f"{EVIDENCE}/{evidence.camera}/{moment:%Y/%m/%d}/{name}"


def folder_of(path: str) -> str:
    """The day folder of a still's path."""
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
