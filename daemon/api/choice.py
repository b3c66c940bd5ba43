# SPDX-License-Identifier: AGPL-3.0-or-later
"""Some of many pictures, for a page that has no room for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Picture = TypeVar("Picture")


def evenly(pictures: Sequence[Picture], count: int) -> list[Picture]:
    """At most `count` of them in their order, the first and the last among them."""
    last = len(pictures) - 1
    places = {round(place * last / max(count - 1, 1)) for place in range(count)} if pictures else set()
    return [pictures[place] for place in sorted(places)]
