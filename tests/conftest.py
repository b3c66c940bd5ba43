# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the tests share two cores: file by file, so that what a file makes is made once; whole daemons, which mostly wait, first."""

from __future__ import annotations

from pathlib import Path

import pytest

SYSTEM = Path(__file__).parent / "system"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest begin first, so that no worker has them all at the end."""
    items.sort(key=lambda item: SYSTEM not in item.path.parents)
