# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness reload`: the running daemon takes over the cameras of the changed settings file."""

from __future__ import annotations

import argparse

from daemon import sockets
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control


def run(options: argparse.Namespace) -> int:
    """Says what changed. A file that cannot be used is refused here or by the daemon, and all stays as it was."""
    settings = settings_of.of(options.config)
    done = Control(sockets.control(runtime_dir(settings.storage))).ask("reload")
    for what in ("added", "removed", "changed"):
        for name in done[what]:
            print(f"{what:9} {name}")
    if not any(done[what] for what in ("added", "removed", "changed")):
        print("no camera changed")
    if done["needs_restart"]:
        print(f"only after a restart: {', '.join(done['needs_restart'])}")
    return 0
