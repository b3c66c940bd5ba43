# SPDX-License-Identifier: AGPL-3.0-or-later
"""Serves one still: the stored bytes, checked against their SHA-256, or a copy of them made for looking at."""

from __future__ import annotations

import hashlib
import io
from http import HTTPStatus

from flask import Response, request, send_file

from daemon.api import stills
from daemon.api.parameters import Image
from daemon.api.problems import Problem
from daemon.errors import FirewitnessError
from daemon.storage.queries import Index

_FOREVER = "private, max-age=31536000, immutable"  # an id's bytes never change
_GONE = "The record is there and its picture is not: it was purged, or its file is missing. `firewitness verify` tells which."
_CHANGED = (
    "The stored file does not match the SHA-256 of its record: it was changed or damaged after it was stored, so it is not shown "
    "as evidence. The file itself is untouched; see `firewitness verify`."
)


def image_response(index: Index, evidence_id: str, asked: Image) -> Response:
    """With ETag, ranges and conditions (RFC 9110); raises Problem 404, 410 or 500."""
    record = index.evidence_one(evidence_id)
    if record is None:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such evidence, or it was purged when its retention was over.")
    if "video" in record:
        raise Problem(HTTPStatus.NOT_FOUND, "This evidence is a clip, which has no single picture.")
    jpeg = _stored(index, evidence_id, record["sha256"])
    etag = record["sha256"]
    if asked.boxes == "1" or asked.width is not None:
        etag += f"-{'boxes' if asked.boxes == '1' else 'plain'}-{asked.width or 'full'}"
        if etag not in request.if_none_match:
            try:
                jpeg = stills.copy_of(jpeg, record["width"], record["detections"], asked.boxes == "1", asked.width)
            except FirewitnessError as error:
                raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"No copy can be made: {error}.") from error
    answer = send_file(
        io.BytesIO(jpeg),
        "image/jpeg",
        download_name=f"{record['camera']}-{evidence_id}.jpg",
        conditional=True,
        etag=etag,
    )
    answer.headers["Cache-Control"] = _FOREVER
    return answer


def _stored(index: Index, evidence_id: str, sha256: str) -> bytes:
    path = index.evidence_file(evidence_id)
    try:
        jpeg = path.read_bytes() if path is not None else None
    except FileNotFoundError:
        jpeg = None
    if jpeg is None:
        raise Problem(HTTPStatus.GONE, _GONE)
    if hashlib.sha256(jpeg).hexdigest() != sha256:
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, _CHANGED)
    return jpeg
