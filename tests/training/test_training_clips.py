# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips are played at the daemon's pace and through its rules; flames are pasted as small as they are said to be."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from daemon.domain import Detection
from daemon.settings import DetectSettings
from tests.training.conftest import flame, put
from training import small_flames
from training.clips import Clip, play, read_clips
from training.folders import FolderError, Pixels, read_folder
from training.folds import dealt
from training.pasting import Cutout
from training.seen import input_side_px
from training.small_flames import INPUT_PX, KINDS, SIZE, make

FPS, SECONDS, GOP_S = 10, 24, 2
AT = {"fire": 0.3, "smoke": 0.35}
PLACE = (0.4, 0.4, 0.6, 0.6)


class Bright:
    """Sees fire in the middle of what is bright, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        self.asked += len(images)
        box = tuple(share * side for share, side in zip(PLACE, (160, 120, 160, 120), strict=True))
        return [(Detection("fire", 0.8, box),) if image.mean() > 100 else () for image in images]


def film(path: Path, burns_from_s: float, until_s: float = SECONDS) -> Path:
    """Dark, and bright while it burns; a key frame every two seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options={"g": str(FPS * GOP_S), "bf": "0", "sc_threshold": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(FPS * SECONDS):
            level = 200 if burns_from_s <= number / FPS < until_s else 20
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), level, np.uint8), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_fire_is_seen_at_the_next_key_frame_and_confirmed_at_the_active_rate(tmp_path: Path) -> None:
    """Visible at 5 s, key frame at 6 s, two more frames at 5 a second: suspect after 1 s, confirmed after 1.4 s."""
    detector = Bright()
    clip = Clip("made", "fire", 5.0, (PLACE,), film(tmp_path / "made.mp4", 5.0))
    played = play(clip, detector, DetectSettings(), AT)
    assert played.suspect_s == pytest.approx(1.0)
    assert played.confirmed_s == pytest.approx(1.4)
    assert (played.there, played.false, played.seconds) == (True, 0, pytest.approx(SECONDS))
    # key frames at 0, 2, 4, 6 s, then 5 a second to the end
    assert played.analysed == detector.asked == pytest.approx(4 + 5 * (SECONDS - 6), abs=3)


def test_what_is_confirmed_where_nothing_burns_is_false(tmp_path: Path) -> None:
    """In a clip without fire each confirmed incident is a false one; in one with fire those before its onset."""
    path = film(tmp_path / "made.mp4", 5.0)
    assert play(Clip("made", "none", None, (), path), Bright(), DetectSettings(), AT).false == 1
    late = play(Clip("made", "fire", 20.0, (PLACE,), path), Bright(), DetectSettings(), AT)
    assert (late.false, late.confirmed_s, late.there) == (1, None, None)


def test_a_quiet_clip_costs_a_look_at_each_key_frame(tmp_path: Path) -> None:
    """As the daemon does while nothing is suspected."""
    played = play(Clip("made", "none", None, (), film(tmp_path / "made.mp4", 99.0)), Bright(), DetectSettings(), AT)
    assert (played.analysed, played.false, played.suspect_s) == (SECONDS // GOP_S, 0, None)


def test_the_list_of_clips_is_read_with_all_places(tmp_path: Path) -> None:
    """A place may be given for fire and for smoke; numbers may begin with a point."""
    (tmp_path / "clips.csv").write_text(
        "name,kind,onset_s,box_at_onset\nbay,fire+smoke,1.5,smoke .48 .46 .78 .77; fire .62 .38 .93 .85\nroad,none,,\n"
    )
    bay, road = read_clips(tmp_path)
    assert bay.places == ((0.48, 0.46, 0.78, 0.77), (0.62, 0.38, 0.93, 0.85))
    assert (bay.onset_s, bay.burns, road.onset_s, road.burns, road.places) == (1.5, True, None, False, ())
    for text in ("clip\nbay\n", f"name,kind\n{'x' * 200_000},none\n"):
        (tmp_path / "clips.csv").write_text(text)
        with pytest.raises(FolderError, match="not a list of clips"):
            read_clips(tmp_path)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    """One sentence, no traceback."""
    (tmp_path / "made.mp4").write_text("no video")
    with pytest.raises(FolderError, match=r"made\.mp4: not a video"):
        play(Clip("made", "none", None, (), tmp_path / "made.mp4"), Bright(), DetectSettings(), AT)


def test_small_flames_are_as_small_as_said_stand_out_and_can_be_made_again(tmp_path: Path) -> None:
    """Their labelled side at the detector's input is in the range; the same seed gives the same bytes."""
    data = tmp_path / "data"
    for number in range(2):
        yard = np.random.default_rng(number).integers(60, 90, (120, 160, 3), np.uint8)
        put(data / "val_cctv_neg", f"made_000000{number}_yard{number}", yard)
    put(data / "val", "made_0000001_fire", flame(), "0 0.5 0.5 0.98 0.98\n")
    for name in ("one", "other"):
        make(data, tmp_path / name, count=3, seed=4)
    for name, (low, high) in KINDS.items():
        samples = read_folder(tmp_path / "one" / name, tmp_path / "one")
        assert len(samples) == 3
        for sample in samples:
            (labelled,) = sample.boxes
            x1, y1, x2, y2 = labelled.box
            box = (x1 * SIZE[0], y1 * SIZE[1], x2 * SIZE[0], y2 * SIZE[1])
            assert low - 0.01 <= input_side_px(box, SIZE, INPUT_PX) < high + 0.01
            inside = sample.pixels()[round(box[1]) : round(box[3]), round(box[0]) : round(box[2])]
            assert int(inside[..., 2].max()) > 150  # the yard's red is below 90
            again = tmp_path / "other" / sample.path.relative_to(tmp_path / "one")
            assert again.read_bytes() == sample.path.read_bytes()
    with pytest.raises(FolderError, match="is there already"):
        make(data, tmp_path / "one", count=1, seed=4)
    first, second = KINDS
    shutil.rmtree(tmp_path / "one" / first)
    with pytest.raises(FolderError, match=f"{second} is there already"):
        make(data, tmp_path / "one", count=1, seed=4)
    assert not (tmp_path / "one" / first).exists(), "neither is made where one cannot be"


def test_a_pasted_flame_is_of_the_fold_of_its_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that do not know the one do not know the other either."""
    data, levels = tmp_path / "data", {60 + 5 * number: f"made:yard{number}" for number in range(4)}
    for number, level in enumerate(levels):
        put(data / "val_cctv_neg", f"made_000000{number}_yard{number}", np.full((120, 160, 3), level, np.uint8))
        put(data / "val", f"made_000001{number}_fire{number}", flame(), "0 0.5 0.5 0.98 0.98\n")
    paste, pairs = small_flames.with_flame, set[tuple[str, str]]()

    def noted(empty: Pixels, cut: Cutout, sides: tuple[float, float], rng: np.random.Generator) -> Any:
        pairs.add((levels[int(empty[0, 0, 0])], cut.scene.removeprefix("val/")))
        return paste(empty, cut, sides, rng)

    monkeypatch.setattr(small_flames, "with_flame", noted)
    make(data, tmp_path / "out", count=20, seed=4)
    folds = dealt(data, 2)
    assert all(folds[scene] == folds[of_flame] for scene, of_flame in pairs)
    assert {folds[scene] for scene, _ in pairs} == {0, 1}
