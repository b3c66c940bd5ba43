# SPDX-License-Identifier: AGPL-3.0-or-later
"""A page as a browser and its reader have it, for the tests of pages."""

from __future__ import annotations

from html.parser import HTMLParser

_APART = ("dd", "dt", "h2", "li", "p", "span", "text")  # their ends part words


class Page(HTMLParser):
    """Tags with attributes, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _APART:
            self._words += " "

    def handle_data(self, data: str) -> None:
        self._words += data

    @property
    def said(self) -> str:
        return " ".join(self._words.split())

    def attributes(self, tag: str, name: str) -> list[str]:
        return [value for each, attributes in self.tags if each == tag and (value := attributes.get(name)) is not None]
