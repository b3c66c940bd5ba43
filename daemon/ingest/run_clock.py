# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a frame was seen, from when its packets came: cameras' clocks lie, and packets are only ever late, never early.

Pure arithmetic in nanoseconds; the design, Frame times, gives the rules. `offset` is what has to be added to a PTS to
make it a moment on this host's monotonic clock. The camera's own latency (exposure, encoding) is in it and not known.
"""

from __future__ import annotations

from collections import deque

from daemon.clock import NS, Synchronisation
from daemon.domain import FrameTime

WINDOW_NS = 60 * NS
SETTLING_NS = 10 * NS
SLEW = 1e-3  # seconds per second at which the applied offset follows the target
JUMP_NS = 1 * NS  # |ΔPTS − Δarrival| beyond which a PTS is no continuation
DRIFT_NS = NS // 2  # a target that stays further away than this for a whole window is another clock
STEP_NS = NS // 2  # of the wall clock against the monotonic one
QUANTILE = 0.95
QUANTILE_EVERY_NS = 1 * NS  # the spread is sorted out at most this often


class RunClock:
    """One run's mapping from PTS to time.

    Begins with its first packet: that one's PTS and arrival, and the pair (monotonic, UTC) read at that moment.
    """

    def __init__(self, pts_ns: int, arrival_ns: int, started_mono_ns: int, started_utc_ns: int) -> None:
        self.started_mono_ns = started_mono_ns
        self.started_utc_ns = started_utc_ns
        self._begin_ns = self._last_arrival_ns = arrival_ns
        self._last_pts_ns = pts_ns
        self._offset_ns = float(arrival_ns - pts_ns)
        self._away_since_ns: int | None = None
        self._samples: deque[tuple[int, int]] = deque([(arrival_ns, arrival_ns - pts_ns)])
        self._lowest: deque[tuple[int, int]] = deque(self._samples)  # rising: its first is the window's minimum
        self._spread_ns = 0
        self._spread_due_ns = arrival_ns

    def add(self, pts_ns: int, arrival_ns: int) -> str | None:
        """A packet whose arrival is known. Returns why a new run has to begin with it (`pts`, `drift`), if so."""
        since_ns = arrival_ns - self._last_arrival_ns
        if abs(pts_ns - self._last_pts_ns - since_ns) > JUMP_NS:
            return "pts"
        self._take(arrival_ns, arrival_ns - pts_ns)
        target_ns = self._lowest[0][1]
        if self._settling(arrival_ns):
            self._offset_ns = float(target_ns)
        else:
            most_ns = max(since_ns, 0) * SLEW
            self._offset_ns += max(-most_ns, min(most_ns, target_ns - self._offset_ns))
        self._last_pts_ns, self._last_arrival_ns = pts_ns, arrival_ns
        return "drift" if self._drifted(target_ns, arrival_ns) else None

    def at_mono_ns(self, pts_ns: int) -> int:
        """The moment of a frame on CLOCK_MONOTONIC."""
        return pts_ns + round(self._offset_ns)

    def at_utc_ns(self, pts_ns: int) -> int:
        """The moment of a frame in UTC, by the pair that was read at the run's start."""
        return self.at_mono_ns(pts_ns) - self.started_mono_ns + self.started_utc_ns

    def pts_at_ns(self, mono_ns: int) -> int:
        """The PTS of a moment on CLOCK_MONOTONIC, in nanoseconds."""
        return mono_ns - round(self._offset_ns)

    def time_of(self, pts_ns: int, kernel: Synchronisation, camera_clock_ns: int | None = None) -> FrameTime:
        """The time of a frame with its two uncertainties."""
        lacking_ns = abs(self._lowest[0][1] - self._offset_ns)
        relative_s = (self._spread(self._last_arrival_ns) + lacking_ns + self.interval_ns() / 2) / NS
        return FrameTime(
            captured_at_ns=self.at_utc_ns(pts_ns),
            uncertainty_s=relative_s + kernel.max_error_s,
            relative_uncertainty_s=relative_s,
            clock_synchronised=kernel.synchronised,
            settling=self._settling(self._last_arrival_ns),
            camera_clock_ns=camera_clock_ns,
        )

    def interval_ns(self) -> int:
        """From frame to frame, on average over the window; 0 while there was only one."""
        arrival_ns, late_ns = self._samples[0]
        steps = len(self._samples) - 1
        return max(0, self._last_pts_ns - (arrival_ns - late_ns)) // steps if steps else 0

    def wall_stepped(self, mono_ns: int, utc_ns: int) -> bool:
        """Whether the wall clock has left the pair that was read at the run's start."""
        return abs((utc_ns - mono_ns) - (self.started_utc_ns - self.started_mono_ns)) > STEP_NS

    def _settling(self, arrival_ns: int) -> bool:
        return arrival_ns - self._begin_ns < SETTLING_NS

    def _take(self, arrival_ns: int, late_ns: int) -> None:
        self._samples.append((arrival_ns, late_ns))
        while self._lowest and self._lowest[-1][1] >= late_ns:
            self._lowest.pop()
        self._lowest.append((arrival_ns, late_ns))
        oldest_ns = arrival_ns - WINDOW_NS
        while self._samples[0][0] < oldest_ns:
            self._samples.popleft()
        while self._lowest[0][0] < oldest_ns:
            self._lowest.popleft()

    def _drifted(self, target_ns: int, arrival_ns: int) -> bool:
        if abs(target_ns - self._offset_ns) <= DRIFT_NS:
            self._away_since_ns = None
            return False
        if self._away_since_ns is None:
            self._away_since_ns = arrival_ns
        return arrival_ns - self._away_since_ns >= WINDOW_NS

    def _spread(self, now_ns: int) -> int:
        """p95 − min of arrival − PTS in the window."""
        if now_ns >= self._spread_due_ns:
            late_ns = sorted(late for _, late in self._samples)
            self._spread_ns = late_ns[min(len(late_ns) - 1, int(len(late_ns) * QUANTILE))] - late_ns[0]
            self._spread_due_ns = now_ns + QUANTILE_EVERY_NS
        return self._spread_ns
