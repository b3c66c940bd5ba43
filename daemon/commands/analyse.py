# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness analyse INCIDENT`: goes back again, over the stored clip; what was found before stays beside it.

`--video FILE --start TIME` imports a recording from elsewhere first.
"""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daemon import sockets
from daemon.clock import NS, host_clocks, rfc3339
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.domain import IMPORTED, Detection, ModelInfo
from daemon.errors import FirewitnessError
from daemon.settings import Settings

if TYPE_CHECKING:
    from daemon.origin.record import Analysis
    from daemon.storage.queries import Index

Detect = Callable[[NDArray[np.uint8]], tuple[Sequence[Detection], ModelInfo]]


def run(options: argparse.Namespace) -> int:
    """Says what was found."""
    if (options.incident is None) == (options.video is None):
        raise FirewitnessError("name an incident, or a recording with --video and --start")
    if options.video is None and (options.start or options.camera):
        raise FirewitnessError("--start and --camera belong to --video")
    incident_id = _id(options.incident) if options.video is None else ""
    start_ns = _start_ns(options.start) if options.video is not None else 0
    settings = settings_of.of(options.config)
    Control(sockets.control(runtime_dir(settings.storage))).ask("status")  # without a daemon nobody could store it
    from daemon.analyst.incident import analyse_incident
    from daemon.storage import disk as disks
    from daemon.storage.queries import Index

    index = Index(disks.root_of(settings.storage), host_clocks())
    detect = own_detector(settings, options.model) if options.model is not None else None
    if options.video is not None:
        return _import(settings, index, options, start_ns, detect)
    analysis = analyse_incident(settings, index, incident_id, detect)
    if analysis.times == "claimed":
        print("Its times are claimed by whoever imported the recording, not measured.")
    _tell(analysis)
    return 0


def _import(settings: Settings, index: Index, options: argparse.Namespace, start_ns: int, detect: Detect | None) -> int:
    from daemon.analyst.importing import import_recording

    video: Path = options.video
    done = import_recording(settings, index, video, start_ns, options.camera or IMPORTED, detect)
    how = "is there already" if done.known else "is stored"
    name = os.fsencode(video.name).decode(errors="replace")
    print(f"{name} {how}, as clip {done.clip} of the incident {done.incident}.")
    print(f"Its times are claimed, not measured: it begins at {rfc3339(done.start_ns)}.")
    if done.analysis is None:
        print("Nothing was confirmed in it: the recording is kept, without a first visible frame.")
        if done.damaged:
            print(f"{done.damaged} of its {done.frames} frames are damaged: nobody could look at these.")
    else:
        _tell(done.analysis)
    return 0


def _start_ns(text: str | None) -> int:
    if text is None:
        raise FirewitnessError("--video needs --start: when the recording begins, as whoever made it claims")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FirewitnessError(f"--start {text[:80]!r} is no time; write it as 2026-11-23T16:05:09Z") from None
    if moment.tzinfo is None:
        raise FirewitnessError(f"--start {text} has no time zone; add Z for UTC, or such as +01:00")
    if moment.timestamp() < 0:
        raise FirewitnessError(f"--start {text} lies before 1970")
    return round(moment.timestamp() * 1000) * (NS // 1000)


def _tell(analysis: Analysis) -> None:
    first = analysis.first_visible
    print(
        f"First visible to {analysis.camera} at {rfc3339(first.at_ns)} (± {first.uncertainty_s:.2f} s): {first.label}."
    )
    if analysis.doubt is not None:
        since = "" if analysis.doubt.since_ns is None else f", from {rfc3339(analysis.doubt.since_ns)} on"
        print(f"In doubt ({', '.join(analysis.doubt.why)}): it may have been visible earlier{since}.")
    elif analysis.last_clean is None:
        print("It was burning already when the record begins.")
    print(f"Component: {analysis.component.name or f'none is named ({analysis.component.note})'}.")
    print(f"Analysis {analysis.id}, by {analysis.model.name}; earlier ones stay as they are.")


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise FirewitnessError(f"{text[:80]!r} is no incident's id; write it as the page and the API have it") from None


def own_detector(settings: Settings, weights: Path) -> Detect:
    """Of these weights, in this process, looking as the settings say; raises DetectorError."""
    from daemon.detect.detector import FireDetector

    chosen = settings.detect
    detector = FireDetector(
        weights, device=chosen.device, input_px=chosen.input_px, batch=1, allow_pickle=chosen.allow_pickle,
        closer=chosen.closer_look,
    )  # fmt: skip

    def detect(pixels: NDArray[np.uint8]) -> tuple[Sequence[Detection], ModelInfo]:
        return detector.detect([pixels], chosen.floor)[0], detector.info

    return detect
