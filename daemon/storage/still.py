# SPDX-License-Identifier: AGPL-3.0-or-later
"""The file of a still: a JPEG that holds its whole record, so that index and ledger line can be made from it again.

Segments and tags as in docs/formats.md: SOI, APP0 (JFIF), APP1 EXIF (daemon/storage/exif.py), APP1 XMP, picture. It
draws nothing and scales nothing. Worker processes import this: only numpy, cv2, the standard library and msgspec.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from xml.etree import ElementTree

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from daemon.domain import MAX_DETECTIONS, Evidence
from daemon.storage import exif, record

QUALITY = 95
MOST_XMP_BYTES = 60_000
NAMESPACE = "https://firewitness.example/ns/1.0/"

# Markers of ITU-T T.81, table B.1
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # SOF0, 1, 2: baseline, extended, progressive Huffman

# XMP Specification Part 3, 1.1.3: the packet follows this signature in an APP1 segment
_XMP_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\x00"
# XMP Specification Part 1, 7.3.2: a packet that is not to be changed in place
_PACKET_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
_PACKET_END = b'<?xpacket end="r"?>'
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

# A flat or torn page reads as zeros. No Huffman-coded block of ours has so many: the longest code of zeros is followed
# by ones within 32 bits (T.81, annex K.3).
_TORN = bytes(64)


class _Segment(NamedTuple):
    marker: int
    start: int
    """Offset of its FF."""
    payload: memoryview


def encode(bgr: npt.NDArray[np.uint8], evidence: Evidence, quality: int = QUALITY) -> bytes:
    """The still as it is to be stored: `bgr` is (height, width, 3), as seen, without any drawing.

    The weakest detections are left out (and counted in `detections_omitted`) where the record would not fit its
    segment; `read_record` gives what the file says. Raises ValueError when picture and record do not go together.
    """
    if bgr.shape != (evidence.height_px, evidence.width_px, 3) or bgr.dtype != np.uint8:
        size = f"{evidence.width_px}x{evidence.height_px}"
        raise ValueError(f"a picture of {bgr.shape} {bgr.dtype} for a record of {size}")
    packet = _packet(evidence)
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    done, jpeg = cv2.imencode(".jpg", bgr, flags)
    if not done:
        raise ValueError("the picture could not be encoded")
    plain = jpeg.tobytes()
    jfif = next(_segments(memoryview(plain)))
    at = jfif.start + 4 + len(jfif.payload)
    ours = (_segment(_APP1, exif.block(evidence)), _segment(_APP1, _XMP_SIGNATURE + packet))
    return b"".join((plain[:at], *ours, plain[at:]))


def read_record(jpeg: bytes | memoryview) -> Evidence:
    """The record that the file holds; raises ValueError when it holds none that parses."""
    for segment in _segments(memoryview(jpeg)):
        if segment.marker == _APP1 and bytes(segment.payload[: len(_XMP_SIGNATURE)]) == _XMP_SIGNATURE:
            return record.from_json(_parse(bytes(segment.payload[len(_XMP_SIGNATURE) :])))
    raise ValueError("no XMP packet")


def has_end(jpeg: bytes | memoryview) -> bool:
    """Whether the last bytes are a JPEG's: what is_whole asks that costs nothing."""
    return bytes(jpeg[-2:]) == bytes((0xFF, _EOI))


def is_whole(jpeg: bytes | memoryview) -> bool:
    """Whether the file is a complete JPEG: from SOI to EOI, no page of zeros in between, and it decodes to its size."""
    view = memoryview(jpeg)
    size, scan = (0, 0), 0
    try:
        for segment in _segments(view):
            if segment.marker in _FRAMES:
                height, width = struct.unpack(">HH", segment.payload[1:5])
                size = (height, width)
            scan = segment.start
    except (ValueError, struct.error):
        return False
    if not has_end(view) or _TORN in bytes(view[scan:]):
        return False
    picture = cv2.imdecode(np.frombuffer(view, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return picture is not None and picture.shape[:2] == size


def _packet(evidence: Evidence) -> bytes:
    """The XMP packet with as many detections, the strongest, as fit."""
    if len(evidence.detections) <= MAX_DETECTIONS and len(packet := _written(evidence)) <= MOST_XMP_BYTES:
        return packet
    strongest = sorted(evidence.detections, key=lambda each: each.confidence, reverse=True)
    fitting, too_many = 0, min(len(strongest), MAX_DETECTIONS) + 1
    if len(packet := _written(_with(evidence, strongest, 0))) > MOST_XMP_BYTES:
        raise ValueError(f"a record of {len(packet)} bytes without its detections; allowed are {MOST_XMP_BYTES}")
    while too_many - fitting > 1:
        count = (fitting + too_many) // 2
        attempt = _written(_with(evidence, strongest, count))
        if len(attempt) <= MOST_XMP_BYTES:
            fitting, packet = count, attempt
        else:
            too_many = count
    return packet


def _with(evidence: Evidence, strongest: list[Any], count: int) -> Evidence:
    omitted = evidence.detections_omitted + len(strongest) - count
    return replace(evidence, detections=tuple(strongest[:count]), detections_omitted=omitted)


def _written(evidence: Evidence) -> bytes:
    text = record.canonical(record.to_json(evidence)).decode()
    # U+FFFE and U+FFFF are no characters of XML 1.0 (2.2); JSON can say them in another way. All below U+0020 are
    # escaped in JSON already.
    text = text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""'
        f' xmlns:firewitness="{NAMESPACE}"><firewitness:record>{text}</firewitness:record></rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    )
    return b"".join((_PACKET_BEGIN, body.encode(), _PACKET_END))


def _parse(packet: bytes) -> Any:
    try:
        root = ElementTree.fromstring(packet)
    except ElementTree.ParseError as error:
        raise ValueError(f"the XMP packet does not parse: {error}") from error
    found = root.findtext(f".//{{{NAMESPACE}}}record")
    if found is None:
        raise ValueError("the XMP packet has no record")
    return msgspec.json.decode(found)


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _segments(jpeg: memoryview) -> Iterator[_Segment]:
    """The segments up to the one that begins the scan (SOS); raises ValueError where a file is cut or no JPEG."""
    if bytes(jpeg[:2]) != bytes((0xFF, _SOI)):
        raise ValueError("no JPEG")
    at = 2
    while True:
        if at + 4 > len(jpeg) or jpeg[at] != 0xFF:
            raise ValueError("the JPEG's segments are cut")
        marker = jpeg[at + 1]
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(jpeg):
            raise ValueError("the JPEG's segments are cut")
        yield _Segment(marker, at, jpeg[at + 4 : at + 2 + length])
        if marker == _SOS:
            return
        at += 2 + length
