# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness purge`: by the running daemon's recorder, the only writer; without a daemon, as a recorder of our own."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

from daemon import __version__, sockets
from daemon.clock import host_clocks
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir, state_dir
from daemon.control import Control
from daemon.errors import FirewitnessError, NotRunning
from daemon.settings import Settings, StorageSettings

TIMEOUT_S = 600


def run(options: argparse.Namespace) -> int:
    """Says what went, or would go."""
    settings = settings_of.of(options.config)
    result = _purge(settings, dry_run=options.dry_run, all_due=options.all_due)
    if not result["due"]:
        print(f"Nothing is older than the retention of {settings.storage.retention / 86400:g} days.")
        return 0
    print(f"{result['due']} pictures are due:")
    for line in _due(result["due_by"], settings.storage):
        print(f"  {line}")
    what = "would be removed now" if options.dry_run else "were removed"
    print(f"{result['removed']} of them ({result['bytes'] / 1e6:.1f} MB) {what}.")
    if result["left"]:
        print(
            f"{result['left']} wait for the next hour: one purge removes at most 10 % of all evidence, unless --all-due is given."
        )
    return 0


def _due(due_by: dict[str, int], storage: StorageSettings) -> Iterator[str]:
    """What each rule of the purge is about (daemon/storage/purge.py), in words."""
    words = {
        "drills": "of drills, older than a day",
        "references": f"reference stills older than {storage.reference_retention / 86400:g} days",
        "references_over_quota": "reference stills beyond their camera's share of storage.reference_bytes",
        "siblings_over_quota": "kept for fires on other cameras, beyond their camera's share of storage.sibling_bytes",
        "retention": f"older than the retention of {storage.retention / 86400:g} days",
    }
    for what, count in due_by.items():
        yield f"{count} {words[what]}"


def _purge(settings: Settings, *, dry_run: bool, all_due: bool) -> dict[str, Any]:
    try:
        control = Control(sockets.control(runtime_dir(settings.storage)))
        return control.ask("purge", {"dry_run": dry_run, "all_due": all_due}, TIMEOUT_S)
    except NotRunning:
        from daemon.storage import disk as disks
        from daemon.storage.durable import RealDisk
        from daemon.storage.store import Store

        if disks.standing(RealDisk(), disks.root_of(settings.storage), state_dir(settings.storage)) is None:
            raise FirewitnessError(f"{settings.storage.root} holds no store yet: there is nothing to purge") from None
        store = Store.open(settings.storage, host_clocks(), version=__version__, cameras=tuple(settings.cameras))
        try:
            return dataclasses.asdict(store.purge.run(dry_run=dry_run, all_due=all_due))
        finally:
            store.close("stop")
