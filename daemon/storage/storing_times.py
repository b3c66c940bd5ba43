# SPDX-License-Identifier: AGPL-3.0-or-later
"""When, by trusted time, the ledger had grown how far: nothing is purged before it was kept for the retention.

A still that was taken while the wall clock was ten years slow says that it is ten years old. The purge's age, min(wall,
trusted) - captured_at, would believe it once the clock is right again. So every commit notes (trusted now, last line)
beside the durable mark, to an hour, and a still's line must be old enough as well. One that was taken while the clock
was ten years fast is judged by its line alone. Where the index was lost, lines before its new beginning are judged by
captured_at alone.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from daemon.clock import NS
from daemon.storage import mark

GRAIN_NS = 3600 * NS  # 720 notes a month, copied at every commit
LONG_AGO = 1  # the time of lines that were old enough for everything when notes were last let go of
Note = tuple[int, int]
"""(trusted UTC ns, seq of the last line then); the first of all has time 0: nothing is known of lines up to it."""


def reachable_seq(notes: list[Note], cutoff_ns: int) -> int:
    """The last line that was there at `cutoff_ns`; what is behind it is too young, whatever its picture says."""
    return max(seq for at_ns, seq in notes if at_ns <= max(0, cutoff_ns))


def add(notes: list[Note], note: Note) -> list[Note]:
    """The notes with one more, of which there are at most two in GRAIN_NS.

    Times that lie ahead are of a clock that was wrong: such lines count as stored now.
    """
    if note[0] < notes[-1][0]:
        notes = [(min(at_ns, note[0]), seq) for at_ns, seq in notes]
    if note[1] == notes[-1][1]:  # nothing came since: the earlier time is the truer one
        return notes
    near = len(notes) > 2 and note[0] - notes[-2][0] < GRAIN_NS  # the first has no time
    return [*(notes[:-1] if near else notes), note]


def prune(notes: list[Note], cutoff_ns: int) -> list[Note]:
    """Without those that no purge asks for any more."""
    reachable = reachable_seq(notes, cutoff_ns)
    old = [(LONG_AGO, reachable)] if reachable > notes[0][1] else []
    return [notes[0], *old, *(each for each in notes if each[1] > reachable)]


class StoringTimes:
    """The notes, in memory and in the index."""

    def __init__(self, session: Session, seq: int) -> None:
        """`seq`: the last line, where nothing has been noted yet."""
        notes = sorted(mark.read_notes(session).items())
        self._notes = [(at_ns, seq) for seq, at_ns in notes]
        if not notes:
            self._notes = [(0, seq)]
            mark.write_notes(session, {seq: 0}, gone=())

    def note(self, session: Session, at_ns: int, seq: int) -> None:
        """At trusted time `at_ns` the last line was `seq`."""
        self._replace(session, add(self._notes, (at_ns, seq)))

    def forget(self, session: Session) -> None:
        """The times so far were of a clock that proved wrong: all lines count as stored at the next note."""
        self._replace(session, self._notes[:1])

    def prune(self, session: Session, cutoff_ns: int) -> None:
        """Lets go of what no purge asks for any more."""
        self._replace(session, prune(self._notes, cutoff_ns))

    @property
    def unknown_seq(self) -> int:
        """Nothing is known of when lines up to this one were written."""
        return self._notes[0][1]

    def reachable_seq(self, cutoff_ns: int) -> int:
        """The last line that was there at `cutoff_ns`."""
        return reachable_seq(self._notes, cutoff_ns)

    def _replace(self, session: Session, notes: list[Note]) -> None:
        before, after = {seq: at_ns for at_ns, seq in self._notes}, {seq: at_ns for at_ns, seq in notes}
        mark.write_notes(session, dict(after.items() - before.items()), gone=before.keys() - after.keys())
        self._notes = notes
