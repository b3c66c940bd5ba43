# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one round of the recorder took from all connections, to be made durable by one commit and then acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from daemon.domain import Run
from daemon.origin import record as origin
from daemon.origin.record import Analysis
from daemon.storage import bodies
from daemon.storage.clips import Step
from daemon.storage.incoming import Connection
from daemon.storage.store import Store
from daemon.storage.writing import Entry

MOST_ITEMS = 512
MOST_MESSAGES = 2048  # also those that need no storing: a flood of watermarks must not keep the loop from the time
MOST_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One message: what to store, and who waits for the acknowledgement of `id`."""

    connection: Connection
    id: str
    what: Entry | Run | Analysis | Step | None
    """None: known already, and acknowledged with what came before it."""
    bytes: int = 0


class Group:
    """Bounded in number and bytes; in the order of arrival."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.messages = 0
        """Taken so far, also those that need no storing."""
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self.items) >= MOST_ITEMS or self.messages >= MOST_MESSAGES or self._bytes >= MOST_BYTES

    def add(self, item: Item) -> None:
        self.items.append(item)
        self._bytes += item.bytes

    def entries(self, store: Store) -> list[Entry]:
        """What is not stored yet: a worker sends again what was not acknowledged to it, whatever the reason."""
        known = store.knows([item.id for item in self.items])
        entries: list[Entry] = []
        for item in self.items:
            if item.what is not None and item.id not in known and not isinstance(item.what, Step):
                known.add(item.id)
                entries.append(_entry(item.what, store, entries))
        return entries

    def steps(self) -> list[Step]:
        """Those of clips, which come once only."""
        return [item.what for item in self.items if isinstance(item.what, Step)]

    def told(self) -> list[Entry]:
        """What was taken in that is an entry already."""
        return [item.what for item in self.items if isinstance(item.what, Entry)]

    def by_connection(self) -> Iterator[tuple[Connection, Sequence[str]]]:
        """Each connection with the ids it waits for."""
        for connection in {id(item.connection): item.connection for item in self.items}.values():
            yield connection, [item.id for item in self.items if item.connection is connection]


def _entry(what: Entry | Run | Analysis, store: Store, before: Sequence[Entry]) -> Entry:
    match what:
        case Run():
            return Entry("run", bodies.run(what, store.next_run_seq()))
        case Analysis():
            return Entry("analysis", origin.to_json(replace(what, previous=_previous(what, store, before))))
        case _:
            return what


def _previous(analysis: Analysis, store: Store, before: Sequence[Entry]) -> str | None:
    """The newest analysis of its incident, also where it is of the same group."""
    here = [
        entry.body["id"] for entry in before if entry.kind == "analysis" and entry.body["incident"] == analysis.incident
    ]
    return here[-1] if here else store.newest_analysis(analysis.incident)
