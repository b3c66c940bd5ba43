# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training mine`: pictures that show neither, in which the detector sees something, as a folder to train with.

From folders, and from what people called a false alarm in a store of evidence.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2

from daemon.clock import host_clocks
from daemon.detect.detector import FireDetector
from daemon.detect.tiling import Tile, is_larger, tiles_of
from daemon.domain import Detection
from daemon.storage.disk import marker_of
from daemon.storage.durable import RealDisk
from daemon.storage.queries import Index
from training.folders import SUFFIXES, FolderError, Sample, check_new, pictures_in, put
from training.seen import AT_ONCE, FLOOR, Looker, look


class Hard(NamedTuple):
    """A picture in which something is seen, and how surely; `tile`: where in it, if it is not seen in the whole."""

    sample: Sample
    confidence: float
    tile: Tile | None = None


def run(options: argparse.Namespace) -> int:
    """0 when it is done, also where nothing was found."""
    check_new(options.out)
    samples = [*pictures_below(options.folders), *false_alarms(options.stores)]
    if not samples:
        raise FolderError(f"no pictures below the folders ({', '.join(SUFFIXES)}), and no false alarms in the stores")
    # one look: what the network itself takes for fire is what it has to unlearn
    detector = FireDetector(
        options.weights, input_px=options.input_px, device=options.device, batch=1, allow_pickle=options.allow_pickle
    )
    tiles_of_px = options.input_px if options.tiles else None
    mined = hardest(samples, detector, options.from_confidence, options.most, tiles_of_px)
    copy(mined, options.out)
    print(f"{len(mined)} of {len(samples)} pictures in {options.out}: look through them before they are trained with")
    return 0


def pictures_below(folders: Sequence[Path]) -> list[Sample]:
    """All pictures of the folders, at any depth, as such that show neither; raises FolderError for what is no folder."""
    samples = []
    for folder in folders:
        samples += [Sample(each, folder.name, folder.name, str(each.parent), ()) for each in pictures_in(folder)]
    return samples


def false_alarms(stores: Sequence[Path]) -> list[Sample]:
    """The detector's stills of incidents that were a false alarm, as the newest word of each says; raises FirewitnessError."""
    samples = []
    for root in stores:
        if marker_of(RealDisk(), root) is None:
            raise FolderError(f"{root} holds no store")
        paths = Index(root, host_clocks()).pictures_assessed("false_alarm")
        samples += [
            Sample(each, "false_alarms", each.parts[-5], str(each.parent), ()) for each in paths if each.is_file()
        ]
    return samples


def hardest(
    samples: Sequence[Sample], detector: Looker, from_confidence: float, most: int, tiles_of_px: int | None = None
) -> list[Hard]:
    """Those in which something is seen with that confidence, the strongest first, each content once.

    A file that is no picture is left out, and told: one of a site's many must not cost the looks at all the others.
    `tiles_of_px`: the detector's longer side, to look at tiles of full resolution as well, as the patrol does.
    """
    found: dict[bytes, Hard] = {}
    for number, sample in enumerate(samples, 1):
        try:
            hard = _whole_or_tile(sample, detector, from_confidence, tiles_of_px)
        except FolderError as error:
            print(f"{error}: left out", file=sys.stderr, flush=True)
            continue
        if hard.confidence >= from_confidence:
            found.setdefault(hashlib.sha256(sample.path.read_bytes()).digest(), hard)
        if number % AT_ONCE == 0 or number == len(samples):
            print(f"{number} of {len(samples)}", file=sys.stderr, flush=True)
    return sorted(found.values(), key=lambda each: -each.confidence)[:most]


def _whole_or_tile(sample: Sample, detector: Looker, enough: float, tiles_of_px: int | None) -> Hard:
    """What the whole picture shows, and where that is not enough, the tile that shows most."""
    (seen,) = look(detector, [sample])
    whole = Hard(sample, _strongest(seen.detections))
    if whole.confidence >= enough or tiles_of_px is None or not is_larger(seen.size_px, tiles_of_px):
        return whole
    tiles, picture = tiles_of(seen.size_px, tiles_of_px), sample.pixels()
    found = detector.detect([tile.of(picture) for tile in tiles], FLOOR)
    shown = [Hard(sample, _strongest(one), tile) for tile, one in zip(tiles, found, strict=True)]
    return max(shown, key=lambda each: each.confidence)


def copy(mined: Sequence[Hard], out: Path) -> None:
    """As a labelled folder; the names begin with their rank. Of what a tile showed the tile: so the detector saw it."""
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True)
    for rank, each in enumerate(mined):
        path = each.sample.path
        if each.tile is None:
            put(out, f"{rank:04d}-{path.stem}{path.suffix.lower()}", path.read_bytes(), "")
        else:
            coded = cv2.imencode(".jpg", each.tile.of(each.sample.pixels()), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            put(out, f"{rank:04d}-{path.stem}-at-{each.tile.left}-{each.tile.top}.jpg", coded.tobytes(), "")


def _strongest(detections: Sequence[Detection]) -> float:
    return max((each.confidence for each in detections), default=0.0)
