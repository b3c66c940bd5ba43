# SPDX-License-Identifier: AGPL-3.0-or-later
"""One line of `firewitness doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing is. A problem keeps evidence from being gathered or kept; a warning may do so one day."""

    level: Level
    about: str
    what: str
    do: str = ""
    """What to do about it; never empty but for ok."""


def ok(about: str, what: str) -> Finding:
    return Finding("ok", about, what)


def warning(about: str, what: str, do: str) -> Finding:
    return Finding("warning", about, what, do)


def problem(about: str, what: str, do: str) -> Finding:
    return Finding("problem", about, what, do)
