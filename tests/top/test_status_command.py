# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness status`: what a person reads of a camera."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from daemon.commands import status
from daemon.control import Control

DETECTOR = {"state": "ready", "model": "n", "runtime": "openvino", "detail": ""}
RECORDER = {"disk": "ok", "clock": "ok", "stored": 0, "evidence_stills": None, "detail": ""}
HALL = {"state": "streaming", "condition": "ok", "detail": "", "incident": ""}


@pytest.mark.parametrize(
    ("offset_s", "says"),
    [
        (None, ""),
        (0.2, ""),
        (3600.04, ", its clock is 3600.0 s ahead"),
        (-1.5, ", its clock is 1.5 s behind"),
    ],
)
def test_a_cameras_clock_is_said_where_it_is_wrong(
    offset_s: float | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By how much, where the camera sends it; what the network alone can make of it is not worth a word."""
    answer: dict[str, Any] = {
        "ready": True,
        "cameras": {"hall": {**HALL, "camera_clock_offset_s": offset_s}},
        "detector": DETECTOR,
        "recorder": RECORDER,
    }
    monkeypatch.setattr(Control, "ask", lambda *_: answer)
    config = tmp_path / "config.yaml"
    config.write_text(f"storage: {{root: {tmp_path}/store, runtime_dir: {tmp_path}/run}}\n")
    assert status.run(argparse.Namespace(config=config)) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"camera    hall: streaming{says}"


def test_what_is_not_well_says_why_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that is gone: with its own sentence, and no "0 stills" of a store that nobody can look into."""
    gone = {**RECORDER, "disk": "gone", "detail": "the store is gone: mount it", "evidence_stills": None}
    silent = {**DETECTOR, "state": "silent", "detail": "the detector has said nothing for 8 s"}
    answer: dict[str, Any] = {"ready": False, "cameras": {}, "detector": silent, "recorder": gone}
    monkeypatch.setattr(Control, "ask", lambda *_: answer)
    config = tmp_path / "config.yaml"
    config.write_text(f"storage: {{root: {tmp_path}/store, runtime_dir: {tmp_path}/run}}\n")
    assert status.run(argparse.Namespace(config=config)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "detector  silent, n on openvino",
        "          the detector has said nothing for 8 s",
        "recorder  disk gone, purge clock ok, 0 stills since its start",
        "          the store is gone: mount it",
        "evidence  not known while the disk is gone",
        "not ready",
    ]
