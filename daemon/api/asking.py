# SPDX-License-Identifier: AGPL-3.0-or-later
"""Has the daemon carry out a command for a request; why it did not is a problem of one sentence."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from daemon.api.live import Asks
from daemon.api.problems import Problem
from daemon.errors import FirewitnessError, NotRunning


def carried_out(control: Asks, name: str, arguments: dict[str, Any], otherwise: str) -> dict[str, Any]:
    """The command's result. Raises Problem: 400 for a mistake, whose sentence begins with the command's name, else 503.

    `otherwise`: what it means for whoever asked that no daemon answers, such as "Nothing is captured".
    """
    try:
        return control.ask(name, arguments)
    except NotRunning as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{otherwise}: {error}.") from error
    except FirewitnessError as error:
        said = str(error)
        status = HTTPStatus.BAD_REQUEST if said.startswith(f"{name}: ") else HTTPStatus.SERVICE_UNAVAILABLE
        raise Problem(status, said.removeprefix(f"{name}: ")) from error
