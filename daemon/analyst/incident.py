# SPDX-License-Identifier: AGPL-3.0-or-later
"""Goes back for a stored incident: from its confirming still, over its clips, and to the recorder."""

from __future__ import annotations

from daemon import sockets
from daemon.analyst.analysing import Detect, asking, go_back
from daemon.analyst.foreign import read_imported
from daemon.analyst.handing import hand_over
from daemon.analyst.recording import read_clip
from daemon.clock import Clocks, host_clocks
from daemon.config_file import runtime_dir
from daemon.detect.work import WorkClient
from daemon.domain import IMPORTED
from daemon.errors import FirewitnessError
from daemon.ingest.concluding import Subject, subject_of
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.planning import Sockets, plan_for
from daemon.origin.record import Analysis
from daemon.settings import CameraSettings, Settings
from daemon.storage import record
from daemon.storage.queries import Index


def analyse_incident(settings: Settings, index: Index, incident_id: str, detect: Detect | None = None) -> Analysis:
    """Adds an analysis from what the incident's clips hold, by `detect`, else by the running daemon's detector.

    Raises FirewitnessError. The recorder adds which one was before.
    """
    where, clocks = runtime_dir(settings.storage), host_clocks()
    subject = subject_in(index, incident_id)
    camera = subject.evidence.camera
    plan = plan_of(settings, camera)
    packets, client = packets_of(index, subject, clocks), WorkClient(sockets.work(where))
    try:
        outcome = go_back(subject, packets, plan, detect or asking(client, settings.detect.floor), clocks)
    finally:
        client.close()
    hand_over(sockets.recorder(where), camera, outcome)
    return outcome.analysis


def plan_of(settings: Settings, camera: str) -> WorkerPlan:
    """How its pictures are looked at; also of one that is not configured, or never was."""
    where = runtime_dir(settings.storage)
    known = settings if camera in settings.cameras else _with(settings, camera)
    return plan_for(known, camera, None, Sockets(sockets.recorder(where), sockets.work(where)))


def subject_in(index: Index, incident_id: str) -> Subject:
    """Raises FirewitnessError with one sentence where it cannot be gone back from."""
    incident = index.incident_one(incident_id)
    if incident is None:
        raise FirewitnessError(f"there is no incident {incident_id}")
    stills = index.evidence_page(incident=incident_id, kind="first_confirmed", limit=1)["items"]
    if not stills:
        raise FirewitnessError(f"the incident {incident_id} was not confirmed, or the still that confirmed it is gone")
    whole = index.evidence_one(stills[0]["id"])
    if whole is None or not whole["record"]:
        raise FirewitnessError(f"the still {stills[0]['id']} that confirmed the incident is gone")
    times = "claimed" if incident["kind"] == IMPORTED else "measured"
    told = record.from_json(whole["record"])
    return subject_of(told, incident["place"], incident["labels"], source="clip", times=times)


def packets_of(index: Index, subject: Subject, clocks: Clocks) -> list[Packet]:
    """Of its clips up to the confirmation, in order. Raises FirewitnessError where there is none."""
    incident_id = subject.evidence.incident or ""
    if subject.times == "claimed":
        return read_imported(index, incident_id, clocks).packets
    until = subject.evidence.run, subject.evidence.pts
    files = index.clip_files(incident_id, *until)
    if not files:
        raise FirewitnessError(f"the incident {incident_id} has no clip that is closed: it goes on, or has none")
    return [packet for path, ahead_ns in files for packet in read_clip(path, clocks, ahead_ns, until)]


def _with(settings: Settings, camera: str) -> Settings:
    """A camera that is not configured any more has the usual settings."""
    gone = {camera: CameraSettings(url="rtsp://removed.invalid/")}
    return settings.model_copy(update={"cameras": settings.cameras | gone})
