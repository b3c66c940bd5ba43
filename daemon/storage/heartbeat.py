# SPDX-License-Identifier: AGPL-3.0-or-later
"""The heartbeat: a small file that says until when each camera was watched, for the time after a dead daemon.

Rewritten every 5 s through durable.replace, and so synced: after a power failure it must be an old one or a new one,
never an empty one, or the gap `daemon` would begin at the camera's last evidence, perhaps days earlier.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from daemon.storage import durable, record

PERIOD_S = 5.0
_log = logging.getLogger("firewitness")


class CameraBeat(msgspec.Struct, frozen=True):
    """One camera's watermark, and its hour so far."""

    watched_at_ns: record.Decimal
    hour_at_ns: record.Decimal
    frames: int = 0
    """Of the hour."""
    watched_s: float = 0.0
    run: str | None = None
    pts: record.Decimal | None = None
    watched_mono_ns: record.Decimal | None = None
    """On CLOCK_MONOTONIC of the boot that the heartbeat names."""
    worker: str | None = None
    frames_watched: int = 0
    """By that worker; with `in_row` a recorder that was restarted sees that the worker went on watching."""
    in_row: int = 0


class Heartbeat(msgspec.Struct, frozen=True):
    """The whole file; docs/formats.md."""

    at_ns: record.Decimal
    boot: str
    limit_s: float
    """2 × detect.max_interval: a camera whose watermark is older by more is not known to be watched."""
    cameras: dict[str, CameraBeat]


def path_of(root: Path) -> Path:
    return root / "heartbeat"


def write(disk: durable.Disk, root: Path, beat: Heartbeat) -> None:
    """Replaces the file. Raises StoreError."""
    durable.replace(disk, path_of(root), record.canonical(msgspec.to_builtins(beat)))


def read(root: Path) -> Heartbeat | None:
    """What the last process wrote; None when there is nothing that can be read, which is logged."""
    try:
        return msgspec.json.decode(path_of(root).read_bytes(), type=Heartbeat)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s cannot be used, gaps will begin earlier: %s", path_of(root), error)
        return None
