# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole daemon whose cameras freeze and go black: gaps with their reason, from when it began to when it ended."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from daemon.simulate.chart import make_chart
from daemon.simulate.farm import Camera, FarmThread
from tests.system.daemon_under_test import Daemon, wait_for

REASONS = {"hall": "frozen", "yard": "no_picture"}


@pytest.mark.slow
def test_what_was_no_picture_of_then_is_a_gap(daemon: Daemon, tmp_path: Path) -> None:
    """The gap reaches back to the fault, not to when it was found, and ends when there are pictures again."""
    chart = make_chart(tmp_path / "chart.mp4", size=(640, 360), fps=10, gop_s=1, seconds=30)
    with FarmThread([Camera("hall", chart.path), Camera("yard", chart.path)]) as farm:
        daemon.configure({name: {"url": farm.url(name)} for name in REASONS})
        daemon.start()
        daemon.wait_ready()
        wait_for(lambda: all(_camera(daemon, name)["condition"] == "ok" for name in REASONS), 30, "both are watched")
        wait_for(lambda: all((_camera(daemon, name)["frames_watched"] or 0) >= 5 for name in REASONS), 30, "frames")
        began_s = time.time()
        farm.command("hall", "freeze")
        farm.command("yard", "black")
        for name, reason in REASONS.items():
            wait_for(lambda name=name, reason=reason: _gap(daemon, name, reason), 40, f"a gap {reason}")  # type: ignore[misc]
        ended_s = time.time()
        farm.command("*", "resume")
        for name, reason in REASONS.items():
            gap = wait_for(lambda name=name, reason=reason: _closed(daemon, name, reason), 40, "its end")  # type: ignore[misc]
            assert abs(_seconds(gap["from"]) - began_s) < 4
            assert -1 < _seconds(gap["to"]) - ended_s < 10
        daemon.stop()


def _camera(daemon: Daemon, name: str) -> dict[str, object]:
    status = daemon.status() or {"cameras": {}}
    return {"condition": "", "frames_watched": 0, **status["cameras"].get(name, {})}


def _gap(daemon: Daemon, name: str, reason: str) -> dict[str, str] | None:
    return next((gap for gap in daemon.get("/api/v1/gaps", camera=name)["items"] if gap["reason"] == reason), None)


def _closed(daemon: Daemon, name: str, reason: str) -> dict[str, str] | None:
    gap = _gap(daemon, name, reason)
    return gap if gap is not None and gap["to"] is not None else None


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
