# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clips of a farm: transcoded where need be, kept in a folder for the next time, loaded once for all cameras."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path

import av
from av.container import InputContainer

from daemon.errors import FirewitnessError
from daemon.simulate.bitstream import CODECS
from daemon.simulate.clip import Clip, read_clip
from daemon.simulate.encoder import Encoder, Encoding, Target, target_for, transcode


def default_cache() -> Path:
    """A folder of this user's below the system's temporary one."""
    return Path(tempfile.gettempdir()) / f"firewitness-clips-{os.getuid()}"


class Library:
    """Clips by source and encoding."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._clips: dict[Path, Clip] = {}
        self._loading = asyncio.Lock()

    async def load(self, source: Path, encoding: Encoding) -> Clip:
        """A clip of `source`; the same object for every camera that asks for the same thing."""
        async with self._loading:
            path = await asyncio.to_thread(prepare, source, encoding, self._cache)
            if path not in self._clips:
                self._clips[path] = await asyncio.to_thread(read_clip, path)
            return self._clips[path]

    async def still(self, like: Clip, frame: int | None) -> Clip:
        """One GOP that shows nothing but picture `frame` of a clip, or black, in that clip's size and codec."""

        def make() -> Clip:
            picture = black_picture(like) if frame is None else like.picture(frame)
            return make_still(picture, like, self._cache)

        return await asyncio.to_thread(make)


def _opened(source: Path) -> InputContainer:
    try:
        container = av.open(str(source))
    except av.error.InvalidDataError:
        raise FirewitnessError(f"{source} is no video") from None
    except OSError as error:
        raise FirewitnessError(f"{source} cannot be read ({error.strerror})") from None
    if not container.streams.video:
        container.close()
        raise FirewitnessError(f"{source} has no pictures")
    return container


def prepare(source: Path, encoding: Encoding, cache: Path) -> Path:
    """The file to play: the source itself where it can be copied as it is, else one that is encoded from it.

    Raises FirewitnessError for what is no video.
    """
    source = source.resolve()
    with _opened(source) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name in CODECS and not encoding.asks_for_anything():
            return source
        target = target_for(stream, encoding)
    state = source.stat()
    made = _cache_path(cache, source, state.st_mtime_ns, state.st_size, target)
    if not made.exists():
        transcode(source, target, made)
    return made


def black_picture(like: Clip) -> av.VideoFrame:
    """What a camera with its lens cap on sends: limited-range black."""
    picture = av.VideoFrame(like.width_px, like.height_px, "yuv420p")
    for plane, level in zip(picture.planes, (16, 128, 128), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    return picture


def make_still(picture: av.VideoFrame, like: Clip, cache: Path) -> Clip:
    """A clip of one GOP of one picture."""
    digest = hashlib.sha256(b"".join(bytes(plane) for plane in picture.planes)).hexdigest()
    target = Target(like.codec, (like.width_px, like.height_px), like.rate, like.gop_frames, 2_000_000)
    made = _cache_path(cache, "still", digest, target)
    if not made.exists():
        with Encoder(made, target) as encoder:
            for _ in range(target.gop_frames):
                encoder.add(picture)
    return read_clip(made)


def _cache_path(cache: Path, *what: object) -> Path:
    return cache / (hashlib.sha256(repr(what).encode()).hexdigest()[:24] + ".mp4")
