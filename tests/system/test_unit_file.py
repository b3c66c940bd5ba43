# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped systemd unit is one that systemd takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "firewitness.service"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program's path is one of this machine."""
    if shutil.which("systemd-analyze") is None:
        assert "CI" not in os.environ, "CI installs systemd"
        pytest.skip("no systemd here")
    program = Path(sys.executable).with_name("firewitness")
    text = UNIT.read_text().replace("/opt/firewitness/.venv/bin/firewitness", str(program))
    copy = tmp_path / "firewitness.service"
    copy.write_text(text)
    answer = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    """Readiness by notification, folders from systemd, and a restart after a crash."""
    text = UNIT.read_text()
    for line in ("Type=notify", "StateDirectory=firewitness", "RuntimeDirectory=firewitness", "Restart=on-failure"):
        assert f"\n{line}\n" in text
