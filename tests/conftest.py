# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the tests share two cores: file by file, so that what a file makes is made once; whole daemons, which mostly wait, first."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("shared cores", deadline=None)  # a machine busy with other things proves nothing
hypothesis.settings.load_profile("shared cores")

LONGEST_FIRST = ("system", "storage", "ingest")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest begin first, so that no worker has them all at the end."""
    folders = Path(__file__).parent
    order = {folders / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent, len(order)))
