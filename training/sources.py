# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where pictures come from: the sources that a TOML file names, read from bare copies of their git repositories.

A source's labels are YOLO's: beside `…/images/…/NAME.jpg` lies `…/labels/…/NAME.txt`, also where the two words stand higher up.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from daemon.domain import LABELS
from training.folders import SUFFIXES, FolderError, is_box, is_folder

Row = tuple[str, float, float, float, float]
"""Label, then centre and size, normalised."""

NEEDED = ("name", "repository", "commit", "folder", "licence")
TEXTS = {
    key: (re.compile(allowed), said)
    for key, allowed, said in (
        ("name", r"[a-z0-9]+", "small letters and digits"),  # as scenes.py reads it
        ("repository", r"[\w.-]+/[\w.-]+", "OWNER/NAME"),
        ("commit", r"\w[\w./-]*", "a commit"),
        ("folder", r".+", "a folder's path in the repository"),
        ("licence", r"(?s).+", "a text"),
        ("smoke", r"known|unknown", "known or unknown"),
        ("only", r"(?s).*", "a pattern"),
        ("without", r"(?s).*", "a pattern"),
        ("empty", r"only", "only"),
        ("labels", r"none", "none"),
    )
}
"""What a source says in a text, which texts are allowed, and that in words."""


@dataclass(frozen=True, slots=True)
class Source:
    """One repository's labelled folder, and what of it is taken."""

    name: str
    repository: str
    commit: str
    folder: str
    classes: dict[int, str]
    licence: str
    smoke_known: bool = True
    only: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    without: re.Pattern[str] | None = None
    only_empty: bool = False
    most_per_scene: int | None = None
    unlabelled: bool = False
    """It has no labels of ours, and shows neither: a person has looked."""

    def takes(self, name: str) -> bool:
        """Whether a file of this name is wanted."""
        return bool(self.only.match(name)) and not (self.without and self.without.match(name))


@dataclass(frozen=True, slots=True)
class Found:
    """One picture as its source has it."""

    name: str
    coded: bytes
    rows: tuple[Row, ...]
    wrong: str = ""
    """What is wrong with its labels, where something is."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a copy of a source's repository has of what is wanted of it."""

    source: Source
    git: Path
    paths: tuple[str, ...]


def read_sources(path: Path) -> list[Source]:
    """What the file names; raises FolderError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("source")
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # tomllib's own is one, too
        raise FolderError(f"{path}: {error}") from error
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise FolderError(f"{path}: its sources have to be tables, each under [[source]]")
    sources: list[Source] = []
    for table in tables:
        try:
            sources.append(_source(table))
        except KeyError as error:
            raise FolderError(f"{path}: a source has no {error.args[0]}") from error
        except (ValueError, re.error) as error:
            raise FolderError(f"{path}, source {table.get('name')!r}: {error}") from error
        if sources[-1].name in (each.name for each in sources[:-1]):
            raise FolderError(f"{path}: two sources of the name {sources[-1].name} would become one folder")
    return sources


def _source(table: dict[str, Any]) -> Source:
    if unknown := table.keys() - TEXTS.keys() - {"classes", "most_per_scene"}:
        raise ValueError(f"{min(unknown)} is nothing that a source has")
    for key, (allowed, said) in TEXTS.items():
        value = table[key] if key in NEEDED else table.get(key)
        if value is not None and not (isinstance(value, str) and allowed.fullmatch(value)):
            raise ValueError(f"{key} = {value!r}; allowed is {said}")
    most = table.get("most_per_scene")
    if most is not None and (type(most) is not int or most < 1):
        raise ValueError(f"most_per_scene = {most!r}; allowed is a whole number from 1 on")
    return Source(
        table["name"],
        table["repository"],
        table["commit"],
        table["folder"],
        _classes(table["classes"]),
        table["licence"],
        table.get("smoke", "known") != "unknown",
        re.compile(table.get("only", "")),
        re.compile(table["without"]) if "without" in table else None,
        table.get("empty") == "only",
        most,
        table.get("labels") == "none",
    )


def _classes(table: Any) -> dict[int, str]:
    if not isinstance(table, dict) or not all(each.isdecimal() for each in table):
        raise ValueError(f'classes = {table!r}; allowed is a table of their numbers, such as {{ 0 = "fire" }}')
    if unknown := {str(each) for each in table.values()} - set(LABELS):
        raise ValueError(f"classes: {', '.join(sorted(unknown))}; allowed are {', '.join(LABELS)}")
    return {int(number): label for number, label in table.items()}


def listed(source: Source, repositories: Path) -> Listing:
    """Every wanted picture that has a labels file, or needs none, in the order of their paths; raises FolderError."""
    git = _git_directory(repositories, source.repository)
    below = _run(git, "ls-tree", "-r", "-z", "--name-only", source.commit, "--", source.folder)
    paths = sorted(each for each in below.decode("utf-8", "surrogateescape").split("\0") if each)
    wanted = [each for each in paths if each.lower().endswith(SUFFIXES) and source.takes(PurePosixPath(each).name)]
    if not source.unlabelled:
        labels = {each for each in paths if each.endswith(".txt")}
        wanted = [each for each in wanted if _labels_of(each) in labels]
    if not wanted:
        kind = "" if source.unlabelled else "labelled "
        raise FolderError(f"{source.name}: no {kind}pictures in {source.folder} of {source.repository}")
    return Listing(source, git, tuple(wanted))


def pictures_of(listing: Listing) -> Iterator[Found]:
    """All of its pictures that the copy has."""
    source = listing.source
    files = [path for each in listing.paths for path in ([each] if source.unlabelled else [each, _labels_of(each)])]
    contents = _contents(listing.git, source.commit, files)
    for path in listing.paths:
        coded, text = next(contents), b"" if source.unlabelled else next(contents)
        if coded is None or text is None:
            continue  # a copy of a repository can lack its largest files
        name = PurePosixPath(path).name
        try:
            rows = tuple(_rows(text.decode("utf-8", "replace"), source))
        except ValueError as error:
            yield Found(name, coded, (), f"{_labels_of(path)}, {error}")
            continue
        if not (source.only_empty and rows):
            yield Found(name, coded, rows)


def _labels_of(path: str) -> str:
    parts = PurePosixPath(path).with_suffix(".txt").parts
    return "/".join("labels" if each == "images" else each for each in parts)


def _rows(text: str, source: Source) -> Iterator[Row]:
    """What is labelled as one of ours; raises ValueError with the line that is no label."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if (row := _row(line.split(), source)) is not None:
                yield row
        except ValueError as error:
            raise ValueError(f"line {number}: not `class cx cy w h`, nor a polygon: {line[:60]!r}") from error


def _row(words: list[str], source: Source) -> Row | None:
    label = source.classes.get(int(words[0])) if words else None
    if label is None:
        return None
    x, y, width, height = (round(each, 6) for each in _box([float(each) for each in words[1:]]))  # as they are written
    if not is_box(x, y, width, height):
        raise ValueError
    return label, x, y, width, height


def _box(values: list[float]) -> tuple[float, float, float, float]:
    """Of a box as it is, of a polygon (x, y, x, y, …) what encloses it; raises ValueError for what is neither."""
    if len(values) == 4:
        return values[0], values[1], values[2], values[3]
    if len(values) < 6 or len(values) % 2:
        raise ValueError
    xs, ys = values[0::2], values[1::2]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


def _git_directory(repositories: Path, repository: str) -> Path:
    """OWNER+NAME/repo or OWNER/NAME(.git) below the folder."""
    owner, _, name = repository.partition("/")
    tried = [
        repositories / f"{owner}+{name}" / "repo",
        repositories / owner / name,
        repositories / owner / f"{name}.git",
    ]
    found = next((each for each in tried if is_folder(each)), None)
    if found is None:
        raise FolderError(f"{repository}: no copy of it, looked for {', '.join(map(str, tried))}")
    return found


def _contents(git: Path, commit: str, paths: list[str]) -> Iterator[bytes | None]:
    """Of each path in turn, by one `git cat-file --batch`; None for what is not stored."""
    command = ["git", "-C", str(git), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        if running.stdin is None or running.stdout is None:
            raise RuntimeError("pipes were asked for")
        for path in paths:  # one at a time: both pipes are bounded
            running.stdin.write(f"{commit}:{path}\n".encode("utf-8", "surrogateescape"))
            running.stdin.flush()
            head = running.stdout.readline().split()
            if len(head) != 3 or head[1] != b"blob":
                yield None
                continue
            yield running.stdout.read(int(head[2]))
            running.stdout.read(1)
        running.stdin.close()


def _run(git: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(git), *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise FolderError(f"{git}: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout
