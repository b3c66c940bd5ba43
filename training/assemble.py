# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m training assemble`: from the sources' repositories to folders to train with, apart from what is measured with."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from daemon.domain import LABELS
from training.alike import APART_BITS, Known, Looks, looks_of_clip
from training.clips import read_clips
from training.folders import Sample, check_new, decoded, put, read_folder
from training.scenes import scene_of
from training.sources import Found, Source, listed, pictures_of, read_sources

SAME_BITS = 20
"""Of 256: up to here two pictures of the sources are taken for one. Looked at: frames of one video a second apart, and noisy copies."""
_ROBOFLOW = re.compile(r"(_(jpg|jpeg|png))?\.rf\.[0-9a-f]+(?=\.)")


def run(options: argparse.Namespace) -> int:
    """0 when it is done."""
    check_new(options.out)
    listings = [listed(each, options.repositories) for each in read_sources(options.sources)]  # before any is copied
    apart = _measured(options.apart)
    known = Known()
    for listing in listings:
        source, taken = listing.source, Taken()
        if not source.smoke_known:  # first: stopped in between, what is there must not teach that there is no smoke
            (options.out / source.name).mkdir(parents=True)
            (options.out / source.name / "PARTIAL").write_text("smoke\n")
        for each in pictures_of(listing):
            _take(each, source, apart, known, taken, options.out / source.name)
        print(f"{source.name}: {taken}", file=sys.stderr, flush=True)
    return 0


class Taken:
    """What became of a source's pictures."""

    def __init__(self) -> None:
        self.fates: Counter[str] = Counter()
        self.scenes: Counter[str] = Counter()

    def __str__(self) -> str:
        return ", ".join(f"{count} {fate}" for fate, count in self.fates.most_common())


class Apart:
    """The pictures and scenes that are measured with."""

    def __init__(self) -> None:
        self._known, self._scenes = Known(), set[str]()

    def add(self, samples: Iterable[Sample]) -> None:
        """These pictures, and all of their scenes."""
        for each in samples:
            self._known.add(Looks.of(each.pixels()))
            self._scenes.add(scene_of(each.path.stem))

    def add_clip(self, path: Path) -> None:
        """What its frames show; raises FolderError for what is no video."""
        for looks in looks_of_clip(path):
            self._known.add(looks)

    def has(self, looks: Looks, stem: str) -> bool:
        """Whether it is one of them, like one of them, or of their scenes."""
        return scene_of(stem) in self._scenes or self._known.has_like(looks, APART_BITS)


def _measured(folders: Iterable[Path]) -> Apart:
    """What lies in these folders: labelled pictures, or clips with their list."""
    apart = Apart()
    for folder in folders:
        clips = read_clips(folder)
        for clip in clips:
            apart.add_clip(clip.path)
        if not clips:
            apart.add(read_folder(folder, folder.parent))
    return apart


def _take(each: Found, source: Source, apart: Apart, known: Known, taken: Taken, out: Path) -> None:
    if each.wrong:
        print(f"{source.repository}: {each.wrong}: left out", file=sys.stderr, flush=True)
        taken.fates["with labels that are none"] += 1
        return
    stem = stem_of(source.name, each)
    pixels = decoded(each.coded)
    if pixels is None:
        taken.fates["not readable"] += 1
        return
    looks, scene = Looks.of(pixels), scene_of(stem)
    fate = "taken"
    if apart.has(looks, stem):
        fate = "like what is measured with"
    elif source.most_per_scene is not None and taken.scenes[scene] >= source.most_per_scene:
        fate = "enough of their scene"
    elif known.has_like(looks, SAME_BITS):
        fate = "like another"
    taken.fates[fate] += 1
    if fate != "taken":
        return
    known.add(looks)
    taken.scenes[scene] += 1
    lines = [f"{LABELS.index(label)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}" for label, x, y, w, h in each.rows]
    put(out, f"{stem}{Path(each.name).suffix.lower()}", each.coded, "".join(f"{line}\n" for line in lines))


def stem_of(source: str, found: Found) -> str:
    """SOURCE_HASH_NAME, as `scenes` reads it: without what Roboflow adds to names."""
    name = Path(_ROBOFLOW.sub("", found.name)).stem
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name)
    return f"{source}_{hashlib.sha256(found.coded).hexdigest()[:7]}_{plain[:80]}"
