# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clocks, and the one that a test may let lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.clock import TEST_CLOCK, TESTING, FileClocks, HostClocks, host_clocks, rfc3339
from daemon.errors import SettingsError


def test_the_hosts_clocks_go_forward() -> None:
    """Durations come from clocks that never step back."""
    clocks = HostClocks()
    assert clocks.monotonic_ns() <= clocks.monotonic_ns()
    assert clocks.boot_ns() <= clocks.boot_ns()
    assert len(clocks.boot_id()) == 36
    assert clocks.synchronisation().max_error_s >= 0


def test_a_test_shifts_the_clock_while_it_runs(tmp_path: Path) -> None:
    """Offsets are read anew each time; a file that is being written counts as none."""
    path = tmp_path / "clock.json"
    clocks = FileClocks(path)
    assert abs(clocks.wall_ns() - HostClocks().wall_ns()) < 1e9
    path.write_text(json.dumps({"wall_s": 3600, "synchronised": True, "boot_id": "other"}))
    assert abs(clocks.wall_ns() - HostClocks().wall_ns() - 3600e9) < 1e9
    assert clocks.synchronisation().synchronised
    assert clocks.boot_id() == "other"
    path.write_text("{")
    assert abs(clocks.wall_ns() - HostClocks().wall_ns()) < 1e9


def test_a_shifted_clock_is_refused_outside_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can falsify the times of evidence by an environment variable alone."""
    monkeypatch.setenv(TEST_CLOCK, str(tmp_path / "clock.json"))
    monkeypatch.delenv(TESTING, raising=False)
    with pytest.raises(SettingsError, match="only for tests"):
        host_clocks()
    monkeypatch.setenv(TESTING, "1")
    assert isinstance(host_clocks(), FileClocks)
    monkeypatch.delenv(TEST_CLOCK)
    assert type(host_clocks()) is HostClocks


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_763_913_909_123_999_999, "2025-11-23T16:05:09.123Z")],
)
def test_times_are_written_in_utc_with_milliseconds(at_ns: int, text: str) -> None:
    """RFC 3339, rounded down, so that a later time never reads as earlier than one before."""
    assert rfc3339(at_ns) == text
