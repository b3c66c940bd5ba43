# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder process: `python -m daemon.storage.recorder --lifeline FD --settings FD --control FD --listen FD`.

The one writer of evidence, ledger and index. One thread, one loop: take all that waits, make it durable as one group,
acknowledge. A disk that fails does not end it: it says so, and goes on when the disk is back. docs/seams.md.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable

from daemon import __version__, log
from daemon.child import descriptors, settings_in
from daemon.clock import NS, Clocks, host_clocks
from daemon.domain import DRILL_CAMERA
from daemon.errors import MessageError, PeerGone
from daemon.lifeline import watch
from daemon.messages import (
    Analysed,
    AnalystHello,
    CamerasChanged,
    ClipEnded,
    ClipFragment,
    ImporterHello,
    IncidentChanged,
    Message,
    RecorderHello,
    RecorderState,
    RunBegan,
    StillsDropped,
    StillTaken,
    ToRecorder,
    Watermark,
)
from daemon.settings import Settings
from daemon.storage.clips import Ended
from daemon.storage.group import Group, Item
from daemon.storage.heartbeat import PERIOD_S
from daemon.storage.incoming import Connection, acknowledgements, close_all, take_fragment, take_still
from daemon.storage.retention import Retention
from daemon.storage.store import Store
from daemon.storage.storing import Storing
from daemon.storage.supervisor_end import SupervisorEnd
from daemon.storage.watching import Watching
from daemon.storage.writing import Entry

TICK_S = 1.0
DRAIN_S = 3.5  # of the 10 s that a stop may take in all, and less than the supervisor gives the recorder
_log = logging.getLogger("firewitness")


class Recorder:
    """The loop."""

    def __init__(self, settings: Settings, clocks: Clocks, control: socket.socket, listening: socket.socket) -> None:
        self._clocks, self._listening = clocks, listening
        enabled = {name: camera.enabled for name, camera in settings.cameras.items()}
        self._cameras = frozenset({*enabled, DRILL_CAMERA})
        self._storing = Storing(
            settings.storage, clocks, __version__, tuple(enabled), self._may_go_on, self._forget_clips
        )
        self._watching = Watching(clocks, 2 * settings.detect.max_interval, enabled)
        self._retention = Retention(settings.storage, clocks)
        self._supervisor = SupervisorEnd(control, self._storing, self._watching, self._retention, self._cameras_changed)
        self._unsaid = [_settings(settings.sha256(), enabled)]
        self._left: list[Ended] = []
        """Clips whose connection has ended."""
        self._connections: set[Connection] = set()
        self._current: dict[str, Connection] = {}
        self._told_state = ""
        self._turn = 0
        self._next_tick_ns = self._next_heartbeat_ns = 0
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakes = socket.socketpair()
        self._set_up()

    def _set_up(self) -> None:
        self._listening.setblocking(False)
        self._woken.setblocking(False)
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno())
        for waited in (self._listening, self._supervisor, self._woken):
            self._selector.register(waited, selectors.EVENT_READ)

    def run(self) -> None:
        """Until it is told to stop."""
        self._tick()
        while not (self._stopping or self._supervisor.stopping):
            wait_s = max(0, self._next_tick_ns - self._clocks.monotonic_ns()) / NS
            self._serve(self._ready(0 if self._supervisor.is_purging else min(wait_s, TICK_S)))
            self._supervisor.purge_on()
            if self._clocks.monotonic_ns() >= self._next_tick_ns:
                self._tick()
        self._end()

    def stop(self, *_: object) -> None:
        """Also as a signal's handler."""
        self._stopping = True

    # ---- one round

    def _ready(self, wait_s: float) -> list[Connection]:
        """Waits; answers the supervisor and accepts; returns the connections that have something to say."""
        ready: list[Connection] = []
        for key, events in self._selector.select(wait_s):
            if isinstance(key.fileobj, Connection):
                if events & selectors.EVENT_WRITE:
                    self._send(key.fileobj)
                if events & selectors.EVENT_READ:
                    ready.append(key.fileobj)
            elif key.fileobj is self._listening:
                self._accept()
            elif key.fileobj is self._supervisor:
                self._supervisor.listen()
            else:
                self._woken.recv(4096)
        self._turn += 1
        turn = self._turn % len(ready) if ready else 0
        return ready[turn:] + ready[:turn]

    def _serve(self, ready: Iterable[Connection]) -> None:
        """Takes one message from each in turn, so that none is served at the cost of another, and stores them all."""
        group, waiting = Group(), deque(ready)
        began_ns = self._clocks.monotonic_ns()
        while waiting and not group.full:
            connection = waiting.popleft()
            if connection in self._connections and self._take(connection, group):
                waiting.append(connection)
        self._store(group)
        if group.items:
            self._storing.attempt(self._retention.keep)
            self._supervisor.took((self._clocks.monotonic_ns() - began_ns) / NS)
        self._tell_state()

    def _take(self, connection: Connection, group: Group) -> bool:
        """Whether there was a message and may be another."""
        try:
            received = connection.receive()
            if received is None:
                return False
            group.messages += 1
            self._handle(connection, *received, group)
        except MessageError as error:
            _log.warning("connection closed: %s", error, extra={"camera": connection.camera})
            self._drop(connection)
            return False
        except PeerGone:
            self._gone(connection)
            return False
        return True

    def _handle(self, connection: Connection, message: ToRecorder, descriptors: list[int], group: Group) -> None:
        match message:
            case RecorderHello(camera=camera, worker=worker):
                self._hello(connection, camera, worker)
            case AnalystHello(camera=camera):  # beside the camera's worker, which goes on
                connection.camera, connection.analyst = camera, True
                self._send(connection, RecorderState(disk=self._storing.state))
            case ImporterHello(camera=camera):
                if camera in self._cameras:
                    raise MessageError(f"a recording from elsewhere under the name of the camera {camera}")
                connection.camera, connection.importer = camera, True
                self._send(connection, RecorderState(disk=self._storing.state))
            case Watermark():
                self._watching.watermark(str(connection.camera), message)
            case StillsDropped():
                _log.warning("%d stills dropped by its worker", message.count, extra={"camera": connection.camera})
                self._watching.dropped(str(connection.camera), message)
            case _:
                store = self._storing.usable
                if store is None or connection.owing:
                    connection.owing = True
                    close_all(descriptors)
                else:
                    group.add(self._item(connection, message, descriptors, store))

    def _item(
        self,
        connection: Connection,
        message: RunBegan | StillTaken | IncidentChanged | Analysed | ClipFragment | ClipEnded,
        descriptors: list[int],
        store: Store,
    ) -> Item:
        match message:
            case RunBegan(run=run):
                self._watching.began(run.camera, run.width_px, run.height_px)
                return Item(connection, run.id, run)
            case StillTaken(evidence=evidence):
                entry = take_still(store, evidence, descriptors)
                return Item(connection, evidence.id, entry, entry.body["bytes"])
            case IncidentChanged():
                return Item(connection, message.id, self._watching.incident(message.incident))
            case ClipFragment():
                appended = take_fragment(connection, message, descriptors)
                return Item(connection, message.id, appended, len(appended.data) if appended else 0)
            case ClipEnded(clip=clip, closed=closed):
                is_open = connection.clips.pop(clip, None) is not None
                return Item(connection, message.id, Ended(clip, closed) if is_open else None)
            case Analysed(analysis=analysis):
                return Item(connection, analysis.id, analysis)

    def _store(self, group: Group) -> None:
        def step(store: Store) -> None:
            entries, steps = [*self._unsaid, *group.entries(store), *owed], [*self._left, *group.steps()]
            if entries or steps:
                store.commit(entries, steps)
                self._supervisor.stored(entries, steps)

        owed = self._watching.owed()
        if not (group.items or owed or self._unsaid or self._left):
            return
        if durable := self._storing.usable is not None and self._storing.attempt(step):
            self._unsaid, self._left = [], []
            self._watching.settled(owed)
        else:
            self._watching.failed(group.told())
        for connection, ids in group.by_connection():
            if durable:
                self._send(connection, *acknowledgements(ids))
            connection.owing |= not durable

    def _forget_clips(self) -> None:
        """A store that failed has let go of the clips that it wrote: their workers have to begin others."""
        self._left = []
        for connection in self._connections:
            connection.owing |= bool(connection.clips)
            connection.clips.clear()

    # ---- connections

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except BlockingIOError:
                return
            connection = Connection(sock)
            if (uid := connection.channel.peer_uid()) not in (os.getuid(), 0):
                _log.warning("a connection of uid %d was refused", uid)
                connection.channel.close()
                continue
            self._connections.add(connection)
            self._selector.register(connection, selectors.EVENT_READ)

    def _hello(self, connection: Connection, camera: str, worker: str) -> None:
        if camera not in self._cameras:
            raise MessageError(f"no camera is called {camera[:80]!r}")
        if before := self._current.get(camera):
            self._drop(before)
        connection.camera, connection.worker = camera, worker
        self._current[camera] = connection
        self._watching.hello(camera, worker)
        self._send(connection, RecorderState(disk=self._storing.state))

    def _send(self, connection: Connection, *messages: Message) -> None:
        """Sends them after what was kept. Who does not take its answers is not read until it does."""
        if connection not in self._connections:
            return
        connection.send(*messages)
        self._selector.modify(connection, selectors.EVENT_WRITE if connection.choked else selectors.EVENT_READ)

    def _gone(self, connection: Connection) -> None:
        """The connection ended from the worker's side."""
        was_current = self._current.get(str(connection.camera)) is connection
        self._drop(connection)
        if was_current:
            _log.info("its worker is gone", extra={"camera": connection.camera})
            self._watching.lost(str(connection.camera))

    def _drop(self, connection: Connection) -> None:
        """Ends a connection from our side: its worker connects again and sends what was not acknowledged."""
        if connection not in self._connections:
            return
        self._left += [Ended(clip, "worker") for clip in connection.clips]
        self._connections.discard(connection)
        self._selector.unregister(connection)
        connection.channel.close()
        if self._current.get(str(connection.camera)) is connection:
            del self._current[str(connection.camera)]

    def _cameras_changed(self, message: CamerasChanged) -> None:
        """A reload: from now on these are the cameras."""
        self._cameras = frozenset({*message.enabled, DRILL_CAMERA})
        self._unsaid.append(_settings(message.sha256, message.enabled))
        self._watching.configure(message.enabled)

    # ---- time

    def _tick(self) -> None:
        self._next_tick_ns = self._clocks.monotonic_ns() + round(TICK_S * NS)
        self._storing.attempt(self._retention.keep)
        self._look()
        self._tell_state()
        self._watching.tick()
        self._store(Group())
        due = self._clocks.monotonic_ns() >= self._next_heartbeat_ns or self._watching.has_new_worker()
        if due and self._storing.usable is not None:
            self._next_heartbeat_ns = self._clocks.monotonic_ns() + round(PERIOD_S * NS)
            self._storing.attempt(self._watching.write_heartbeat)
        self._tell_state()
        self._supervisor.beat()

    def _look(self) -> None:
        """Also opens the store, which may have much to recover."""
        if self._storing.store is not None:
            self._storing.look()
            return
        with self._supervisor.beating_while("recovering the store"):
            self._storing.look()

    def _may_go_on(self, lines: int) -> bool:
        """Between portions of a recovery: whether nobody has told us to stop meanwhile."""
        self._supervisor.listen()
        return not (self._stopping or self._supervisor.stopping)

    def _tell_state(self) -> None:
        """At a change of the disk's state: to the gaps, and to every worker."""
        state = self._storing.state
        if state == self._told_state:
            return
        self._told_state = state
        if state == "ok":
            self._storing.attempt(self._watching.begin)
        self._watching.disk(state)
        for connection in list(self._connections):
            if connection.owing and state == "ok":
                self._drop(connection)
            elif connection.camera is not None:
                self._send(connection, RecorderState(disk=state))

    def _end(self) -> None:
        """Drains what the workers left, says until when was watched, closes the store."""
        self._accept()
        until_ns = self._clocks.monotonic_ns() + round(DRAIN_S * NS)
        while self._clocks.monotonic_ns() < until_ns and (ready := self._ready(0)):
            self._serve(ready)
        self._watching.stop()
        self._store(Group())
        if self._storing.usable is not None:
            self._storing.attempt(self._watching.write_heartbeat)
        self._storing.close()
        if owed := self._watching.owed():
            _log.error("%d lines could not be stored: the disk is %s", len(owed), self._storing.state)
        self._supervisor.beat()


def _settings(sha256: str, cameras: Iterable[str]) -> Entry:
    return Entry("settings", {"sha256": sha256, "cameras": list(cameras)})


def main() -> int:
    """Returns the exit status."""
    arguments = descriptors("daemon.storage.recorder", "lifeline", "settings", "control", "listen")
    watch(arguments.lifeline)
    log.set_up("recorder")
    settings = settings_in(arguments.settings)
    control, listening = socket.socket(fileno=arguments.control), socket.socket(fileno=arguments.listen)
    recorder = Recorder(settings, host_clocks(), control, listening)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    signal.signal(signal.SIGTERM, recorder.stop)
    recorder.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
