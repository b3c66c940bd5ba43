# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the detector computes next: the newest frame of each camera, and the work that can wait; a pure data structure.

No sockets, no threads, no clock. Live goes first, round-robin from where it stopped; work goes when no live frame
waits, and at least every fourth batch regardless (design, invariants 7 and 8). Items are opaque to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Shape = tuple[int, int]

WORK_EVERY = 4  # of so many batches at least one is work, when there is any


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that may wait of one kind of work."""

    images: int
    bytes: int


CAPS: dict[str, Cap] = {  # in the order in which they are served
    "post": Cap(128, 512_000_000),
    "going_back": Cap(64, 512_000_000),
    "analyse": Cap(64, 512_000_000),
    "patrol": Cap(16, 256_000_000),
}
_ORDER = {kind: place for place, kind in enumerate(CAPS)}

Item = TypeVar("Item")
Live = TypeVar("Live")
Work = TypeVar("Work")


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[Item]):
    """One piece of work; `shape` is that of its letterbox, since pictures of one shape share a batch."""

    item: Item
    kind: str
    shape: Shape
    deadline_s: float
    bytes: int
    owner: Hashable
    """Who asked; work of an owner who has gone is dropped."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[Live, Work]):
    """What to compute now: `live` or `jobs`, never both. `late` are jobs whose deadline passed while they waited."""

    live: tuple[Live, ...] = ()
    jobs: tuple[Job[Work], ...] = ()
    late: tuple[Job[Work], ...] = ()


class LiveFrames(Generic[Item]):
    """The newest frame of each camera."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Item, Shape]] = {}
        self._turn: deque[str] = deque()  # the camera at the left has waited longest for its turn

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, camera: str, item: Item, shape: Shape) -> Item | None:
        """Puts a camera's newest frame; returns the older one that it replaces."""
        older = self.withdraw(camera)
        self._waiting[camera] = (item, shape)
        if camera not in self._turn:
            self._turn.append(camera)
        return older

    def withdraw(self, camera: str) -> Item | None:
        """Takes a camera's waiting frame back, if there is one."""
        found = self._waiting.pop(camera, None)
        return found[0] if found else None

    def take(self, most: int) -> tuple[Item, ...]:
        """At most so many frames of one shape, the shape of the camera whose turn it is."""
        waiting = [camera for camera in self._turn if camera in self._waiting]
        if not waiting:
            return ()
        shape = self._waiting[waiting[0]][1]
        taken = [camera for camera in waiting if self._waiting[camera][1] == shape][:most]
        for camera in taken:
            self._turn.remove(camera)
            self._turn.append(camera)
        return tuple(self._waiting.pop(camera)[0] for camera in taken)

    def forget(self, camera: str) -> None:
        """The camera is gone."""
        self.withdraw(camera)
        if camera in self._turn:
            self._turn.remove(camera)


@dataclass(slots=True)
class CompletionRate:
    """Images a second that the work channel completed while it had work; over the last batches."""

    images_per_s: float
    """To begin with: what warming up measured."""
    _done: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=8))
    _since_s: float | None = None

    def began(self, now_s: float) -> None:
        """Work arrived when there was none."""
        self._since_s = now_s

    def completed(self, images: int, now_s: float, more: bool) -> None:
        """A batch is done; `more` tells whether work still waits. Live batches in between count as waiting."""
        if self._since_s is not None:
            self._done.append((images, max(now_s - self._since_s, 1e-6)))
            self.images_per_s = sum(n for n, _ in self._done) / sum(took for _, took in self._done)
        self._since_s = now_s if more else None


class WorkQueue(Generic[Item]):
    """Work by kind, each first in, first out, with caps and the rule of refusing at once."""

    def __init__(self, images_per_s: float) -> None:
        self.rate = CompletionRate(images_per_s)
        self._jobs: dict[str, deque[Job[Item]]] = {kind: deque() for kind in CAPS}
        self._computing = 0

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._jobs.values())

    @property
    def pending(self) -> int:
        """Images waiting or being computed."""
        return len(self) + self._computing

    def offer(self, job: Job[Item], now_s: float) -> str | None:
        """Takes the job, or says in a clause why it is refused.

        Refused is what cannot be done in time: images before it, of its kind and those served earlier, ÷ the rate.
        With nothing before it a job is always tried, or a rate that was once slow could never be measured again.
        """
        cap, waiting = CAPS[job.kind], self._jobs[job.kind]
        if now_s >= job.deadline_s:
            return "its deadline has passed"
        if len(waiting) >= cap.images or (waiting and sum(each.bytes for each in waiting) + job.bytes > cap.bytes):
            return f"{len(waiting)} images of kind {job.kind} wait already"
        before = self._computing + sum(len(self._jobs[kind]) for kind in CAPS if _ORDER[kind] <= _ORDER[job.kind])
        expected_s = (before + 1) / self.rate.images_per_s
        if before and now_s + expected_s > job.deadline_s:
            return f"it would take {expected_s:.1f} s, and its deadline is in {job.deadline_s - now_s:.1f} s"
        if not self.pending:
            self.rate.began(now_s)
        waiting.append(job)
        return None

    def take(self, most: int, now_s: float) -> tuple[tuple[Job[Item], ...], tuple[Job[Item], ...]]:
        """At most so many jobs of one shape, in the order of service, and those that are too late."""
        late = tuple(job for jobs in self._jobs.values() for job in jobs if job.deadline_s <= now_s)
        for job in late:
            self._jobs[job.kind].remove(job)
        taken: list[Job[Item]] = []
        for jobs in self._jobs.values():
            for job in list(jobs):
                if len(taken) < most and (not taken or job.shape == taken[0].shape):
                    taken.append(job)
                    jobs.remove(job)
        self._computing = len(taken)
        return tuple(taken), late

    def done(self, images: int, now_s: float) -> None:
        """The jobs taken last are computed."""
        self._computing = 0
        self.rate.completed(images, now_s, more=len(self) > 0)

    def drop(self, owner: Hashable) -> None:
        """Forgets the work of one who is gone."""
        for kind, jobs in self._jobs.items():
            self._jobs[kind] = deque(job for job in jobs if job.owner != owner)


class Schedule(Generic[Live, Work]):
    """Both channels together."""

    def __init__(self, batch: int, images_per_s: float) -> None:
        self.live: LiveFrames[Live] = LiveFrames()
        self.work: WorkQueue[Work] = WorkQueue(images_per_s)
        self._batch = batch
        self._live_in_row = 0

    def waiting(self) -> bool:
        """Whether `next` would give something to do."""
        return len(self.live) > 0 or len(self.work) > 0

    def next(self, now_s: float) -> Batch[Live, Work]:
        """Takes what is to be computed next; empty when nothing waits."""
        work_is_due = len(self.work) > 0 and (not len(self.live) or self._live_in_row >= WORK_EVERY - 1)
        if not work_is_due:
            self._live_in_row += 1
            return Batch(live=self.live.take(self._batch))
        self._live_in_row = 0
        jobs, late = self.work.take(self._batch, now_s)
        return Batch(jobs=jobs, late=late)
