# SPDX-License-Identifier: AGPL-3.0-or-later
"""The still: other programs read its EXIF and XMP, its colours are the camera's, and a torn one is known as torn."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.domain import Detection, Evidence, FrameTime, ModelInfo
from daemon.storage import record, still

NASTY = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
EXIFTOOL = shutil.which("exiftool")


def _detections(count: int, zone: str | None = None) -> tuple[Detection, ...]:
    boxes = [(i / 3, i / 7, i / 3 + 11, 99.123456789) for i in range(count)]
    return tuple(Detection("smoke", (i + 1) / (count + 1), box, zone) for i, box in enumerate(boxes))


def _packet(jpeg: bytes) -> bytes:
    start = jpeg.index(b"<?xpacket begin")
    return jpeg[start : jpeg.index(b'<?xpacket end="r"?>') + 19]


def test_pillow_reads_the_tags(make_evidence, picture) -> None:
    """A foreign reader finds camera, time to the millisecond, time zone, id and size."""
    evidence = make_evidence()
    with Image.open(io.BytesIO(still.encode(picture, evidence))) as image:
        main, capture = image.getexif(), image.getexif().get_ifd(0x8769)
    assert main[0x0131] == "Firewitness 0.1.0"
    assert (capture[0xA002], capture[0xA003]) == (320, 180)
    assert capture[0x9003] == "2026:11:23 16:05:09"
    assert (capture[0x9291], capture[0x9011]) == ("123", "+00:00")
    assert capture[0xA420] == evidence.id.replace("-", "")
    assert capture[0xA431] == "hall"


@pytest.mark.skipif(EXIFTOOL is None and not os.environ.get("CI"), reason="needs exiftool")
def test_exiftool_agrees(make_evidence, picture, tmp_path) -> None:
    """Exiftool finds the same EXIF, the record in the XMP, and nothing to warn of."""
    evidence = make_evidence(detections=(Detection("fire", 0.5, (1, 2, 3, 4), "größe <&>"),))
    file = tmp_path / "still.jpg"
    file.write_bytes(still.encode(picture, evidence))
    command = [EXIFTOOL or "exiftool", "-json", "-struct", "-G1", "-validate", "-warning", "-a", str(file)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    everything = [EXIFTOOL or "exiftool", "-json", "-a", "-G1", str(file)]
    tags = json.loads(subprocess.run(everything, capture_output=True, check=True).stdout)[0]
    assert not [value for tag, value in found.items() if tag.endswith("Warning")]
    assert tags["ExifIFD:DateTimeOriginal"] == "2026:11:23 16:05:09"
    assert str(tags["ExifIFD:SubSecTimeOriginal"]) == "123"
    assert tags["ExifIFD:OffsetTimeOriginal"] == "+00:00"
    assert tags["ExifIFD:SerialNumber"] == "hall"
    assert tags["ExifIFD:ImageUniqueID"] == evidence.id.replace("-", "")
    assert json.loads(tags["XMP-firewitness:Record"]) == record.to_json(evidence)


@settings(max_examples=40, deadline=None)
@given(camera=NASTY, zone=NASTY, label=NASTY, pts=st.integers(-(2**63) + 1, 2**63 - 1))
def test_record_comes_back_from_the_file(camera: str, zone: str, label: str, pts: int) -> None:
    """Whatever a zone or camera is called, the file gives its record back exactly and stays a whole JPEG."""
    evidence = Evidence(
        id="0193a000-0000-7000-8000-000000000002",
        camera=camera,
        kind="hit",
        run="r",
        pts=pts,
        time_base=(1, 90000),
        time=FrameTime(0, 0.1, 0.1, False, True, None),
        width_px=32,
        height_px=16,
        detections=(Detection(label, 0.5, (0.1, 0.2, 1 / 3, 4.0), zone),),
        incident=None,
        model=ModelInfo("ab", label, zone, 640),
        thresholds={label: 0.25},
        damage="not_known",
        colour=("bt601", "full"),
        version="1",
    )
    jpeg = still.encode(np.zeros((16, 32, 3), np.uint8), evidence)
    assert still.read_record(jpeg) == evidence
    assert still.read_record(memoryview(jpeg)) == evidence
    assert still.is_whole(jpeg)


@pytest.mark.parametrize("zone", [None, "z" * 60, "<&>" * 20, "\x01" * 60, "🔥" * 60])
def test_many_detections_fit_one_packet(make_evidence, picture, zone: str | None) -> None:
    """500 detections leave the strongest, at most 200, in a packet of at most 60 kB; the rest is counted."""
    jpeg = still.encode(picture, make_evidence(detections=_detections(500, zone)))
    kept = still.read_record(jpeg)
    assert len(_packet(jpeg)) <= 60_000
    assert 50 < len(kept.detections) <= 200
    assert kept.detections_omitted == 500 - len(kept.detections)
    strongest = sorted((each.confidence for each in _detections(500)), reverse=True)
    assert [each.confidence for each in kept.detections] == strongest[: len(kept.detections)]


def test_as_many_as_fit_are_kept(make_evidence, picture) -> None:
    """One detection more would not have fitted: nothing is left out for convenience."""
    evidence = make_evidence(detections=_detections(200, "<&>" * 20))
    jpeg = still.encode(picture, evidence)
    omitted = still.read_record(jpeg).detections_omitted
    assert 0 < omitted < 200
    assert len(_packet(jpeg)) > 60_000 - 1000


def test_what_the_file_says_can_be_stored_again(make_evidence, picture) -> None:
    """A record that was cut to fit is left as it is when written again."""
    kept = still.read_record(still.encode(picture, make_evidence(detections=_detections(400, "x" * 60))))
    assert still.read_record(still.encode(picture, kept)) == kept


def test_a_record_too_large_without_detections_is_refused(make_evidence, picture) -> None:
    """Nothing can be left out of a record that is too large by its other fields: a ValueError says so."""
    with pytest.raises(ValueError, match="60000"):
        still.encode(picture, make_evidence(version="v" * 70_000))


@pytest.mark.parametrize("shape", [(180, 319, 3), (320, 180, 3), (180, 320), (180, 320, 4)])
def test_picture_of_another_size_is_refused(make_evidence, shape: tuple[int, ...]) -> None:
    """A record never describes a picture of another size than its file has."""
    with pytest.raises(ValueError, match="320x180"):
        still.encode(np.zeros(shape, np.uint8), make_evidence())


def test_colours_survive(make_evidence) -> None:
    """Flat patches come back within 3 of 255 in every channel, read by OpenCV and by Pillow."""
    levels = (0, 64, 128, 191, 255)
    colours = np.array([(b, g, r) for b in levels for g in levels for r in levels], np.uint8)
    chart = colours.reshape(5, 25, 3).repeat(32, 0).repeat(32, 1)
    evidence = make_evidence(width_px=800, height_px=160)
    jpeg = still.encode(chart, evidence)
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    with Image.open(io.BytesIO(jpeg)) as image:
        pillow = np.asarray(image.convert("RGB"))[:, :, ::-1]
    for read in (seen, pillow):
        middle = read.reshape(5, 32, 25, 32, 3)[:, 8:24, :, 8:24].astype(int)
        wanted = chart.reshape(5, 32, 25, 32, 3)[:, 8:24, :, 8:24].astype(int)
        assert np.abs(middle - wanted).max() <= 3


def test_the_picture_is_plain_jfif(make_evidence, picture) -> None:
    """SOI, JFIF, EXIF, XMP in this order; 4:2:0 as the format says."""
    jpeg = still.encode(picture, make_evidence())
    assert jpeg[:4] == b"\xff\xd8\xff\xe0"
    assert jpeg[6:11] == b"JFIF\x00"
    assert jpeg[20:22] == b"\xff\xe1"
    assert jpeg[24:30] == b"Exif\x00\x00"
    with Image.open(io.BytesIO(jpeg)) as image:
        assert [each[1:3] for each in image.layer] == [(2, 2), (1, 1), (1, 1)]


def test_cut_anywhere_is_not_whole(make_evidence, picture) -> None:
    """A file that a crash cut is never taken for whole, wherever it was cut."""
    jpeg = still.encode(picture, make_evidence())
    for at in [*range(0, 3000, 41), *range(3000, len(jpeg), 997), len(jpeg) - 2, len(jpeg) - 1]:
        assert not still.is_whole(jpeg[:at])
    assert still.is_whole(jpeg)


@pytest.mark.parametrize("page", range(1, 6))
def test_a_page_of_zeros_is_not_whole(make_evidence, page: int) -> None:
    """A page that never reached the disk reads as zeros: known as torn though libjpeg would decode it."""
    noise = np.random.default_rng(1).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    jpeg = bytearray(still.encode(noise, make_evidence()))
    at = page * 4096
    jpeg[at : at + 4096] = bytes(4096)
    assert not still.is_whole(bytes(jpeg))


@pytest.mark.parametrize("level", [0, 1, 16, 128, 254, 255])
@pytest.mark.parametrize("checks", [1, 8, 16])
def test_flat_pictures_are_whole(make_evidence, level: int, checks: int) -> None:
    """A black, flat or chequered picture compresses to dull bytes but is no torn file."""
    rows, columns = np.mgrid[0:180, 0:320] // checks
    grey = np.where((rows + columns) % 2 == 0, level, 255 - level).astype(np.uint8)
    for plane in (grey, np.full((180, 320), level, np.uint8)):
        assert still.is_whole(still.encode(plane[:, :, None].repeat(3, 2), make_evidence()))


@pytest.mark.parametrize("junk", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"GIF89a", b"\xff\xd8\xff\xe1\0\0"])
def test_what_is_no_jpeg(junk: bytes) -> None:
    """Anything else is neither whole nor holds a record."""
    assert not still.is_whole(junk)
    with pytest.raises(ValueError):
        still.read_record(junk)


def test_a_foreign_jpeg_has_no_record(picture) -> None:
    """A JPEG of another program is whole but holds no record."""
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    assert still.is_whole(jpeg)
    with pytest.raises(ValueError, match="XMP"):
        still.read_record(jpeg)


def test_a_packet_that_was_tampered_with_is_a_value_error(make_evidence, picture) -> None:
    """Broken XML or JSON inside is a ValueError: recovery takes such a file for broken."""
    jpeg = still.encode(picture, make_evidence())
    changes = [(b"<x:xmpmeta", b"<x:xmpmetb"), (b'"pts"', b'"ptz"'), (b"firewitness:record>{", b"firewitness:record>[")]
    for old, new in changes:
        with pytest.raises(ValueError):
            still.read_record(jpeg.replace(old, new, 1))


def test_pixels_are_left_alone(make_evidence, picture) -> None:
    """The picture handed in is not drawn on."""
    before = picture.copy()
    still.encode(picture, replace(make_evidence(), detections=_detections(3)))
    assert (picture == before).all()
