# SPDX-License-Identifier: AGPL-3.0-or-later
"""POST /fire_detector put together: body → RequestArgument → AlgorithmArgument → detector → ResponseArgument.

It does not know how many models there are: a detector is whatever answers a picture with a WorkAnswer.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import BinaryIO, Protocol

from daemon.api import codes
from daemon.api.admission import Budget, Places
from daemon.api.algorithm import AlgorithmArgument
from daemon.api.arguments import RequestArgument
from daemon.api.codes import NO_REQ_ID, Refusal
from daemon.api.orientation import Picture
from daemon.api.response import ResponseArgument
from daemon.messages import WorkAnswer
from daemon.settings import LARGEST_BODIES, LARGEST_PICTURES, Settings

_READ_BYTES = 256 * 1024
_BESIDES_BYTES = 64 * 1024  # req_id, field names and the like
_LEAST_S = 0.05  # with less left there is no answering in time
_log = logging.getLogger("firewitness.api")

_REFUSED = {
    "overloaded": codes.OVERLOADED,
    "not_ready": codes.NOT_READY,
    "failed": codes.INFERENCE_FAILED,
}


class Detector(Protocol):
    """The work channel, as daemon/detect/work.py offers it; called by many threads at once."""

    def detect(self, image: Picture, /, *, kind: str, deadline_s: float, floor: float) -> WorkAnswer:
        """Refused at once, not timed out; a detector that is not there answers not_ready."""


class FireDetectorService:
    """Answers any body with an envelope; at most `api.max_decoding` pictures are decoded or looked at at once."""

    def __init__(self, settings: Settings, detector: Detector) -> None:
        self._settings = settings.api
        self._thresholds = settings.detect.thresholds.as_dict()
        self._detector = detector
        self._places = Places(settings.api.max_decoding)
        self._pixels = Budget(LARGEST_PICTURES * settings.api.max_pixels)
        # base64 makes 4 of 3; line breaks, JSON's \/ and a form's %2B make it more, but never twice in practice
        self._most_body_bytes = 2 * settings.api.max_upload + _BESIDES_BYTES
        self._bytes = Budget(LARGEST_BODIES * self._most_body_bytes)

    def answer(self, content_type: str, content_length: int | None, stream: BinaryIO) -> ResponseArgument:
        """The envelope for one POST; never raises."""
        req_id = NO_REQ_ID
        try:
            with self._bytes.lent(self._most_of(content_length), self._settings.deadline):
                asked = RequestArgument.from_post_data(content_type, self._read(content_length, stream))
                req_id = asked.req_id
                return self._answer(asked, time.monotonic())
        except Refusal as refusal:
            return ResponseArgument.from_refusal(refusal, req_id)
        except Exception:
            _log.exception("POST /fire_detector failed")
            return ResponseArgument.from_refusal(Refusal(codes.UNKNOWN), req_id)

    def _most_of(self, content_length: int | None) -> int:
        """How long a body can become; raises Refusal (1006) where it is too long by its own account."""
        most = self._most_body_bytes
        if content_length is None:
            return most
        if content_length > most:
            raise Refusal(codes.TOO_MANY_BYTES, f"a body may have {most}")
        return content_length

    def _read(self, content_length: int | None, stream: BinaryIO) -> bytes:
        """The whole body; one of unknown length is refused where it passes the limit."""
        most = self._most_body_bytes
        body = bytearray()
        try:
            while part := stream.read(min(_READ_BYTES, most + 1 - len(body))):
                body += part
        except OSError as error:  # gunicorn's errors of a broken or ended body are such
            raise Refusal(codes.UNREADABLE, "the body could not be read to its end") from error
        if len(body) > most:
            raise Refusal(codes.TOO_MANY_BYTES, f"a body may have {most}")
        if content_length is not None and len(body) < content_length:
            raise Refusal(codes.UNREADABLE, "the body ended early")
        return bytes(body)

    def _answer(self, asked: RequestArgument, began_s: float) -> ResponseArgument:
        with ExitStack() as held:
            held.enter_context(self._places.one(self._settings.deadline))

            def make_room(pixels: int) -> None:
                held.enter_context(self._pixels.lent(pixels, max(self._left_s(began_s), 0)))

            argument = AlgorithmArgument.from_request_arg(asked, self._settings, make_room)
            found = self._detect(argument.image, began_s)
        if found.outcome in _REFUSED:
            if found.outcome == "failed":  # the others are the usual refusals, which need no line each
                _log.warning("the detector failed on a picture: %s", found.detail or "it gave no reason")
            raise Refusal(_REFUSED[found.outcome])
        if found.outcome != "analysed" or found.model is None:
            raise ValueError(f"the detector answered {found.outcome!r}")
        elapsed_ms = (time.monotonic() - began_s) * 1000
        return ResponseArgument.from_detections(
            asked.req_id, argument.header, found.detections, self._thresholds, found.model, elapsed_ms
        )

    def _detect(self, image: Picture, began_s: float) -> WorkAnswer:
        left_s = self._left_s(began_s)
        if left_s < _LEAST_S:
            raise Refusal(codes.OVERLOADED)
        return self._detector.detect(image, kind="post", deadline_s=left_s, floor=min(self._thresholds.values()))

    def _left_s(self, began_s: float) -> float:
        return self._settings.deadline - (time.monotonic() - began_s)
