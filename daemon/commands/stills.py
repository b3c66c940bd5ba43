# SPDX-License-Identifier: AGPL-3.0-or-later
"""The site's own reference stills: what its cameras show when nothing is the matter."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from daemon.clock import host_clocks, rfc3339
from daemon.detect.model import Picture
from daemon.errors import StoreError
from daemon.settings import Settings

MOST = 200


@dataclass(frozen=True, slots=True)
class Stills:
    """Some of them, and what they stand for."""

    pictures: tuple[Picture, ...]
    """BGR."""
    there: int
    """How many there are in all."""
    cameras: int
    """Of how many cameras the pictures are."""
    first_ns: int
    last_ns: int
    """UTC, of the pictures."""

    def __str__(self) -> str:
        """Which they are, for the operator."""
        cameras = f"{self.cameras} camera{'s' * (self.cameras != 1)}"
        spread = "all" if len(self.pictures) == self.there else f"evenly chosen from {self.there:,}"
        return f"{spread}, of {cameras}, {rfc3339(self.first_ns)} to {rfc3339(self.last_ns)}"


def reference_stills(settings: Settings) -> Stills | None:
    """At most 200, evenly over all cameras and all of their time; None where there are none, or no store."""
    from daemon.storage.queries import Index

    try:
        chosen, there = Index(settings.storage.root, host_clocks()).references_evenly(MOST)
    except StoreError:
        return None
    read = [(each, cv2.imread(str(settings.storage.root / each.path))) for each in chosen]
    found = [(each, np.asarray(picture, np.uint8)) for each, picture in read if picture is not None]
    if not found:
        return None
    times_ns = [each.captured_at_ns for each, _ in found]
    cameras = len({each.camera for each, _ in found})
    return Stills(tuple(picture for _, picture in found), there, cameras, min(times_ns), max(times_ns))
