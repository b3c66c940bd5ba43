# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes a clip: fragmented MP4 (ISO/IEC 14496-12) whose every fragment says when each of its frames was seen.

    ftyp  uuid(record)  moov   { uuid(frames)  moof  mdat }…

The `uuid` boxes hold canonical JSON (docs/formats.md); players pass over them. A fragment's has the SHA-256 of `moof` and
`mdat` (of the head, too, where it is the first): what a power failure tore is known for it. Bytes in, bytes out.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.clips.nal import configuration, with_lengths
from daemon.domain import Clip, FrameTime
from daemon.storage.record import canonical

RECORD_BOX = uuid.UUID("6f1d4a52-0c1b-5d0a-9b7e-0b6c6f2f3a01").bytes
FRAMES_BOX = uuid.UUID("6f1d4a52-0c1b-5d0a-9b7e-0b6c6f2f3a02").bytes
_KEY, _NO_KEY = 0x0200_0000, 0x0101_0000  # depends on nothing; depends on others and is no sync sample
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_TRUN_FLAGS = 0xF01  # data offset; of each sample duration, size, flags and composition offset


@dataclass(frozen=True, slots=True)
class Sample:
    """One coded picture. Times are in the run's time base; `at_ns` is UTC."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool
    corrupt: bool
    at_ns: int


def header(clip: Clip, parameters: Sequence[bytes]) -> bytes:
    """What stands before the first fragment. `parameters`: Annex B that may hold the parameter sets, the best first.

    Raises ValueError where none does.
    """
    brand = b"hvc1" if clip.codec == "hevc" else b"avc1"
    kind, entry = (b"hvc1", b"hvcC") if clip.codec == "hevc" else (b"avc1", b"avcC")
    configured = _box(entry, configuration(clip.codec, *parameters))
    return (
        _box(b"ftyp", b"iso6\x00\x00\x00\x00iso6mp41" + brand)
        + _box(b"uuid", RECORD_BOX + canonical(clip_json(clip)))
        + _moov(clip, kind, configured)
    )


def clip_json(clip: Clip) -> dict[str, object]:
    """The clip's record as docs/formats.md has it."""
    return {
        "id": clip.id,
        "camera": clip.camera,
        "run": clip.run,
        "time_base": list(clip.time_base),
        "codec": clip.codec,
        "width_px": clip.width_px,
        "height_px": clip.height_px,
        "first_dts": str(clip.first_dts),
        "cause": clip.cause,
        "drill": clip.drill,
        "version": clip.version,
    }


def fragment(
    clip: Clip,
    number: int,
    samples: Sequence[Sample],
    time: FrameTime,
    incidents: Sequence[str],
    head: bytes = b"",
    sibling_of: Sequence[str] = (),
) -> bytes:
    """The `number`th fragment, counted from 1, after `head` where it is the first.

    `time` tells how well the times of its frames are known; `incidents` and `sibling_of` which of its own camera's, and of
    others', the clip serves so far.
    """
    payloads = [with_lengths(sample.data) for sample in samples]
    coded = _moof(clip, number, samples, [len(each) for each in payloads]) + _box(b"mdat", b"".join(payloads))
    served = {"incidents": list(incidents), "sibling_of": list(sibling_of)}
    told = {"sha256": hashlib.sha256(head + coded).hexdigest(), **served}
    return head + _box(b"uuid", FRAMES_BOX + canonical(told | _frames_json(samples, time))) + coded


def _frames_json(samples: Sequence[Sample], time: FrameTime) -> dict[str, object]:
    return {
        "uncertainty_s": float(time.uncertainty_s),
        "relative_uncertainty_s": float(time.relative_uncertainty_s),
        "clock_synchronised": time.clock_synchronised,
        "settling": time.settling,
        "pts": [str(sample.pts) for sample in samples],
        "captured_at_ns": [str(sample.at_ns) for sample in samples],
        "key": [place for place, sample in enumerate(samples) if sample.key],
        "corrupt": [place for place, sample in enumerate(samples) if sample.corrupt],
    }


def _moof(clip: Clip, number: int, samples: Sequence[Sample], sizes: Sequence[int]) -> bytes:
    unit = clip.time_base[0]
    entries = b"".join(
        struct.pack(
            ">IIIi", sample.duration * unit, size, _KEY if sample.key else _NO_KEY, (sample.pts - sample.dts) * unit
        )
        for sample, size in zip(samples, sizes, strict=True)
    )
    before = _full_box(b"tfhd", 0, 0x020000, struct.pack(">I", 1)) + _full_box(
        b"tfdt", 1, 0, struct.pack(">Q", (samples[0].dts - clip.first_dts) * unit)
    )
    counted = _full_box(b"mfhd", 0, 0, struct.pack(">I", number))
    length = 8 + len(counted) + 8 + len(before) + 20 + len(entries)  # of moof: the data begins 8 behind it
    run = _full_box(b"trun", 1, _TRUN_FLAGS, struct.pack(">Ii", len(samples), length + 8) + entries)
    return _box(b"moof", counted + _box(b"traf", before + run))


def _moov(clip: Clip, kind: bytes, configured: bytes) -> bytes:
    width, height = clip.width_px, clip.height_px
    mvhd = struct.pack(">IIIIIHHQ", 0, 0, 1000, 0, 0x10000, 0x0100, 0, 0) + _UNITY + bytes(24) + struct.pack(">I", 2)
    tkhd = struct.pack(">IIIIIQHHHH", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0) + _UNITY
    tkhd += struct.pack(">II", width << 16, height << 16)
    mdhd = struct.pack(">IIIIHH", 0, 0, clip.time_base[1], 0, 0x55C4, 0)
    track = _full_box(b"tkhd", 0, 7, tkhd) + _box(
        b"mdia",
        _full_box(b"mdhd", 0, 0, mdhd)
        + _full_box(b"hdlr", 0, 0, struct.pack(">I4sIII", 0, b"vide", 0, 0, 0) + b"Firewitness\x00")
        + _box(b"minf", _minf(_sample_entry(kind, width, height, configured))),
    )
    extends = _box(b"mvex", _full_box(b"trex", 0, 0, struct.pack(">IIIII", 1, 1, 0, 0, 0)))
    return _box(b"moov", _full_box(b"mvhd", 0, 0, mvhd) + _box(b"trak", track) + extends)


def _minf(entry: bytes) -> bytes:
    here = _box(b"dinf", _full_box(b"dref", 0, 0, struct.pack(">I", 1) + _full_box(b"url ", 0, 1, b"")))
    table = _full_box(b"stsd", 0, 0, struct.pack(">I", 1) + entry)
    for name in (b"stts", b"stsc", b"stco"):
        table += _full_box(name, 0, 0, struct.pack(">I", 0))
    table += _full_box(b"stsz", 0, 0, struct.pack(">II", 0, 0))
    return _full_box(b"vmhd", 0, 1, bytes(8)) + here + _box(b"stbl", table)


def _sample_entry(kind: bytes, width: int, height: int, configured: bytes) -> bytes:
    picture = struct.pack(">HHIIIH", width, height, 0x480000, 0x480000, 0, 1) + bytes(32) + struct.pack(">Hh", 24, -1)
    return _box(kind, bytes(6) + struct.pack(">H", 1) + bytes(16) + picture + configured)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, version: int, flags: int, content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + content)
