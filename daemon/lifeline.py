# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nobody outlives the supervisor: every child watches a pipe whose other end only the supervisor holds.

The end of file comes with the supervisor's death however it died, also by kill -9 (design, invariant 14).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def end_process() -> None:
    """Leaves at once: nothing here is worth saving that is not durable already."""
    os._exit(70)


def watch(descriptor: int, at_end: Callable[[], object] = end_process) -> threading.Thread:
    """Calls `at_end` from a thread of its own once the supervisor is gone."""

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        at_end()

    thread = threading.Thread(target=wait, name="lifeline", daemon=True)
    thread.start()
    return thread
