# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness purge`: by the running daemon's recorder, the only writer; without a daemon, as a recorder of our own."""

from __future__ import annotations

import argparse
from typing import Any

from daemon import __version__, sockets
from daemon.clock import host_clocks
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.errors import NotRunning
from daemon.settings import Settings

TIMEOUT_S = 600


def run(options: argparse.Namespace) -> int:
    """Says what went, or would go."""
    settings = settings_of.of(options.config)
    result = _purge(settings, dry_run=options.dry_run, all_due=options.all_due)
    days = settings.storage.retention / 86400
    if not result["due"]:
        print(f"Nothing is older than the retention of {days:g} days.")
        return 0
    megabytes = result["bytes"] / 1e6
    if options.dry_run:
        print(
            f"{result['due']} pictures are older than {days:g} days; {result['removed']} of them ({megabytes:.1f} MB) would be removed now."
        )
    else:
        print(
            f"{result['removed']} of {result['due']} pictures older than {days:g} days were removed ({megabytes:.1f} MB)."
        )
    if result["left"]:
        print(
            f"{result['left']} wait for the next hour: one purge removes at most 10 % of all evidence, unless --all-due is given."
        )
    return 0


def _purge(settings: Settings, *, dry_run: bool, all_due: bool) -> dict[str, Any]:
    try:
        control = Control(sockets.control(runtime_dir(settings.storage)))
        return control.ask("purge", {"dry_run": dry_run, "all_due": all_due}, TIMEOUT_S)
    except NotRunning:
        from daemon.storage.store import Store

        store = Store.open(settings.storage, host_clocks(), version=__version__, cameras=tuple(settings.cameras))
        try:
            done = store.purge(dry_run=dry_run, all_due=all_due)
            return {"due": done.due, "removed": done.removed, "bytes": done.bytes, "left": done.left}
        finally:
            store.close("stop")
