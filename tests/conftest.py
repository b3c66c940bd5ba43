# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the tests share two cores: file by file, so that what a file makes is made once; those that wait beside those that work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("shared cores", deadline=None)  # a machine busy with other things proves nothing
hypothesis.settings.load_profile("shared cores")

UNTIL = {"system": 0.5, "ingest": 0.6}  # whole daemons take longest, and workers' tests mostly wait: none at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spreads each folder's files, so that at any time some wait and some work."""
    files = list(dict.fromkeys(item.path for item in items))
    order: dict[Path, float] = {}
    for folder in [*UNTIL, None]:
        order |= _spread([file for file in files if _of(file) == folder], UNTIL.get(folder or "", 1.0))
    items.sort(key=lambda item: order[item.path])


def _spread(files: Sequence[Path], until: float) -> dict[Path, float]:
    """File → its place, evenly from 0 to `until`."""
    return {file: until * place / len(files) for place, file in enumerate(files)}


def _of(file: Path) -> str | None:
    """Its folder, where that is one that is not to be at the end."""
    folder = file.relative_to(Path(__file__).parent).parts[0]
    return folder if folder in UNTIL else None
