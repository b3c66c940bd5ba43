# SPDX-License-Identifier: AGPL-3.0-or-later
"""A table once, as Markdown for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from training.measures import Estimate

Cell = str | int | float | bool | None | Estimate


@dataclass(slots=True)
class Table:
    """Rows under a head; `note` says what has to be known to read it."""

    title: str
    head: Sequence[str]
    note: str = ""
    rows: list[Sequence[Cell]] = field(default_factory=list)

    def markdown(self) -> str:
        """As a heading, the note and a pipe table."""
        lines = [f"### {self.title}", "", *([self.note, ""] if self.note else [])]
        lines += [_line(self.head), _line(["---"] * len(self.head))]
        lines += [_line([_text(cell) for cell in row]) for row in self.rows]
        return "\n".join(lines) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Each row by the names of its columns; an estimate with its interval and what it was measured on."""
        return {
            "title": self.title,
            "note": self.note,
            "rows": [
                {
                    name: asdict(cell) if isinstance(cell, Estimate) else cell
                    for name, cell in zip(self.head, row, strict=True)
                }
                for row in self.rows
            ],
        }


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.2f}"
    return str(cell).replace("|", "\\|")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
