# SPDX-License-Identifier: AGPL-3.0-or-later
"""All cameras of now: configured ones and, while a drill goes on, its own; who joins, changes and leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from daemon.errors import FirewitnessError
from daemon.ingest.plan import WorkerPlan
from daemon.messages import Attach, Detach
from daemon.supervisor.camera import CameraWatch, Fork
from daemon.supervisor.captures import Wanted
from daemon.supervisor.loop import Loop
from daemon.supervisor.siblings import Siblings, Told

_SWITCHED_OFF = "it is switched off in the configuration"
_NOT_WATCHED = "it is not watched yet; try again"

ToDetector = Callable[..., None]


class Cameras:
    """By name. `tell_detector` sends it a message with descriptors."""

    def __init__(self, loop: Loop, log: logging.Logger, fork: Fork, tell_detector: ToDetector) -> None:
        self._loop, self._log, self._fork, self._tell_detector = loop, log, fork, tell_detector
        self._watches: dict[str, CameraWatch] = {}
        self._siblings = Siblings()
        self._leaving: list[CameraWatch] = []
        self._waiting: dict[str, CameraWatch] = {}
        """Cameras whose name is still borne by one that is leaving."""

    def __contains__(self, name: str) -> bool:
        return name in self._watches or name in self._waiting

    def tick(self, now_s: float) -> None:
        """Lets those go whose worker has ended; starts and watches the workers of the others."""
        for camera in [each for each in self._leaving if each.worker.process is None]:
            self._leaving.remove(camera)
            camera.close()
        for camera in self._leaving:
            camera.worker.tick(now_s)
        for name in [name for name in self._waiting if not self._is_leaving(name)]:
            self.join(self._waiting.pop(name))
        for camera in self._watches.values():
            camera.worker.tick(now_s)

    def plans(self) -> dict[str, WorkerPlan]:
        """What each is watched with."""
        return {name: camera.plan for name, camera in (self._watches | self._waiting).items()}

    @contextmanager
    def made(self, plans: Iterable[WorkerPlan]) -> Iterator[list[CameraWatch]]:
        """Cameras that can join; none is left where one cannot be made, or what is done here fails. Raises OSError."""
        with ExitStack() as undone:
            made = []
            for plan in plans:
                camera = CameraWatch(plan, self._loop, self._log, self._fork)
                undone.callback(camera.close)
                made.append(camera)
            yield made
            undone.pop_all()

    def join(self, camera: CameraWatch) -> None:
        """A camera that is to be watched from now on."""
        name = camera.plan.camera
        if self._is_leaving(name):
            self._waiting[name] = camera
            return
        self._watches[name] = camera
        self._tell_detector(*self._attachment(camera))

    def change(self, plan: WorkerPlan) -> None:
        """A camera that is to be watched otherwise."""
        (self._waiting.get(plan.camera) or self._watches[plan.camera]).change(plan)

    def leave(self, name: str) -> None:
        """A camera that is not to be watched any more."""
        if (waiting := self._waiting.pop(name, None)) is not None:
            waiting.close()
            return
        camera = self._watches.pop(name)
        camera.worker.stop()
        self._leaving.append(camera)
        self._tell_detector(Detach(camera=name))

    def attachments(self) -> Iterable[tuple[Attach, tuple[int, int]]]:
        """All live channels, for a detector that starts."""
        return [self._attachment(camera) for camera in self._watches.values()]

    def capture(self, wanted: Wanted, configured: Mapping[str, bool]) -> dict[str, Any]:
        """The answer to the command of that name (docs/seams.md)."""
        captures: list[dict[str, Any]] = []
        refused: list[dict[str, str]] = []
        for name in wanted.cameras:
            camera = self._watches.get(name)
            try:
                if camera is None:
                    raise FirewitnessError(_NOT_WATCHED if configured.get(name) else _SWITCHED_OFF)
                captures.append({"camera": name, **camera.capture(wanted)})
            except FirewitnessError as error:
                refused.append({"camera": name, "why": str(error)})
        return {"captures": captures, "refused": refused}

    def keep_siblings(self, now_s: float, sites: Mapping[str, str | None]) -> None:
        """Where one camera of a site burns, the others keep their pictures; `sites` are those of the enabled cameras."""
        told = {
            name: Told(site, self._watches[name].confirmed, self._watches[name].watched)
            for name, site in sites.items()
            if name in self._watches
        }
        for name, incidents in self._siblings.kept_for(now_s, told).items():
            self._watches[name].keep_for(incidents)

    def status(self, configured: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
        """By name: configured ones in their order, then a drill's."""
        names = [*configured, *(name for name in self._watches if name not in configured)]
        disabled = {"state": "disabled", "condition": "disabled", "detail": "", "restarts": 0, "drill": False}
        starting = {**disabled, "state": "starting", "condition": "worker"}
        found = {}
        for name in names:
            camera = self._watches.get(name)
            found[name] = camera.status() if camera is not None else starting if configured.get(name) else disabled
        return found

    def conditions(self) -> dict[str, str]:
        """Of every camera that is to be watched: ok, or why not."""
        return {name: each.beat.condition if each.beat else "worker" for name, each in self._watches.items()}

    def end_workers_now(self) -> None:
        """Kills all workers; others take their place."""
        for camera in (*self._watches.values(), *self._leaving):
            camera.worker.end_now()

    def stop(self) -> None:
        """Asks all workers to end."""
        for camera in self._waiting.values():
            camera.close()
        self._waiting.clear()
        for camera in self._watches.values():
            camera.worker.stop()

    def kill(self) -> None:
        for camera in (*self._watches.values(), *self._leaving):
            camera.worker.kill()

    def close(self) -> None:
        """After all have ended."""
        for camera in (*self._watches.values(), *self._leaving):
            camera.close()

    @property
    def ended(self) -> bool:
        """Whether no worker runs any more."""
        return all(camera.worker.process is None for camera in (*self._watches.values(), *self._leaving))

    def _is_leaving(self, name: str) -> bool:
        return any(camera.plan.camera == name for camera in self._leaving)

    def _attachment(self, camera: CameraWatch) -> tuple[Attach, tuple[int, int]]:
        return Attach(camera=camera.plan.camera), (camera.detector_end.fileno(), camera.live_memory)
