# SPDX-License-Identifier: AGPL-3.0-or-later
"""Imports a recording from elsewhere as a clip whose times are claimed, with what was seen in it (docs/origin.md)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from daemon import __version__, sockets
from daemon.analyst.analysing import Detect, asking, go_back
from daemon.analyst.confirming import Confirmed, Nothing, confirm
from daemon.analyst.foreign import Recording, read_imported, read_recording
from daemon.analyst.handing import connected
from daemon.analyst.incident import analyse_incident, plan_of
from daemon.analyst.recording import MOST_BYTES
from daemon.clock import NS, Clocks, host_clocks, rfc3339
from daemon.config_file import runtime_dir
from daemon.detect.work import WorkClient
from daemon.domain import DRILL_CAMERA, IMPORTED, Clip, Incident
from daemon.errors import FirewitnessError
from daemon.ids import new_id
from daemon.ingest.concluding import Outcome, subject_of
from daemon.messages import ImporterHello
from daemon.origin.record import Analysis
from daemon.settings import CAMERA_NAME, Settings
from daemon.storage import disk as disks
from daemon.storage.queries import Index

_MOST_NAME = 200  # characters of a file's name in its incident
_YEAR_9999_NS = 253_370_764_800 * NS


class Imported(NamedTuple):
    """`analysis` is None where nothing was confirmed in it."""

    clip: str
    incident: str
    known: bool
    """Whether the same file was there already."""
    start_ns: int
    analysis: Analysis | None
    frames: int = 0
    damaged: int = 0
    """Of its frames, where nothing was confirmed: nobody could look at these."""


def import_recording(
    settings: Settings, index: Index, path: Path, start_ns: int, camera: str, detect: Detect | None = None
) -> Imported:
    """Raises FirewitnessError with one sentence where it cannot be; then nothing of it is kept."""
    clocks, client = host_clocks(), WorkClient(sockets.work(runtime_dir(settings.storage)))
    if start_ns > clocks.wall_ns():
        raise FirewitnessError(f"{_said(start_ns)} lies in the future")
    try:
        with _opened(path) as file:
            detect = detect or asking(client, settings.detect.floor)
            return _import(settings, index, file, path.name, start_ns, camera, detect, clocks)
    finally:
        client.close()


def check_name(settings: Settings, index: Index, camera: str) -> None:
    """What came from elsewhere must not be taken for what a camera of ours saw, nor for what one did that is gone."""
    if not CAMERA_NAME.match(camera):
        raise FirewitnessError(f"--camera {camera[:80]!r}: a name has small letters, digits, - and _")
    if camera in {*settings.cameras, DRILL_CAMERA, *(each["name"] for each in index.cameras())}:
        raise FirewitnessError(
            f"--camera {camera}: this is, or was, a camera of Firewitness's own; choose another name"
        )


def _import(
    settings: Settings, index: Index, file: BufferedReader, name: str, start_ns: int, camera: str, detect: Detect,
    clocks: Clocks,
) -> Imported:  # fmt: skip
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    known = index.imported(sha256)
    if known is not None:
        return _again(settings, index, known, name, detect, clocks)
    check_name(settings, index, camera)
    _check_room(settings, os.fstat(file.fileno()).st_size)
    try:
        file.seek(0)
        recording = read_recording(file, camera, new_id(), start_ns, clocks)
    except ValueError as error:
        raise FirewitnessError(f"{name}: {error}") from error
    if recording.times[-1][0] > clocks.wall_ns():
        raise FirewitnessError(f"{name} would end at {_said(recording.times[-1][0])}, which lies in the future")
    incident_id = new_id()
    confirmed, outcome, damaged = _look(settings, recording, incident_id, detect, clocks)
    run = recording.run
    times = recording.times
    clip = Clip(
        new_id(), camera, run.id, run.time_base, run.codec, run.width_px, run.height_px, times[0][1], IMPORTED,
        __version__, container=recording.container,
    )  # fmt: skip
    if index.imported(sha256) is not None:
        raise FirewitnessError(f"{name} was imported by another command meanwhile; nothing of this one is kept")
    with connected(sockets.recorder(runtime_dir(settings.storage)), ImporterHello(camera=camera)) as to:
        to.give_run(run)
        to.give_file(file, sha256, clip, incident_id, times)
        incident = _incident(incident_id, recording, name, confirmed)
        to.give_incident(incident, clocks.wall_ns(), [(confirmed.evidence, confirmed.jpeg)] if confirmed else [])
        if outcome is not None:
            to.give(outcome)
    analysis = outcome.analysis if outcome else None
    return Imported(clip.id, incident_id, False, start_ns, analysis, len(times), damaged)


def _again(settings: Settings, index: Index, clip_id: str, name: str, detect: Detect, clocks: Clocks) -> Imported:
    """The same bytes: they are there already, with the times that were claimed then, and are analysed anew."""
    clip = index.evidence_one(clip_id)
    if clip is None:
        raise FirewitnessError(f"the clip {clip_id} was purged just now; import it again")
    incident_id, start_ns = str(clip["incident"]), int(clip["record"]["captured_at_ns"])
    incident = index.incident_one(incident_id)
    if index.evidence_page(incident=incident_id, kind="first_confirmed", limit=1)["items"]:  # a kill can have lost it
        return Imported(clip_id, incident_id, True, start_ns, analyse_incident(settings, index, incident_id, detect))
    recording = read_imported(index, incident_id, clocks)
    confirmed, outcome, damaged = _look(settings, recording, incident_id, detect, clocks)
    if incident is None or confirmed is not None:
        with connected(sockets.recorder(runtime_dir(settings.storage)), ImporterHello(camera=clip["camera"])) as to:
            told = _incident(incident_id, recording, name, confirmed)
            to.give_incident(told, clocks.wall_ns(), [(confirmed.evidence, confirmed.jpeg)] if confirmed else [])
            if outcome is not None:
                to.give(outcome)
    analysis = outcome.analysis if outcome else None
    return Imported(clip_id, incident_id, True, start_ns, analysis, len(recording.times), damaged)


def _look(
    settings: Settings, recording: Recording, incident_id: str, detect: Detect, clocks: Clocks
) -> tuple[Confirmed | None, Outcome | None, int]:
    plan = plan_of(settings, recording.run.camera)
    confirmed = confirm(recording.packets, plan, incident_id, detect)
    if isinstance(confirmed, Nothing):
        return None, None, confirmed.damaged
    track = confirmed.track
    subject = subject_of(confirmed.evidence, track.place, track.labels, source="clip", times="claimed")
    return confirmed, go_back(subject, recording.packets, plan, detect, clocks), 0


def _incident(incident_id: str, recording: Recording, name: str, confirmed: Confirmed | None) -> Incident:
    begin_ns, end_ns = recording.times[0][0], recording.times[-1][0]
    shown = f"{name[:_MOST_NAME]}".encode(errors="replace").decode()
    if confirmed is None:
        nowhere = (0.0, 0.0, 0.0, 0.0)
        return Incident(
            incident_id, recording.run.camera, "unconfirmed", begin_ns, None, end_ns, (), 0.0, nowhere,
            kind=IMPORTED, reason=shown,
        )  # fmt: skip
    track = confirmed.track
    return Incident(
        incident_id, recording.run.camera, "ended", confirmed.first_suspect_at_ns,
        confirmed.evidence.time.captured_at_ns, end_ns, track.labels, track.max_confidence, track.place,
        kind=IMPORTED, ignored_zones=track.ignored_zones, reason=shown,
    )  # fmt: skip


def _said(at_ns: int) -> str:
    """A moment in the future, which a damaged file can put beyond what a calendar has."""
    return rfc3339(at_ns) if at_ns < _YEAR_9999_NS else "a moment after the year 9998"


def _check_room(settings: Settings, size_bytes: int) -> None:
    """Nothing older gives way for it."""
    root = disks.root_of(settings.storage)
    space = os.statvfs(root)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    if free - size_bytes < disks.reserve_bytes(settings.storage, total):
        raise FirewitnessError(f"{root} has {free / 1e6:,.0f} MB free: the file would leave less than storage.reserve")


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FirewitnessError(f"{path} is no file")
        with path.open("rb") as file:
            if not 0 < os.fstat(file.fileno()).st_size <= MOST_BYTES:
                raise FirewitnessError(f"{path} is empty, or has more than {MOST_BYTES // 1_000_000} MB")
            yield file
    except OSError as error:
        raise FirewitnessError(f"{path} cannot be read: {error.strerror or error}") from error
