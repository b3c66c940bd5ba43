# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trusted now: the daemon's own idea of UTC, which a stepping wall clock cannot move (design, Trusted now).

An anchor (boot id, CLOCK_BOOTTIME, UTC) plus elapsed boot time. Only the purge uses it; times of records are the
wall clock's. The rules are pure functions of (anchor, reading); `TrustedClock` reads the clocks and keeps the file.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from daemon.clock import NS, Clocks, rfc3339
from daemon.storage import durable
from daemon.storage.durable import Disk
from daemon.storage.record import canonical

FILE = "trusted-clock.json"
_log = logging.getLogger("firewitness")
TOLERANCE_NS = 5 * 60 * NS
LONGEST_OFF_NS = 7 * 86400 * NS  # a host that was off longer needs `firewitness clock accept`
KEEP_EVERY_NS = 600 * NS  # how old the kept anchor may be: what a reboot can cost of the 7 days


@dataclass(frozen=True, slots=True)
class Anchor:
    """At boot_ns of this boot it was utc_ns. `provisional`: nobody has vouched for it yet (docs/decisions/0003)."""

    boot: str
    boot_ns: int
    utc_ns: int
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What the host's clocks say at one moment."""

    boot: str
    boot_ns: int
    wall_ns: int
    synchronised: bool

    def anchor(self, *, provisional: bool = False) -> Anchor:
        """The wall clock believed."""
        return Anchor(self.boot, self.boot_ns, self.wall_ns, provisional)


def first_anchor(reading: Reading, *, nothing_stored: bool) -> Anchor | None:
    """Where no anchor is known: the wall clock if the kernel vouches for it or nothing could be purged by mistake."""
    if reading.synchronised:
        return reading.anchor()
    return reading.anchor(provisional=True) if nothing_stored else None


def advance(anchor: Anchor, reading: Reading) -> Anchor:
    """The anchor moved to now: its utc_ns is trusted now. It stands still where time since then is not known."""
    if anchor.provisional and reading.synchronised:
        return reading.anchor()
    if anchor.boot != reading.boot:
        plausible = 0 <= reading.wall_ns - anchor.utc_ns <= LONGEST_OFF_NS
        return reading.anchor() if plausible and reading.synchronised else anchor
    elapsed_ns = max(0, reading.boot_ns - anchor.boot_ns)
    now = replace(anchor, boot_ns=max(anchor.boot_ns, reading.boot_ns), utc_ns=anchor.utc_ns + elapsed_ns)
    if reading.synchronised and abs(reading.wall_ns - now.utc_ns) <= TOLERANCE_NS:
        return reading.anchor()
    return now


def is_corrected(anchor: Anchor, reading: Reading) -> bool:
    """Whether `advance` exchanges a provisional anchor for quite another time."""
    if not (anchor.provisional and reading.synchronised):
        return False
    elsewhere = advance(replace(anchor, provisional=False), replace(reading, synchronised=False))
    return abs(reading.wall_ns - elsewhere.utc_ns) > TOLERANCE_NS


def complaint(anchor: Anchor | None, reading: Reading) -> str:
    """`ok`, or one sentence on why the purge is held back."""
    if anchor is None:
        return "no trusted time yet: the kernel does not call its clock synchronised; say `firewitness clock accept`"
    trusted, wall = rfc3339(anchor.utc_ns), rfc3339(reading.wall_ns)
    if anchor.boot != reading.boot:
        return (
            f"trusted time stands still at {trusted}: since the reboot the clock says {wall}, "
            f"{'' if reading.synchronised else 'not '}synchronised; say `firewitness clock accept` if it is right"
        )
    if abs(reading.wall_ns - anchor.utc_ns) > TOLERANCE_NS:
        return f"the clock says {wall}, trusted time is {trusted}; say `firewitness clock accept` if the clock is right"
    return "ok"


class TrustedClock:
    """The anchor, read and kept in `state_dir`. Raises StoreError where it cannot be kept."""

    def __init__(self, clocks: Clocks, disk: Disk, state_dir: Path, *, nothing_stored: bool) -> None:
        self._clocks, self._disk, self._path = clocks, disk, state_dir / FILE
        self._kept = self._anchor = _read(disk, self._path)
        self._was_wrong = False
        if self._anchor is None:
            self._anchor = first_anchor(self._reading(), nothing_stored=nothing_stored)

    def now_ns(self) -> int | None:
        """Trusted now in UTC nanoseconds; None while there is none. Touches no disk."""
        reading, before = self._reading(), self._anchor
        if before is None:
            self._anchor = first_anchor(reading, nothing_stored=False)
        else:
            self._anchor = advance(before, reading)
            self._was_wrong |= is_corrected(before, reading)
        return None if self._anchor is None else self._anchor.utc_ns

    @property
    def is_running(self) -> bool:
        """Whether trusted time goes on; it stands still after a reboot that left it in doubt."""
        return self._anchor is not None and self._anchor.boot == self._clocks.boot_id()

    def take_correction(self) -> bool:
        """Whether, since the last call, an anchor that nobody had vouched for proved wrong."""
        was_wrong, self._was_wrong = self._was_wrong, False
        return was_wrong

    def state(self) -> str:
        """`ok`, or one sentence on why the purge is held back. Keeps the anchor from time to time."""
        self.now_ns()
        if self._anchor is not None and self._is_to_be_kept(self._anchor):
            self._keep(self._anchor)
        return complaint(self._anchor, self._reading())

    def accept(self) -> int:
        """The operator vouches for the wall clock; returns trusted now."""
        self._anchor = self._reading().anchor()
        self._keep(self._anchor)
        return self._anchor.utc_ns

    def _reading(self) -> Reading:
        clocks = self._clocks
        return Reading(clocks.boot_id(), clocks.boot_ns(), clocks.wall_ns(), clocks.synchronisation().synchronised)

    def _is_to_be_kept(self, anchor: Anchor) -> bool:
        kept = self._kept
        if kept is None or (kept.boot, kept.provisional) != (anchor.boot, anchor.provisional):
            return True
        return anchor.boot_ns - kept.boot_ns >= KEEP_EVERY_NS

    def _keep(self, anchor: Anchor) -> None:
        value: dict[str, object] = {"boot": anchor.boot, "boot_ns": str(anchor.boot_ns), "utc_ns": str(anchor.utc_ns)}
        if anchor.provisional:
            value["provisional"] = True
        durable.replace(self._disk, self._path, canonical(value))
        self._kept = anchor


def _read(disk: Disk, path: Path) -> Anchor | None:
    """None also where it is damaged: it holds back the purge then, until there is another, and no recording."""
    try:
        value = json.loads(durable.read(disk, path))
        return Anchor(value["boot"], int(value["boot_ns"]), int(value["utc_ns"]), bool(value.get("provisional")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        _log.warning(
            "disk: %s is damaged and holds no anchor of the trusted clock: nothing is purged until there is one", path
        )
        return None
