# SPDX-License-Identifier: AGPL-3.0-or-later
"""A change of the model while all goes on: from the command to the detector's answer (docs/seams.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon import models
from daemon.errors import FirewitnessError
from daemon.messages import Answer, Command, UseModel
from daemon.settings import Settings


@dataclass(frozen=True, slots=True)
class _Asked:
    id: str
    name: str
    weights: Path
    sha256: str


class ModelChange:
    """One at a time. `send` tells the detector; `configured` gives the settings as the file has them now."""

    def __init__(self, send: Callable[[Any], bool], configured: Callable[[], Settings]) -> None:
        self._send, self._configured = send, configured
        self._asked: _Asked | None = None

    def begin(self, command: Command) -> bool:
        """False when the detector is not there. Raises FirewitnessError for what cannot be."""
        if self._asked is not None:
            raise FirewitnessError("another model is being loaded; try again")
        name = command.arguments.get("name")
        if not isinstance(name, str):
            raise FirewitnessError("which model? `firewitness model list` names them")
        asked = self._wanted(command.id, name)
        if not self._send(UseModel(id=asked.id, weights=str(asked.weights), sha256=asked.sha256)):
            return False
        self._asked = asked
        return True

    def answered(self, answer: Answer, settings: Settings) -> tuple[Answer, Settings]:
        """What whoever asked is told, and the settings that hold now."""
        asked, self._asked = self._asked, None
        if asked is None or asked.id != answer.id:
            self._asked = asked
            return answer, settings
        if answer.error:
            return Answer(id=answer.id, error=f"refused, all stays as it was: {answer.error}"), settings
        changed = models.with_model(settings, asked.weights, asked.sha256 or None)
        try:
            models.use(settings.storage, asked.name)
        except FirewitnessError as error:
            told = f"{asked.name} is in use, but only until the next start: the choice cannot be written down ({error})"
            return Answer(id=answer.id, error=told), changed
        return Answer(id=answer.id, result={"name": asked.name, "weights": str(asked.weights)}), changed

    def detector_died(self) -> Answer | None:
        """Nobody waits for ever."""
        asked, self._asked = self._asked, None
        if asked is None:
            return None
        return Answer(id=asked.id, error="the detector was restarted meanwhile, with the model of before")

    def _wanted(self, id: str, name: str) -> _Asked:
        file = self._configured()
        if name == models.CONFIGURED:
            return _Asked(id, name, file.detect.weights, file.detect.weights_sha256 or "")
        found = models.find(file.storage, name)
        return _Asked(id, name, found.weights, found.sha256)
