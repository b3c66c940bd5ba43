# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness clock accept`: the operator vouches for the host's clock, so that the purge goes on."""

from __future__ import annotations

import argparse

from daemon import sockets
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control


def run(options: argparse.Namespace) -> int:
    """Needs the running daemon: it is its clock."""
    settings = settings_of.of(options.config)
    result = Control(sockets.control(runtime_dir(settings.storage))).ask("clock_accept")
    print(f"The purge now goes by {result['trusted_at']}.")
    return 0
