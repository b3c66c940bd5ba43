# SPDX-License-Identifier: AGPL-3.0-or-later
"""The documents keep what they promise: links that lead somewhere, and every command and key explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daemon.cli import COMMANDS
from daemon.domain import GapReason

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file of the checkout."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_knows_every_command() -> None:
    """Nobody has to find a command by --help."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"`firewitness {command}" in text


def test_the_glossary_knows_every_gap_reason() -> None:
    """What the page gives as a reason can be looked up."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for reason in GapReason.__args__:  # type: ignore[attr-defined]
        assert f"`{reason}`" in text


def test_every_source_file_says_its_licence_and_its_purpose() -> None:
    """SPDX line first, then a docstring."""
    for path in [
        *(ROOT / "daemon").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
        *(ROOT / "training").rglob("*.py"),
    ]:
        first, second = path.read_text(encoding="utf-8").splitlines()[:2]
        assert first == "# SPDX-License-Identifier: AGPL-3.0-or-later", path
        assert second.startswith('"""'), path
