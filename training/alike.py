# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures that show the same: frames of one video, copies with noise, mirrored or in another size.

The difference hash (N. Krawetz, "Kind of Like That", 2013), here of 16 × 16 bits: whether each cell of the shrunk grey picture is
brighter than its left neighbour. Copies differ in some per cent of the bits, different pictures in about half.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.clock import NS
from training.clips import Clip, frames
from training.folders import Pixels, Sample

SIDE = 16
APART_BITS = 40
"""Of 256: up to here a picture is taken for one that is measured with: rather some too many."""
CLIP_EVERY_S = 0.5
Hash = NDArray[np.uint64]
"""(4,): 256 bits."""


def difference_hash(pixels: Pixels) -> Hash:
    """Of a BGR picture."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)


class Looks(NamedTuple):
    """What a picture is known by."""

    upright: Hash
    mirrored: Hash

    @classmethod
    def of(cls, pixels: Pixels) -> Looks:
        """Of a BGR picture."""
        return cls(difference_hash(pixels), difference_hash(np.ascontiguousarray(pixels[:, ::-1])))


class Known:
    """Hashes of the pictures seen so far, to ask whether one like it is among them, also mirrored."""

    def __init__(self) -> None:
        self._hashes = np.empty((1024, SIDE * SIDE // 64), np.uint64)
        self._count = 0

    def add(self, looks: Looks) -> None:
        """One more."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate((self._hashes, np.empty_like(self._hashes)))
        self._hashes[self._count] = looks.upright
        self._count += 1

    def has_like(self, looks: Looks, most_bits: int) -> bool:
        """Whether one of them differs in at most so many bits of 256."""
        return any(self._nearest(each) <= most_bits for each in looks)

    def _nearest(self, hashed: Hash) -> int:
        if self._count == 0:
            return SIDE * SIDE
        differing = np.bitwise_count(self._hashes[: self._count] ^ hashed)
        return int(differing.sum(axis=1, dtype=np.int64).min())


def looks_of_clip(path: Path) -> Iterator[Looks]:
    """Of its frames, two a second; raises FolderError for what is no video."""
    due_ns = 0
    for timed, _ in frames(path, least_s=0):
        if timed.pts_ns >= due_ns:
            due_ns = timed.pts_ns + round(CLIP_EVERY_S * NS)
            yield Looks.of(np.asarray(timed.frame.to_ndarray(format="bgr24"), np.uint8))


def clips_like(samples: Iterable[Sample], clips: Sequence[Clip]) -> dict[str, str]:
    """Of the clips of which a frame is like one of the pictures: that picture's name by the clip's."""
    shown = {clip.name: Known() for clip in clips}
    for clip in clips:
        for looks in looks_of_clip(clip.path):
            shown[clip.name].add(looks)
    found: dict[str, str] = {}
    for sample in samples:
        looks = Looks.of(sample.pixels())
        like = (name for name, known in shown.items() if name not in found and known.has_like(looks, APART_BITS))
        found |= dict.fromkeys(like, sample.path.name)
    return found
