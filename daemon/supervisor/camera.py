# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera as the supervisor has it: its worker, its live channel, its plan, and what its worker says of it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from daemon import wire
from daemon.detect.live import make_live_channel
from daemon.errors import FirewitnessError
from daemon.ids import new_id
from daemon.ingest.plan import WorkerPlan
from daemon.messages import Capture, SiteBurns, WorkerBeat
from daemon.supervisor import captures
from daemon.supervisor.captures import Wanted
from daemon.supervisor.children import Process
from daemon.supervisor.loop import Loop
from daemon.supervisor.service import Service

SILENT_S = 10.0
NO_PACKET_S = 20.0
"""The design, Who is stuck: no heartbeat, or streaming without a packet."""

BEAT_WITHIN_S = 3.0
"""A worker that was told to capture says so in its beats, from one within this time on until the capture is over."""

Fork = Callable[[WorkerPlan, list[int]], Process]
"""Starts a worker with the ends of (control, live channel) and the channel's memory."""


class CameraWatch:
    """One camera, from when it is configured until it is removed. The live channel outlives its workers."""

    def __init__(self, plan: WorkerPlan, loop: Loop, log: logging.Logger, fork: Fork) -> None:
        self.plan = plan
        self._log, self._fork = log, fork
        self._told = ""
        self._captured_s = float("-inf")
        """When a capture was handed to the worker of which no beat has told yet."""
        self._kept_for: tuple[str, ...] = ()
        """What the worker of now was told last."""
        self.beat: WorkerBeat | None = None
        self._worker_end, self.detector_end, self.live_memory = make_live_channel(plan.input_px)
        self.worker = Service(
            f"worker of {plan.camera}", loop, log, self._start,
            silent_s=SILENT_S, stuck=self._stuck, received=self._hear, died=self._died,
        )  # fmt: skip

    def change(self, plan: WorkerPlan) -> None:
        """Goes on with another plan: by another worker."""
        self.plan = plan
        self.worker.renew()

    def capture(self, wanted: Wanted) -> dict[str, Any]:
        """Hands it to the worker; its incident, and how much of what was wanted there can be.

        Raises FirewitnessError where it is not possible now.
        """
        now_s = time.monotonic()
        if (self.beat is not None and self.beat.capture) or now_s < self._captured_s + BEAT_WITHIN_S:
            raise FirewitnessError("a capture of it is still under way")
        before_s = min(wanted.before_s, self.beat.ring_s if self.beat is not None else 0.0)
        message = Capture(
            incident=new_id(),
            reason=wanted.reason,
            before_s=before_s,
            after_s=wanted.after_s,
            every_s=captures.every_s(self.plan.active_fps, before_s + wanted.after_s),
        )
        if not self.worker.send(message):
            raise FirewitnessError("its worker is being restarted; try again")
        self._captured_s = now_s
        return {
            "incident": message.incident,
            "before_s": round(before_s, 1),
            "every_s": round(message.every_s, 3),
            "condition": self.beat.condition if self.beat is not None else "worker",
        }

    def keep_for(self, incidents: tuple[str, ...]) -> None:
        """Has its pictures kept while these go on, on other cameras of its site; said at each change, and to each worker."""
        if incidents != self._kept_for and self.worker.send(SiteBurns(incidents=incidents)):
            self._kept_for = incidents
            told = f"keeps its pictures for {', '.join(incidents)}" if incidents else "keeps them for no other any more"
            self._log.info("%s", told, extra={"camera": self.plan.camera})

    @property
    def confirmed(self) -> tuple[str, ...]:
        """The incidents that are confirmed on it now, as its worker last said."""
        return self.beat.confirmed if self.beat is not None else ()

    @property
    def watched(self) -> bool:
        """Whether its worker sees what happens there."""
        return self.beat is not None and self.beat.condition == "ok"

    def close(self) -> None:
        """After its worker has ended for good."""
        self._worker_end.close()
        self.detector_end.close()
        os.close(self.live_memory)

    def _start(self) -> tuple[Process, wire.Channel[WorkerBeat]]:
        self._kept_for = ()
        ours, theirs = wire.pair()
        try:
            process = self._fork(self.plan, [theirs.fileno(), self._worker_end.fileno(), self.live_memory])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, wire.Channel(ours, WorkerBeat)

    def _stuck(self, now_s: float) -> str:
        beat = self.beat
        if beat is not None and beat.state == "streaming":
            idle_s = now_s - max(beat.since_mono_ns, beat.packet_mono_ns or 0) / 1e9
            if idle_s > NO_PACKET_S:
                self.beat = None  # said once: its end follows
                return f"streams without a packet for {idle_s:.0f} s"
        return ""

    def _hear(self, beat: WorkerBeat) -> None:
        self.beat = beat
        if beat.capture:
            self._captured_s = float("-inf")
        picture = f" {beat.width_px}×{beat.height_px} {beat.codec}" if beat.state == "streaming" else ""
        detail = f" ({beat.detail})" if beat.detail else ""
        connects_first = beat.state == "connecting" and not beat.reconnects  # nothing is known of the camera yet
        condition = "" if beat.condition == "ok" or connects_first else f", {beat.condition}{detail}"
        text = f"{beat.state}{picture}{condition}" + (f", {beat.incident}" if beat.incident else "")
        if text != self._told and not self.worker.stopping:
            self._told = text
            self._log.info("%s", text, extra={"camera": self.plan.camera})

    def _died(self) -> None:
        self.beat, self._told = None, ""

    def status(self) -> dict[str, Any]:
        """What the status command says of this camera."""
        beat, restarts = self.beat, self.worker.restarts
        if beat is None:
            return {
                "state": "starting",
                "condition": "worker",
                "detail": "",
                "restarts": restarts,
                "drill": self.plan.drill,
            }
        return {
            "state": beat.state,
            "condition": beat.condition,
            "detail": beat.detail,
            "watched_at_ns": beat.watched_at_ns,
            "width": beat.width_px,
            "height": beat.height_px,
            "codec": beat.codec,
            "ring_bytes": beat.ring_bytes,
            "ring_s": beat.ring_s,
            "ring_available": beat.ring_available,
            "unacked_bytes": beat.unacked_bytes,
            "frames_watched": beat.frames_watched,
            "frames_analysed": beat.frames_analysed,
            "frames_replaced": beat.frames_replaced,
            "interval_s": beat.interval_s,
            "stills_dropped": beat.stills_dropped,
            "camera_clock_offset_s": beat.camera_clock_offset_s,
            "sub_state": beat.sub_state,
            "sub_condition": beat.sub_condition,
            "reconnects": beat.reconnects,
            "incident": beat.incident,
            "capture": beat.capture,
            "restarts": restarts,
            "drill": self.plan.drill,
            "pid": self.worker.process.pid if self.worker.process is not None else None,
        }
