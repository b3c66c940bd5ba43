# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder's end of its channel to the supervisor: beats go out, commands and the word to stop come in."""

from __future__ import annotations

import dataclasses
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from daemon.clock import rfc3339
from daemon.errors import FirewitnessError, MessageError, PeerGone
from daemon.messages import Answer, CamerasChanged, Command, RecorderBeat, Stop, ToRecorderControl
from daemon.storage.assessing import assess
from daemon.storage.clips import Appended, Step
from daemon.storage.purge import PurgeResult
from daemon.storage.retention import Retention
from daemon.storage.store import Store
from daemon.storage.storing import Storing
from daemon.storage.watching import Watching
from daemon.storage.writing import Entry
from daemon.wire import Channel

BEAT_S = 1.0
_log = logging.getLogger("firewitness")


@dataclass(slots=True)
class _Purge:
    """A purge under way: of this store, not of one opened after it failed."""

    id: str
    store: Store
    portions: Iterator[PurgeResult]
    answer: Answer | None = None
    """Once it has ended."""
    _last: PurgeResult | None = None

    def go_on(self) -> None:
        before, self._last = self._last, next(self.portions, None)
        if self._last is None:
            self.answer = Answer(id=self.id, result=dataclasses.asdict(before) if before else {})


class SupervisorEnd:
    """Registered with the recorder's selector."""

    def __init__(
        self,
        control: socket.socket,
        storing: Storing,
        watching: Watching,
        retention: Retention,
        cameras_changed: Callable[[CamerasChanged], None],
    ) -> None:
        self.stopping = False
        self._cameras_changed = cameras_changed
        self._channel: Channel[ToRecorderControl] = Channel(control, ToRecorderControl)
        self._storing, self._watching, self._retention = storing, watching, retention
        self._stored = self._stored_bytes = 0
        self._oldest_s = 0.0
        self._purges: deque[_Purge] = deque()

    def fileno(self) -> int:
        return self._channel.fileno()

    def listen(self) -> None:
        """Carries out what the supervisor asks. Its end of the channel closed is the word to stop too."""
        try:
            while received := self._channel.receive():
                message, _ = received
                if isinstance(message, Stop):
                    self.stopping = True
                elif isinstance(message, CamerasChanged):
                    self._cameras_changed(message)
                elif (answer := self._carry_out(message)) is not None:
                    self._send(answer)
        except MessageError as error:
            _log.error("the supervisor sent what is no message: %s", error)
        except PeerGone:
            self.stopping = True

    @property
    def is_purging(self) -> bool:
        return bool(self._purges)

    def purge_on(self) -> None:
        """One portion of the purge that is under way; stills are stored in between."""
        if not self._purges:
            return
        purge = self._purges[0]
        if self._storing.store is not purge.store or not self._storing.attempt(lambda _: purge.go_on()):
            purge.answer = Answer(id=purge.id, error=self._storing.detail or "the store failed meanwhile")
        if purge.answer is not None:
            self._purges.popleft()
            self._send(purge.answer)

    def stored(self, entries: Sequence[Entry], steps: Sequence[Step]) -> None:
        """These became durable; `steps` are those of clips, which take room as they grow."""
        sizes = [len(entry.jpeg) for entry in entries if entry.jpeg is not None]
        self._stored += len(sizes)
        self._stored_bytes += sum(sizes)
        self._retention.stored(sum(sizes) + sum(len(step.data) for step in steps if isinstance(step, Appended)))

    def took(self, seconds: float) -> None:
        """A group took so long from its first message to its acknowledgement."""
        self._oldest_s = max(self._oldest_s, seconds)

    def beat(self) -> None:
        """Once a second. A supervisor that does not read loses beats, nothing else."""
        known: dict[str, Any] = {}
        self._storing.attempt(lambda store: known.update(_of_store(store) | self._retention.facts(store)))
        beat = RecorderBeat(
            disk=self._storing.state,
            detail=self._storing.detail,
            oldest_item_s=self._oldest_s,
            stored=self._stored,
            stored_bytes=self._stored_bytes,
            open_gaps=self._watching.open_gaps(),
            interrupted=self._watching.interrupted,
            purged={str(reason): count for reason, count in self._storing.purged.items()},
            **known,
        )
        self._oldest_s = 0.0
        self._send(beat)

    @contextmanager
    def beating_while(self, doing: str) -> Iterator[None]:
        """Goes on with the beats, as `starting`, while the caller's thread is busy for longer than one of them.

        Silence would mean that it is stuck: it would be killed, and begin again with what takes so long.
        """
        done = threading.Event()

        def beat() -> None:
            began = False
            while not done.wait(BEAT_S):
                if not began:
                    _log.info("%s", doing)
                    began = True
                self._send(RecorderBeat(disk="starting", detail=doing))

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _send(self, message: RecorderBeat | Answer) -> None:
        try:
            self._channel.send(message)
        except PeerGone:
            self.stopping = True

    def _carry_out(self, command: Command) -> Answer | None:
        """None where the answer comes later."""
        if command.name not in ("purge", *_STEPS):
            return Answer(id=command.id, error=f"the recorder knows no command {command.name!r}")
        store = self._storing.store
        # on a full disk a purge is what makes room, and it may wait for nothing but the clock
        if store is None or (command.name in ("head", "assess") and self._storing.usable is None):
            return Answer(id=command.id, error=f"the disk is {self._storing.state}: {self._storing.detail}")
        wanted = {name: command.arguments.get(name) is True for name in ("dry_run", "all_due")}
        _log.info("asked %s", _in_words(command.name, wanted))
        if command.name == "purge":
            self._purges.append(_Purge(command.id, store, store.purge.steps(**wanted)))
            return None
        results: list[dict[str, Any]] = []
        step = _STEPS[command.name]
        try:
            done = self._storing.attempt(lambda store: results.append(step(store, command.arguments)))
        except FirewitnessError as error:  # what was asked for cannot be; of the disk `attempt` tells
            return Answer(id=command.id, error=str(error))
        if not done:
            return Answer(id=command.id, error=self._storing.detail)
        return Answer(id=command.id, result=results[0])


def _of_store(store: Store) -> dict[str, Any]:
    seq, hash_ = store.head()
    space = store.space()
    return {
        "ledger_seq": seq,
        "ledger_head": hash_,
        "free_bytes": space.free,
        "reserve_bytes": space.reserve,
        "clock": store.clock_state(),
    }


def _in_words(name: str, wanted: Mapping[str, bool]) -> str:
    if name == "purge":
        what = "to say what a purge would remove" if wanted["dry_run"] else "to purge"
        return f"{what}, all that is due" if wanted["all_due"] else what
    return {
        "clock_accept": "to trust the wall clock",
        "head": "for the ledger's head",
        "assess": "to note what an incident was",
    }[name]


def _accept_clock(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"trusted_at": rfc3339(store.accept_clock())}


def _head(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    seq, hash_ = store.head()
    store.commit([Entry("head", {"of_seq": seq, "of_hash": hash_})])
    return {"seq": seq, "hash": hash_}


_Step = Callable[[Store, Mapping[str, Any]], dict[str, Any]]
_STEPS: dict[str, _Step] = {"clock_accept": _accept_clock, "head": _head, "assess": assess}
