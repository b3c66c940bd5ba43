# SPDX-License-Identifier: AGPL-3.0-or-later
"""The answer to the command `status` (docs/seams.md): for the command line, the pages and /metrics alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from daemon import __version__
from daemon.messages import DetectorBeat, RecorderBeat
from daemon.supervisor.service import Service

MOST_NAMED = 8  # a camera's name has up to 63 letters, and a status line is one line


def detector_now(beat: DetectorBeat | None, service: Service, now_s: float) -> DetectorBeat | None:
    """What it said last; a state that no longer holds is `silent`."""
    if beat is None or service.speaks(now_s):
        return beat
    return replace(beat, state="silent", detail=_silence(service, now_s))


def recorder_now(beat: RecorderBeat | None, service: Service, now_s: float) -> RecorderBeat | None:
    """The same; its state is the disk's."""
    if beat is None or service.speaks(now_s):
        return beat
    return replace(beat, disk="silent", detail=_silence(service, now_s))


def is_ready(detector: DetectorBeat | None, recorder: RecorderBeat | None) -> bool:
    """Whether what is seen is analysed and stored."""
    return bool(detector and detector.state == "ready" and recorder and recorder.disk == "ok")


def of_detector(beat: DetectorBeat | None, service: Service) -> dict[str, Any]:
    model = beat.model if beat is not None else None
    return {
        "state": beat.state if beat else "starting",
        "detail": beat.detail if beat else "",
        "model": model.name if model else None,
        "sha256": model.sha256 if model else None,
        "card_sha256": model.card_sha256 if model else None,
        "runtime": model.runtime if model else None,
        "input_px": model.input_px if model else None,
        "batch_ms": beat.batch_ms if beat else None,
        "live_images": beat.live_images if beat else 0,
        "work_images": beat.work_images if beat else 0,
        "work_pending": beat.work_pending if beat else 0,
        **_of_process(service),
    }


def of_recorder(beat: RecorderBeat | None, service: Service, retention_s: float) -> dict[str, Any]:
    return {
        "disk": beat.disk if beat else "starting",
        "detail": beat.detail if beat else "",
        "clock": beat.clock if beat else "starting",
        "stored": beat.stored if beat else 0,
        "stored_bytes": beat.stored_bytes if beat else 0,
        "oldest_item_s": beat.oldest_item_s if beat else 0.0,
        "free_bytes": beat.free_bytes if beat else None,
        "reserve_bytes": beat.reserve_bytes if beat else None,
        "ledger_seq": beat.ledger_seq if beat else None,
        "open_gaps": beat.open_gaps if beat else {},
        "evidence_stills": beat.evidence_stills if beat else None,
        "evidence_bytes": beat.evidence_bytes if beat else None,
        "oldest_evidence_at_ns": beat.oldest_evidence_at_ns if beat else None,
        "retention": beat.retention if beat else "ok",
        "retention_s": retention_s,
        "retention_forecast_s": beat.retention_forecast_s if beat else None,
        "purged": beat.purged if beat else {},
        **_of_process(service),
    }


def of_service(service: Service) -> dict[str, Any]:
    """Of one that says nothing of itself."""
    return _of_process(service)


def in_a_line(conditions: Mapping[str, str], detector: DetectorBeat | None, recorder: RecorderBeat | None) -> str:
    """For `systemctl status`; `conditions` of all cameras by name. Of those that are not watched the first are named."""
    away = {name: condition for name, condition in conditions.items() if condition != "ok"}
    named = [f"{name} {condition}" for name, condition in list(away.items())[:MOST_NAMED]]
    if len(away) > MOST_NAMED:
        named.append(f"and {len(away) - MOST_NAMED} more")
    not_watched = f" (not: {', '.join(named)})" if named else ""
    cameras = f"{len(conditions) - len(away)} of {len(conditions)} cameras watched{not_watched}"
    disk = recorder.disk if recorder else "starting"
    return f"{cameras}; detector {detector.state if detector else 'starting'}; disk {disk}"


def head(*, ready: bool) -> dict[str, Any]:
    return {"version": __version__, "ready": ready}


def _silence(service: Service, now_s: float) -> str:
    return f"the {service.name} has said nothing for {service.silent_for_s(now_s):.0f} s"


def _of_process(service: Service) -> dict[str, Any]:
    return {"pid": service.process.pid if service.process else None, "restarts": service.restarts}
