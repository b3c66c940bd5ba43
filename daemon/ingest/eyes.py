# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decides which packets are decoded and which frames are analysed; pure, on the axis of one run's PTS.

Quiet: key frames only, or, where the next is further away than `max_interval`, everything, of which one frame in each
interval is wanted. Active, from the first suspicion on: everything, of which `active_fps` frames a second are wanted.
Asleep, while the camera's other stream keeps watch: a key frame at a glance every few seconds, and nothing else.
"""

from __future__ import annotations

from enum import Enum

from daemon.clock import NS

SLACK = 1.1  # on max_interval: a key frame every 2.002 s (29.97 a second) must not cost decoding everything
EARLY_NS = NS // 100  # timestamps are rounded, and a frame that is due must not wait for the next
GLANCE_NS = 5 * NS  # asleep: for the picture's health, reference stills, patrol, and to know that it can be decoded


class Look(Enum):
    """What to do with a packet."""

    PASS = "pass"
    """Nothing: it only goes into the ring."""
    KEY = "key"
    """Decode it alone."""
    CATCH_UP = "catch_up"
    """Decode the current GOP so far, this packet included, and from now on everything."""
    FOLLOW = "follow"
    """Decode it after the ones before."""
    REST = "rest"
    """Nothing, and what waits to be decoded need not be."""


class Eyes:
    """One camera's; `restart` at every new run or connection."""

    def __init__(self, max_interval_s: float, active_fps: float) -> None:
        self._interval_ns = round(max_interval_s * NS)
        self._active_step_ns = round(NS / active_fps) - min(EARLY_NS, round(NS / active_fps / 10))
        self.active = False
        self.asleep = False
        """Whether the other stream keeps watch; being active goes before it."""
        self.glance_ns = GLANCE_NS
        """Asleep: least distance of the key frames that are decoded; 0: none is."""
        self._keys_mislead = False
        self.restart()

    def restart(self) -> None:
        """Another axis of PTS."""
        self._key_ns: int | None = None
        self._wanted_ns: int | None = None
        self._moment_ns: int | None = None
        self._since_ns: int | None = None
        self._long_gops = False
        self._all = False

    def go_on(self) -> None:
        """The new run is the same stream, in the middle of a GOP, of which everything was being decoded."""
        self._all = True

    def look_back(self, pts_ns: int) -> None:
        """Something was seen at that moment: decode everything from now on; the frame nearest to it is wanted."""
        self.active = self._all = True
        self._moment_ns = pts_ns

    @property
    def all(self) -> bool:
        """Whether everything is being decoded."""
        return self._all

    def keys_mislead(self) -> None:
        """What is marked as a key frame cannot be decoded alone (intra-refresh): decode everything from now on."""
        self._keys_mislead = True

    def trust_keys(self) -> None:
        """Another connection: whether its key frames can be decoded alone is to be seen anew."""
        self._keys_mislead = False

    def packet(self, pts_ns: int, *, key: bool) -> Look:
        """A packet came."""
        if self._since_ns is None:
            self._since_ns = pts_ns
        if key:
            self._note_key(pts_ns)
        if self.asleep and not self.active and not self._keys_mislead:
            return self._asleep(pts_ns, key=key)
        needed = self.active or self._long_gops or self._keys_mislead
        if key and not self._all:
            if needed:
                self._all = True
                return Look.CATCH_UP
            first = self._wanted_ns is None
            return Look.KEY if first or self._due(pts_ns, self._active_step_ns) else Look.PASS
        if self._all and not needed and key:
            self._all = False
            return Look.KEY
        if self._all:
            return Look.FOLLOW
        if needed or self._due(pts_ns, self._interval_ns * SLACK):
            self._all = True
            return Look.CATCH_UP
        return Look.PASS

    def wants(self, pts_ns: int, step_ns: int) -> bool:
        """Whether a decoded frame is to be analysed; `step_ns` is the distance to the next frame or 0."""
        if self.active:
            wanted = self._due(pts_ns, self._active_step_ns)
        else:  # the last that keeps the interval
            wanted = self._due(pts_ns, self._interval_ns - step_ns + 1)
        if self._moment_ns is not None and pts_ns + step_ns // 2 >= self._moment_ns:
            wanted, self._moment_ns = True, None
        if wanted:
            self._wanted_ns = pts_ns
        return wanted

    def analysing(self, pts_ns: int) -> None:
        """A key frame that was decoded alone goes to the detector."""
        self._wanted_ns = pts_ns

    def _asleep(self, pts_ns: int, *, key: bool) -> Look:
        if key and self.glance_ns and (self._wanted_ns is None or self._due(pts_ns, self.glance_ns - EARLY_NS)):
            self._all = False
            return Look.KEY
        if self._all:
            self._all = False
            return Look.REST
        return Look.PASS

    def _note_key(self, pts_ns: int) -> None:
        if self._key_ns is not None:
            self._long_gops = pts_ns - self._key_ns > self._interval_ns * SLACK
        self._key_ns = pts_ns

    def _due(self, pts_ns: int, step_ns: float) -> bool:
        """Whether the last wanted frame (before the first: the beginning) is as far back."""
        since_ns = self._wanted_ns if self._wanted_ns is not None else self._since_ns
        return since_ns is None or pts_ns - since_ns >= step_ns
