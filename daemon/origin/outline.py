# SPDX-License-Identifier: AGPL-3.0-or-later
"""A component as it is drawn on a camera's view; light, since a worker's plan holds it."""

from __future__ import annotations

from dataclasses import dataclass

UNNAMED = "unnamed area"
"""What lies in no component; none can be called so."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A component of the plant as this camera sees it: normalised corners."""

    name: str
    polygon: tuple[tuple[float, float], ...]
