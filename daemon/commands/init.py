# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness init --new-store`: gives up the store that was known at storage.root and begins a new one there."""

from __future__ import annotations

import argparse

from daemon import __version__
from daemon.clock import host_clocks
from daemon.commands import settings as settings_of
from daemon.commands.folders import prepare
from daemon.storage import disk as disks
from daemon.storage.durable import RealDisk
from daemon.storage.store import Store


def run(options: argparse.Namespace) -> int:
    """Refused while a daemon writes there, and in a folder that holds something else."""
    file = settings_of.file(options.config)
    prepare(file)
    settings = file.settings
    root = disks.root_of(settings.storage)
    there = disks.marker_of(RealDisk(), root)
    store = Store.open(
        settings.storage,
        host_clocks(),
        version=__version__,
        cameras=tuple(settings.cameras),
        new_store=options.new_store,
    )
    store.close("stop")
    if there is None:
        print(f"A new store has begun in {root}.")
    else:
        print(f"{root} holds the store {there}: it goes on, and is the one that belongs there from now on.")
    return 0
