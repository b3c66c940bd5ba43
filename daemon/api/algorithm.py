# SPDX-License-Identifier: AGPL-3.0-or-later
"""Second layer of POST /fire_detector: RequestArgument → AlgorithmArgument, pixels for the detector; no HTTP here."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass

from daemon.api import codes, files
from daemon.api.arguments import RequestArgument
from daemon.api.codes import Refusal
from daemon.api.headers import Header
from daemon.api.orientation import Picture
from daemon.api.picture import read_picture
from daemon.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class AlgorithmArgument:
    """What the detector is given: `image` upright, BGR uint8, height × width × 3; `header` tells of it as stored."""

    image: Picture
    header: Header

    @classmethod
    def from_request_arg(
        cls, asked: RequestArgument, settings: ApiSettings, make_room: Callable[[int], None]
    ) -> AlgorithmArgument:
        """Fetches, checks and decodes the picture once there is room for its pixels; raises Refusal (1004 to 1008)."""
        data = _fetch(asked, settings)
        picture = read_picture(
            data, most_bytes=settings.max_upload, most_pixels=settings.max_pixels, make_room=make_room
        )
        return cls(picture.image, picture.header)


def _fetch(asked: RequestArgument, settings: ApiSettings) -> bytes:
    if asked.image is None:
        data = files.read_below(settings.image_roots, asked.image_path or "", settings.max_upload)
        if data is None:
            raise Refusal(codes.BAD_PATH)
        return data
    if len(asked.image) // 4 * 3 - 2 > settings.max_upload:  # at most two bytes are padding
        raise Refusal(codes.TOO_MANY_BYTES, f"a picture may have {settings.max_upload}")
    try:
        return binascii.a2b_base64(asked.image, strict_mode=True)
    except binascii.Error as error:
        raise Refusal(codes.BAD_BASE64, str(error)) from None
