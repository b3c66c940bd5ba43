# SPDX-License-Identifier: AGPL-3.0-or-later
"""The names of the daemon's Unix sockets: one place, for those who listen and those who connect."""

from __future__ import annotations

from pathlib import Path


def control(runtime_dir: Path) -> Path:
    """Where the supervisor takes commands."""
    return runtime_dir / "control.sock"


def recorder(runtime_dir: Path) -> Path:
    """Where workers bring their records."""
    return runtime_dir / "recorder.sock"


def work(runtime_dir: Path) -> Path:
    """Where anyone brings pictures to the detector."""
    return runtime_dir / "work.sock"
