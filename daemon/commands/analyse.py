# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness analyse INCIDENT`: goes back again, over the stored clip; what was found before stays beside it."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon import sockets
from daemon.clock import host_clocks, rfc3339
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.domain import Detection, ModelInfo
from daemon.errors import FirewitnessError
from daemon.origin.search import FLOOR
from daemon.settings import Settings

Detect = Callable[[NDArray[np.uint8]], tuple[Sequence[Detection], ModelInfo]]


def run(options: argparse.Namespace) -> int:
    """Says what was found."""
    settings = settings_of.of(options.config)
    incident_id = _id(options.incident)
    Control(sockets.control(runtime_dir(settings.storage))).ask("status")  # without a daemon nobody could store it
    from daemon.analyst.incident import analyse_incident
    from daemon.storage import disk as disks
    from daemon.storage.queries import Index

    index = Index(disks.root_of(settings.storage), host_clocks())
    detect = _own_detector(settings, options.model) if options.model is not None else None
    analysis = analyse_incident(settings, index, incident_id, detect)
    first = analysis.first_visible
    print(
        f"First visible to {analysis.camera} at {rfc3339(first.at_ns)} (± {first.uncertainty_s:.2f} s): {first.label}."
    )
    if analysis.last_clean is None:
        print("It was burning already when the record begins.")
    print(f"Component: {analysis.component.name or f'none is named ({analysis.component.note})'}.")
    print(f"Analysis {analysis.id}, by {analysis.model.name}; earlier ones stay as they are.")
    return 0


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise FirewitnessError(f"{text[:80]!r} is no incident's id; write it as the page and the API have it") from None


def _own_detector(settings: Settings, weights: Path) -> Detect:
    from daemon.detect.detector import FireDetector

    chosen = settings.detect
    detector = FireDetector(
        weights, device=chosen.device, input_px=chosen.input_px, batch=1, allow_pickle=chosen.allow_pickle
    )

    def detect(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
        return detector.detect([pixels], FLOOR)[0], detector.info

    return detect
