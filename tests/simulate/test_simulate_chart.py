# SPDX-License-Identifier: AGPL-3.0-or-later
"""The colour chart: whoever converts with the right matrix and range gets the colours it claims to have."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from daemon.simulate.chart import Chart, make_chart

MATRICES = {"bt709": Colorspace.ITU709, "bt601": Colorspace.ITU601}
UNSPECIFIED = (2, 0)  # AVCOL_SPC_UNSPECIFIED (H.273), AVCOL_RANGE_UNSPECIFIED
RANGES = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}


def worst(chart: Chart, picture: np.ndarray) -> int:
    """The greatest distance of a patch's centre from its colour, in levels."""
    return max(
        int(np.abs(picture[y - 3 : y + 4, x - 3 : x + 4].astype(int) - colour).max()) for x, y, colour in chart.patches
    )


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
def test_patches(matrix: str, range_: str, tagged: bool, tmp_path: Path) -> None:
    """Within 2 of 255 with the right matrix; far off with the wrong one, or the chart would prove nothing."""
    chart = make_chart(tmp_path / "c.mp4", (640, 360), fps=5, seconds=1, matrix=matrix, range_=range_, tagged=tagged)
    with av.open(str(chart.path)) as container:
        frame = list(container.decode(video=0))[3]
    said = MATRICES[matrix], RANGES[range_]
    assert (frame.colorspace, frame.color_range) == (said if tagged else UNSPECIFIED)
    right = frame.reformat(format="bgr24", src_colorspace=MATRICES[matrix], src_color_range=RANGES[range_], threads=1)
    assert worst(chart, right.to_ndarray()) <= 2
    other = MATRICES["bt601" if matrix == "bt709" else "bt709"]
    wrong = frame.reformat(format="bgr24", src_colorspace=other, src_color_range=RANGES[range_], threads=1)
    assert worst(chart, wrong.to_ndarray()) > 10
    other_range = RANGES["full" if range_ == "limited" else "limited"]
    if frame.format.name == "yuvj420p":  # which means full range, whatever else is said
        assert (tagged, range_) == (True, "full")
        return
    wrong = frame.reformat(format="bgr24", src_colorspace=MATRICES[matrix], src_color_range=other_range, threads=1)
    assert worst(chart, wrong.to_ndarray()) > 10


def test_the_number_is_in_the_picture(tmp_path: Path) -> None:
    """Every picture says which it is, also reduced and through JPEG; key frames come as asked."""
    chart = make_chart(tmp_path / "c.mp4", (640, 360), fps=10, gop_s=1.5, seconds=4)
    with av.open(str(chart.path)) as container:
        frames = list(container.decode(video=0))
    pictures = [frame.to_ndarray(format="bgr24", threads=1) for frame in frames]
    assert [chart.read_frame_number(picture) for picture in pictures] == list(range(40))
    assert [place for place, frame in enumerate(frames) if frame.key_frame] == [0, 15, 30]
    for scale in (0.25, 0.5, 1.5):
        assert chart.read_frame_number(cv2.resize(pictures[37], None, fx=scale, fy=scale)) == 37
    coded = cv2.imencode(".jpg", pictures[21], (cv2.IMWRITE_JPEG_QUALITY, 80))[1]
    assert chart.read_frame_number(cv2.imdecode(coded, cv2.IMREAD_COLOR)) == 21


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_a_number_is_not_misread(level: int) -> None:
    """Grey, black or white is no picture 0 or 65535."""
    with pytest.raises(ValueError, match="number"):
        Chart.read_frame_number(np.full((360, 640, 3), level, np.uint8))


def test_a_damaged_number_is_not_misread(tmp_path: Path) -> None:
    """A block that is lost from one of the two rows makes the number unreadable, not another."""
    chart = make_chart(tmp_path / "c.mp4", (640, 360), fps=5, seconds=0.4)
    with av.open(str(chart.path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24", threads=1)
    picture[round(360 * 0.87) : round(360 * 0.93), 600:] = 255
    with pytest.raises(ValueError, match="damaged"):
        chart.read_frame_number(picture)
