# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the tests share two cores: whole daemons one after another on one of them, everything else file by file."""

from __future__ import annotations

from pathlib import Path

import pytest

SYSTEM = Path(__file__).parent / "system"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two daemons at once would only measure each other."""
    for item in items:
        group = "system" if SYSTEM in item.path.parents else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
