# SPDX-License-Identifier: AGPL-3.0-or-later
"""All cameras' watches, hours and incidents, and the ledger lines that follow from them until they are durable.

What could not be stored is kept, the newest of its kind, and offered again: so a gap is told also when
the disk was its cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from daemon.clock import NS, Clocks
from daemon.domain import Gap, Incident
from daemon.ids import new_id
from daemon.messages import StillsDropped, Watermark
from daemon.storage import bodies, heartbeat, left_open
from daemon.storage.coverage import Coverage, hour_of
from daemon.storage.gap_queries import Known, last_known
from daemon.storage.gaps import CameraWatch, Event, Mark, Now, mono_ns_of
from daemon.storage.heartbeat import CameraBeat, Heartbeat
from daemon.storage.incidents import CONTINUED_WITHIN_NS, Incidents
from daemon.storage.store import Store
from daemon.storage.writing import Entry

RETURN_S = 15.0  # a worker that lived on while the recorder was dead comes back within a second or two
_ASPECT = 16 / 9  # of a camera whose run began before this process


class Watching:
    """Begins with the first store that could be opened; what comes earlier is only remembered."""

    def __init__(self, clocks: Clocks, limit_s: float, enabled: Mapping[str, bool]) -> None:
        """`limit_s` is 2 × detect.max_interval; `enabled` names the configured cameras."""
        self._clocks, self._limit_s, self._enabled = clocks, limit_s, enabled
        self._started = self._now()
        self._workers: dict[str, str] = {}
        self._watches: dict[str, CameraWatch] = {}
        self._coverage = Coverage()
        self._incidents = Incidents()
        self._aspects: dict[str, float] = {}
        self._owed: dict[tuple[str, ...], Entry] = {}
        self._awaited: dict[str, str] = {}
        """Camera → the worker of its open incidents, which may have outlived the recorder and come back."""
        self._awaited_until_ns = 0
        self._told_workers: dict[str, str | None] = {}
        self._disk = "ok"
        self._begun = False
        self.interrupted = 0
        """Confirmed incidents that ended because their worker was gone."""

    # ---- at start

    def begin(self, store: Store) -> None:
        """Goes on from what the store and its heartbeat say of the time before this process."""
        if self._begun:
            return
        now = self._now()  # recovery can have taken long, and it was what first saw a new camera
        beat, known = heartbeat.read(store.root), store.read(last_known)
        gaps, since_ns = store.read(left_open.gaps), now.at_ns - CONTINUED_WITHIN_NS
        incidents, by_still = store.read(lambda session: left_open.incidents(session, known, since_ns))
        self._begun = True
        self._incidents.know(incidents)
        self._incidents.doubt(by_still)
        for camera, of in known.items():
            self._watches[camera] = watch = self._watch(camera, of, beat, now)
            for gap in gaps:
                if gap.camera == camera:
                    watch.resume(gap)
            self._take(watch.enable(now) if self._enabled.get(camera) else watch.disable(now))
            watch.disk(self._disk)
        self._await_workers(beat, now)
        for camera, worker in self._workers.items():
            self._greet(camera, worker)

    def _watch(self, camera: str, known: Known, beat: Heartbeat | None, now: Now) -> CameraWatch:
        at_ns = min(max(known.first_seen_at_ns, known.gap_ended_at_ns, known.captured_at_ns), now.at_ns)
        last = Mark(at_ns, mono_ns_of(at_ns, now))
        if beat and (seen := beat.cameras.get(camera)):
            last = _mark(seen, now, same_boot=beat.boot == self._clocks.boot_id())
            self._coverage.continue_from(camera, int(seen.hour_at_ns), seen.frames, seen.watched_s, last.at_ns)
            if last.at_ns < known.gap_ended_at_ns <= now.at_ns:  # it ended after the heartbeat was written
                at_ns = known.gap_ended_at_ns
                last = replace(last, at_ns=at_ns, mono_ns=mono_ns_of(at_ns, now), in_row=0)
        return CameraWatch(camera, round(self._limit_s * NS), last, self._started, now, new_id)

    def _await_workers(self, beat: Heartbeat | None, now: Now) -> None:
        """Interrupts what was running when the recorder ended, but for incidents whose worker may live on."""
        self._awaited_until_ns = now.mono_ns + round(RETURN_S * NS)
        for camera in self._incidents.cameras_with_open():
            lives_on = beat is not None and beat.boot == self._clocks.boot_id() and self._enabled.get(camera)
            watch = self._watches.get(camera)  # a drill's camera has none, and nobody waits for it
            if lives_on and watch is not None and watch.last.worker is not None:
                self._awaited[camera] = watch.last.worker
            else:
                self._interrupt(camera)

    # ---- what is told

    def hello(self, camera: str, worker: str) -> None:
        """A worker connected; another one that the camera had is gone."""
        if self._workers.get(camera, worker) != worker:
            self.lost(camera)
        self._workers[camera] = worker
        if camera in self._watches:
            self._greet(camera, worker)

    def _greet(self, camera: str, worker: str) -> None:
        if self._awaited.pop(camera, worker) != worker:
            self._interrupt(camera)
        self._watches[camera].hello(worker)

    def configure(self, enabled: Mapping[str, bool]) -> None:
        """A reload: a new camera is watched from now on; one that is not named any more is `disabled`."""
        self._enabled = enabled
        if not self._begun:
            return  # `begin` goes by the new ones
        now = self._now()
        for camera in enabled.keys() - self._watches.keys():
            last = Mark(now.at_ns, now.mono_ns)
            self._watches[camera] = CameraWatch(camera, round(self._limit_s * NS), last, now, now, new_id)
            self._watches[camera].disk(self._disk)
            if camera in self._workers:
                self._watches[camera].hello(self._workers[camera])
        for camera, watch in self._watches.items():
            self._take(watch.enable(now) if enabled.get(camera) else watch.disable(now))

    def lost(self, camera: str) -> None:
        """The camera's worker is gone: its connection ended from its side."""
        self._workers.pop(camera, None)
        if watch := self._watches.get(camera):
            watch.lost()
        self._interrupt(camera)

    def disk(self, state: str) -> None:
        """Whether something can be stored from now on: a DiskState."""
        self._disk = state
        for watch in self._watches.values():
            watch.disk(state)

    def watermark(self, camera: str, message: Watermark) -> None:
        watch = self._watches.get(camera)
        if watch and self._enabled.get(camera):  # a removed one's worker may still be ending
            self._take(watch.watermark(message, self._now()))

    def dropped(self, camera: str, message: StillsDropped) -> None:
        if watch := self._watches.get(camera):
            self._take(watch.dropped(message, "recorder" if self._disk == "ok" else "disk"))

    def began(self, camera: str, width_px: int, height_px: int) -> None:
        """A run began with pictures of this size."""
        self._aspects[camera] = width_px / height_px

    def incident(self, incident: Incident) -> Entry | None:
        """The line of what a worker says of an incident; None where it is known."""
        stored = self._incidents.changed(incident, self._aspects.get(incident.camera, _ASPECT))
        if stored is None:
            return None
        self._owed.pop(("incident", incident.id), None)
        return Entry("incident", bodies.incident(stored))

    def failed(self, entries: Iterable[Entry]) -> None:
        """These could not be stored: their workers send them again."""
        self._incidents.doubt(entry.body["id"] for entry in entries if entry.kind == "incident")

    def tick(self) -> None:
        """Time passes."""
        now = self._now()
        if self._awaited and now.mono_ns > self._awaited_until_ns:
            for camera in self._awaited:
                self._interrupt(camera)
            self._awaited.clear()
        for watch in self._watches.values():
            self._take(watch.tick(now))
        known_until_ns = {
            camera: now.at_ns if watch.open else watch.last.at_ns for camera, watch in self._watches.items()
        }
        self._owe_hours(self._coverage.ended(known_until_ns))

    def stop(self) -> None:
        """The daemon ends in order."""
        now = self._now()
        for watch in self._watches.values():
            self._take(watch.stop(now))
        for camera in self._incidents.cameras_with_open():
            self._interrupt(camera)
        self._owe_hours(self._coverage.all())

    # ---- what follows

    def owed(self) -> list[Entry]:
        """Lines that are not durable yet."""
        return list(self._owed.values())

    def settled(self, entries: Iterable[Entry]) -> None:
        """These are durable."""
        durable = {id(each) for each in entries}
        self._owed = {key: entry for key, entry in self._owed.items() if id(entry) not in durable}

    def open_gaps(self) -> dict[str, str]:
        """Camera → reason."""
        return {camera: watch.open.reason for camera, watch in self._watches.items() if watch.open}

    def write_heartbeat(self, store: Store) -> None:
        """Raises StoreError."""
        cameras = {
            camera: self._beat(camera, watch.last) for camera, watch in self._watches.items() if watch.last.worker
        }
        beat = Heartbeat(str(self._clocks.wall_ns()), self._clocks.boot_id(), self._limit_s, cameras)
        heartbeat.write(store.disk, store.root, beat)
        self._told_workers = self._workers_watching()

    def has_new_worker(self) -> bool:
        """Whether a worker watches that the heartbeat does not name yet: who comes back is known by it."""
        return self._workers_watching() != self._told_workers

    def _workers_watching(self) -> dict[str, str | None]:
        return {camera: watch.last.worker for camera, watch in self._watches.items()}

    def _beat(self, camera: str, last: Mark) -> CameraBeat:
        hour_at_ns = hour_of(last.at_ns)
        frames, watched_s = self._coverage.of(camera, hour_at_ns)
        return CameraBeat(
            watched_at_ns=str(last.at_ns),
            hour_at_ns=str(hour_at_ns),
            frames=frames,
            watched_s=watched_s,
            run=last.run,
            pts=_text(last.pts),
            watched_mono_ns=_text(last.mono_ns),
            worker=last.worker,
            frames_watched=last.frames,
            in_row=last.in_row,
        )

    def _interrupt(self, camera: str) -> None:
        watch = self._watches.get(camera)  # the drill's camera has none: what it does not see is no gap
        for each in self._incidents.interrupt(camera, watch.last.at_ns if watch else self._now().at_ns):
            self._owed["incident", each.id] = Entry("incident", bodies.incident(each))
            self.interrupted += each.kind == "detected" and each.first_confirmed_at_ns is not None

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            self._coverage.add(event)
            if isinstance(event, Gap):
                self._owed["gap", event.id] = Entry("gap", bodies.gap(event))

    def _owe_hours(self, lines: Iterable[dict[str, Any]]) -> None:
        for body in lines:
            self._owed["coverage", body["camera"], body["hour_at_ns"]] = Entry("coverage", body)

    def _now(self) -> Now:
        return Now(self._clocks.wall_ns(), self._clocks.monotonic_ns())


def _mark(seen: CameraBeat, now: Now, *, same_boot: bool) -> Mark:
    at_ns = min(int(seen.watched_at_ns), now.at_ns)
    return Mark(
        at_ns=at_ns,
        mono_ns=int(seen.watched_mono_ns) if same_boot and seen.watched_mono_ns else mono_ns_of(at_ns, now),
        worker=seen.worker,
        frames=seen.frames_watched,
        in_row=seen.in_row,
        run=seen.run,
        pts=None if seen.pts is None else int(seen.pts),
    )


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
