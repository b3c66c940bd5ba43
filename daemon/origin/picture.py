# SPDX-License-Identifier: AGPL-3.0-or-later
"""What pictures, masks and places are here: arrays and numbers, nothing of the daemon's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""BGR, (height, width, 3)."""
Mask = NDArray[np.bool_]
"""(height, width)."""
Point = tuple[float, float]
"""(x, y); in pixels where its name ends in `_px`, else normalised 0..1."""
