# SPDX-License-Identifier: AGPL-3.0-or-later
"""The supervisor: what is started with what, who carries out which command, and in which order all ends.

docs/seams.md tells who owns which socket. Nothing here touches pictures, and nothing here blocks.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from daemon import models, sockets, wire
from daemon.config_file import runtime_dir, state_dir
from daemon.domain import DRILL_CAMERA
from daemon.errors import FirewitnessError, PeerGone, SettingsError
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.planning import Sockets, plan_for
from daemon.memory import sealed
from daemon.messages import (
    Answer,
    CamerasChanged,
    Command,
    DetectorBeat,
    FromDetectorControl,
    FromRecorderControl,
    RecorderBeat,
)
from daemon.secrets import password_of
from daemon.settings import CameraSettings, Settings
from daemon.supervisor import captures, status
from daemon.supervisor.cameras import Cameras
from daemon.supervisor.children import Process, start_module
from daemon.supervisor.control_server import ControlServer
from daemon.supervisor.drill import Drill
from daemon.supervisor.forks import Forks
from daemon.supervisor.loop import Loop
from daemon.supervisor.model_change import ModelChange
from daemon.supervisor.notify import notify
from daemon.supervisor.reload import change, need_restart
from daemon.supervisor.schedule import Schedule
from daemon.supervisor.service import Service
from daemon.supervisor.systemd import Systemd

TICK_S = 0.25
PASSWORDS_EVERY_S = 10.0
SILENT_S = 30.0
OLD_S = 60.0  # an item that waits so long for the disk, or a recorder so long silent: storing is stuck
STOP_WITHIN_S = 9.0  # of the 10 s promised, the last is for what has to be killed
# What a part of a stop may take before it is killed: workers first, since the recorder drains what they leave.
STOP_WORKERS_S, STOP_RECORDER_S, STOP_DETECTOR_S = 2.0, 4.5, 1.0


class Supervisor:
    """Runs the daemon until a signal or the `stop` command."""

    def __init__(
        self,
        settings: Settings,
        http: socket.socket,
        log: logging.Logger,
        reread: Callable[[], Settings],
        simulated: socket.socket | None = None,
    ) -> None:
        """`http` and, for a simulated camera, `simulated` are listening sockets: children inherit them.

        `reread` gives the settings that the file holds now, or raises SettingsError. Which model is in use is looked up here.
        """
        settings = models.applied(settings)
        self.settings, self._http, self._log, self._reread = settings, http, log, reread
        self._simulated = simulated
        self._run_dir = runtime_dir(settings.storage)
        self._loop = Loop()
        self._ending = False
        self._passwords_at_s = 0.0
        self._lifeline, self._lifeline_held = os.pipe()
        self._settings_fd = sealed("settings", settings.for_children().encode())
        self._recorder_listen = wire.listen(sockets.recorder(self._run_dir))
        self._work_listen = wire.listen(sockets.work(self._run_dir))
        self.detector_beat: DetectorBeat | None = None
        self.recorder_beat: RecorderBeat | None = None
        self._drill = Drill()
        self._make_services()
        self._forks = Forks(self._lifeline, self._loop, log, died=lambda: self._cameras.end_workers_now())
        self._cameras = Cameras(self._loop, log, self._forks.fork, self._tell_detector)
        self._model_change = ModelChange(self._detector.send, self._file)
        self._control = ControlServer(
            wire.listen(sockets.control(self._run_dir)),
            self._loop,
            log,
            here={
                "status": lambda _: self.status(),
                "reload": lambda _: self.reload(),
                "capture": self._capture,
                "drill_begin": self._begin_drill,
                "drill_end": lambda _: self._end_drill(),
                "stop": lambda _: self._begin_to_end(),
            },
            elsewhere={
                **dict.fromkeys(("purge", "clock_accept", "head", "assess"), self._to_recorder),
                "model_use": self._model_change.begin,
            },
        )
        self._schedule = Schedule(sockets.control(self._run_dir), log)
        self._systemd = Systemd()

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
        self._analyst: Service | None = None
        self._looked_after = 0  # interrupted incidents that the recorder had told of by then
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
        channel: wire.Channel[DetectorBeat | Answer] = wire.Channel(ours, FromDetectorControl)
        channel.settimeout(5)
        try:
            for attach, descriptors in self._cameras.attachments():
                channel.send(attach, descriptors)
        except (PeerGone, TimeoutError):
            process.kill()  # it died or hangs already: its end is noticed like any other
        channel.settimeout(0)
        return process, channel

    def _tell_detector(self, message: Any, descriptors: tuple[int, ...] = ()) -> None:
        """One that does not take it is started again: it is told of all cameras then."""
        if self._detector.process is not None and not self._detector.send(message, descriptors):
            self._detector.end_now()

    def _start_web(self) -> tuple[Process, None]:
        options = {"lifeline": self._lifeline, "settings": self._settings_fd, "listen": self._http.fileno()}
        return start_module("web", "daemon.api.server", options), None

    def _look_after_incidents(self, now_s: float) -> None:
        """When all is ready, and when a worker went away from a fire: what was confirmed and nobody went back for."""
        detector, beat = self._beats(now_s)
        if beat is None or not status.is_ready(detector, beat):
            return
        if self._analyst is None:
            self._analyst = Service("analyst", self._loop, self._log, self._start_analyst, once=True)
            self._services.append(self._analyst)
        elif self._analyst.process is None and beat.interrupted > self._looked_after:
            self._analyst.again()
        else:
            return
        self._looked_after = beat.interrupted

    def _start_analyst(self) -> tuple[Process, None]:
        options = {"lifeline": self._lifeline, "settings": self._settings_fd}
        return start_module("analyst", "daemon.analyst.process", options), None

    def _start_simulated(self) -> tuple[Process, None]:
        assert self._simulated is not None
        cache = str(state_dir(self.settings.storage) / "simulated")
        options: dict[str, int | str] = {
            "listen-fd": self._simulated.fileno(), "cache": cache, "lifeline-fd": self._lifeline,
        }  # fmt: skip
        return start_module("simulated camera", "daemon.simulate", options), None

    # ------------------------------------------------------------ cameras

    def _plans(self, settings: Settings) -> dict[str, WorkerPlan]:
        """Of all cameras that are to be watched; raises SettingsError where a password cannot be read."""
        plans = {name: self._plan(settings, name) for name, camera in settings.cameras.items() if camera.enabled}
        if self._drill.url:
            plans[DRILL_CAMERA] = self._drill_plan(settings, self._where())
        return plans

    def _plan(self, settings: Settings, name: str) -> WorkerPlan:
        """Raises SettingsError where its password cannot be read."""
        password = password_of(settings.cameras[name], f"{name}: password_file")
        return plan_for(settings, name, password, self._where())

    def _first_plan(self, name: str) -> WorkerPlan:
        """At the start: one whose password cannot be read is told as refused, and costs no other camera anything."""
        try:
            return self._plan(self.settings, name)
        except SettingsError as error:
            return plan_for(self.settings, name, None, self._where(), no_password=str(error))

    def _look_for_passwords(self, now_s: float) -> None:
        """Of cameras that could not be asked for want of one."""
        if now_s < self._passwords_at_s:
            return
        self._passwords_at_s = now_s + PASSWORDS_EVERY_S
        for name in [name for name, plan in self._cameras.plans().items() if plan.no_password]:
            try:
                plan = self._plan(self.settings, name)
            except SettingsError:
                continue
            self._log.info("its password can be read now", extra={"camera": name})
            self._cameras.change(plan)

    def _drill_plan(self, settings: Settings, where: Sockets) -> WorkerPlan:
        drilling = settings.model_copy(update={"cameras": {DRILL_CAMERA: CameraSettings(url=self._drill.url)}})
        return plan_for(drilling, DRILL_CAMERA, None, where, drill=True)

    def _where(self) -> Sockets:
        return Sockets(sockets.recorder(self._run_dir), sockets.work(self._run_dir))

    def reload(self) -> dict[str, Any]:
        """Takes over the cameras of the file as it is now; raises FirewitnessError, and then all stays as it was."""
        try:
            file = models.applied(self._file())
            settings = self.settings.model_copy(update={"cameras": file.cameras})
            plans = self._plans(settings)
            waiting = need_restart(self.settings, file)
            done = change(self._cameras.plans(), plans)
            with self._cameras.made(plans[name] for name in done.added) as joining:
                self._take_over(settings)
        except (OSError, ValueError) as error:  # no descriptors, no memory; a path that is none
            raise FirewitnessError(f"the settings cannot be taken over ({error})") from error
        for name in done.removed:
            self._cameras.leave(name)
        for name in done.changed:
            self._cameras.change(plans[name])
        for camera in joining:
            self._cameras.join(camera)
        self._log.info("reload: %s%s", done, f"; only after a restart: {', '.join(waiting)}" if waiting else "")
        return {
            "added": list(done.added),
            "removed": list(done.removed),
            "changed": list(done.changed),
            "needs_restart": waiting,
        }

    def _join(self, plans: Iterable[WorkerPlan]) -> None:
        with self._cameras.made(plans) as joining:
            for camera in joining:
                self._cameras.join(camera)

    def _file(self) -> Settings:
        """The settings as the file has them now; raises FirewitnessError, whatever is wrong with it."""
        try:
            return self._reread()
        except (OSError, ValueError) as error:
            raise FirewitnessError(f"the settings cannot be read ({error})") from error

    def _take_over(self, settings: Settings) -> None:
        """Before any worker: what a new camera sends must not find a recorder that does not know it.

        Raises OSError, and then nothing has changed.
        """
        if settings == self.settings:
            return
        before, self._settings_fd = self._settings_fd, sealed("settings", settings.for_children().encode())
        os.close(before)
        self.settings = settings
        enabled = {name: camera.enabled for name, camera in settings.cameras.items()}
        told = CamerasChanged(enabled=enabled, sha256=settings.sha256())
        if self._recorder.process is not None and not self._recorder.send(told):
            self._recorder.end_now()  # it is started again with them

    def _reload_or_say_why(self) -> None:
        notify(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
        try:
            self.reload()
        except FirewitnessError as error:
            self._log.error("reload refused, all stays as it was: %s", str(error).replace("\n", "; "))
        notify(READY="1")

    def _capture(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wanted = captures.wanted(arguments, self.settings.cameras)
        self._log.info("capture of %s: %s", ", ".join(wanted.cameras), wanted.reason)
        enabled = {name: camera.enabled for name, camera in self.settings.cameras.items()}
        return self._cameras.capture(wanted, enabled)

    def _begin_drill(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._drill.begin(arguments, time.monotonic())
        try:
            self._join([self._drill_plan(self.settings, self._where())])
        except OSError as error:
            self._drill.end()
            raise FirewitnessError(f"no camera for the drill can be made ({error})") from error
        self._log.info("drill: began")
        return {"camera": DRILL_CAMERA}

    def _end_drill(self) -> dict[str, Any]:
        if self._drill.url:
            self._drill.end()
            self._cameras.leave(DRILL_CAMERA)
            self._log.info("drill: ended")
        return {}

    # ------------------------------------------------------------ running

    def run(self) -> int:
        """The exit status, after everything has ended."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # the byte in the pipe is what counts
        self._loop.watch(wake_read, lambda: self._signalled(wake_read))
        self._join(self._first_plan(name) for name, camera in self.settings.cameras.items() if camera.enabled)
        self._schedule.start()
        while not self._ending:
            self._tick(time.monotonic())
            self._loop.turn(TICK_S)
        notify(STOPPING="1")
        self._end()
        return 0

    def _tick(self, now_s: float) -> None:
        self._forks.tick(now_s)
        self._schedule.tick(now_s)
        self._look_for_passwords(now_s)
        self._look_after_incidents(now_s)
        for service in self._services:
            service.tick(now_s)
        if self._drill.is_over(now_s):
            self._end_drill()
        self._cameras.tick(now_s)
        self._cameras.keep_siblings(
            now_s, {name: camera.site for name, camera in self.settings.cameras.items() if camera.enabled}
        )
        self._systemd.tick(
            now_s,
            ready=self.recorder_beat is not None,
            going_on=self._is_storing(now_s),
            status=status.in_a_line(self._cameras.conditions(), *self._beats(now_s)),
        )

    def _is_storing(self, now_s: float) -> bool:
        """What systemd's watchdog goes by: a bad camera, bad weights or a full disk are no reason to restart all."""
        oldest_s = self.recorder_beat.oldest_item_s if self.recorder_beat is not None else 0.0
        return max(oldest_s, self._recorder.silent_for_s(now_s)) < OLD_S

    def _signalled(self, wake: int) -> None:
        numbers = set(os.read(wake, 64))
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._begin_to_end()
        elif signal.SIGHUP in numbers:
            self._reload_or_say_why()

    def _begin_to_end(self) -> dict[str, Any]:
        self._ending = True
        return {}

    def _to_recorder(self, command: Command) -> bool:
        return self._recorder.send(command)

    def _from_recorder(self, message: RecorderBeat | Answer) -> None:
        if isinstance(message, Answer):
            self._control.answered(message)
            return
        before = self.recorder_beat.clock if self.recorder_beat is not None else "ok"
        self.recorder_beat = message  # of its disk it says itself in the log
        if message.clock != before:
            self._log.info("the purge's clock: %s", message.clock)

    def _from_detector(self, message: DetectorBeat | Answer) -> None:
        if isinstance(message, Answer):
            answer, settings = self._model_change.answered(message, self.settings)
            try:
                self._take_over(settings)
            except OSError as error:
                told = f"it is in use, but only until the detector is started again ({error})"
                answer = Answer(id=answer.id, error=told)
            self._log.info("model: %s", answer.error or f"{answer.result['name']} is in use")
            self._control.answered(answer)
            return
        before = self.detector_beat
        self.detector_beat = message
        if before is None or (before.state, before.detail) != (message.state, message.detail):
            self._log.info("detector: %s%s", message.state, f": {message.detail}" if message.detail else "")

    def _recorder_died(self) -> None:
        self.recorder_beat, self._looked_after = None, 0
        self._control.fail_waiting("the recorder was restarted meanwhile; try again")

    def _detector_died(self) -> None:
        self.detector_beat = None
        if (answer := self._model_change.detector_died()) is not None:
            self._control.answered(answer)

    def _beats(self, now_s: float) -> tuple[DetectorBeat | None, RecorderBeat | None]:
        """What detector and recorder say now."""
        return (
            status.detector_now(self.detector_beat, self._detector, now_s),
            status.recorder_now(self.recorder_beat, self._recorder, now_s),
        )

    def status(self) -> dict[str, Any]:
        """The answer to the command of that name (docs/seams.md)."""
        detector, recorder = self._beats(time.monotonic())
        configured = {name: camera.enabled for name, camera in self.settings.cameras.items()}
        return {
            **status.head(ready=status.is_ready(detector, recorder)),
            "cameras": self._cameras.status(configured),
            "sites": {name: camera.site for name, camera in self.settings.cameras.items()},
            "detector": status.of_detector(detector, self._detector),
            "recorder": status.of_recorder(recorder, self._recorder, self.settings.storage.retention),
            "web": status.of_service(self._web),
            "forkserver": {"pid": self._forks.pid},
        }

    # ------------------------------------------------------------ ending

    def _end(self) -> None:
        """Workers, recorder drained, detector, web; what does not end in its time is killed."""
        self._log.info("stopping")
        until_s = time.monotonic() + STOP_WITHIN_S
        self._schedule.stop()
        self._cameras.stop()
        self._wait(lambda: self._cameras.ended, STOP_WORKERS_S)
        self._cameras.kill()
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
        self._forks.close()
        self._wait(self._all_ended, 1.0)
        self._cameras.close()
        self._control.close()
        os.close(self._lifeline_held)
        for path in (sockets.recorder, sockets.work, sockets.control):
            path(self._run_dir).unlink(missing_ok=True)
        self._log.info("stopped")

    def _all_ended(self) -> bool:
        return self._cameras.ended and all(service.process is None for service in self._services)

    def _wait(self, done: Callable[[], bool], most_s: float) -> None:
        until = time.monotonic() + most_s
        while not done() and (left_s := until - time.monotonic()) > 0:
            self._loop.turn(min(left_s, TICK_S))
