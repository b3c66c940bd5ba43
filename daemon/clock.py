# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every clock the daemon reads, behind one interface, so that tests can let a clock lie without touching the host's.

A daemon under test reads its offsets from the JSON file that FIREWITNESS_TEST_CLOCK names
({"wall_s": 0, "monotonic_s": 0, "boot_s": 0, "synchronised": true, "boot_id": "…"}); refused unless FIREWITNESS_TESTING=1.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from daemon.errors import SettingsError

TEST_CLOCK = "FIREWITNESS_TEST_CLOCK"
TESTING = "FIREWITNESS_TESTING"
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Synchronisation:
    """What the kernel says of its wall clock: adjtimex(2)."""

    synchronised: bool
    max_error_s: float


class Clocks(Protocol):
    """The clocks of one host."""

    def wall_ns(self) -> int:
        """UTC, nanoseconds since 1970: for records. May step."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC: for durations and for comparing processes of one boot."""

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME: like monotonic, and goes on while the host sleeps."""

    def boot_id(self) -> str:
        """Names this boot; another one after every restart of the host."""

    def synchronisation(self) -> Synchronisation:
        """Whether the kernel holds the wall clock for synchronised, and its estimated error."""


class _Timex(ctypes.Structure):
    # struct timex of <sys/timex.h>, Linux 64-bit; only what is read here has a name of its own
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


STA_UNSYNC = 0x0040
TIME_ERROR = 5
_libc = ctypes.CDLL(None, use_errno=True)


class HostClocks:
    """The real clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def synchronisation(self) -> Synchronisation:
        answer = _Timex()
        state = _libc.adjtimex(ctypes.byref(answer))
        if state < 0:  # filtered by a sandbox: then nothing is known, which is "not synchronised"
            return Synchronisation(False, 16.0)
        synchronised = state != TIME_ERROR and not answer.status & STA_UNSYNC
        return Synchronisation(synchronised, answer.maxerror / 1e6)


class FileClocks(HostClocks):
    """The host's clocks plus offsets that a test writes into a file while the daemon runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _offsets(self) -> dict[str, object]:
        try:
            offsets: dict[str, object] = json.loads(self._path.read_text())
        except (OSError, ValueError):  # being rewritten, or not yet there
            return {}
        return offsets

    def _offset_ns(self, name: str) -> int:
        return round(float(str(self._offsets().get(name, 0))) * NS)

    def wall_ns(self) -> int:
        return super().wall_ns() + self._offset_ns("wall_s")

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self._offset_ns("monotonic_s")

    def boot_ns(self) -> int:
        return super().boot_ns() + self._offset_ns("boot_s")

    def boot_id(self) -> str:
        return str(self._offsets().get("boot_id") or super().boot_id())

    def synchronisation(self) -> Synchronisation:
        given = self._offsets().get("synchronised")
        return super().synchronisation() if given is None else Synchronisation(bool(given), 0.01)


def host_clocks() -> Clocks:
    """The clocks this process is to use."""
    path = os.environ.get(TEST_CLOCK)
    if path is None:
        return HostClocks()
    if os.environ.get(TESTING) != "1":
        raise SettingsError(f"{TEST_CLOCK} is set: it shifts the clock of every record and is only for tests")
    return FileClocks(Path(path))


def rfc3339(at_ns: int) -> str:
    """UTC as RFC 3339 with milliseconds and Z, such as 2026-11-23T16:05:09.123Z (rounded down)."""
    moment = datetime.fromtimestamp(at_ns // NS, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ns % NS // 1_000_000:03d}Z"
