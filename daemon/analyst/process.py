# SPDX-License-Identifier: AGPL-3.0-or-later
"""The analyst process: `python -m daemon.analyst.process --lifeline FD --settings FD`.

Started once, when the daemon is ready; goes back for incidents that were confirmed and have no analysis, since a kill came before it
was done, from what their clips hold; then it ends. What fails is said once, and tried again at the next start.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence

from daemon import log
from daemon.child import descriptors, settings_in
from daemon.clock import host_clocks
from daemon.errors import FirewitnessError, first_line
from daemon.lifeline import watch
from daemon.settings import Settings
from daemon.storage import disk as disks
from daemon.storage.queries import Index

_log = logging.getLogger("firewitness.analyst")


def main() -> int:
    """Returns the exit status."""
    arguments = descriptors("daemon.analyst.process", "lifeline", "settings")
    watch(arguments.lifeline)
    log.set_up("analyst")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    settings = settings_in(arguments.settings)
    index = Index(disks.root_of(settings.storage), host_clocks())
    due = index.unanalysed()
    if due:
        look_after(settings, index, due)
    return 0


def look_after(settings: Settings, index: Index, due: Sequence[str]) -> None:
    """Goes back for each; only now is what decodes loaded."""
    from daemon.analyst.incident import analyse_incident

    for incident_id in due:
        try:
            analyse_incident(settings, index, incident_id)
            _log.info("incident %s: gone back for, from its clip", incident_id)
        except FirewitnessError as error:
            _log.warning("incident %s: not gone back for: %s", incident_id, error)
        except Exception as error:  # the others, and all of the next start, would wait behind it
            _log.error("incident %s: not gone back for: %s: %s", incident_id, type(error).__name__, first_line(error))


if __name__ == "__main__":
    sys.exit(main())
