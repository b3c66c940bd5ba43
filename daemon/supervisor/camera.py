# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's worker: forked, heard once a second, killed when stuck, forked again when dead."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from daemon import wire
from daemon.errors import FirewitnessError, MessageError, PeerGone
from daemon.messages import Stop, WorkerBeat
from daemon.supervisor.children import Pauses, Process
from daemon.supervisor.loop import Loop

SILENT_S = 10.0
NO_PACKET_S = 20.0
"""The design, Who is stuck: no heartbeat, or streaming without a packet."""


class CameraWatch:
    """The worker of one camera; `fork` makes the process and takes the worker's end of the control socket."""

    def __init__(self, name: str, loop: Loop, log: logging.Logger, fork: Callable[[int], Process]) -> None:
        self.name = name
        self._loop, self._log, self._fork = loop, log, fork
        self._pauses = Pauses()
        self._start_at = 0.0
        self._heard_at = 0.0
        self._told = ""
        self.restarts = 0
        self.process: Process | None = None
        self.channel: wire.Channel[WorkerBeat] | None = None
        self.beat: WorkerBeat | None = None
        self.stopping = False

    def tick(self, now_s: float) -> None:
        """Forks when that is due; kills a worker that is stuck."""
        if self.process is None:
            if not self.stopping and now_s >= self._start_at:
                self._begin(now_s)
        elif not self.stopping and (why := self._stuck(now_s)):
            self._log.warning("%s: its worker %s: it is killed and started again", self.name, why)
            self._heard_at = now_s
            self.beat = None
            self.process.kill()

    def _stuck(self, now_s: float) -> str:
        if now_s - self._heard_at > SILENT_S:
            return f"said nothing for {SILENT_S:.0f} s"
        beat = self.beat
        if beat is not None and beat.state == "streaming":
            idle_s = now_s - max(beat.since_mono_ns, beat.packet_mono_ns or 0) / 1e9
            if idle_s > NO_PACKET_S:
                return f"streams without a packet for {idle_s:.0f} s"
        return ""

    def _begin(self, now_s: float) -> None:
        ours, theirs = wire.pair()
        try:
            self.process = self._fork(theirs.fileno())
        except FirewitnessError as error:
            self._tell(str(error))
            self._start_at = now_s + self._pauses.after_death(0)
            ours.close()
            return
        finally:
            theirs.close()
        self._heard_at = time.monotonic()  # not now_s: the forkserver may have taken its time
        self.channel = wire.Channel(ours, WorkerBeat)
        self._loop.watch(self.process.pidfd, self._ended)
        self._loop.watch(self.channel, self._read)

    def _read(self) -> None:
        assert self.channel is not None
        try:
            while (received := self.channel.receive()) is not None:
                self._hear(received[0])
        except PeerGone:
            self._drop_channel()
        except MessageError as error:
            self._log.error("%s: its worker sent what is no message (%s): it is killed", self.name, error)
            self._drop_channel()
            if self.process is not None:
                self.process.kill()

    def _hear(self, beat: WorkerBeat) -> None:
        self._heard_at = time.monotonic()
        self.beat = beat
        picture = f" {beat.width_px}×{beat.height_px} {beat.codec}" if beat.state == "streaming" else ""
        condition = (
            "" if beat.condition == "ok" else f", {beat.condition}" + (f" ({beat.detail})" if beat.detail else "")
        )
        self._tell(f"{beat.state}{picture}{condition}" + (f", {beat.incident}" if beat.incident else ""))

    def _tell(self, text: str) -> None:
        if text != self._told and not self.stopping:
            self._told = text
            self._log.info("%s: %s", self.name, text)

    def _ended(self) -> None:
        assert self.process is not None
        process, self.process = self.process, None
        self._loop.forget(process.pidfd)
        process.ended()
        if not self.stopping:
            pause_s = self._pauses.after_death(process.lived_s)
            self._start_at = time.monotonic() + pause_s
            self.restarts += 1
            self._told = ""
            self._log.warning("%s: its worker died; another starts in %.1f s", self.name, pause_s)
        process.close()
        self._drop_channel()
        self.beat = None

    def stop(self) -> None:
        self.stopping = True
        if self.process is None:
            return
        try:
            heard = self.channel is not None and self.channel.send(Stop())
        except PeerGone:
            heard = False
        if not heard:
            self.process.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def _drop_channel(self) -> None:
        if self.channel is not None:
            self._loop.forget(self.channel)
            self.channel.close()
            self.channel = None

    def status(self) -> dict[str, Any]:
        """What the status command says of this camera."""
        beat = self.beat
        if beat is None:
            return {"state": "starting", "condition": "worker", "detail": "", "restarts": self.restarts}
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
            "frames_replaced": beat.frames_replaced,
            "reconnects": beat.reconnects,
            "incident": beat.incident,
            "restarts": self.restarts,
            "pid": self.process.pid if self.process is not None else None,
        }
