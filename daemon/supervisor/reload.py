# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a changed settings file means for a daemon that runs; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.ingest.plan import WorkerPlan
from daemon.settings import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """Cameras by name, each list in the order of the file that names them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{what} {', '.join(names)}" for what, names in self._parts() if names]
        return "; ".join(parts) or "no camera changed"

    def _parts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("added", self.added), ("removed", self.removed), ("changed", self.changed)


def change(before: Mapping[str, WorkerPlan], after: Mapping[str, WorkerPlan]) -> Change:
    """Of the plans of all cameras that are watched. A camera whose plan is the same goes on untouched."""
    return Change(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name, plan in after.items() if name in before and before[name] != plan),
    )


def need_restart(running: Settings, file: Settings) -> list[str]:
    """The keys whose value in the file is another one than the daemon runs with, and that no reload can change."""
    mine, theirs = running.model_dump(exclude={"cameras"}), file.model_dump(exclude={"cameras"})
    return sorted(_different(mine, theirs, ""))


def _different(mine: dict[str, Any], theirs: dict[str, Any], above: str) -> list[str]:
    found: list[str] = []
    for key, value in theirs.items():
        if value == mine[key]:
            continue
        if isinstance(value, dict) and isinstance(mine[key], dict) and value.keys() == mine[key].keys():
            found += _different(mine[key], value, f"{above}{key}.")
        else:
            found.append(above + key)
    return found
