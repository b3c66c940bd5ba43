# SPDX-License-Identifier: AGPL-3.0-or-later
"""An incident's clips: /api/v1/incidents/<id>/clips, /clip and /frames/<n>.jpg, and each clip's own video.

The stored bytes are served as they are; a frame is decoded in a process of its own, for browsers that cannot play the codec.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, send_file

from daemon.api.parameters import ClipOf, NoParameters, parse
from daemon.api.problems import Problem
from daemon.clips.reading import number_of
from daemon.storage.clips import OPEN
from daemon.storage.queries import Index

DECODERS = 2  # at a time: one frame costs up to a GOP
PATIENCE_S = 20.0
NO_SUCH_FRAME = 3
_TYPES = {
    ".mp4": "video/mp4", ".mkv": "video/x-matroska", ".avi": "video/x-msvideo", ".ts": "video/mp2t", ".mpg": "video/mpeg",
}  # fmt: skip
_FOREVER = "private, max-age=31536000, immutable"  # an id's bytes never change
_NO_INCIDENT = "There is no such incident."
_NO_CLIP = "The incident has no such clip: it was not confirmed, or its clip was purged."
_NO_SUCH_CLIP = "There is no such clip, or it was purged when its retention was over."
_GROWING = "The clip is still being written: it is there 30 s after its incidents have ended."
_GONE = (
    "The record is there and its clip is not: it was purged, or its file is missing. `firewitness verify` tells which."
)


def blueprint(index: Index) -> Blueprint:
    """Routes below incidents and evidence."""
    api = Blueprint("clips_api", __name__, url_prefix="/api/v1")
    decoders = threading.BoundedSemaphore(DECODERS)

    @api.get("/incidents/<uuid:incident_id>/clips")
    def clips(incident_id: UUID) -> Response:
        parse(NoParameters, request.args)
        answer = jsonify({"items": _clips(index, incident_id)})
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @api.get("/incidents/<uuid:incident_id>/clip")
    def clip(incident_id: UUID) -> Response:
        return _video(index, _chosen(index, incident_id, parse(ClipOf, request.args)))

    @api.get("/incidents/<uuid:incident_id>/frames/<int:number>.jpg")
    def frame(incident_id: UUID, number: int) -> Response:
        asked = parse(ClipOf, request.args)
        answer = _picture(_file(index, _chosen(index, incident_id, asked)), number, decoders)
        if asked.clip is None:
            answer.headers["Cache-Control"] = "no-store"
        return answer

    @api.get("/evidence/<uuid:evidence_id>/frames/<int:number>.jpg")
    def frame_of_clip(evidence_id: UUID, number: int) -> Response:
        parse(NoParameters, request.args)
        path = index.clip_path(str(evidence_id))
        if path is None:
            raise Problem(HTTPStatus.NOT_FOUND, _NO_SUCH_CLIP)
        return _picture(_there(path), number, decoders)

    @api.get("/evidence/<uuid:evidence_id>/video")
    def video(evidence_id: UUID) -> Response:
        parse(NoParameters, request.args)
        found = index.evidence_one(str(evidence_id))
        if found is None or "video" not in found:
            raise Problem(HTTPStatus.NOT_FOUND, _NO_SUCH_CLIP)
        return _video(index, found)

    return api


def with_frame(index: Index, item: dict[str, Any]) -> dict[str, Any]:
    """A still with the number of its frame in its clip. Only the file tells: after `incident.clip_max` it has key frames alone."""
    if item.get("clip") is None:
        return item
    path, number = index.evidence_file(item["clip"]["id"]), None
    try:
        if path is not None:
            with path.open("rb") as file:
                number = number_of(file, int(item["clip"]["pts"]))
    except (OSError, ValueError):  # `firewitness verify` tells what is wrong with it
        pass
    return item | {"clip": item["clip"] | {"frame": number}}


def _clips(index: Index, incident_id: UUID) -> list[dict[str, Any]]:
    if index.incident_one(str(incident_id)) is None:
        raise Problem(HTTPStatus.NOT_FOUND, _NO_INCIDENT)
    return index.clips_of(str(incident_id))


def _chosen(index: Index, incident_id: UUID, asked: ClipOf) -> dict[str, Any]:
    """The clip that was named, or the first of the incident's own camera."""
    incident, clips = str(incident_id), _clips(index, incident_id)
    found = [
        each for each in clips if each["id"] == asked.clip or (asked.clip is None and incident in each["incidents"])
    ]
    if not found:
        raise Problem(HTTPStatus.NOT_FOUND, _NO_CLIP)
    return found[0]


def _file(index: Index, clip: dict[str, Any]) -> Path:
    path = index.clip_path(clip["id"])
    if path is None:
        raise Problem(HTTPStatus.GONE, _GONE)
    return _there(path)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise Problem(HTTPStatus.GONE, _GONE)
    return path


def _video(index: Index, clip: dict[str, Any]) -> Response:
    """With ETag, ranges and conditions (RFC 9110)."""
    if clip["closed"] is None:
        raise Problem(HTTPStatus.CONFLICT, _GROWING)
    path = _file(index, clip)
    answer = send_file(
        path,
        _TYPES.get(path.suffix, "application/octet-stream"),
        download_name=f"{clip['camera']}-{clip['id']}{path.suffix}",
        conditional=True,
        etag=clip["sha256"],
    )
    answer.headers["Cache-Control"] = _FOREVER
    return answer


def _picture(path: Path, number: int, decoders: threading.BoundedSemaphore) -> Response:
    """Of a frame; those of a clip that grows are not the last word on which is the n-th."""
    answer = Response(_frame(path, number, decoders), content_type="image/jpeg")
    answer.headers["Cache-Control"] = "no-store" if path.suffix == OPEN else _FOREVER
    return answer


def _frame(path: Path, number: int, decoders: threading.BoundedSemaphore) -> bytes:
    if not decoders.acquire(timeout=PATIENCE_S):
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Others are having frames decoded: try again in a moment.")
    try:
        with path.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "daemon.clips.frame", str(number)],
                stdin=file,
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The frame could not be decoded in time.") from None
    finally:
        decoders.release()
    if done.returncode == NO_SUCH_FRAME:
        raise Problem(HTTPStatus.NOT_FOUND, "The clip has no such frame, or it cannot be decoded.")
    if done.returncode:
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The frame cannot be decoded.")
    return done.stdout
