# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped systemd unit is one that systemd takes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "firewitness.service"
GPU = UNIT.with_name("firewitness.service.d") / "gpu.conf"
MOST_EXPOSURE = 2.0


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        assert "FIREWITNESS_CI" not in os.environ, "CI installs systemd"
        pytest.skip("no systemd here")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def _placed(folder: Path, *drop_ins: Path) -> Path:
    """The unit in a folder, its programs' paths those of this machine, with drop-ins or without."""
    program = Path(sys.executable).with_name("firewitness")
    placed = folder / UNIT.name
    placed.write_text(UNIT.read_text().replace("/opt/firewitness/venv/bin/firewitness", str(program)))
    (folder / f"{UNIT.name}.d").mkdir()
    for each in drop_ins:
        shutil.copy(each, folder / f"{UNIT.name}.d")
    return placed


@pytest.mark.parametrize("drop_ins", [(), (GPU,)], ids=["cpu", "gpu"])
def test_systemd_accepts_the_unit(drop_ins: tuple[Path, ...], tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program's path is one of this machine."""
    answer = _analyze("verify", str(_placed(tmp_path, *drop_ins)))
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


@pytest.mark.parametrize("drop_ins", [(), (GPU,)], ids=["cpu", "gpu"])
def test_little_is_exposed(drop_ins: tuple[Path, ...], tmp_path: Path) -> None:
    """What a hole in a decoder of pictures would give away: `systemd-analyze security` says 2.0 or less of 10."""
    answer = _analyze("security", "--offline=true", str(_placed(tmp_path, *drop_ins)))
    found = re.search(r"Overall exposure level for firewitness.service: ([0-9.]+)", answer.stdout)
    assert found is not None, answer.stdout + answer.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    """Readiness by notification, a watchdog, folders from systemd, a restart after a crash, none for one child that was killed for want of
    memory, and what the design excepts.
    """
    text = UNIT.read_text()
    for line in (
        "Type=notify",
        "WatchdogSec=60",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "StateDirectory=firewitness",
        "RuntimeDirectory=firewitness",
        "Restart=on-failure",
        "OOMPolicy=continue",
    ):
        assert f"\n{line}\n" in text
    for setting in ("ProtectClock=", "MemoryDenyWriteExecute=", "ProcSubset="):
        assert f"\n{setting}" not in text
