# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records that are not yet durable, in order, within a cap in bytes; no sockets.

At the cap stills go by rank, the oldest first; then, should the store be away for weeks, the oldest transitions, runs,
analyses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daemon.ingest.keeping import Rank
from daemon.messages import Analysed, ClipEnded, ClipFragment, IncidentChanged, RunBegan, StillsDropped, StillTaken

MOST_SENT = 32  # sent and unacknowledged at a time: descriptors in flight are limited (docs/seams.md)
MOST_CLIP_SENT = 2  # of these of a clip: what is seen now must not wait behind a ring, of this camera or of 15 others
RECORD_BYTES = 1000  # what a record costs besides its picture, generously


@dataclass(slots=True, eq=False)
class Record:
    """One record that waits; `content` is a still's JPEG, or a clip's bytes."""

    id: str
    message: RunBegan | IncidentChanged | StillTaken | Analysed | ClipFragment | ClipEnded
    content: bytes | None = None
    rank: Rank | None = None
    sent: bool = False

    @property
    def bytes(self) -> int:
        return RECORD_BYTES + len(self.content or b"")


class Outbox:
    """One camera's; ids as docs/seams.md says."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._records: dict[str, Record] = {}  # in order
        self._sent = 0
        self.bytes = 0
        self.dropped: StillsDropped | None = None
        """What went and has not been told yet."""
        self.stills_dropped = 0
        """All that went since the start."""

    def __len__(self) -> int:
        return len(self._records)

    def run(self, message: RunBegan) -> None:
        """A run, before anything of it; once is enough."""
        if message.run.id not in self._records:
            self._add(Record(message.run.id, message))

    def incident(self, message: IncidentChanged) -> None:
        """A transition."""
        self._add(Record(message.id, message))

    def analysis(self, message: Analysed) -> None:
        """What going back found, after its stills."""
        self._add(Record(message.analysis.id, message))

    def restate(self, states: Sequence[IncidentChanged]) -> None:
        """The present states of open incidents, before all else: a recorder that was gone may hold them interrupted.

        Not of an incident with a transition that waits, which tells the same.
        """
        waiting = {
            each.message.incident.id for each in self._records.values() if isinstance(each.message, IncidentChanged)
        }
        first = {each.id: Record(each.id, each) for each in states if each.incident.id not in waiting}
        self._records = first | self._records
        self.bytes += sum(record.bytes for record in first.values())
        self._keep_cap()

    def still(self, message: StillTaken, jpeg: bytes, rank: Rank) -> None:
        """A still with its file."""
        self._add(Record(message.evidence.id, message, jpeg, rank))

    def clip(self, message: ClipFragment | ClipEnded, content: bytes | None = None) -> None:
        """A part of a clip, or its end. Never let go of at the cap: what can wait waits in the ring."""
        self._add(Record(message.id, message, content))

    def withdraw_clips(self) -> None:
        """Nothing of a clip is to be sent any more: its connection has ended, and it with it."""
        clips = (each.id for each in self._records.values() if isinstance(each.message, ClipFragment | ClipEnded))
        self.acknowledge(tuple(clips))

    def holds(self, record: str) -> bool:
        """Whether it is not durable yet."""
        return record in self._records

    def acknowledge(self, ids: tuple[str, ...]) -> None:
        """These are durable: nothing of them is kept any longer."""
        for each in ids:
            if (record := self._records.pop(each, None)) is not None:
                self.bytes -= record.bytes
                self._sent -= record.sent

    def unsent(self) -> Iterator[Record]:
        """The records to send now; mark each with `mark_sent` before the next is taken.

        In order, but what is of no clip goes before parts of one that have to wait.
        """
        clips = sum(record.sent for record in self._records.values() if _is_of_clip(record))
        for record in list(self._records.values()):
            if self._sent >= MOST_SENT:
                return
            if record.sent or (_is_of_clip(record) and clips >= MOST_CLIP_SENT):
                continue
            clips += _is_of_clip(record)
            yield record

    def mark_sent(self, record: Record) -> None:
        """It is on its way."""
        record.sent = True
        self._sent += 1

    def resend(self) -> None:
        """The recorder that had them is gone: everything unacknowledged is to be sent again, in the old order."""
        for record in self._records.values():
            record.sent = False
        self._sent = 0

    def _add(self, record: Record) -> None:
        self._records[record.id] = record
        self.bytes += record.bytes
        self._keep_cap()

    def _keep_cap(self) -> None:
        while self.bytes > self._most_bytes and (leaving := self._least()) is not None:
            self._drop(leaving)

    def _least(self) -> Record | None:
        """What goes first. What was sent is the recorder's already; the newest run is needed for what follows."""
        there = [
            record
            for record in self._records.values()
            if not record.sent and not isinstance(record.message, ClipFragment | ClipEnded)
        ]
        stills = [record for record in there if record.rank is not None]
        if stills:
            return min(stills, key=lambda record: record.rank or 0)  # of equals, min gives the first: the oldest
        newest_run = next((each for each in reversed(there) if isinstance(each.message, RunBegan)), None)
        return next((each for each in there if each is not newest_run), None)

    def _drop(self, record: Record) -> None:
        del self._records[record.id]
        self.bytes -= record.bytes
        if isinstance(record.message, StillTaken):
            self.stills_dropped += 1
            if record.rank is Rank.REFERENCE:
                return  # the camera was watched all the same: no gap
            at_ns = record.message.evidence.time.captured_at_ns
            before = self.dropped or StillsDropped(count=0, from_at_ns=at_ns, to_at_ns=at_ns)
            self.dropped = StillsDropped(
                count=before.count + 1,
                from_at_ns=min(before.from_at_ns, at_ns),
                to_at_ns=max(before.to_at_ns, at_ns),
            )


def _is_of_clip(record: Record) -> bool:
    return isinstance(record.message, ClipFragment | ClipEnded)
