# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training tiling`: what tiles of a size and overlap find that the scaled picture does not, what they see where
nothing burns, and what they cost; and how answers of tiles are best merged. By the daemon's own detector and tiling.

Pasted small flames (small-flames) say what is found, the empty pictures of val_cctv_neg enlarged to 1080p and frames of
the clips in which nothing burns what is false. Thresholds are those configured, and beside them for each choice its own,
at which it hits 5 % of the empty pictures: a choice is not better because it is less particular.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from daemon.clock import NS
from daemon.detect.boxes import centre
from daemon.detect.detector import FireDetector
from daemon.detect.function import each_once
from daemon.detect.tiling import OVERLAP, SIZE, Found, Tile, in_picture, is_cut, is_larger, merged, tiles_of
from daemon.domain import Detection
from daemon.settings import DetectSettings
from training.clips import Clip, frames, playable
from training.folders import FolderError, Pixels, Sample, read_split
from training.matching import found_near
from training.measures import Estimate, share
from training.page import check_section, write_section
from training.seen import Looker, Seen, found_share, hit_rate
from training.small_flames import KINDS
from training.small_flames import SIZE as CAMERA_PX
from training.tables import Cell, Table
from training.thresholds import GRID

FLOOR = 0.05
FALSE_SHARE = 0.05  # of the empty pictures, for the thresholds that make choices comparable
CLIP_EVERY_S = 6.0
MERGED_FROM = "val"  # its flames are large enough to be cut by many borders
EMPTY = ("val_cctv_neg", "clips")

Merge = Callable[[Sequence[Found], tuple[int, int]], tuple[Detection, ...]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Tiles whose side is `size` of the detector's input; None: the whole picture, scaled."""

    size: float | None
    overlap: float = OVERLAP

    def tiles(self, size_px: tuple[int, int], input_px: int) -> list[Tile]:
        """Of a picture."""
        if self.size is None:
            return [Tile(0, 0, *size_px)]
        return tiles_of(size_px, input_px, self.size, self.overlap)

    def __str__(self) -> str:
        return "whole" if self.size is None else f"{self.size:.2f}, {self.overlap:.0%}"


WHOLE, TAKEN = Choice(None), Choice(SIZE, OVERLAP)
CHOICES = tuple(dict.fromkeys((WHOLE, Choice(0.75), Choice(1.0, 0.0), Choice(1.0), Choice(1.1), Choice(1.5), TAKEN)))
"""Tiles are spread evenly, so that an overlap is the least one: at 1080p 1.1 inputs give the same with none and with a tenth."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One picture and what its tiles showed."""

    seen: Seen
    """Without detections: how they are merged is a choice too."""
    found: tuple[Found, ...]

    def by(self, merge: Merge) -> Seen:
        """What is seen of it in the end."""
        return replace(self.seen, detections=merge(self.found, self.seen.size_px))


@dataclass(slots=True)
class Result:
    """All that one choice has shown, by group of pictures."""

    groups: dict[str, list[Looked]]
    cpu_s: float = 0.0
    pictures: int = 0

    def seen(self, *names: str, merge: Merge = merged) -> list[Seen]:
        """Of these groups."""
        return [each.by(merge) for name in names for each in self.groups.get(name, [])]


def run(options: argparse.Namespace) -> int:
    """0 when everything could be measured."""
    if options.page is not None:
        check_section(options.page, "tiling")
    detector = FireDetector(
        options.weights, input_px=options.input_px, device=options.device, batch=1, allow_pickle=options.allow_pickle,
        closer=True,
    )  # fmt: skip
    small = {kind: _some(options.small, kind, options.pictures) for kind in KINDS}
    empty, large = (_some(options.data, name, options.pictures) for name in (EMPTY[0], MERGED_FROM))
    clips = playable(options.data, ("none",))
    results = measure(CHOICES, detector, options.input_px, _pictures(small, empty, clips, options.input_px))
    enlarged = ((MERGED_FROM, *each) for each in _enlarged(large))
    cut = measure([TAKEN], detector, options.input_px, enlarged)[TAKEN].groups[MERGED_FROM]
    threshold = DetectSettings().thresholds.fire
    tables = [
        choice_table(results, threshold, options.input_px),
        merging_table(results[TAKEN], cut, threshold),
    ]
    info = detector.info
    about = f"Weights {info.name}, SHA-256 {info.sha256[:12]}…, {info.runtime}, longer side {options.input_px} px."
    text = "\n".join((f"{about}\n", *(each.markdown() for each in tables)))
    print(text)
    if options.page is not None:
        write_section(options.page, text, "tiling")
    return 0


def measure(
    choices: Sequence[Choice], detector: Looker, input_px: int, pictures: Iterable[tuple[str, Sample, Pixels]]
) -> dict[Choice, Result]:
    """Looks at every picture in each way; the CPU time is that of all threads, on 1080p pictures only."""
    results = {choice: Result({}) for choice in choices}
    for number, (group, sample, pixels) in enumerate(pictures, 1):
        size_px = (pixels.shape[1], pixels.shape[0])
        for choice, result in results.items():
            tiles = choice.tiles(size_px, input_px)
            began_s = time.process_time()
            answers = detector.detect([tile.of(pixels) for tile in tiles], FLOOR)
            if size_px == CAMERA_PX:
                result.cpu_s += time.process_time() - began_s
                result.pictures += 1
            found = [(tile, each) for tile, part in zip(tiles, answers, strict=True) for each in in_picture(tile, part)]
            result.groups.setdefault(group, []).append(Looked(Seen(sample, size_px, ()), tuple(found)))
        print(f"{group}: picture {number}", file=sys.stderr, flush=True)
    return results


def choice_table(results: dict[Choice, Result], threshold: float, input_px: int) -> Table:
    """One line a choice of size and overlap."""
    table = Table(
        "Size and overlap",
        [
            "tiles (size in inputs, overlap)", "tiles of 1080p", "CPU-s a picture", *(f"{_said(kind)} found" for kind in KINDS),
            *(f"{_said(kind)} found, not in the whole" for kind in KINDS), *(f"false, {name}" for name in EMPTY),
            "threshold at 5 % false", *(f"{_said(kind)} found there" for kind in KINDS),
        ],
        f"Fire from {threshold:.2f} on. A flame is found when a detection's centre is within 1.5 box sizes of its centre; false: share of "
        "empty pictures with any fire. The last columns: at the choice's own threshold at which "
        f"{FALSE_SHARE:.0%} of all empty pictures are hit.",
    )  # fmt: skip
    whole = results[WHOLE]
    for choice, result in results.items():
        own = own_threshold(result.seen(*EMPTY))
        found = [found_share(result.seen(kind), "fire", threshold) for kind in KINDS]
        new = [newly_found(result.seen(kind), whole.seen(kind), threshold) for kind in KINDS]
        false: list[Cell] = [_false(result.seen(name), threshold) for name in EMPTY]
        there: list[Cell] = [found_share(result.seen(kind), "fire", own) if own is not None else None for kind in KINDS]
        cost = result.cpu_s / result.pictures if result.pictures else None
        count = len(choice.tiles(CAMERA_PX, input_px))
        table.rows.append([_marked(choice), count, cost, *found, *new, *false, own, *there])
    return table


def merging_table(small: Result, large: Sequence[Looked], threshold: float) -> Table:
    """One line a way of merging, at the size and overlap that the daemon has."""
    table = Table(
        "Merging",
        [
            "kept of what tiles show", "small flames found", "boxes of each",
            f"flames of {MERGED_FROM} found", "boxes of each of these",
        ],
        f"At the daemon's size and overlap. {MERGED_FROM}: its pictures enlarged to 1080p, whose flames are often larger than a "
        "tile; a box counts where its centre lies in the label. One box of each would be right.",
    )  # fmt: skip
    for name, merge in MERGES.items():
        some, others = small.seen(*KINDS, merge=merge), [each.by(merge) for each in large]
        row: list[Cell] = [name]
        for seen in (some, others):
            row += [found_share(seen, "fire", threshold), boxes_each(seen, threshold)]
        table.rows.append(row)
    return table


def own_threshold(empty: Sequence[Seen]) -> float | None:
    """The lowest at which at most 5 % of the empty pictures are hit."""
    return next((each for each in GRID if (_false(empty, each).value or 0.0) <= FALSE_SHARE), None) if empty else None


def newly_found(seen: Sequence[Seen], before: Sequence[Seen], threshold: float) -> Estimate:
    """Of all labelled flames the share that is found now and was not before, in the same pictures."""
    hits = []
    for now, then in zip(seen, before, strict=True):
        for box in now.labelled("fire"):
            new, old = ([one.box for one in each.found("fire", threshold)] for each in (now, then))
            hits.append((now.sample.scene, found_near(new, box) and not found_near(old, box)))
    return share(hits)


def boxes_each(seen: Sequence[Seen], threshold: float) -> float | None:
    """How many detections there are in a flame that has any."""
    counts = []
    for each in seen:
        centres = [centre(one.box) for one in each.found("fire", threshold)]
        for x1, y1, x2, y2 in each.labelled("fire"):
            counts.append(sum(x1 <= x < x2 and y1 <= y < y2 for x, y in centres))
    there = [each for each in counts if each]
    return sum(there) / len(there) if there else None


def _all_boxes(found: Sequence[Found], size_px: tuple[int, int]) -> tuple[Detection, ...]:
    return tuple(each for _, each in found)


def _suppressed(found: Sequence[Found], size_px: tuple[int, int]) -> tuple[Detection, ...]:
    """As inside one picture."""
    return each_once([each for _, each in found])


def _uncut(found: Sequence[Found], size_px: tuple[int, int]) -> tuple[Detection, ...]:
    return merged([each for each in found if not is_cut(*each, size_px)], size_px)


MERGES: dict[str, Merge] = {
    "everything": _all_boxes,
    "strongest first, IoU 0.5": _suppressed,
    "uncut first, half of the smaller (the daemon's)": merged,
    "the same, cut ones dropped": _uncut,
}


def _false(seen: Sequence[Seen], threshold: float) -> Estimate:
    return hit_rate(seen, {"fire": threshold, "smoke": 2.0})


def _pictures(
    small: Mapping[str, Sequence[Sample]], empty: Sequence[Sample], clips: Sequence[Clip], input_px: int
) -> Iterator[tuple[str, Sample, Pixels]]:
    """Of each group, one after the other."""
    for kind, samples in small.items():
        for each in samples:
            yield kind, each, each.pixels()
    for sample, pixels in _enlarged(empty):
        yield EMPTY[0], sample, pixels
    for sample, pixels in _clip_frames(clips, input_px):
        yield EMPTY[1], sample, pixels


def _some(data: Path, name: str, most: int) -> list[Sample]:
    samples = read_split(data, name)
    if not samples:
        raise FolderError(f"{data}: the folder {name} is not there; small flames: python -m training small-flames")
    return [samples[at * len(samples) // most] for at in range(most)] if most < len(samples) else samples


def _enlarged(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Pixels]]:
    """As a camera would send them."""
    for each in samples:
        yield each, np.asarray(cv2.resize(each.pixels(), CAMERA_PX, interpolation=cv2.INTER_CUBIC), np.uint8)


def _clip_frames(clips: Sequence[Clip], input_px: int) -> Iterator[tuple[Sample, Pixels]]:
    """Of those that are larger than the detector's input, in their own size."""
    for clip in clips:
        due_s = 0.0
        for (frame, pts_ns, _), _ in frames(clip.path, least_s=0):
            if not is_larger((frame.width, frame.height), input_px):
                break
            if pts_ns >= due_s * NS:
                due_s += CLIP_EVERY_S
                yield (
                    Sample(clip.path, "clips", "clips", clip.name, ()),
                    np.asarray(frame.to_ndarray(format="bgr24"), np.uint8),
                )


def _marked(choice: Choice) -> str:
    return f"**{choice}** (the daemon's)" if choice == TAKEN else str(choice)


def _said(kind: str) -> str:
    low, high = KINDS[kind]
    return f"{low:.0f}–{high:.0f} px"
