# SPDX-License-Identifier: AGPL-3.0-or-later
"""A file system in memory that knows what was synced, and every state that a power failure may leave of the rest.

It is harsher than a real one. Contents that were not synced: kept, lost, cut at any byte, or pages of zeros in them.
Names made, renamed and removed and not synced: kept or undone, each for itself. Every call is one or more steps (a
write and its sync are two); before step `crash_at` it raises `Crash`, as a power failure would end the process.
"""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO


class Crash(BaseException):
    """The power failed. A BaseException, as nothing may catch it and go on."""


@dataclass(eq=False)
class File:
    """An inode: what is durable of it, and what the page cache holds."""

    durable: bytes = b""
    current: bytes = b""


@dataclass(eq=False)
class Folder:
    """An inode of names."""

    durable: dict[str, File | Folder] = field(default_factory=dict)
    current: dict[str, File | Folder] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    """New name → durable old one, of what was renamed and not synced: renaming is atomic, so one of both is there."""


class ModelLock:
    """Locks do not matter here: there is one process."""

    def release(self) -> None: ...

    def is_current(self) -> bool:
        return True


class ModelDisk:
    """`durable.Disk` in memory."""

    def __init__(self, top: Folder | None = None) -> None:
        self.top = top or Folder()
        self.steps = 0
        self.crash_at: int | None = None
        self.before_step: Callable[[int], object] | None = None
        self.opened: list[Path] = []
        self.free_bytes = 10**12

    def step(self) -> None:
        """One step further; also called by the test for steps that are not the disk's."""
        if self.before_step is not None:
            self.before_step(self.steps)
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise Crash
        self.steps += 1

    # ------------------------------------------------------------------ Disk

    def make_folder(self, path: Path) -> None:
        self.step()
        self._folder(path.parent).current.setdefault(path.name, Folder())

    def sync_folder(self, path: Path) -> None:
        self.step()
        folder = self._folder(path)
        folder.durable, folder.moved = dict(folder.current), {}

    def write_new(self, path: Path, data: bytes | memoryview, mode: int = 0) -> None:
        self.step()
        file = File()
        self._folder(path.parent).current[path.name] = file
        self.step()
        file.current = bytes(data)
        self.step()
        file.durable = file.current

    def rename(self, source: Path, target: Path) -> None:
        self.step()
        assert source.parent == target.parent
        folder = self._folder(source.parent)
        folder.current[target.name] = folder.current.pop(source.name)
        if source.name in folder.durable:
            folder.moved[target.name] = source.name

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        self.step()
        file = self._folder(path.parent).current.setdefault(path.name, File())
        assert isinstance(file, File)
        assert offset <= len(file.current), "a hole"
        file.current = file.current[:offset] + data + file.current[offset + len(data) :]
        self.step()
        file.durable = file.current

    def truncate(self, path: Path, size_bytes: int) -> None:
        self.step()
        file = self._file(path)
        file.current = file.current[:size_bytes]
        self.step()
        file.durable = file.current

    def protect(self, path: Path) -> None:
        self.step()
        self._file(path)

    def unlink(self, path: Path) -> None:
        self.step()
        self._folder(path.parent).current.pop(path.name, None)

    def remove_folder(self, path: Path) -> bool:
        self.step()
        parent = self._folder(path.parent)
        found = parent.current.get(path.name)
        if not isinstance(found, Folder) or found.current:
            return False
        del parent.current[path.name]
        return True

    def open(self, path: Path) -> BinaryIO:
        self.opened.append(path)
        return io.BytesIO(self._file(path).current)

    def size_bytes(self, path: Path) -> int | None:
        try:
            return len(self._file(path).current)
        except FileNotFoundError:
            return None

    def names(self, folder: Path) -> list[str] | None:
        try:
            return sorted(self._folder(folder).current)
        except FileNotFoundError:
            return None

    def space_bytes(self, path: Path) -> tuple[int, int]:
        return self.free_bytes, 10**12

    def lock(self, folder: Path, patience_s: float = 0) -> ModelLock:
        return ModelLock()

    # ------------------------------------------------------------------ looking at it

    def _folder(self, path: Path) -> Folder:
        node: File | Folder | None = self.top
        for name in path.parts[1:]:
            node = node.current.get(name) if isinstance(node, Folder) else None
        if not isinstance(node, Folder):
            raise FileNotFoundError(path)
        return node

    def _file(self, path: Path) -> File:
        file = self._folder(path.parent).current.get(path.name)
        if not isinstance(file, File):
            raise FileNotFoundError(path)
        return file

    def files(self) -> dict[str, bytes]:
        """All files: absolute path → contents."""
        return dict(_walk(self.top, ""))

    def shows(self) -> tuple[object, ...]:
        """All that can be read of it, names of folders included: two disks that show the same go on alike."""
        return _shown(self.top)

    # ------------------------------------------------------------------ what a power failure leaves

    def killed(self) -> ModelDisk:
        """After kill -9: the page cache lives on, and what was not synced still is not."""
        return ModelDisk(_copy(self.top))

    def crashes(self, seed: int, randoms: int) -> Iterator[ModelDisk]:
        """Disks that the power failure may leave: the plain ones, each one thing alone kept or lost, random subsets."""
        count = len(_open_questions(self.top))
        seen: set[tuple[int, ...]] = set()
        for answers in itertools.chain(_plain(count), _random(count, seed, randoms)):
            if answers not in seen:
                seen.add(answers)
                yield ModelDisk(_settle(self.top, iter(answers), random.Random(str((seed, answers)))))


LOST, KEPT, TORN = 0, 1, 2


def _plain(count: int) -> Iterator[tuple[int, ...]]:
    for all_others in (LOST, KEPT):
        yield (all_others,) * count
        for at in range(count):
            for answer in (LOST, KEPT, TORN):
                yield tuple(answer if each == at else all_others for each in range(count))


def _random(count: int, seed: int, randoms: int) -> Iterator[tuple[int, ...]]:
    source = random.Random(seed)
    for _ in range(randoms if count > 1 else 0):
        yield tuple(source.choice((LOST, KEPT, TORN)) for _ in range(count))


def _shown(folder: Folder) -> tuple[object, ...]:
    entries = sorted(folder.current.items())
    return tuple((name, _shown(node) if isinstance(node, Folder) else node.current) for name, node in entries)


def _all_names(folder: Folder) -> list[str]:
    return sorted(folder.durable.keys() | folder.current.keys())


def _open_questions(folder: Folder) -> list[str]:
    """One per name and per file's contents of which durable and current differ, in the order of settling them."""
    found = []
    for name in _all_names(folder):
        before, now = folder.durable.get(name), folder.current.get(name)
        if before is not now:
            found.append(name)
        for node in {id(each): each for each in (before, now) if each is not None}.values():
            if isinstance(node, Folder):
                found += _open_questions(node)
            elif node.durable != node.current:
                found.append(name)
    return found


def _settle(folder: Folder, answers: Iterator[int], source: random.Random) -> Folder:
    names: dict[str, File | Folder] = {}
    befores: dict[str, File | Folder] = {}
    for name in _all_names(folder):
        before, now = folder.durable.get(name), folder.current.get(name)
        chosen = now if before is now or next(answers) != LOST else before
        settled = {}
        for node in {id(each): each for each in (before, now) if each is not None}.values():
            if isinstance(node, Folder):
                settled[id(node)] = _settle(node, answers, source)
            else:
                contents = node.current if node.durable == node.current else _contents(node, next(answers), source)
                settled[id(node)] = File(contents, contents)
        if chosen is not None:
            names[name] = settled[id(chosen)]
        if name in folder.durable:
            befores[name] = settled[id(folder.durable[name])]
    for target, source_name in folder.moved.items():
        if target not in names and source_name not in names:
            names[source_name] = befores[source_name]
    return Folder(dict(names), dict(names))


def _contents(file: File, answer: int, source: random.Random) -> bytes:
    if answer == LOST:
        return file.durable
    if answer == KEPT or len(file.current) < len(file.durable):
        return file.current
    begin = _same_bytes(file.durable, file.current)
    cut = source.randint(begin, len(file.current))
    manner = source.randrange(3)
    if manner == 0:
        return file.current[:cut] + file.durable[cut:]
    zeros = bytes(len(file.current) - cut)
    if manner == 1:  # the length is there, the pages are not
        return file.current[:cut] + zeros
    return file.current[:begin] + bytes(cut - begin) + file.current[cut:]  # a later page is there, an earlier is not


def _same_bytes(one: bytes, other: bytes) -> int:
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


def _copy(folder: Folder, copies: dict[int, File | Folder] | None = None) -> Folder:
    copies = {} if copies is None else copies

    def of(node: File | Folder) -> File | Folder:
        if id(node) not in copies:
            copies[id(node)] = _copy(node, copies) if isinstance(node, Folder) else File(node.durable, node.current)
        return copies[id(node)]

    durable, current = ({name: of(node) for name, node in names.items()} for names in (folder.durable, folder.current))
    return Folder(durable, current, dict(folder.moved))


def _walk(folder: Folder, path: str) -> Iterator[tuple[str, bytes]]:
    for name, node in folder.current.items():
        if isinstance(node, Folder):
            yield from _walk(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", node.current
