# SPDX-License-Identifier: AGPL-3.0-or-later
"""How old what is stored is: by the trusted clock, by what the stills say, and by when the ledger had grown how far."""

from __future__ import annotations

from sqlalchemy.orm import Session

from daemon.clock import NS, Clocks
from daemon.errors import StoreError
from daemon.storage.due import Cutoff
from daemon.storage.storing_times import StoringTimes
from daemon.storage.trusted_clock import TOLERANCE_NS, TrustedClock


class Ages:
    """Of one open store."""

    def __init__(self, clocks: Clocks, trusted: TrustedClock, times: StoringTimes) -> None:
        self._clocks, self._trusted, self._times = clocks, trusted, times

    def note(self, session: Session, seq: int) -> None:
        """That the ledger's last line is `seq` by now, where now is known."""
        trusted_ns = self._trusted.now_ns()
        if self._trusted.take_correction():
            self._times.forget(session)
        if trusted_ns is not None and self._trusted.is_running:
            self._times.note(session, trusted_ns, seq)

    def now_ns(self) -> int:
        """Trusted now, or the wall clock while there is none."""
        trusted_ns = self._trusted.now_ns()
        return self._clocks.wall_ns() if trusted_ns is None else trusted_ns

    def measured_from_ns(self) -> int | None:
        """The earlier of wall and trusted clock: a wrong one can only delay; None while there is no trusted one."""
        trusted_ns = self._trusted.now_ns()
        return None if trusted_ns is None else min(self._clocks.wall_ns(), trusted_ns)

    def cutoff(self, from_ns: int | None, age_s: float) -> Cutoff:
        """What is older than `age_s`, measured from there."""
        if from_ns is None:
            return Cutoff(0, 0)
        before_ns = from_ns - round(age_s * NS)
        ahead_ns = max(self._clocks.wall_ns(), self.now_ns()) + TOLERANCE_NS
        return Cutoff(before_ns, self._times.reachable_seq(before_ns), ahead_ns, self._times.unknown_seq)

    def forget_older(self, session: Session, from_ns: int, longest_s: float) -> None:
        """Lets go of the times of lines that are older than any age that is asked for."""
        self._times.prune(session, from_ns - round(longest_s * NS))

    def state(self) -> str:
        """`ok`, or one sentence on why the purge is held back."""
        try:
            return self._trusted.state()
        except StoreError as error:  # of state_dir's disk: no reason to stop storing on this one
            return str(error)

    def accept(self) -> int:
        """The operator vouches for the wall clock; returns trusted now, UTC nanoseconds."""
        return self._trusted.accept()
