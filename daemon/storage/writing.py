# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ledger and index of an open store, written as one, and whether they may still be written to.

Any step that fails, wherever it was, leaves what only recovery knows: from then on everything is refused until the store
is opened again. The order of the steps: docs/evidence-lifecycle.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from daemon.clock import Clocks
from daemon.domain import Evidence
from daemon.errors import StoreError
from daemon.storage import index, mark
from daemon.storage.ages import Ages
from daemon.storage.apply import apply
from daemon.storage.durable import Lock
from daemon.storage.ledger import Head, Ledger, Line


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger line to be, with its file where it has one."""

    kind: str
    body: dict[str, Any]
    evidence: Evidence | None = None
    jpeg: bytes | memoryview | None = None


class Writing:
    """Of one open store, from its recovery to its end."""

    failure: StoreError | None = None
    """Of the step that failed."""

    def __init__(self, root: Path, clocks: Clocks, lock: Lock) -> None:
        self._root, self._clocks, self._lock = root, clocks, lock
        self._engine = index.writing_engine(root)
        self.connection = self._engine.connect()  # one for life: closing the last one checkpoints the WAL

    def begin(self, ledger: Ledger, ages: Ages) -> None:
        """With what recovery found."""
        self._ledger, self._ages = ledger, ages

    @property
    def head(self) -> Head:
        """The ledger's last line."""
        return self._ledger.head

    def end(self) -> None:
        """Lets go of the index."""
        self.connection.close()
        self._engine.dispose()

    # ------------------------------------------------------------------ steps

    @contextmanager
    def step(self) -> Iterator[None]:
        """One that is done as a whole, or is the last. Raises StoreError."""
        try:
            with sqlite_mapped(self._root):
                yield
        except StoreError as error:
            self.failure = error
            raise
        except BaseException as error:  # left in mid-step, whatever the reason: only recovery knows what is there
            self.failure = StoreError("damaged", f"a step on {self._root} was broken off ({error!r})")
            raise

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Of the index; a malformed one is a failure, wherever that is found."""
        try:
            with sqlite_mapped(self._root), Session(self.connection) as session:
                yield session
        except index.MalformedIndex as error:
            self.failure = error
            raise

    def refuse_unusable(self) -> None:
        """Raises StoreError after a failed step, and where the folder is no longer the one that was opened."""
        if self.failure is not None:
            what = "nothing is written until the store is opened again"
            raise StoreError(self.failure.state, f"{self.failure}; {what}")
        if not self._lock.is_current():
            raise self._another_disk()

    def notice(self) -> StoreError | None:
        """The failure, that of a disk that is gone included: for good, what is written by path would be written there."""
        if self.failure is None and not self._lock.is_current():
            self.failure = self._another_disk()
        return self.failure

    def _another_disk(self) -> StoreError:
        return StoreError("gone", f"{self._root} is another folder than the one that was opened: its disk is gone")

    # ------------------------------------------------------------------ lines

    def write(self, entries: Sequence[Entry]) -> list[Line]:
        """Lines, durable, then their rows."""
        lines = self.append(entries)
        self.apply(lines, [entry.evidence for entry in entries])
        return lines

    def append(self, entries: Sequence[Entry]) -> list[Line]:
        """Only the lines: for what has to happen before their rows."""
        return self._ledger.append(self._clocks.wall_ns(), [(entry.kind, entry.body) for entry in entries])

    def apply(self, lines: Sequence[Line], evidence: Sequence[Evidence | None]) -> None:
        """Their rows, and the mark behind the last."""
        with self.session() as session, session.begin():
            for line, each in zip(lines, evidence, strict=True):
                apply(session, line, each)
            mark.move(session, lines[-1])
            self._ages.note(session, lines[-1].seq)


@contextmanager
def sqlite_mapped(root: Path) -> Iterator[None]:
    """What SQLite raises as StoreError."""
    try:
        yield
    except SQLAlchemyError as error:
        raise index.store_error(error, root) from error
