# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a drill goes on: its camera's address, and when it is over although nobody ended it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from daemon.errors import FirewitnessError
from daemon.settings import CameraSettings

LONGEST_S = 300.0  # whoever began it may have been killed


class Drill:
    """At most one at a time; `url` is empty while there is none."""

    def __init__(self) -> None:
        self.url = ""
        self._until_s = 0.0

    def begin(self, arguments: dict[str, Any], now_s: float) -> None:
        """Raises FirewitnessError."""
        if self.url:
            raise FirewitnessError("a drill is under way; wait for its end")
        try:
            camera = CameraSettings(url=arguments.get("url"))  # type: ignore[arg-type]  # it is what checks it
        except ValidationError as error:
            raise FirewitnessError(f"drill_begin: url: {error.errors()[0]['msg']}") from error
        self.url, self._until_s = camera.url, now_s + LONGEST_S

    def end(self) -> None:
        self.url = ""

    def is_over(self, now_s: float) -> bool:
        """Whether it has to be ended: nobody did."""
        return bool(self.url) and now_s > self._until_s
