# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness reindex`: makes the index anew from ledger and stills, while the daemon is stopped."""

from __future__ import annotations

import argparse
import sys
import time

from daemon import __version__
from daemon.clock import host_clocks
from daemon.commands import settings as settings_of
from daemon.storage.reindex import KEPT, reindex
from daemon.storage.storing import in_words

TELL_EVERY_S = 2.0


class Progress:
    """Tells now and then how many lines have their rows."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, lines: int) -> bool:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + TELL_EVERY_S
            print(f"{lines} lines of the ledger", file=sys.stderr, flush=True)
        return True


def run(options: argparse.Namespace) -> int:
    """0 when the new index has as many stills as the old one had, or the old one could not be read."""
    settings = settings_of.of(options.config)
    done = reindex(
        settings.storage, host_clocks(), version=__version__, cameras=tuple(settings.cameras), going_on=Progress()
    )
    print(f"The index has {done.stills} stills; {in_words(done.recovered)}.")
    if (kept := settings.storage.root / KEPT).exists():
        print(f"The one before is kept as {kept}.")
    if done.stills_before is not None and done.stills_before != done.stills:
        print(f"It had {done.stills_before} stills: `firewitness verify` tells what differs.")
        return 1
    return 0
