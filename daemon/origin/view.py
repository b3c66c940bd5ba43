# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a picture shows the view that a components map was drawn on, or the camera has moved since.

Two witnesses. Corners (ORB) that are found again give, where enough of them agree, the shift, turn and zoom between the
pictures. Where too few do (night, fog, snow), the directions of edges are compared: they stay when the light changes, and
only where nothing moved do they lie on top of each other. Where neither says anything, the answer is that it cannot be told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.origin.picture import Picture

Grey = NDArray[np.uint8]
Verdict = Literal["same", "moved", "cannot_tell"]

LONGER_SIDE_PX = 960
FEATURES = 1500
BLOCKS = (4, 3)  # features are taken from each, so that one busy corner does not speak for all
RATIO = 0.85  # of the best match's distance to the second best's
AGREE_PX = 3.0
LEAST_AGREEING = 20
LEAST_SHARE = 0.12  # of the matches
LEAST_BLOCKS = 3
MOVED_SHARE = 0.012  # of the diagonal, by which a corner of the picture may be off: a tenth of a small component
EDGE_PX = 320  # longer side of the picture whose edges are compared
EDGES_AGREE = 9.0  # times the spread of chance


@dataclass(frozen=True, slots=True)
class View:
    """How a picture lies to the reference."""

    verdict: Verdict
    why: str
    """One sentence for people."""
    offset_share: float | None = None
    """How far the farthest corner of the picture is off, as a share of the diagonal; None where it is not known."""


def compare(reference: Picture, picture: Picture) -> View:
    """Best with a picture without passers-by: the median of the last clean frames."""
    if abs(_aspect(reference) - _aspect(picture)) > 0.02:
        return View("moved", "the picture has another shape than the one that the components were drawn on")
    before = _grey(reference, LONGER_SIDE_PX)
    resized = cv2.resize(_grey(picture, LONGER_SIDE_PX), before.shape[::-1], interpolation=cv2.INTER_AREA)
    now: Grey = np.asarray(resized, np.uint8)
    offset = _offset(before, now)
    if offset is not None:
        share = offset / math.hypot(*before.shape)
        if share <= MOVED_SHARE:
            return View("same", "the view is the one that the components were drawn on", share)
        return View(
            "moved", f"the camera has moved: the picture's corners are off by {share:.1%} of its diagonal", share
        )
    if _edges_agree(before, now):
        return View("same", "the edges in the picture are where they were when the components were drawn")
    return View("cannot_tell", "too little in the picture is also in the one that the components were drawn on")


def _aspect(picture: Picture) -> float:
    return float(picture.shape[1] / picture.shape[0])


def _grey(picture: Picture, longer_px: int) -> Grey:
    scale = longer_px / max(picture.shape[:2])
    small = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _offset(before: Grey, now: Grey) -> float | None:
    """How many pixels the farthest corner is off, by a shift, turn and zoom on which enough corners agree."""
    (points, marks), (others, other_marks) = _features(before), _features(now)
    if len(points) < LEAST_AGREEING or len(others) < LEAST_AGREEING:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(marks, other_marks, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
    if len(good) < LEAST_AGREEING:
        return None
    source = np.array([points[each.queryIdx] for each in good], np.float32)
    target = np.array([others[each.trainIdx] for each in good], np.float32)
    cv2.setRNGSeed(1)  # the same pictures always give the same answer
    found, agreeing = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=AGREE_PX, maxIters=4000, confidence=0.999
    )
    if found is None or not _enough(source[agreeing.ravel() > 0], len(good), before.shape):
        return None
    height, width = before.shape
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64)
    return float(np.linalg.norm(corners @ found[:, :2].T + found[:, 2] - corners, axis=1).max())


def _features(grey: Grey) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The strongest corners of each block of the picture, and what each looks like."""
    even = cv2.createCLAHE(3.0, (8, 8)).apply(grey)  # day and night alike
    orb = cv2.ORB.create(nfeatures=4 * FEATURES, fastThreshold=10)
    corners = sorted(orb.detect(even, None), key=lambda each: -each.response)
    left = dict.fromkeys(np.ndindex(*BLOCKS), FEATURES // (BLOCKS[0] * BLOCKS[1]))
    chosen = []
    for corner in corners:
        block = _block(corner.pt[0], corner.pt[1], grey.shape)
        if left[block]:
            left[block] -= 1
            chosen.append(corner)
    if not chosen:
        return np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8)
    known, marks = orb.compute(even, chosen)
    return np.array([each.pt for each in known], np.float32), np.asarray(marks, np.uint8)


def _block(x: float, y: float, shape: tuple[int, ...]) -> tuple[int, int]:
    return int(x * BLOCKS[0] / shape[1]), int(y * BLOCKS[1] / shape[0])


def _enough(agreeing: NDArray[np.float32], matches: int, shape: tuple[int, ...]) -> bool:
    """Many, and from several parts of the picture: a lorry's corners agree among themselves too."""
    blocks = {_block(float(x), float(y), shape) for x, y in agreeing}
    return len(agreeing) >= max(LEAST_AGREEING, LEAST_SHARE * matches) and len(blocks) >= LEAST_BLOCKS


def _edges_agree(before: Grey, now: Grey) -> bool:
    """Whether edges lie on top of each other better than under any other shift, by far."""
    one, other = _directions(before), _directions(now)
    agreement = np.fft.ifft2(np.fft.fft2(one) * np.conj(np.fft.fft2(other))).real
    spread = float(agreement.std())
    return (
        spread > 0
        and float(agreement[0, 0]) >= EDGES_AGREE * spread
        and float(agreement[0, 0]) >= float(agreement.max())
    )


def _directions(grey: Grey) -> NDArray[np.complex128]:
    """Each pixel's edge as a unit number of twice its angle (light on dark or dark on light is one), 0 where there is none."""
    scale = EDGE_PX / max(grey.shape)
    reduced = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(reduced, (0, 0), 1.2)
    gradient = cv2.Sobel(small, cv2.CV_32F, 1, 0) + 1j * cv2.Sobel(small, cv2.CV_32F, 0, 1)
    size = np.abs(gradient)
    strong = size > max(12.0, float(np.percentile(size, 70)))
    return np.where(strong, (gradient / np.maximum(size, 1e-6)) ** 2, 0)
