# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads a clip back: its record, its fragments, and where each frame lies; also of one that was cut anywhere.

Reads boxes, not pictures: a day's clips are passed through without touching what is in `mdat`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from daemon.clips.mp4 import FRAMES_BOX, RECORD_BOX
from daemon.domain import Clip

_MOST_JSON_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its time, and where its NAL units (each after its length) lie in the file."""

    pts: int
    at_ns: int
    key: bool
    corrupt: bool
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment, frames in the order of decoding."""

    end: int
    """Offset behind it."""
    incidents: tuple[str, ...]
    """Of its camera, that the clip serves so far."""
    sibling_of: tuple[str, ...]
    """Of other cameras of its site."""
    relative_uncertainty_s: float
    uncertainty_s: float
    clock_synchronised: bool
    settling: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the fragments."""

    clip: Clip
    configuration: bytes
    """The contents of `avcC` or `hvcC`: a decoder's extradata."""
    end: int


def read_head(file: BinaryIO) -> Head:
    """Raises ValueError where this is not the beginning of a clip of ours."""
    clip, at = None, 0
    for kind, begin, end in boxes(file, 0):
        if kind == b"uuid" and clip is None:
            clip = _clip_of(_uuid_json(file, begin, end, RECORD_BOX))
        elif kind == b"moov" and clip is not None:
            return Head(clip, _configuration(_read(file, begin, end)), end)
        elif kind != b"ftyp":
            break
        at = end
    raise ValueError(f"this is no clip: its head ends at byte {at}")


def fragments(file: BinaryIO, head: Head, *, checked_from: int | None = None) -> Iterator[Fragment]:
    """The whole fragments; what is behind the last one's end was torn while being written, or is not ours.

    Each that ends behind the byte `checked_from` is compared with its hash.
    """
    told: dict[str, Any] | None = None
    sizes: list[int] = []
    coded_from, before = 0, _read(file, 0, head.end)
    for kind, begin, end in boxes(file, head.end):
        try:
            if kind == b"uuid" and told is None:
                told = _uuid_json(file, begin, end, FRAMES_BOX)
            elif kind == b"moof" and told is not None and not sizes:
                sizes, coded_from = _sizes(_read(file, begin, end)), begin
            elif kind == b"mdat" and told is not None and sizes and sum(sizes) == end - begin - 8:
                if (
                    checked_from is not None
                    and end > checked_from
                    and _sha256(file, before, coded_from, end) != told["sha256"]
                ):
                    return
                before = b""
                yield _fragment(told, sizes, begin + 8, end)
                told, sizes = None, []
            else:
                return
        except (ValueError, KeyError, TypeError, IndexError, struct.error):
            return


def number_of(file: BinaryIO, pts: int) -> int | None:
    """The number, counted from 0 as they are shown, of the frame of that PTS; None where the clip has no such frame."""
    shown = [frame.pts for part in fragments(file, read_head(file)) for frame in part.frames]
    return sum(each < pts for each in shown) if pts in shown else None


def boxes(file: BinaryIO, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, beginning and end of each whole box from there on."""
    size = file.seek(0, 2)
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length < 8 or at + length > size:
            return
        yield kind, at, at + length
        at += length


def _fragment(told: dict[str, Any], sizes: list[int], offset: int, end: int) -> Fragment:
    frames = []
    keys, corrupt = set(told["key"]), set(told["corrupt"])
    for place, (pts, at_ns, size) in enumerate(zip(told["pts"], told["captured_at_ns"], sizes, strict=True)):
        frames.append(Frame(int(pts), int(at_ns), place in keys, place in corrupt, offset, size))
        offset += size
    if not frames:
        raise ValueError("a fragment without frames")
    return Fragment(
        end,
        tuple(map(str, told["incidents"])),
        tuple(map(str, told.get("sibling_of", ()))),
        float(told["relative_uncertainty_s"]),
        float(told["uncertainty_s"]),
        bool(told["clock_synchronised"]),
        bool(told["settling"]),
        tuple(frames),
    )


def _clip_of(told: dict[str, Any]) -> Clip:
    try:
        numerator, denominator = told["time_base"]
        return Clip(
            id=str(told["id"]),
            camera=str(told["camera"]),
            run=str(told["run"]),
            time_base=(int(numerator), int(denominator)),
            codec=str(told["codec"]),
            width_px=int(told["width_px"]),
            height_px=int(told["height_px"]),
            first_dts=int(told["first_dts"]),
            cause=str(told["cause"]),
            drill=bool(told["drill"]),
            version=str(told["version"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("a record of a clip that is none") from error


def _sizes(moof: bytes) -> list[int]:
    """Of the samples, from the one `trun` that a fragment of ours has."""
    at = moof.index(b"trun") + 4
    flags, count = struct.unpack_from(">II", moof, at)
    if flags & 0xFFFFFF != 0xF01 or at + 12 + 16 * count != len(moof):
        raise ValueError("not a fragment of ours")
    return [struct.unpack_from(">I", moof, at + 12 + 16 * place + 4)[0] for place in range(count)]


def _configuration(moov: bytes) -> bytes:
    for kind in (b"avcC", b"hvcC"):
        if (at := moov.find(kind)) >= 0:
            (length,) = struct.unpack_from(">I", moov, at - 4)
            return moov[at + 4 : at - 4 + length]
    raise ValueError("a clip without a decoder's configuration")


def _uuid_json(file: BinaryIO, begin: int, end: int, expected: bytes) -> dict[str, Any]:
    content = _read(file, begin, end)
    if content[8:24] != expected:
        raise ValueError("a box of somebody else")
    value = json.loads(content[24:])
    if not isinstance(value, dict):
        raise ValueError("a box that does not hold an object")
    return value


def _sha256(file: BinaryIO, before: bytes, begin: int, end: int) -> str:
    digest = hashlib.sha256(before)
    file.seek(begin)
    while begin < end and (some := file.read(min(1 << 20, end - begin))):
        digest.update(some)
        begin += len(some)
    return digest.hexdigest()


def _read(file: BinaryIO, begin: int, end: int) -> bytes:
    if end - begin > _MOST_JSON_BYTES:
        raise ValueError("a box that is too large")
    file.seek(begin)
    return file.read(end - begin)
