# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a decoded frame's YUV to BGR with the right colours: in full for the still, small for the detector.

A stream's own tags are honoured. Where it says nothing, FFmpeg takes BT.601 with limited range, which is up to 23 of
255 wrong on a 1080p camera; here the matrix is BT.709 from 720 lines up and BT.601 below, the range limited unless
the pixel format says full (design, Colours).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from daemon.detect.letterbox import reduced_px

# ITU-T H.273, table 4 (MatrixCoefficients), as FFmpeg's AVColorSpace numbers them
_TAGGED_MATRIX = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_TAGGED_RANGE = {1: "limited", 2: "full"}
_MATRICES = {
    "bt709": Colorspace.ITU709,
    "bt601": Colorspace.ITU601,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020": Colorspace.BT2020,
}
_RANGES = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}
HD_LINES = 720


class Colour(NamedTuple):
    """What a frame's YUV is taken as, such as ("bt709", "limited")."""

    matrix: str
    range: str


def tags_of(frame: VideoFrame) -> tuple[str | None, str | None]:
    """Matrix and range as the stream says them; None what it does not say."""
    return _TAGGED_MATRIX.get(frame.colorspace), _TAGGED_RANGE.get(frame.color_range)


def colour_of(frame: VideoFrame, matrix: str = "auto", colour_range: str = "auto") -> Colour:
    """The frame's own tags; where it has none, what is set for the camera; where that is "auto", the usual."""
    tagged_matrix, tagged_range = tags_of(frame)
    usual_matrix = "bt709" if frame.height >= HD_LINES else "bt601"
    usual_range = "full" if frame.format.name.startswith("yuvj") else "limited"
    return Colour(
        tagged_matrix or (usual_matrix if matrix == "auto" else matrix),
        tagged_range or (usual_range if colour_range == "auto" else colour_range),
    )


def luma_of(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame's luma as it was coded, in 8 bits; no copy where it has 8."""
    plane, bits = frame.planes[0], frame.format.components[0].bits
    sample = np.uint8 if bits == 8 else np.uint16
    rows = np.frombuffer(plane, sample).reshape(frame.height, -1)[:, : frame.width]  # type: ignore[call-overload]
    luma: NDArray[np.uint8] = rows if bits == 8 else (rows >> (bits - 8)).astype(np.uint8)
    return luma


class Converter:
    """Keeps FFmpeg's scalers between frames: one for full size, one for the detector's."""

    def __init__(self) -> None:
        self._full = VideoReformatter()
        self._small = VideoReformatter()

    def full(self, frame: VideoFrame, colour: Colour) -> NDArray[np.uint8]:
        """BGR, (height, width, 3), at the frame's own size."""
        return _pixels(self._convert(self._full, frame, colour, (frame.width, frame.height)))

    def small(self, frame: VideoFrame, colour: Colour, input_px: int) -> NDArray[np.uint8]:
        """BGR, reduced by area means to fit input_px × input_px, aspect kept; never enlarged.

        Straight to BGR: in YUV it would be a fifth faster, with more error in what is thin.
        """
        size = reduced_px((frame.width, frame.height), input_px)
        return _pixels(self._convert(self._small, frame, colour, size))

    def _convert(
        self, reformatter: VideoReformatter, frame: VideoFrame, colour: Colour, size: tuple[int, int]
    ) -> VideoFrame:
        return reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format="bgr24",
            src_colorspace=_MATRICES[colour.matrix],
            src_color_range=_RANGES[colour.range],
            interpolation=Interpolation.AREA if size != (frame.width, frame.height) else Interpolation.BILINEAR,
            threads=1,  # the default starts a pool for every frame
        )


def _pixels(frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame's pixels, without a copy: an array whose rows may have padding between them."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)  # type: ignore[call-overload]
    picture: NDArray[np.uint8] = rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
    return picture
