# SPDX-License-Identifier: AGPL-3.0-or-later
"""A command's section of a page in docs/, between its own two lines; what is around them stays as it is."""

from __future__ import annotations

from pathlib import Path

from training.folders import FolderError


def marks(command: str) -> tuple[str, str]:
    """The lines before and behind the section of `python -m training COMMAND`."""
    return f"<!-- made by python -m training {command} -->", f"<!-- end of what training {command} makes -->"


def write_section(page: Path, text: str, command: str) -> None:
    """Raises FolderError where the page has not both lines of that command."""
    first, last = marks(command)
    before, begin, rest = page.read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise FolderError(f"{page}: the lines {first} and {last} have to be in it")
    page.write_text(f"{before}{first}\n\n{text}\n{last}{after}", encoding="utf-8")
