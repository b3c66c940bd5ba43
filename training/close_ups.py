# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training close-ups`: what the detector sees in labelled pictures, cut out as its closer look is shown it, to train with.

Right or wrong, each cut-out has the labels that lie in it: so the network is taught what it will be asked a second time.
Flames and smoke that the detector does not see at all are in none of them, since nobody looks at them closely. Pictures are
looked at as they are, as POST does; a live frame, reduced to the input, gives less to cut out where it is larger than that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from daemon.detect.closer import Cut, deal
from daemon.detect.detector import FireDetector
from daemon.detect.letterbox import reduced
from daemon.domain import LABELS
from training.augment.view import clipped
from training.folders import FolderError, Labelled, Pixels, Sample, check_new, put, read_folder, written
from training.seen import AT_ONCE, FLOOR, Looker, Seen

MOST = 2  # of one picture: a street of lamps must not be most of what is learnt
SIDE_PX = 480  # at most: half as large again as the detector is shown of them


class CloseUp(NamedTuple):
    """A part of a sample, at most `SIDE_PX` large, and the labels that lie in it."""

    sample: Sample
    left: int
    top: int
    side_px: int
    """Its longer side in the sample."""
    pixels: Pixels
    boxes: tuple[Labelled, ...]


def run(options: argparse.Namespace) -> int:
    """0 when it is done, also where nothing was seen."""
    check_new(options.out)
    folders = {each.resolve().name: each for each in options.folders}
    if len(folders) < len(options.folders):
        raise FolderError("two folders of one name would become one; give them one after the other, with another --out")
    samples = {name: read_folder(each, each.parent) for name, each in folders.items()}
    # one look: it is what decides what is looked at closely
    detector = FireDetector(
        options.weights, input_px=options.input_px, device=options.device, batch=1, allow_pickle=options.allow_pickle
    )
    rng = np.random.default_rng(options.seed)
    for name, all_of_it in samples.items():
        some = _some(all_of_it, options.most, rng)
        (options.out / name).mkdir(parents=True)
        if not some[0].smoke_known:  # first: stopped in between, what is there must not teach that there is no smoke
            (options.out / name / "PARTIAL").touch()
        put_there = [_put(options.out / name, each) for each in close_ups(some, detector, options.input_px, rng)]
        print(f"{name}: {len(put_there)} close-ups of {len(some)} pictures")
    return 0


def close_ups(
    samples: Sequence[Sample], detector: Looker, input_px: int, rng: np.random.Generator
) -> Iterator[CloseUp]:
    """Of what is looked at closely in each of them at most two, by chance, no cut-out twice; the same chance gives the same."""
    for number, sample in enumerate(samples, 1):
        picture = sample.pixels()
        (found,) = detector.detect([picture], FLOOR)
        seen = Seen(sample, (picture.shape[1], picture.shape[0]), found)
        looked = deal(found, picture, input_px).looked
        cuts = list({(each.cut.left, each.cut.top, each.cut.pixels.shape): each.cut for each in looked}.values())
        yield from (_close_up(seen, cuts[chosen]) for chosen in rng.permutation(len(cuts))[:MOST])
        if number % AT_ONCE == 0 or number == len(samples):
            print(f"{number} of {len(samples)}", file=sys.stderr, flush=True)


def _some(samples: Sequence[Sample], most: int | None, rng: np.random.Generator) -> list[Sample]:
    chosen = rng.permutation(len(samples))[:most]
    return [samples[each] for each in sorted(chosen)]


def _close_up(seen: Seen, cut: Cut) -> CloseUp:
    pixels, side_px = reduced(cut.pixels, SIDE_PX), max(cut.pixels.shape[:2])
    return CloseUp(seen.sample, cut.left, cut.top, side_px, pixels, _within(seen, cut))


def _within(seen: Seen, cut: Cut) -> tuple[Labelled, ...]:
    """The labels that lie in it, without those of which too little does, normalised to it."""
    height, width = cut.pixels.shape[:2]
    rows = [(number, *box) for number, label in enumerate(LABELS) for box in seen.labelled(label)]
    boxes = np.array(rows, np.float32).reshape(-1, 5) - np.array([0, cut.left, cut.top, cut.left, cut.top], np.float32)
    return tuple(
        Labelled(LABELS[int(number)], (x1 / width, y1 / height, x2 / width, y2 / height))
        for number, x1, y1, x2, y2 in clipped(boxes, 0, 0, width, height).tolist()
    )


def _put(out: Path, each: CloseUp) -> str:
    """Its name, which ends with where it lies and how large it is, and begins with the picture's, so that it is of the same scene."""
    coded = cv2.imencode(".jpg", each.pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    name = f"{each.sample.path.stem}-at-{each.left}-{each.top}-{each.side_px}.jpg"
    put(out, name, coded.tobytes(), written(each.boxes))
    return name
