# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips while they grow: bytes appended, hashed and attested in the ledger as they come (docs/evidence-lifecycle.md).

    <name>.mp4.open ──append, fdatasync──▶ … ──renamed, read-only──▶ <name>.mp4, `stored`

An imported one is a file of somebody else's: nothing in it tells a half from the whole, so that no part of it is attested, and one that
is broken off goes; who has the file imports it again.

No clock: what is due is told by the frames' own times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.clock import NS, rfc3339
from daemon.domain import IMPORTED, SIBLING, Clip
from daemon.storage.durable import Disk
from daemon.storage.paths import clip_path, folder_of

SEGMENT_NS = 10 * NS  # of frames: so much of a clip at most is not attested by the ledger yet
OPEN = ".open"
Line = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class Span:
    """What a stretch of a clip holds."""

    frames: int = 0
    first_pts: int = 0
    last_pts: int = 0
    first_at_ns: int = 0
    last_at_ns: int = 0

    def add(self, other: Span) -> None:
        """Takes in what follows."""
        if not self.frames:
            self.first_pts, self.first_at_ns = other.first_pts, other.first_at_ns
            self.last_pts, self.last_at_ns = other.last_pts, other.last_at_ns
        self.frames += other.frames
        self.first_pts = min(self.first_pts, other.first_pts)
        self.last_pts = max(self.last_pts, other.last_pts)
        self.first_at_ns = min(self.first_at_ns, other.first_at_ns)
        self.last_at_ns = max(self.last_at_ns, other.last_at_ns)


@dataclass(frozen=True, slots=True)
class Appended:
    """The next bytes of a clip; the first ones make it."""

    clip: Clip
    from_byte: int
    data: bytes
    incidents: tuple[str, ...]
    span: Span
    sibling_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes of a clip. `closed` is a ClipClosed."""

    clip: str
    closed: str


Step = Appended | Ended


@dataclass(slots=True)
class _Growing:
    """One clip that is being written."""

    clip: Clip
    path: str
    """Its name once it is closed."""
    bytes: int = 0
    whole: Any = field(default_factory=hashlib.sha256)
    segment: Any = field(default_factory=hashlib.sha256)
    segment_from: int = 0
    in_segment: Span = field(default_factory=Span)
    in_all: Span = field(default_factory=Span)
    incidents: tuple[str, ...] = ()
    sibling_of: tuple[str, ...] = ()

    def take(self, step: Appended) -> None:
        """Bytes that are durable now."""
        self.whole.update(step.data)
        self.segment.update(step.data)
        self.bytes += len(step.data)
        self.in_segment.add(step.span)
        self.in_all.add(step.span)
        self.incidents, self.sibling_of = step.incidents, step.sibling_of

    @property
    def is_imported(self) -> bool:
        return self.clip.cause == IMPORTED

    @property
    def is_due(self) -> bool:
        return not self.is_imported and self.in_segment.last_at_ns - self.in_segment.first_at_ns >= SEGMENT_NS

    def attest(self) -> Line:
        """The line of the segment that ends here."""
        body = {
            "clip": self.clip.id, "path": self.path, "camera": self.clip.camera, "run": self.clip.run,
            "from_byte": self.segment_from, "bytes": self.bytes - self.segment_from,
            "sha256": self.segment.hexdigest(), "incidents": list(self.incidents), "sibling_of": list(self.sibling_of),
            **span_json(self.in_segment),
        }  # fmt: skip
        self.segment, self.segment_from, self.in_segment = hashlib.sha256(), self.bytes, Span()
        return "segment", body


class OpenClips:
    """All clips that one open store writes."""

    def __init__(self, disk: Disk, root: Path) -> None:
        self._disk, self._root = disk, root
        self._growing: dict[str, _Growing] = {}

    def folders(self, steps: Iterable[Step] = ()) -> set[str]:
        """Day folders with a clip that is being written, also one that these steps begin."""
        new = {folder_of(_path(step)) for step in steps if isinstance(step, Appended) and step.from_byte == 0}
        return new | {folder_of(each.path) for each in self._growing.values()}

    def write(self, steps: Iterable[Step]) -> list[Line]:
        """Appends and closes, durably; the lines that follow. An end of a clip that never came is passed over."""
        several = list(steps)
        self._append([step for step in several if isinstance(step, Appended)])
        lines = [each.attest() for each in self._growing.values() if each.is_due]
        for step in several:
            if isinstance(step, Ended) and (growing := self._growing.pop(step.clip, None)) is not None:
                lines += self._close(growing, step.closed)
        return lines

    def end_all(self, closed: str) -> list[Ended]:
        """Steps that close whatever is open."""
        return [Ended(each, closed) for each in self._growing]

    def _append(self, steps: list[Appended]) -> None:
        together: dict[str, list[Appended]] = {}
        for step in steps:
            together.setdefault(step.clip.id, []).append(step)
        new = False
        for id_, several in together.items():
            growing = self._growing.get(id_)
            if growing is None:
                new = True
                growing = self._growing[id_] = _Growing(several[0].clip, _path(several[0]))
            if several[0].from_byte != growing.bytes:
                raise ValueError(f"clip {id_} has {growing.bytes} bytes, and the next begins at {several[0].from_byte}")
            data = b"".join(step.data for step in several)
            self._disk.write_at(self._root / (growing.path + OPEN), growing.bytes, data)
            for step in several:
                growing.take(step)
        if new:
            for folder in sorted({folder_of(self._growing[id_].path) for id_ in together}):
                self._disk.sync_folder(self._root / folder)

    def _close(self, growing: _Growing, closed: str) -> list[Line]:
        if growing.is_imported and closed != IMPORTED:
            self._disk.unlink(self._root / (growing.path + OPEN))
            self._disk.sync_folder(self._root / folder_of(growing.path))
            return []
        finish(self._disk, self._root, growing.path)
        lines = [growing.attest()] if growing.in_segment.frames and not growing.is_imported else []
        digest = growing.whole.hexdigest()
        served = growing.incidents, growing.sibling_of
        body = stored_body(growing.clip, digest, growing.bytes, growing.in_all, served, closed)
        return [*lines, ("stored", body)]


def kind_of(own: Sequence[str], others: Sequence[str]) -> str:
    """The kind of evidence that a clip is, by the incidents of its own camera and of others that it serves."""
    return SIBLING if others and not own else "clip"


def present(path: Path) -> Path:
    """A clip's file as it is now: it grows under another name until it has its own."""
    growing = path.with_name(path.name + OPEN)
    return growing if growing.exists() else path


def finish(disk: Disk, root: Path, path: str) -> None:
    """Gives an open clip its name, for good."""
    disk.protect(root / (path + OPEN))
    disk.rename(root / (path + OPEN), root / path)
    disk.sync_folder(root / folder_of(path))


def stored_body(
    clip: Clip, sha256: str, size_bytes: int, span: Span, served: tuple[Sequence[str], Sequence[str]], closed: str
) -> dict[str, Any]:
    """The body of a clip's `stored` line; `served` are the incidents of its own camera, and those of others."""
    own, others = served
    return {
        "id": clip.id,
        "path": clip_path(clip, span.first_at_ns),
        "sha256": sha256,
        "bytes": size_bytes,
        "camera": clip.camera,
        "captured_at": rfc3339(span.first_at_ns),
        "captured_at_ns": str(span.first_at_ns),
        "run": clip.run,
        "pts": str(span.first_pts),
        "kind": kind_of(own, others),
        "incident": next(iter([*own, *others]), None),
        "clip": {
            "incidents": list(own),
            "sibling_of": list(others),
            **span_json(span),
            "codec": clip.codec,
            "width_px": clip.width_px,
            "height_px": clip.height_px,
            "time_base": list(clip.time_base),
            "first_dts": str(clip.first_dts),
            "cause": clip.cause,
            "closed": closed,
            "drill": clip.drill,
            "version": clip.version,
            **({"times": "claimed"} if clip.cause == IMPORTED else {}),
        },
    }


def span_json(span: Span) -> dict[str, Any]:
    """As docs/formats.md has it."""
    return {
        "frames": span.frames,
        "first_pts": str(span.first_pts),
        "last_pts": str(span.last_pts),
        "from_at": rfc3339(span.first_at_ns),
        "from_at_ns": str(span.first_at_ns),
        "to_at": rfc3339(span.last_at_ns),
        "to_at_ns": str(span.last_at_ns),
    }


def _path(step: Appended) -> str:
    return clip_path(step.clip, step.span.first_at_ns)
