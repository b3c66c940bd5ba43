# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of the store share: clocks that a test moves, small stills, and a store to open."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from daemon.clips.mp4 import Sample, fragment, header
from daemon.clock import NS, Synchronisation, rfc3339
from daemon.domain import Clip, Detection, Evidence, FrameTime, ModelInfo
from daemon.settings import StorageSettings
from daemon.storage import still
from daemon.storage.clips import Appended, Span
from daemon.storage.durable import Disk
from daemon.storage.store import Store
from daemon.storage.writing import Entry

MODEL = ModelInfo(sha256="ab" * 32, name="firewitness-11n", runtime="openvino", input_px=640)
BEGIN_NS = 1_795_449_909_123_456_789  # 2026-11-23T16:05:09.123Z
RUN = "0193a000-0000-7000-8000-000000000001"
INCIDENT = "0193a000-0000-7000-8000-000000000002"
HOUR_NS, DAY_NS = 3600 * NS, 86400 * NS


@dataclass
class FakeClocks:
    """Clocks that stand still until a test moves them."""

    wall: int = BEGIN_NS
    boot: int = 1000 * NS
    boot_name: str = "boot-1"
    synchronised: bool = True

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.boot

    def boot_ns(self) -> int:
        return self.boot

    def boot_id(self) -> str:
        return self.boot_name

    def synchronisation(self) -> Synchronisation:
        return Synchronisation(self.synchronised, 0.01)

    def run_for(self, ns: int) -> None:
        """Time passes."""
        self.wall += ns
        self.boot += ns

    def reboot(self, off_ns: int, *, synchronised: bool = True) -> None:
        """The host restarts and was off for so long."""
        self.wall += off_ns
        self.boot = 5 * NS
        self.boot_name += "+"
        self.synchronised = synchronised


def settings_of(folder: Path, **changes: Any) -> StorageSettings:
    """A store and its state below one folder; no reserve unless given."""
    given = {"root": folder / "store", "state_dir": folder / "state", "reserve": 0} | changes
    return StorageSettings(**given)


@contextmanager
def opened(settings: StorageSettings, clocks: FakeClocks, disk: Disk | None = None, **more: Any) -> Iterator[Store]:
    """A store that is let go of without `closed`, as a kill would."""
    store = Store.open(settings, clocks, version="0.1.0", cameras=["hall", "yard"], disk=disk, **more)
    try:
        yield store
    finally:
        if not store._writing.connection.closed:
            store._release()


def numbered(number: int) -> str:
    """A UUIDv7 that is the same in every run of a test."""
    return f"0193b000-0000-7000-8000-{number:012x}"


def evidence_of(number: int, at_ns: int, *, camera: str = "hall", incident: str | None = None, **more: Any) -> Evidence:
    """Evidence `number` of a 32 × 24 picture."""
    fire = Detection("fire", 0.25 + number % 50 / 100, (1.0, 2.0, 9.0, 8.0))
    found = (fire, Detection("smoke", 0.125, (0.0, 0.0, 4.0, 4.0)))
    given: dict[str, Any] = {
        "id": numbered(number), "camera": camera, "kind": "hit", "run": RUN, "pts": 90000 * number,
        "time_base": (1, 90000),
        "time": FrameTime(at_ns, 0.05, 0.03, True, False), "width_px": 32, "height_px": 24, "detections": found,
        "incident": incident, "model": MODEL, "thresholds": {"fire": 0.3, "smoke": 0.35}, "damage": "no",
        "colour": ("bt709", "limited"), "version": "0.1.0",
    }  # fmt: skip
    return Evidence(**(given | more))


@functools.cache
def _picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 255, (24, 32, 3)).astype(np.uint8)


def jpeg_of(evidence: Evidence) -> bytes:
    """Its still, other pixels for each."""
    return still.encode(_picture(evidence.pts % 1009), evidence)


def run_entry(seq: int, run: str = RUN, camera: str = "hall", at_ns: int = BEGIN_NS) -> Entry:
    """A run of a camera."""
    body = {
        "id": run, "run_seq": seq, "camera": camera, "started_at": rfc3339(at_ns), "started_at_ns": str(at_ns),
        "started_mono_ns": "1", "time_base": [1, 90000], "codec": "h264", "width_px": 32, "height_px": 24,
        "cause": "connected",
    }  # fmt: skip
    return Entry("run", body)


def incident_entry(state: str, at_ns: int = BEGIN_NS, incident: str = INCIDENT) -> Entry:
    """A transition of an incident."""
    body = {
        "id": incident, "camera": "hall", "state": state, "kind": "detected", "drill": False,
        "first_suspect_at": rfc3339(at_ns), "first_suspect_at_ns": str(at_ns), "first_confirmed_at": None,
        "first_confirmed_at_ns": None, "ended_at": None, "ended_at_ns": None, "labels": ["fire"],
        "max_confidence": 0.3, "place": [0.1, 0.1, 0.2, 0.2], "previous": None, "ignored_zones": [],
        "reason": "",
    }  # fmt: skip
    return Entry("incident", body)


def clip_of(number: int, *, camera: str = "hall", run: str = RUN, **more: Any) -> Clip:
    """A clip of a 320 × 240 H.264 stream."""
    given: dict[str, Any] = {
        "id": numbered(number), "camera": camera, "run": run, "time_base": (1, 90000), "codec": "h264",
        "width_px": 320, "height_px": 240, "first_dts": 0, "cause": "confirmed", "version": "0.1.0",
    }  # fmt: skip
    return Clip(**(given | more))


class ClipWriter:
    """The bytes of a clip as its worker makes them: `next()` is a fragment of a second, of two frames."""

    SETS = bytes.fromhex("00000001 6742c00d d902829d a4c0 00000001 68ca8cb2")

    def __init__(
        self, clip: Clip, at_ns: int, incidents: tuple[str, ...] = (INCIDENT,), sibling_of: tuple[str, ...] = ()
    ) -> None:
        self.clip, self.incidents, self.sibling_of, self.content = clip, incidents, sibling_of, b""
        self._at_ns, self._number = at_ns, 0

    def next(self, size_bytes: int = 40) -> Appended:
        """What comes next."""
        pts, at_ns = 90_000 * self._number, self._at_ns + NS * self._number
        unit = b"\x00\x00\x00\x01\x65" + bytes(1 + (self._number + place) % 250 for place in range(size_bytes))
        samples = [Sample(unit, pts + 45_000 * half, pts + 45_000 * half, 45_000, not half, False, at_ns + half * NS // 2)
                   for half in (0, 1)]  # fmt: skip
        self._number += 1
        head = header(self.clip, (self.SETS,)) if self._number == 1 else b""
        time = FrameTime(at_ns, 0.05, 0.03, True, False)
        data = fragment(self.clip, self._number, samples, time, self.incidents, head, self.sibling_of)
        span = Span(2, pts, pts + 45_000, at_ns, at_ns + NS // 2)
        step = Appended(self.clip, len(self.content), data, self.incidents, span, self.sibling_of)
        self.content += data
        return step


def gap_entry(number: int, from_ns: int, to_ns: int | None) -> Entry:
    """A gap, open or closed."""
    body = {
        "id": numbered(number), "camera": "hall", "reason": "stalled", "from_at": rfc3339(from_ns),
        "from_at_ns": str(from_ns), "to_at": to_ns and rfc3339(to_ns), "to_at_ns": to_ns and str(to_ns),
        "detail": "",
    }  # fmt: skip
    return Entry("gap", body)


def coverage_entry(hour_ns: int, frames: int) -> Entry:
    """What an hour came to."""
    body = {
        "camera": "hall", "hour_at": rfc3339(hour_ns), "hour_at_ns": str(hour_ns), "frames": frames, "watched_s": 12.5
    }  # fmt: skip
    return Entry("coverage", body)


def still_entries(store: Store, *several: Evidence) -> list[Entry]:
    """Entries of stills."""
    return [store.still_entry(each, jpeg_of(each)) for each in several]
