# SPDX-License-Identifier: AGPL-3.0-or-later
"""Labelled folders: what is read, what is refused with one sentence, and which pictures are one scene."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.training.conftest import put, seen
from training import folders
from training.arguments import Weighted
from training.data import Pictures
from training.folders import FolderError, Labelled, read_folder, read_labels, written
from training.quantise import calibration_pictures
from training.scenes import scene_of, source_of
from training.seen import hit_rate
from training.thresholds import Chosen, choose

BLANK = np.zeros((8, 8, 3), np.uint8)


def test_boxes_are_corners_clipped_to_the_picture(tmp_path: Path) -> None:
    """Class 0 is fire, 1 smoke; a box over the edge ends there."""
    put(tmp_path / "val", "dfs_0123abc_large-1-", BLANK, "0 0.5 0.5 0.2 0.4\n\n1 0.95 0.5 0.2 0.2\n")
    (sample,) = read_folder(tmp_path / "val", tmp_path)
    assert sample.boxes[0] == Labelled("fire", pytest.approx((0.4, 0.3, 0.6, 0.7)))
    assert sample.boxes[1] == Labelled("smoke", pytest.approx((0.85, 0.4, 1.0, 0.6)))
    assert (sample.split, sample.source, sample.scene) == ("val", "dfs", "val/dfs:large-1-")


@pytest.mark.parametrize("line", ["2 .5 .5 .1 .1", "fire .5 .5 .1 .1", "0 .5 .5 .1", "0 .5 .5 0 .1", "0 nan .5 .1 .1"])
def test_a_line_that_is_no_label_is_named(tmp_path: Path, line: str) -> None:
    """File, line and what is wrong, in one sentence."""
    (tmp_path / "a.txt").write_text(f"0 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(FolderError, match=r"a\.txt, line 2: not `class cx cy w h`"):
        read_labels(tmp_path / "a.txt")


def test_a_missing_labels_file_is_no_empty_picture(tmp_path: Path) -> None:
    """A forgotten label must not train as a picture without fire."""
    put(tmp_path, "a", BLANK)
    (tmp_path / "labels" / "a.txt").unlink()
    with pytest.raises(FolderError, match="has an empty file"):
        read_folder(tmp_path, tmp_path)


def turned(folder: Path) -> None:
    """A picture that is black above and white below once it is upright; stored lying, as a phone held upright stores it."""
    lying = np.zeros((40, 64, 3), np.uint8)
    lying[:, 32:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(lying).save(file, "JPEG", exif=exif.tobytes(), quality=95)
    folders.put(folder, "phone.jpg", file.getvalue(), "0 0.5 0.75 1 0.5\n")


def test_a_picture_is_upright_whoever_looks_at_it(tmp_path: Path) -> None:
    """As its EXIF orientation says: measured, trained and calibrated with in the same way, so that the same labels fit."""
    turned(tmp_path / "val")
    (sample,) = read_folder(tmp_path / "val", tmp_path)
    drawn = Pictures([Weighted(tmp_path / "val")], 1).pick(np.random.default_rng(0))
    for pixels in (sample.pixels(), drawn.pixels):
        assert pixels.shape == (64, 40, 3)
        assert pixels[:28].mean() < 20 < 235 < pixels[36:].mean()
    assert drawn.boxes.tolist() == [[0, 0, 32, 40, 64]]
    (calibrating,) = calibration_pictures([tmp_path / "val"], 1, 0, 64)
    assert calibrating.shape == (1, 3, 64, 64)
    assert calibrating[0, :, :28, 20:44].mean() < 0.1 < 0.9 < calibrating[0, :, 36:, 20:44].mean()


def test_pictures_that_cannot_be_read_are_found_before_any_is_drawn(tmp_path: Path) -> None:
    """All of them, and the first by name: after hours one of them would end a training that cannot go on without it."""
    coded = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    huge = coded[:16] + struct.pack(">II", 100_000, 100_000) + coded[24:29]
    huge += struct.pack(">I", zlib.crc32(huge[12:29])) + coded[33:]
    for number, bad in enumerate((b"garbage", b"", coded[:40], huge), 1):
        put(tmp_path, f"b{number}", np.zeros((1, 1, 3), np.uint8))
        (tmp_path / "images" / f"z{number}.png").write_bytes(bad)
        (tmp_path / "labels" / f"z{number}.txt").write_text("0 0.5 0.5 1 1\n")
    named = ", ".join(f"{tmp_path}/images/z{number}.png" for number in (1, 2, 3))
    sentence = f"4 of 8 files cannot be read as pictures: {named}, …; mend or remove them"
    with pytest.raises(FolderError, match=f"^{re.escape(sentence)}$"):
        Pictures([Weighted(tmp_path)], 0)


def test_in_a_partial_folder_smoke_is_not_known(tmp_path: Path) -> None:
    """Smoke found there is not false; fire is."""
    put(tmp_path, "a", BLANK)
    (tmp_path / "PARTIAL").write_text("*\n")
    (sample,) = read_folder(tmp_path, tmp_path)
    assert not sample.known("smoke")
    assert sample.known("fire")
    at = {"fire": 0.3, "smoke": 0.3}
    assert hit_rate([seen(("smoke", 0.9), sample=sample)], at).value == 0
    assert hit_rate([seen(("fire", 0.9), sample=sample)], at).value == 1


CORNERS = st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1))


@given(st.lists(st.tuples(st.sampled_from(["fire", "smoke"]), CORNERS), max_size=4))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, tuple[float, ...]]]
) -> None:
    """Labels survive to a millionth of the picture."""
    boxes = tuple(Labelled(label, (x, y, x + width, y + height)) for label, (x, y, width, height) in made)
    path = tmp_path_factory.getbasetemp() / "labels.txt"
    path.write_text(written(boxes))
    again = read_labels(path)
    assert [each.label for each in again] == [each.label for each in boxes]
    for one, other in zip(again, boxes, strict=True):
        assert one.box == pytest.approx(other.box, abs=2e-6)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("neg_0865bda_10-mp4-17", "neg_0e89002_10-mp4-33", True),
        ("neg_0865bda_10-mp4-17", "neg_1e1ea49_13-mp4-21", False),
        ("aiworld_fdad93e_indoor-frames-176", "aiworld_133be81_indoor-frames-184", True),
        ("hotfire_86a1af2_NoiseWEBFire1443", "hotfire_86a1af3_WEBFire1443", True),
        (
            "dfs_0912623_cffe9ba7-7d5c-4822-9a38-3b76953fa02d-fra",
            "dfs_10e17e5_cffe9ba7-7d5c-4822-9a38-3b76953fa02d-fra",
            True,
        ),
        ("dfire100_e900127_AoF00036", "dfire100_085559c_AoF00023", True),
        ("dfire100_e900127_AoF00036+012", "dfire100_e900127_AoF00036", True),
        ("neg_0865bda_10-mp4-17+003-at-4-5-224", "neg_0e89002_10-mp4-33", True),
        ("neg_0865bda_10-mp4-17-at-0-0", "neg_0e89002_10-mp4-33-at-12-40-300", True),
        ("dfs_03870f3_large-1538-", "dfs_06928ea_large-2021-", False),
        ("metu_01ef217_youtube-590", "dfs_01ef217_youtube-590", False),
    ],
)
def test_frames_and_copies_are_one_scene(one: str, other: str, *, same: bool) -> None:
    """By their names: frames of a video, altered copies, pasted flames on the same background."""
    assert (scene_of(one) == scene_of(other)) is same


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("yard_cam1_0000", "yard_cam1"),
        ("yard_cam1_0001+002", "yard_cam1"),
        ("yard_cam1_0001-at-40-0-224", "yard_cam1"),
        ("yard (3)", "yard"),
        ("IMG_20260101_120000", "IMG_20260101"),
        ("cam2-7-night", "cam2night"),
        ("0007", ""),
        ("gate", "gate"),
    ],
)
def test_a_name_of_another_form_is_of_the_scene_without_its_last_number(name: str, scene: str) -> None:
    """A site's own pictures need no special names: frames of a camera are numbered."""
    assert (source_of(name), scene_of(name)) == ("unnamed", scene)


def test_thresholds_are_the_lowest_that_spare_the_empty_pictures() -> None:
    """Fire's by itself, then smoke's with it: 1 of 100 and 4 of 100 pictures may be hit."""
    cctv = [seen(("fire", 0.80)), seen(("fire", 0.555)), seen(("smoke", 0.405)), *[seen() for _ in range(97)]]
    hard = [*[seen(("fire", 0.9), ("smoke", 0.2)) for _ in range(4)], *[seen() for _ in range(96)]]
    assert choose({"val_cctv_neg": cctv, "neg_hard": hard}) == Chosen(0.56, 0.41)


@pytest.mark.parametrize(("fire", "expected"), [(0.58, Chosen(0.59, 0.41)), (0.64, Chosen(0.56, 0.71))])
def test_fire_gives_a_little_where_smoke_gains_more(fire: float, expected: Chosen) -> None:
    """One picture with fire of 0.58 in it would leave smoke 0.71; it does not give more than 0.05 for that."""
    cctv = [seen(("fire", 0.80)), seen(("fire", 0.555)), *[seen() for _ in range(98)]]
    hard = [seen(("fire", 0.9)) for _ in range(3)]
    hard += [seen(("fire", fire)), seen(("smoke", 0.705)), seen(("smoke", 0.405)), *[seen() for _ in range(94)]]
    assert choose({"val_cctv_neg": cctv, "neg_hard": hard}) == expected


def test_without_the_empty_pictures_no_threshold_is_chosen() -> None:
    """It would be an opinion."""
    assert choose({"val_cctv_neg": [seen()], "neg_hard": []}) is None
    assert choose({"val_cctv_neg": [seen(("fire", 1.0))], "neg_hard": [seen()]}) is None
