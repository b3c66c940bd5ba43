# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each process's entry point does *not* drag in: the table of docs/architecture.md, at run time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = {
    "daemon.ingest.worker": [
        "torch",
        "ultralytics",
        "sqlalchemy",
        "flask",
        "pydantic",
        "openvino",
        "onnxruntime",
        "yaml",
    ],
    "daemon.ingest.forkserver": ["torch", "ultralytics", "sqlalchemy", "flask", "pydantic", "openvino", "onnxruntime"],
    "daemon.ingest.forking": [
        "torch",
        "ultralytics",
        "sqlalchemy",
        "flask",
        "pydantic",
        "openvino",
        "onnxruntime",
        "yaml",
    ],
    "daemon.detect.process": ["sqlalchemy", "flask", "av", "gunicorn", "torch", "ultralytics"],
    "daemon.storage.recorder": ["torch", "ultralytics", "av", "flask", "openvino", "onnxruntime", "gunicorn"],
    "daemon.analyst.process": ["torch", "ultralytics", "av", "flask", "openvino", "onnxruntime", "gunicorn"],
    "daemon.api.server": ["torch", "ultralytics", "av", "openvino", "onnxruntime"],
    "daemon.supervisor.supervisor": [
        "torch",
        "ultralytics",
        "av",
        "cv2",
        "sqlalchemy",
        "flask",
        "openvino",
        "onnxruntime",
    ],
    "daemon.cli": ["torch", "av", "cv2", "sqlalchemy", "flask", "openvino", "onnxruntime", "pydantic"],
}


def test_the_detector_tells_nobody_that_it_runs(tmp_path: Path) -> None:
    """OpenVINO's own telemetry, which would report to Google Analytics from its import on, is never loaded."""
    script = (
        "import sys; from daemon.detect.runtimes import Choice, load; from daemon.detect.weights import read_weights\n"
        "from daemon.shipped import WEIGHTS; load(Choice('openvino', ''), read_weights(WEIGHTS, None, False))\n"
        "print([each for each in sys.modules if each.startswith('openvino_telemetry.')])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert answer.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == [], "nothing is written to the home folder"


@pytest.mark.parametrize(("module", "forbidden"), FORBIDDEN.items())
def test_an_entry_point_imports_only_its_own_world(module: str, forbidden: list[str]) -> None:
    """A process pays for, and can be broken by, no package of another one."""
    script = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(answer.stdout))
    assert loaded.isdisjoint(forbidden), sorted(loaded & set(forbidden))
