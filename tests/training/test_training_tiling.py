# SPDX-License-Identifier: AGPL-3.0-or-later
"""How tilings are compared: with a detector that sees dots which scaling would have swallowed, and once with the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.domain import Detection
from tests.training.conftest import film, flame, put
from training import tiling
from training.__main__ import main
from training.folders import Labelled, Pixels, Sample
from training.page import marks
from training.seen import found_share
from training.tiling import MERGES, TAKEN, WHOLE, Choice, boxes_each, measure, newly_found, own_threshold

SIZE = (1920, 1080)


class SeesDots:
    """Every connected white dot is a fire, in pictures that nothing has to be scaled of."""

    def detect(
        self, images: Sequence[Pixels], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        return [self._dots(image) if max(image.shape) <= 640 else () for image in images]

    @staticmethod
    def _dots(image: Pixels) -> tuple[Detection, ...]:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 0] > 200).astype(np.uint8))
        return tuple(Detection("fire", 0.9, (x, y, x + width, y + height)) for x, y, width, height, _ in stats[1:])


def dotted(*boxes: tuple[int, int, int, int]) -> tuple[str, Sample, Pixels]:
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        picture[y1:y2, x1:x2] = 255
    labels = tuple(
        Labelled("fire", (x1 / SIZE[0], y1 / SIZE[1], x2 / SIZE[0], y2 / SIZE[1])) for x1, y1, x2, y2 in boxes
    )
    return "dots", Sample(Path("x.png"), "s", "made", str(boxes), labels), picture


def test_tiles_find_what_the_whole_does_not() -> None:
    """Found, and newly found, by labelled flame; the cost is taken of 1080p pictures."""
    pictures = [dotted((100, 100, 130, 130)), dotted((900, 500, 930, 530), (1700, 900, 1720, 915))]
    results = measure([WHOLE, Choice(1.0)], SeesDots(), 640, pictures)
    whole, tiles = (results[choice].seen("dots") for choice in (WHOLE, Choice(1.0)))
    assert (found_share(whole, "fire", 0.3).value, found_share(tiles, "fire", 0.3).value) == (0.0, 1.0)
    new = newly_found(tiles, whole, 0.3)
    assert (new.value, new.count) == (1.0, 3)
    assert newly_found(tiles, tiles, 0.3).value == 0.0
    assert results[WHOLE].pictures == 2


def test_ways_of_merging_differ_where_a_border_cuts() -> None:
    """A flame that two tiles see, one of them cut, is several boxes, or one; where none has it whole, dropping loses it."""
    cut = dotted((400, 100, 1000, 160))  # 600 px: no tile of 640 that begins at 0, 427, 853 and 1280 holds it whole
    on_border = dotted((620, 300, 660, 340))
    looked = measure([Choice(1.0)], SeesDots(), 640, [on_border, cut])[Choice(1.0)].groups["dots"]
    boxes = {name: [boxes_each([each.by(merge)], 0.3) for each in looked] for name, merge in MERGES.items()}
    everything, suppressed, ours, dropped = boxes.values()
    assert everything[0] == 2
    assert (suppressed[0], ours[0], dropped[0]) in [(1, 1, 1), (2, 1, 1)]
    assert dropped[1] is None
    assert ours[1] is not None


def test_a_choice_has_its_own_threshold() -> None:
    """The lowest at which at most one in twenty empty pictures is hit; without empty pictures there is none."""
    seen = [
        tiling.Seen(Sample(Path("x.png"), "s", "made", str(n), ()), SIZE, (Detection("fire", n / 100, (0, 0, 9, 9)),))
        for n in range(1, 41)
    ]
    assert own_threshold(seen) == 0.39
    assert own_threshold([]) is None


def test_the_command_measures_and_writes_its_section(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real detector finds a drawn flame in a tile; both tables stand in the page."""
    monkeypatch.setattr(tiling, "CHOICES", (WHOLE, TAKEN))
    picture = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    picture[500:560, 900:960] = np.maximum(picture[500:560, 900:960], flame(60))
    for kind in tiling.KINDS:
        put(tmp_path / "small" / kind, "made_0000001_a", picture, "0 0.484 0.49 0.03 0.055\n")
    page = tmp_path / "page.md"
    begin, end = marks("tiling")
    page.write_text(f"before\n{begin}\n{end}\nafter\n")
    film(data, "plant", np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    words = ["tiling", "--data", str(data), "--small", str(tmp_path / "small"), "--pictures", "1", "--page", str(page)]
    assert main(words) == 0
    printed, told = capsys.readouterr()
    assert told.count("clips: picture ") == 1, "of two seconds one frame"
    assert "### Size and overlap" in printed
    assert "### Merging" in printed
    assert printed.strip() in page.read_text()
    assert page.read_text().endswith("after\n")
    assert main(["tiling", "--data", str(tmp_path), "--small", str(tmp_path)]) == 2
    assert "small-flames" in capsys.readouterr().err
