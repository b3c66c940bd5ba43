# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recording that came from elsewhere, opened as what it is: one file, which can name no other and no address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

CONTAINER_OF = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv", "avi": "avi", "mpegts": "ts", "mpeg": "mpg",
}  # fmt: skip
"""FFmpeg's demuxer → the file's ending. A playlist would have it fetch what somebody else chose."""


@contextmanager
def opened(file: BinaryIO) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Its container and its one video stream. Raises ValueError with what is wrong, also while it is read."""
    allowed = {"format_whitelist": ",".join(CONTAINER_OF), "protocol_whitelist": "none"}
    try:
        with av.open(file, "r", container_options=allowed) as container:
            videos = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
            if not videos:
                raise ValueError("there is no video in it")
            if len(videos) > 1:
                raise ValueError(
                    f"there are {len(videos)} videos in it, of which one would be looked at: give each by itself"
                )
            if container.format.name not in CONTAINER_OF:
                raise ValueError(f"it is {container.format.name}, not one of {', '.join(CONTAINER_OF.values())}")
            yield container, videos[0]
    except av.error.FFmpegError as error:
        raise ValueError(f"it is no video that can be read ({error.strerror or 'damaged'})") from error
