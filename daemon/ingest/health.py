# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether what a camera sends is a picture of now: `frozen` and `no_picture`, from the luma of its key frames; pure.

Only key frames: they are coded anew, so that a sensor's noise makes each differ from the one before even where a low
bit rate leaves the frames between them untouched. docs/ingest.md, Picture health, gives the reasons and the figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS
from daemon.ingest.condition import OK, Condition

FOUND_NS = 10 * NS
LEAST_KEY_FRAMES = 3
FORGOTTEN_NS = 60 * NS  # a picture longer ago than this says nothing about the one of now

BORDER = 8  # cameras write their name and the time into the outer eighth at top and bottom: it does not count
MOST_ROWS, MOST_COLUMNS = 96, 320  # of the sample: at least this many, at most twice as many
CELLS = (6, 8)

STILL_LEVELS, STILL_SHARE = 4, 0.01  # what coding the same picture again leaves of difference
FLAT_LEVELS = 6  # between the cells' means, noise averaged out
SPOT_LEVELS = 64  # a lamp in the dark: further from the mean than gain noise is
CLEAR_LEVELS = 30
DARK_LEVEL = 40
SUDDEN_NS = 60 * NS  # from a clear picture to none; dusk takes many minutes

Luma = NDArray[np.uint8]


class Moment(NamedTuple):
    """When a picture was taken: CLOCK_MONOTONIC, and UTC."""

    mono_ns: int
    at_ns: int


class _Stretch:
    """Key frames in a row that have something in common."""

    def __init__(self, since: Moment) -> None:
        self.since = since
        self.count = 1

    def lasts(self, now: Moment) -> bool:
        return self.count >= LEAST_KEY_FRAMES and now.mono_ns - self.since.mono_ns >= FOUND_NS


class Health:
    """One stream's, across its connections and runs."""

    def __init__(self) -> None:
        self.condition = OK
        self._last: Moment | None = None
        self._sample: Luma | None = None
        self._still: _Stretch | None = None
        self._blank: _Stretch | None = None
        self._clear_ns: int | None = None
        self._sudden = True

    def look(self, luma: Luma, now: Moment) -> None:
        """A key frame that is not known to be damaged; `luma` is all of it, in 8 bits."""
        if self._last is not None and now.mono_ns - self._last.mono_ns > FORGOTTEN_NS:
            self._sample = self._still = self._blank = self._clear_ns = None
        self._last = now
        sample = _sampled(luma)
        if min(sample.shape) < max(CELLS):
            return
        contrast, level = _contrast(sample)
        self._still = _continued(self._still if _alike(sample, self._sample) else None, now)
        self._sample = sample
        self._note_contrast(contrast, now)
        self.condition = self._judged(level, now)

    def _note_contrast(self, contrast: float, now: Moment) -> None:
        if contrast >= CLEAR_LEVELS:
            self._clear_ns = now.mono_ns
        if contrast > FLAT_LEVELS:
            self._blank = None
            return
        if self._blank is None:
            self._sudden = self._clear_ns is None or now.mono_ns - self._clear_ns <= SUDDEN_NS
        self._blank = _continued(self._blank, now)

    def _judged(self, level: float, now: Moment) -> Condition:
        still, blank = self._still, self._blank
        assert still is not None
        if blank is None:
            return _found("frozen", "nothing in the picture changes, not even noise", still) if still.lasts(now) else OK
        if not self._sudden or not blank.lasts(now):
            return OK
        if level >= DARK_LEVEL:
            return _found("no_picture", "the picture is one even grey", blank)
        if not still.lasts(now):  # noise in the dark is what a sensor shows that looks at nothing but darkness
            return OK
        return _found("no_picture", "the picture is black, without noise", max(still, blank, key=_begun))


def _found(reason: str, detail: str, since: _Stretch) -> Condition:
    return Condition(reason, detail, since.since.at_ns)


def _begun(stretch: _Stretch) -> int:
    return stretch.since.mono_ns


def _continued(stretch: _Stretch | None, now: Moment) -> _Stretch:
    if stretch is None:
        return _Stretch(now)
    stretch.count += 1
    return stretch


def _sampled(luma: Luma) -> Luma:
    height, width = luma.shape
    border = height // BORDER
    inner = luma[border : height - border]
    return np.ascontiguousarray(inner[:: max(1, len(inner) // MOST_ROWS), :: max(1, width // MOST_COLUMNS)])


def _alike(sample: Luma, before: Luma | None) -> bool:
    """Whether two are the same picture, coded anew: nothing moves in it and nothing is noisy."""
    if before is None or before.shape != sample.shape:
        return False
    difference = np.maximum(sample, before) - np.minimum(sample, before)
    return bool(difference.max() <= STILL_LEVELS and np.count_nonzero(difference) <= STILL_SHARE * difference.size)


def _contrast(sample: Luma) -> tuple[float, float]:
    """How far the darkest and the brightest part of the picture are apart, and how bright it is."""
    rows, columns = (side // cells for side, cells in zip(sample.shape, CELLS, strict=True))
    whole = sample[: rows * CELLS[0], : columns * CELLS[1]].reshape(CELLS[0], rows, CELLS[1], columns)
    means = whole.mean(axis=(1, 3), dtype=np.float32)
    level = float(means.mean())
    spot = max(float(sample.max()) - level, level - float(sample.min()))
    return max(float(np.ptp(means)), spot if spot >= SPOT_LEVELS else 0.0), level
