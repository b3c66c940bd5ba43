# SPDX-License-Identifier: AGPL-3.0-or-later
"""A command's section of a page in docs/, between its own two lines; what is around them stays as it is."""

from __future__ import annotations

from pathlib import Path

from training.folders import FolderError, check_out


def marks(command: str) -> tuple[str, str]:
    """The lines before and behind the section of `python -m training COMMAND`."""
    return f"<!-- made by python -m training {command} -->", f"<!-- end of what training {command} makes -->"


def check_section(page: Path, command: str) -> None:
    """Raises FolderError where `write_section` would: said before the work whose result it is to take."""
    check_out(page)
    _around(page, command)


def write_section(page: Path, text: str, command: str) -> None:
    """Raises FolderError where the page cannot be read, or has not both lines of that command."""
    first, last = marks(command)
    before, after = _around(page, command)
    page.write_text(f"{before}{first}\n\n{text}\n{last}{after}", encoding="utf-8")


def _around(page: Path, command: str) -> tuple[str, str]:
    """What stands before and behind its section."""
    first, last = marks(command)
    try:
        before, begin, rest = page.read_text(encoding="utf-8").partition(first)
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(f"{page}: not a page that can be read") from error
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise FolderError(f"{page}: the lines {first} and {last} have to be in it")
    return before, after
