# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each process's entry point does *not* drag in: the table of docs/architecture.md, at run time."""

from __future__ import annotations

import json
import subprocess
import sys

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


@pytest.mark.parametrize(("module", "forbidden"), FORBIDDEN.items())
def test_an_entry_point_imports_only_its_own_world(module: str, forbidden: list[str]) -> None:
    """A process pays for, and can be broken by, no package of another one."""
    script = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(answer.stdout))
    assert loaded.isdisjoint(forbidden), sorted(loaded & set(forbidden))
