# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which thresholds a model's card says were chosen for it (training/card.py writes that line), and what to write for them to hold.

A confidence means something else in every model: the thresholds of one are no thresholds for another.
"""

from __future__ import annotations

import re
from pathlib import Path

from daemon.settings import DetectSettings, Thresholds

_LINE = re.compile(
    r"^\*\*Thresholds\*\* chosen on validation pictures: fire ([01](?:\.\d+)?), smoke ([01](?:\.\d+)?)\.\s*$",
    re.MULTILINE,
)


def thresholds_in(card: str) -> Thresholds | None:
    """None where the card names none, or none that can be."""
    found = _LINE.search(card)
    if found is None:
        return None
    fire, smoke = float(found[1]), float(found[2])
    return Thresholds(fire=fire, smoke=smoke) if max(fire, smoke) <= 1 else None


def thresholds_of(card: Path) -> Thresholds | None:
    """None also where there is no card."""
    try:
        return thresholds_in(card.read_bytes().decode(errors="replace"))
    except OSError:
        return None


def at(detect: DetectSettings, chosen: Thresholds | None) -> DetectSettings:
    """The same settings with a model's own thresholds, if it has any; the floor is not above them."""
    if chosen is None:
        return detect
    floor = min(detect.floor, chosen.fire, chosen.smoke)
    return detect.model_copy(update={"thresholds": chosen, "floor": floor})


def to_write(chosen: Thresholds | None, detect: DetectSettings) -> str | None:
    """One sentence for the operator; None where the settings have what was chosen, or nothing was."""
    if chosen is None or chosen == detect.thresholds:
        return None
    wanted = at(detect, chosen)
    keys = f"detect.thresholds: {{fire: {chosen.fire:g}, smoke: {chosen.smoke:g}}}"
    if wanted.floor != detect.floor:
        keys += f" and detect.floor: {wanted.floor:g}"
    return f"its card chose other thresholds than the settings have: write {keys}; they hold after a restart"
