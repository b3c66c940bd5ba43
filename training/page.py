# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detector's section of docs/accuracy.md, between its own two lines; what is around them stays as it is."""

from __future__ import annotations

from pathlib import Path

from training.folders import FolderError

BEGIN, END = "<!-- made by python -m training evaluate -->", "<!-- end of what training evaluate makes -->"


def write_section(page: Path, text: str) -> None:
    """Raises FolderError where the page has not both lines."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FolderError(f"{page}: the lines {BEGIN} and {END} have to be in it")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
