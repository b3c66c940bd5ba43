# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness capture`: what some or all cameras saw just now, and see from now on, is kept as a manual incident."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pydantic import TypeAdapter, ValidationError

from daemon import sockets
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.errors import FirewitnessError, NotRunning
from daemon.loopback import in_url, is_loopback
from daemon.settings import ApiSettings, Seconds
from daemon.supervisor.captures import LONGEST_S


def run(options: argparse.Namespace) -> int:
    """0 when all that was asked for is captured; 1 when a camera refused."""
    settings = settings_of.of(options.config)
    which = {"cameras": options.cameras} if options.cameras else {"site": True if options.all else options.site}
    arguments: dict[str, Any] = {
        # kept, whatever a panel's script sends
        "reason": os.fsencode(" ".join(options.reason)).decode(errors="replace"),
        "before_s": _seconds("--before", options.before),
        "after_s": _seconds("--after", options.after),
        **which,
    }
    done = _ask(Control(sockets.control(runtime_dir(settings.storage))), arguments)
    for each in done["captures"]:
        print(
            f"{each['camera']}: from {each['before_s']:g} s ago to {arguments['after_s']:g} s from now, "
            f"a picture every {each['every_s']:g} s{_where(settings.api, each['incident'])}"
        )
        if each["condition"] != "ok":
            print(f"{each['camera']}: not watched now: {each['condition']}; what comes of it meanwhile is kept")
    for each in done["refused"]:
        print(f"{each['camera']}: refused: {each['why']}")
    return 1 if done["refused"] else 0


def _ask(control: Control, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return control.ask("capture", arguments)
    except NotRunning:
        raise
    except FirewitnessError as error:  # it names the command, for whoever asks otherwise; so does our caller
        raise FirewitnessError(str(error).removeprefix("capture: ")) from error


def _seconds(option: str, text: str) -> float:
    try:
        seconds = TypeAdapter(Seconds).validate_python(text)
    except ValidationError as error:
        what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise FirewitnessError(f"{option} {text}: {what[0].lower()}{what[1:]}") from None
    if seconds > LONGEST_S:
        raise FirewitnessError(f"{option} {text}: from 0 s to {LONGEST_S / 60:g} min are allowed")
    return seconds


def _where(api: ApiSettings, incident: str) -> str:
    if not is_loopback(api.host):
        return f"; incident {incident}"
    return f"; http://{in_url(api.host)}:{api.port}/incidents/{incident}"
