# SPDX-License-Identifier: AGPL-3.0-or-later
"""The supervisor: what is started with what, in which order all ends, and what `status` says.

docs/seams.md tells who owns which socket. Nothing here touches pictures, and nothing here blocks.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from daemon import __version__, sockets, wire
from daemon.config_file import runtime_dir, state_dir
from daemon.detect.live import make_live_channel
from daemon.errors import FirewitnessError, PeerGone
from daemon.ingest.forkserver import Forkserver
from daemon.ingest.planning import Sockets, plan_for
from daemon.memory import sealed
from daemon.messages import (
    Answer,
    Attach,
    Command,
    DetectorBeat,
    FromRecorderControl,
    RecorderBeat,
)
from daemon.secrets import password_of
from daemon.settings import Settings
from daemon.supervisor.camera import CameraWatch
from daemon.supervisor.children import Pauses, Process, start_module
from daemon.supervisor.control_server import ControlServer
from daemon.supervisor.loop import Loop
from daemon.supervisor.notify import notify
from daemon.supervisor.schedule import Schedule
from daemon.supervisor.service import Service

TICK_S = 0.25
SILENT_S = 30.0
STOP_WITHIN_S = 9.0  # of the 10 s promised, the last is for what has to be killed
# What a part of a stop may take before it is killed: workers first, since the recorder drains what they leave.
STOP_WORKERS_S, STOP_RECORDER_S, STOP_DETECTOR_S = 2.0, 4.5, 1.0


class Supervisor:
    """Runs the daemon until a signal or the `stop` command."""

    def __init__(
        self, settings: Settings, http: socket.socket, log: logging.Logger, simulated: socket.socket | None = None
    ) -> None:
        """`http` and, for a simulated camera, `simulated` are listening sockets: children inherit them."""
        self.settings, self._http, self._log = settings, http, log
        self._simulated = simulated
        self._run_dir = runtime_dir(settings.storage)
        self._loop = Loop()
        self._ending = False
        self._lifeline, self._lifeline_held = os.pipe()
        self._settings_fd = sealed("settings", settings.for_children().encode())
        self._recorder_listen = wire.listen(sockets.recorder(self._run_dir))
        self._work_listen = wire.listen(sockets.work(self._run_dir))
        self._live = {name: make_live_channel(settings.detect.input_px) for name in self._enabled()}
        self.detector_beat: DetectorBeat | None = None
        self.recorder_beat: RecorderBeat | None = None
        self._forkserver: Forkserver | None = None
        self._forkserver_pauses = Pauses()
        self._forkserver_at_s = self._forkserver_began_s = 0.0
        self._make_services()
        self._cameras = {
            name: CameraWatch(name, self._loop, log, lambda control, name=name: self._fork(name, control))  # type: ignore[misc]
            for name in self._enabled()
        }
        self._control = ControlServer(
            wire.listen(sockets.control(self._run_dir)),
            self._loop,
            log,
            here={"status": lambda _: self.status(), "stop": lambda _: self._begin_to_end()},
            elsewhere=dict.fromkeys(("purge", "clock_accept", "head"), self._to_recorder),
        )
        self._schedule = Schedule(sockets.control(self._run_dir), log)

    def _enabled(self) -> list[str]:
        return [name for name, camera in self.settings.cameras.items() if camera.enabled]

    # ------------------------------------------------------------ starting

    def _make_services(self) -> None:
        self._recorder = Service(
            "recorder", self._loop, self._log, self._start_recorder,
            silent_s=SILENT_S, received=self._from_recorder, died=self._recorder_died,
        )  # fmt: skip
        self._detector = Service(
            "detector", self._loop, self._log, self._start_detector,
            silent_s=SILENT_S, received=self._from_detector, died=self._detector_died,
        )  # fmt: skip
        self._web = Service("web", self._loop, self._log, self._start_web)
        self._services = [self._recorder, self._detector, self._web]
        if self._simulated is not None:
            self._services.append(Service("simulated camera", self._loop, self._log, self._start_simulated))

    def _start_recorder(self) -> tuple[Process, wire.Channel[Any]]:
        ours, theirs = wire.pair()
        process = start_module(
            "recorder", "daemon.storage.recorder",
            {"lifeline": self._lifeline, "settings": self._settings_fd, "control": theirs.fileno(),
             "listen": self._recorder_listen.fileno()},
        )  # fmt: skip
        theirs.close()
        return process, wire.Channel(ours, FromRecorderControl)

    def _start_detector(self) -> tuple[Process, wire.Channel[Any]]:
        ours, theirs = wire.pair()
        process = start_module(
            "detector", "daemon.detect.process",
            {"lifeline": self._lifeline, "settings": self._settings_fd, "control": theirs.fileno(),
             "listen": self._work_listen.fileno()},
        )  # fmt: skip
        theirs.close()
        channel: wire.Channel[DetectorBeat] = wire.Channel(ours, DetectorBeat)
        channel.settimeout(5)
        try:
            for name, (_, detector_end, memory) in self._live.items():
                channel.send(Attach(camera=name), [detector_end.fileno(), memory])
        except (PeerGone, TimeoutError):
            process.kill()  # it died or hangs already: its end is noticed like any other
        channel.settimeout(0)
        return process, channel

    def _start_web(self) -> tuple[Process, None]:
        options = {"lifeline": self._lifeline, "settings": self._settings_fd, "listen": self._http.fileno()}
        return start_module("web", "daemon.api.server", options), None

    def _start_simulated(self) -> tuple[Process, None]:
        assert self._simulated is not None
        cache = str(state_dir(self.settings.storage) / "simulated")
        options: dict[str, int | str] = {
            "listen-fd": self._simulated.fileno(), "cache": cache, "lifeline-fd": self._lifeline,
        }  # fmt: skip
        return start_module("simulated camera", "daemon.simulate", options), None

    def _fork(self, name: str, control: int) -> Process:
        camera = self.settings.cameras[name]
        password = password_of(camera, f"{name}: password_file")
        plan = plan_for(
            self.settings, name, password, Sockets(sockets.recorder(self._run_dir), sockets.work(self._run_dir))
        )
        worker_end, _, memory = self._live[name]
        if self._forkserver is None:
            raise FirewitnessError("the forkserver is being restarted")
        try:
            pid, pidfd = self._forkserver.fork(plan, [self._lifeline, control, worker_end.fileno(), memory])
        except (
            PeerGone
        ) as error:  # dead, or killed for not answering: its pidfd says so too, and another one is started
            raise FirewitnessError(f"{error}; it is started again") from error
        return Process(f"worker of {name}", pid, pidfd, time.monotonic())

    def _tick_forkserver(self, now_s: float) -> None:
        if self._forkserver is None and now_s >= self._forkserver_at_s:
            self._forkserver_began_s = now_s
            self._forkserver = Forkserver(self._lifeline)
            self._forkserver.start()
            self._loop.watch(self._forkserver.pidfd, self._forkserver_died)

    def _forkserver_died(self) -> None:
        """Its workers live on without a parent to fork them again: they end with it and all start anew."""
        assert self._forkserver is not None
        self._loop.forget(self._forkserver.pidfd)
        self._forkserver.close()
        self._forkserver = None
        now_s = time.monotonic()
        self._forkserver_at_s = now_s + self._forkserver_pauses.after_death(now_s - self._forkserver_began_s)
        self._log.warning("the forkserver died: it and all workers are started again")
        for camera in self._cameras.values():
            camera.kill()

    # ------------------------------------------------------------ running

    def run(self) -> int:
        """The exit status, after everything has ended."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # the byte in the pipe is what counts
        self._loop.watch(wake_read, lambda: self._signalled(wake_read))
        self._schedule.start()
        told_ready = False
        while not self._ending:
            now_s = time.monotonic()
            self._tick_forkserver(now_s)
            for service in self._services:
                service.tick(now_s)
            for camera in self._cameras.values():
                camera.tick(now_s)
            if not told_ready and self.recorder_beat is not None:
                told_ready = True
                notify(READY="1", STATUS=f"watching {len(self._cameras)} cameras")
            self._loop.turn(TICK_S)
        notify(STOPPING="1")
        self._end()
        return 0

    def _signalled(self, wake: int) -> None:
        os.read(wake, 64)
        self._begin_to_end()

    def _begin_to_end(self) -> dict[str, Any]:
        self._ending = True
        return {}

    def _to_recorder(self, command: Command) -> bool:
        return self._recorder.send(command)

    def _from_recorder(self, message: RecorderBeat | Answer) -> None:
        if isinstance(message, Answer):
            self._control.answered(message)
            return
        before = self.recorder_beat
        self.recorder_beat = message
        if before is None or (before.disk, before.clock) != (message.disk, message.clock):
            clock = "" if message.clock == "ok" else f"; the purge's clock: {message.clock}"
            self._log.info(
                "recorder: disk %s%s%s", message.disk, f" ({message.detail})" if message.detail else "", clock
            )

    def _from_detector(self, message: DetectorBeat) -> None:
        before = self.detector_beat
        self.detector_beat = message
        if before is None or (before.state, before.detail) != (message.state, message.detail):
            self._log.info("detector: %s%s", message.state, f": {message.detail}" if message.detail else "")

    def _recorder_died(self) -> None:
        self.recorder_beat = None
        self._control.fail_waiting("the recorder was restarted meanwhile; try again")

    def _detector_died(self) -> None:
        self.detector_beat = None

    def status(self) -> dict[str, Any]:
        """The answer to the command of that name (docs/seams.md)."""
        detector, recorder = self.detector_beat, self.recorder_beat
        model = detector.model if detector is not None else None
        return {
            "version": __version__,
            "ready": bool(detector and detector.state == "ready" and recorder and recorder.disk == "ok"),
            "cameras": {
                name: self._cameras[name].status()
                if name in self._cameras
                else {"state": "disabled", "condition": "disabled"}
                for name in self.settings.cameras
            },
            "detector": {
                "state": detector.state if detector else "starting",
                "detail": detector.detail if detector else "",
                "model": model.name if model else None,
                "sha256": model.sha256 if model else None,
                "runtime": model.runtime if model else None,
                "input_px": model.input_px if model else None,
                "batch_ms": detector.batch_ms if detector else None,
                "pid": self._detector.process.pid if self._detector.process else None,
            },
            "recorder": {
                "disk": recorder.disk if recorder else "starting",
                "detail": recorder.detail if recorder else "",
                "clock": recorder.clock if recorder else "starting",
                "stored": recorder.stored if recorder else 0,
                "free_bytes": recorder.free_bytes if recorder else None,
                "ledger_seq": recorder.ledger_seq if recorder else None,
                "open_gaps": recorder.open_gaps if recorder else {},
                "pid": self._recorder.process.pid if self._recorder.process else None,
            },
            "web": {"pid": self._web.process.pid if self._web.process else None},
            "forkserver": {"pid": self._forkserver.pid if self._forkserver else None},
        }

    # ------------------------------------------------------------ ending

    def _end(self) -> None:
        """Workers, recorder drained, detector, web; what does not end in its time is killed."""
        self._log.info("stopping")
        until_s = time.monotonic() + STOP_WITHIN_S
        self._schedule.stop()
        for camera in self._cameras.values():
            camera.stop()
        self._wait(lambda: all(camera.process is None for camera in self._cameras.values()), STOP_WORKERS_S)
        for camera in self._cameras.values():
            camera.kill()
        self._recorder.stop()
        self._wait(lambda: self._recorder.process is None, STOP_RECORDER_S)
        self._recorder.kill()
        self._detector.stop()
        self._wait(lambda: self._detector.process is None, STOP_DETECTOR_S)
        for service in self._services[2:]:
            service.stop(signal.SIGTERM)
        self._wait(self._all_ended, until_s - time.monotonic())
        for service in self._services:
            service.kill()
        if self._forkserver is not None:
            self._loop.forget(self._forkserver.pidfd)
            self._forkserver.close()
        self._wait(self._all_ended, 1.0)
        self._control.close()
        os.close(self._lifeline_held)
        for path in (sockets.recorder, sockets.work, sockets.control):
            path(self._run_dir).unlink(missing_ok=True)
        self._log.info("stopped")

    def _all_ended(self) -> bool:
        return all(service.process is None for service in self._services)

    def _wait(self, done: Callable[[], bool], most_s: float) -> None:
        until = time.monotonic() + most_s
        while not done() and (left_s := until - time.monotonic()) > 0:
            self._loop.turn(min(left_s, TICK_S))
