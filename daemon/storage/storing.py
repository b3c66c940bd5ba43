# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder's store across bad times: open, failed, opened again through recovery; the process goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from daemon.clock import NS, Clocks
from daemon.domain import PurgeReason
from daemon.errors import StoreError
from daemon.settings import StorageSettings
from daemon.storage.recovery import GoingOn, Recovery
from daemon.storage.store import Store
from daemon.storage.writing import Entry

RETRY_S = 3.0
_log = logging.getLogger("firewitness")


class Storing:
    """The store while it can be used. `state` is the disk's (DiskState), `detail` one sentence where it is not ok."""

    def __init__(
        self,
        settings: StorageSettings,
        clocks: Clocks,
        version: str,
        cameras: Sequence[str],
        going_on: GoingOn = lambda lines: True,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        """`going_on` can break off the opening of a store that has much to recover; `let_go` follows each end of one that failed."""
        self.store: Store | None = None
        self.state, self.detail = "gone", "not opened yet"
        self._settings, self._clocks, self._version, self._cameras = settings, clocks, version, cameras
        self._next_try_mono_ns = 0
        self._going_on, self._let_go = going_on, let_go
        self._purged: Counter[PurgeReason] = Counter()

    @property
    def usable(self) -> Store | None:
        """The store if it can be written to now."""
        return self.store if self.state == "ok" else None

    @property
    def purged(self) -> Counter[PurgeReason]:
        """Stills removed by this process."""
        return self._purged + self.store.purge.removed if self.store is not None else self._purged

    def look(self) -> None:
        """Once a second: how the disk is; opens the store where it is not, at most every RETRY_S."""
        if self.store is None and self._clocks.monotonic_ns() >= self._next_try_mono_ns:
            self._open()
        elif self.store is not None:
            self.attempt(self._look_at)

    def attempt(self, step: Callable[[Store], None]) -> bool:
        """Carries out a step on the store; False when there is none or the step failed, after which it is closed."""
        if self.store is None:
            return False
        try:
            step(self.store)
        except StoreError as error:
            self._fail(error)
            return False
        return True

    def commit(self, entries: Sequence[Entry]) -> bool:
        """Whether the entries are durable now."""
        return self.attempt(lambda store: store.commit(entries))

    def close(self) -> None:
        """At the end of the process. The head goes to the log: a witness of the ledger outside the disk."""
        if (store := self.store) is None:
            return
        if self.attempt(lambda store: store.close("stop")):
            self.store = None
        seq, hash_ = store.head()  # of what is durable, also where the last lines could not be written
        _log.info("the store is closed; ledger head: seq %d hash %s", seq, hash_)

    def _open(self) -> None:
        try:
            store = Store.open(
                self._settings, self._clocks, version=self._version, cameras=self._cameras, going_on=self._going_on
            )
        except StoreError as error:
            self._fail(error)
            return
        self.store = store
        _log.info("the store %s is open", store.root)
        if found := in_words(store.recovered):
            _log.warning("recovered after an end that was not in order: %s", found)
        self.attempt(self._look_at)

    def _look_at(self, store: Store) -> None:
        """A disk that is exchanged or gone is let go of: only opening tells what stands in its place, or that it is back."""
        state = store.disk_state()
        if state not in ("ok", "full"):
            raise StoreError(state, store.disk_detail())
        self._say(state, store.disk_detail())

    def _fail(self, error: StoreError) -> None:
        if self.store is not None:
            try:
                self.store.close("fault")
            except StoreError as second:
                _log.debug("while closing: %s", second)  # says the same again
            self._purged += self.store.purge.removed
            self.store = None
            self._let_go()
        self._next_try_mono_ns = self._clocks.monotonic_ns() + round(RETRY_S * NS)
        self._say(error.state, str(error))

    def _say(self, state: str, detail: str) -> None:
        if state != self.state:
            _log.log(
                logging.INFO if state == "ok" else logging.ERROR, "disk: %s%s", state, f" ({detail})" if detail else ""
            )
        self.state, self.detail = state, detail


def in_words(recovery: Recovery) -> str:
    """What recovery did; empty when there was nothing to do."""
    done = [
        (recovery.lines_applied, "lines of the ledger applied"),
        (recovery.cut_bytes, "bytes of a torn line cut off the ledger"),
        (recovery.parts_removed, "half-written files removed"),
        (recovery.unlinked, "files of a purge under way removed"),
        (len(recovery.completed), "stills without a line completed"),
        (len(recovery.closed), "clips closed"),
        (len(recovery.broken), "broken stills or clips removed"),
        (len(recovery.missing), "stills missing"),
    ]
    return ", ".join(f"{count} {what}" for count, what in done if count)
