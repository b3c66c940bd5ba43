# SPDX-License-Identifier: AGPL-3.0-or-later
"""Going back in the worker: the queue of confirmed incidents, the bounds, and what is handed to the outbox in the end.

    waiting ──▶ under way ──▶ done: stills and analysis
                 │    ▲ after 1, 2, 4 … 30 s
                 ▼    │
             the detector refuses ──5 min in all──▶ ended with what is known

It works in turns that the loop gives it when no live frame waits; docs/origin.md, In the worker.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from daemon.clock import NS, Clocks
from daemon.domain import Evidence, Incident
from daemon.ingest.asking import Asking
from daemon.ingest.colour import Converter
from daemon.ingest.concluding import Outcome, Subject, subject_of
from daemon.ingest.examination import Examination, Question
from daemon.ingest.keeping import Rank
from daemon.ingest.outbox import Outbox
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.ring import PACKET_OVERHEAD_BYTES, Ring
from daemon.ingest.snapshot import Snapshot
from daemon.messages import Analysed, StillTaken, WorkAnswer
from daemon.wire import Channel

MOST_WAITING = 4  # incidents, the one under way included
TURN_NS = 8 * NS // 1000  # after so long the loop looks at its sockets again
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
PATIENCE_NS = 300 * NS  # with a detector that refuses

log = logging.getLogger("firewitness.going_back")


class GoingBack:
    """One camera's; never waits."""

    def __init__(self, plan: WorkerPlan, clocks: Clocks, converter: Converter, ring: Ring, outbox: Outbox) -> None:
        self._plan, self._clocks, self._converter = plan, clocks, converter
        self._ring, self._outbox = ring, outbox
        self._asking: Asking[Question] = Asking(plan.work_socket, "going_back", plan.floor, clocks)
        self._waiting: deque[tuple[Subject, Snapshot]] = deque()
        self._current: Examination | None = None
        self._held: list[Packet] = []  # of the current one
        self._began_ns = self._resume_ns = 0
        self._pause_s = 0.0
        self._refused_since_ns: int | None = None
        self.done = 0
        """Analyses made."""

    @property
    def channel(self) -> Channel[WorkAnswer] | None:
        """For a selector; None while there is no connection."""
        return self._asking.channel

    @property
    def busy(self) -> bool:
        """Whether a turn has something to do now."""
        if self._clocks.monotonic_ns() < self._resume_ns:
            return False
        if self._current is None:
            return bool(self._waiting)
        return self._current.busy or (bool(self._current.questions) and self._asking.has_room)

    def confirmed(self, incident: Incident, evidence: Evidence) -> None:
        """An incident was confirmed by that still: takes hold of what the ring has of the time before."""
        if not self._plan.work_socket:
            return
        if len(self._waiting) + (self._current is not None) >= MOST_WAITING:
            log.warning("incident %s: not gone back for, since %d others wait", incident.id, MOST_WAITING)
            return
        snapshot = Snapshot.until(self._ring.numbered_from(0), evidence.run, evidence.pts)
        if snapshot is None:
            log.warning("incident %s: the ring holds nothing of it", incident.id)
            return
        if not self._has_room(snapshot.packets):
            log.warning("incident %s: no room to hold what came before it", incident.id)
            return
        self._waiting.append((subject_of(evidence, incident.place, incident.labels), snapshot))

    def turn(self) -> bool:
        """Works for a moment; returns whether something waits to be sent."""
        until_ns = self._clocks.monotonic_ns() + TURN_NS
        while self.busy and self._clocks.monotonic_ns() < until_ns:
            if self._current is None:
                self._begin(*self._waiting.popleft())
            elif self._current.questions:
                self._ask(self._current)
            else:
                self._current.step()
                if self._current.outcome is not None:
                    self._end(self._current, self._current.outcome)
                    return True
        return False

    def take(self) -> None:
        """What the detector has answered."""
        for question, answer in self._asking.take():
            if self._current is None:
                continue
            if answer is None or answer.model is None:
                self._current.questions.append(question)
                self._refused(self._current)
            else:
                self._pause_s, self._refused_since_ns = 0.0, None
                self._current.answered(question, answer.detections, answer.model)

    def close(self) -> None:
        """The worker ends: what is not done will not be."""
        if self._current is not None or self._waiting:
            log.info("going back is given up at the stop")
        self._asking.close()

    def _begin(self, subject: Subject, snapshot: Snapshot) -> None:
        self._current, self._held = Examination(subject, snapshot, self._plan, self._converter), snapshot.packets
        self._began_ns = self._clocks.monotonic_ns()
        self._pause_s, self._refused_since_ns = 0.0, None
        seconds = (snapshot.frames[-1].at_ns - snapshot.frames[0].at_ns) / NS
        log.info("incident %s: going back, at most %.0f s", self._current.incident, seconds)

    def _ask(self, current: Examination) -> None:
        if self._asking.ask(current.questions[0]):
            current.questions.popleft()
        else:
            self._refused(current)

    def _refused(self, current: Examination) -> None:
        """Later, more seldom each time; in the end what is known by then is the result."""
        now_ns = self._clocks.monotonic_ns()
        self._refused_since_ns = self._refused_since_ns or now_ns
        if now_ns - self._refused_since_ns > PATIENCE_NS:
            log.warning("incident %s: the detector has no time; going back ends here", current.incident)
            self._asking.forget()
            current.give_up_search()
            self._resume_ns = 0
            return
        if now_ns >= self._resume_ns:  # else the other of the two at the detector has said so already
            self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
            self._resume_ns = now_ns + round(self._pause_s * NS)

    def _end(self, current: Examination, outcome: Outcome) -> None:
        now_ns = self._clocks.monotonic_ns()
        analysis = replace(outcome.analysis, analysed_at_ns=self._clocks.wall_ns())
        for evidence, jpeg in outcome.stills:
            self._outbox.still(StillTaken(evidence=evidence), jpeg, Rank.FIRST)
        self._outbox.analysis(Analysed(analysis=analysis))
        self.done += 1
        self._current, self._held = None, []
        log.info(
            "incident %s: first visible %.2f s before it was confirmed (%s); %d frames looked at, %d packets decoded, %.1f s",
            analysis.incident, (analysis.confirmed_at_ns - analysis.first_visible.at_ns) / NS, analysis.ended,
            analysis.looks, current.packets, (now_ns - self._began_ns) / NS,
        )  # fmt: skip

    def _has_room(self, packets: Iterable[Packet]) -> bool:
        """Whether all snapshots together, which share what they have in common, stay within twice the ring's cap."""
        held = {id(each): each for each in (*self._held, *(one for _, made in self._waiting for one in made.packets))}
        held |= {id(each): each for each in packets}
        return sum(len(each.data) + PACKET_OVERHEAD_BYTES for each in held.values()) <= 2 * self._plan.ring_bytes
