# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the tests share two cores: file by file, so that what a file makes is made once; those that wait beside those that work."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("shared cores", deadline=None)  # a machine busy with other things proves nothing
hypothesis.settings.load_profile("shared cores")

UNTIL = {"system": 0.5, "ingest": 0.6}  # whole daemons take longest, and workers' tests mostly wait: none at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spreads each folder's files evenly from the beginning to its share, so that at any time some wait and some work."""
    together = defaultdict[float, list[Path]](list)
    for file in dict.fromkeys(item.path for item in items):
        together[UNTIL.get(file.relative_to(Path(__file__).parent).parts[0], 1.0)].append(file)
    order = {file: until * place / len(files) for until, files in together.items() for place, file in enumerate(files)}
    items.sort(key=lambda item: order[item.path])
