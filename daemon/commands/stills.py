# SPDX-License-Identifier: AGPL-3.0-or-later
"""The site's own reference stills: what its cameras show when nothing is the matter."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.clock import host_clocks
from daemon.errors import StoreError
from daemon.settings import Settings

MOST = 200
_LOOKED_THROUGH = 2000


def reference_stills(settings: Settings) -> list[tuple[str, NDArray[np.uint8]]]:
    """At most 200 of the latest, evenly over them: camera and picture (BGR, height, width, 3). None without a store."""
    from daemon.storage.queries import Index

    index = Index(settings.storage.root, host_clocks())
    try:
        found: list[dict[str, Any]] = []
        cursor = None
        while len(found) < _LOOKED_THROUGH:
            page = index.evidence_page(kind="reference", limit=MOST, cursor=cursor)
            found += page["items"]
            if (cursor := page["next"]) is None:
                break
        chosen = [found[place * len(found) // MOST] for place in range(MOST)] if len(found) > MOST else found
        files = [(each["camera"], index.evidence_file(each["id"])) for each in chosen]
    except StoreError:
        return []
    pictures = ((camera, cv2.imread(str(file))) for camera, file in files if file is not None)
    return [(camera, np.asarray(picture, np.uint8)) for camera, picture in pictures if picture is not None]
