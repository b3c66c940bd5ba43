# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the unit forbids is nothing that the daemon needs: real processes under the real filter of its lines."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from daemon.detect.detector import REFERENCE_PICTURE
from tests.system import unit_filter
from tests.system.daemon_under_test import Daemon, wait_for

UNIT = Path(__file__).parents[2] / "systemd" / "firewitness.service"
ASK_CLOCK = (
    "import ctypes, os\n"
    "clock = ctypes.CDLL(None, use_errno=True)\n"
    "answer = clock.adjtimex(ctypes.create_string_buffer(512))\n"
    "print('told' if answer >= 0 else os.strerror(ctypes.get_errno()))\n"
)


@pytest.fixture(autouse=True)
def _needs_libseccomp() -> None:
    try:
        unit_filter.library()
    except OSError:
        assert "FIREWITNESS_CI" not in os.environ, "CI installs libseccomp2"
        pytest.skip("no libseccomp here")
    if shutil.which("systemd-analyze") is None:
        assert "FIREWITNESS_CI" not in os.environ, "CI installs systemd"
        pytest.skip("no systemd here")


def _says(*without: str, code: str) -> str:
    command = [*unit_filter.prefix(UNIT, *without), sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def test_the_clocks_state_can_be_read() -> None:
    """The kernel answers without any capability; without the unit's exception it would not, and every record would say so."""
    assert _says(code=ASK_CLOCK) == "told"
    assert _says("adjtimex", "clock_adjtime", code=ASK_CLOCK) == "Operation not permitted"


def test_the_filter_holds() -> None:
    """The clock cannot be set, and no other address family be spoken: the filter of this test is no sieve."""
    assert (
        _says(code="import time\ntry: time.clock_settime(0, 1e9)\nexcept PermissionError: print('refused')")
        == "refused"
    )
    assert _says(code="import socket\ntry: socket.socket(16, 2)\nexcept OSError as error: print(error.errno)") == "97"


@pytest.mark.timeout(150)
def test_the_daemon_works_under_the_units_filter(daemon: Daemon) -> None:
    """Forked workers, inference, the index and the web server need no more: ready, a camera watched, a picture answered."""
    daemon.prefix = unit_filter.prefix(UNIT)
    daemon.configure({})
    os.chown(daemon.folder, unit_filter.uid(), -1)
    daemon.start()
    daemon.wait_ready(90)

    def watched() -> dict[str, Any] | None:
        camera = (daemon.status() or {"cameras": {}})["cameras"].get("simulated")
        return camera if camera and camera["condition"] == "ok" else None

    wait_for(watched, 60, f"the simulated camera is watched\n{daemon.log}")
    image = base64.b64encode(REFERENCE_PICTURE.read_bytes()).decode()
    answer = requests.post(daemon.url("/fire_detector"), json={"req_id": 1, "image": image}, timeout=20).json()
    assert answer["err_no"] == 0
    assert {each["label"] for each in answer["result"]["detections"]} >= {"fire"}
    assert "Operation not permitted" not in daemon.log
    for each in daemon.family():
        status = Path(f"/proc/{each.pid}/status").read_text()
        assert "\nSeccomp:\t2\n" in status, each
        assert "\nCapEff:\t0000000000000000\n" in status, each
    daemon.stop()
