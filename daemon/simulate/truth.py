# SPDX-License-Identifier: AGPL-3.0-or-later
"""The truth log: JSON lines that say what a farm really sent and when, for tests to hold a daemon's records against.

Two kinds of line: {"camera", "event", "time", "monotonic_ns", …} for what happened to a camera, and one for every
access unit that left: {"camera", "source", "frame", "loop", "key", "rtp", "ssrc", "time", "monotonic_ns", "viewers",
"packets", "lost", "corrupted"}; "time" is UTC in seconds since 1970, "monotonic_ns" the host's CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class TruthLog:
    """Appends lines, each in the file before the next thing happens; without a path they go nowhere."""

    def __init__(self, path: Path | None) -> None:
        self._file = open(path or os.devnull, "a", buffering=1)  # noqa: SIM115 - closed by `close`

    def write(self, camera: str, **line: object) -> None:
        """Appends one line, stamped with the present time."""
        stamp = {"time": round(time.time(), 6), "monotonic_ns": time.monotonic_ns()}
        self._file.write(json.dumps({"camera": camera, **line, **stamp}, default=str) + "\n")

    def close(self) -> None:
        """Ends the log."""
        self._file.close()


def read_truth(path: Path) -> list[dict[str, Any]]:
    """The lines of a truth log so far, oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines()]
