# SPDX-License-Identifier: AGPL-3.0-or-later
"""Labelled pictures as they lie in folders: `images/NAME.jpg` beside `labels/NAME.txt`, a line `class cx cy w h` a box.

A folder with a file PARTIAL has only fire labelled: whether there is smoke is not known. A picture without a labels
file is a mistake, one with an empty file shows neither.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.domain import LABELS, Box
from daemon.errors import FirewitnessError
from training.scenes import scene_of, source_of

Pixels = NDArray[np.uint8]
SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderError(FirewitnessError):
    """A folder or file that is not as it has to be; one sentence."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One box; corners normalised 0..1."""

    label: str
    box: Box


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture file and what is known of it."""

    path: Path
    split: str
    """The folder's path below the data's, such as val or val_cctv/part7."""
    source: str
    scene: str
    """Pictures of one scene are alike: they stay together in every split and every resampling."""
    boxes: tuple[Labelled, ...]
    smoke_known: bool = True

    def known(self, label: str) -> bool:
        """Whether the absence of such a box says that there is none."""
        return label != "smoke" or self.smoke_known

    def pixels(self) -> Pixels:
        """See `pixels_of`."""
        return pixels_of(self.path)


def decoded(coded: bytes) -> Pixels | None:
    """BGR, upright: turned as its EXIF orientation says, as labelling tools show it and the daemon looks at it; None for no picture."""
    try:
        picture = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR) if coded else None
    except cv2.error:  # its header names a size that OpenCV refuses
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def pixels_of(path: Path) -> Pixels:
    """A file's, as `decoded`; raises FolderError for what is no picture."""
    try:
        picture = decoded(path.read_bytes())
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from error
    if picture is None:
        raise FolderError(f"{path}: not a picture that can be read")
    return picture


def is_folder(path: Path) -> bool:
    """Raises OSError where that is not to be known: what lies in a closed folder is not missing."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def pictures_in(folder: Path) -> list[Path]:
    """All picture files of a folder, at any depth; raises FolderError for what is none, OSError where one is closed."""
    if not is_folder(folder):
        raise FolderError(f"{folder}: there is no such folder")
    below = os.walk(folder, onerror=_raised)
    paths = (Path(where) / name for where, _, names in below for name in names)
    return sorted(each for each in paths if each.suffix.lower() in SUFFIXES and each.is_file())


def _raised(error: OSError) -> None:
    raise error


def split_folders(data: Path, name: str) -> list[Path]:
    """The labelled folders of a split: `data/name` itself, or those below it; none where there is no such split."""
    top = data / name
    if is_folder(top / "images"):
        return [top]
    return sorted(each for each in top.iterdir() if is_folder(each / "images")) if is_folder(top) else []


def read_folder(folder: Path, data: Path) -> list[Sample]:
    """Its samples, in the order of their names; raises FolderError."""
    if not is_folder(folder / "images"):
        raise FolderError(f"{folder}: there is no folder images in it")
    smoke_known = not (folder / "PARTIAL").exists()
    split = folder.relative_to(data).as_posix() if folder.is_relative_to(data) else folder.name
    samples = []
    for path in sorted((folder / "images").iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if not (path.is_file() and os.access(path, os.R_OK)):
                raise FolderError(f"{path}: named as a picture, and not a file that can be read")
            boxes = read_labels(folder / "labels" / f"{path.stem}.txt")
            scene = f"{split}/{scene_of(path.stem)}"
            samples.append(Sample(path, split, source_of(path.stem), scene, boxes, smoke_known))
    if not samples:
        raise FolderError(f"{folder}/images: no pictures in it ({', '.join(SUFFIXES)})")
    return samples


def read_split(data: Path, name: str) -> list[Sample]:
    """All samples of a split, whichever folders they are in; none where there is no such split."""
    return [sample for samples in read_splits(data, [name]) for sample in samples]


def read_splits(data: Path, names: Iterable[str]) -> list[list[Sample]]:
    """The samples of each folder of these splits; none of a split that is not there."""
    return [read_folder(folder, data) for name in names for folder in split_folders(data, name)]


def put(out: Path, name: str, coded: bytes, labels: str) -> None:
    """A picture file of that name with its labels file, into a folder that may not be there yet."""
    for kind in ("images", "labels"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    (out / "images" / name).write_bytes(coded)
    (out / "labels" / f"{Path(name).stem}.txt").write_text(labels)


def check_new(folder: Path) -> None:
    """Raises FolderError where a folder is there already or cannot be made: said before the work whose result it is to take."""
    if folder.exists():
        raise FolderError(f"{folder} is there already; name another folder")
    above = next(each for each in folder.absolute().parents if each.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise FolderError(f"{folder}: a folder cannot be made there, {above} is not one that can be written to")


def check_out(path: Path, suffix: str = "", read: Iterable[Path | None] = ()) -> None:
    """Raises FolderError where a file cannot be written: said before the work whose result it is to take.

    `suffix`: what its name has to end in; `read`: the command's other files, as far as they are given, which it must not replace.
    """
    if suffix and path.suffix != suffix:
        raise FolderError(f"{path}: the name of what is written has to end in {suffix}")
    if not path.parent.is_dir():
        raise FolderError(f"{path}: there is no folder {path.parent} to write it to")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise FolderError(f"{path}: a file of that name cannot be written there")
    if path.exists() and any(each is not None and each.exists() and path.samefile(each) for each in read):
        raise FolderError(
            f"{path}: is one of the files that this command works with, and would be lost; name another --out"
        )


def read_labels(path: Path) -> tuple[Labelled, ...]:
    """A labels file's boxes; raises FolderError with the line that is none."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(
            f"{path}: a picture's labels cannot be read; one without fire and smoke has an empty file"
        ) from error
    return tuple(_labelled(path, number, line) for number, line in enumerate(lines, 1) if line.strip())


def written(boxes: tuple[Labelled, ...]) -> str:
    """The text of a labels file."""
    lines = []
    for each in boxes:
        x1, y1, x2, y2 = each.box
        place = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        lines.append(" ".join((str(LABELS.index(each.label)), *(f"{value:.6f}" for value in place))) + "\n")
    return "".join(lines)


def is_box(cx: float, cy: float, width: float, height: float) -> bool:
    """Whether these are the numbers of one."""
    return all(math.isfinite(value) for value in (cx, cy, width, height)) and min(width, height) > 0


def _labelled(path: Path, number: int, line: str) -> Labelled:
    try:
        kind, cx, cy, width, height = (float(word) for word in line.split()[:5])
        label = LABELS[int(kind)] if kind in (0, 1) else None
    except ValueError:
        label = None
    if label is None or not is_box(cx, cy, width, height):
        raise FolderError(
            f"{path}, line {number}: not `class cx cy w h` with class 0 (fire) or 1 (smoke): {line[:60]!r}"
        )
    corners = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in corners)
    return Labelled(label, (x1, y1, x2, y2))
