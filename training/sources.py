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
from training.folders import SUFFIXES, FolderError

Row = tuple[str, float, float, float, float]
"""Label, then centre and size, normalised."""


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


def read_sources(path: Path) -> list[Source]:
    """What the file names; raises FolderError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return [_source(each) for each in content["source"]]
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise FolderError(f"{path}: a source has no {error.args[0]}") from error
    except (tomllib.TOMLDecodeError, ValueError, re.error) as error:
        raise FolderError(f"{path}: {error}") from error


def _source(table: dict[str, Any]) -> Source:
    classes = {int(number): label for number, label in table["classes"].items()}
    if unknown := set(classes.values()) - set(LABELS):
        raise ValueError(f"classes: {', '.join(sorted(unknown))}; allowed are {', '.join(LABELS)}")
    return Source(
        table["name"],
        table["repository"],
        table["commit"],
        table["folder"],
        classes,
        table["licence"],
        table.get("smoke", "known") != "unknown",
        re.compile(table.get("only", "")),
        re.compile(table["without"]) if "without" in table else None,
        table.get("empty") == "only",
        table.get("most_per_scene"),
        table.get("labels") == "none",
    )


def pictures_of(source: Source, repositories: Path) -> Iterator[Found]:
    """Every wanted picture that has a labels file, or needs none, in the order of their paths; raises FolderError."""
    git = _git_directory(repositories, source.repository)
    listed = _run(git, "ls-tree", "-r", "-z", "--name-only", source.commit, "--", source.folder)
    paths = sorted(each for each in listed.decode("utf-8", "surrogateescape").split("\0") if each)
    wanted = [each for each in paths if each.lower().endswith(SUFFIXES) and source.takes(PurePosixPath(each).name)]
    if not source.unlabelled:
        labels = {each for each in paths if each.endswith(".txt")}
        wanted = [each for each in wanted if _labels_of(each) in labels]
    if not wanted:
        kind = "" if source.unlabelled else "labelled "
        raise FolderError(f"{source.name}: no {kind}pictures in {source.folder} of {source.repository}")
    files = [path for each in wanted for path in ([each] if source.unlabelled else [each, _labels_of(each)])]
    contents = _contents(git, source.commit, files)
    for path in wanted:
        coded, text = next(contents), b"" if source.unlabelled else next(contents)
        if coded is None or text is None:
            continue  # a copy of a repository can lack its largest files
        rows = tuple(_rows(text.decode("utf-8", "replace"), source))
        if not (source.only_empty and rows):
            yield Found(PurePosixPath(path).name, coded, rows)


def _labels_of(path: str) -> str:
    parts = PurePosixPath(path).with_suffix(".txt").parts
    return "/".join("labels" if each == "images" else each for each in parts)


def _rows(text: str, source: Source) -> Iterator[Row]:
    for line in text.splitlines():
        values = line.split()
        if len(values) >= 5 and int(values[0]) in source.classes:
            x, y, width, height = _box([float(each) for each in values[1:]])
            yield source.classes[int(values[0])], x, y, width, height


def _box(values: list[float]) -> tuple[float, float, float, float]:
    """Of a box as it is, of a polygon (x, y, x, y, …) what encloses it."""
    if len(values) == 4:
        return values[0], values[1], values[2], values[3]
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
    found = next((each for each in tried if each.is_dir()), None)
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
