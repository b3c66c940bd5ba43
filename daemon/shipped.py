# SPDX-License-Identifier: AGPL-3.0-or-later
"""The weights that Firewitness comes with, and the thresholds chosen for them on validation pictures.

`python -m training ship` writes `shipped.json`; nobody edits it.
"""

from __future__ import annotations

import json
from pathlib import Path

MODELS = Path(__file__).parent / "detect" / "models"
FACTS = MODELS / "shipped.json"

_facts = json.loads(FACTS.read_text(encoding="utf-8"))
WEIGHTS: Path = MODELS / _facts["weights"]
CARD: Path = WEIGHTS.with_suffix(".md")
SHA256: str = _facts["sha256"]
_int8 = _facts.get("int8", {"weights": None, "sha256": ""})
INT8: Path | None = MODELS / _int8["weights"] if _int8["weights"] else None
"""The same network quantised, for CPUs with VNNI; None where quantising lost too much."""
INT8_SHA256: str = _int8["sha256"]
FIRE: float = _facts["thresholds"]["fire"]
SMOKE: float = _facts["thresholds"]["smoke"]
"""From which confidence a detection counts, where no setting says otherwise."""
