# SPDX-License-Identifier: AGPL-3.0-or-later
"""One format of log line for every process: to standard error, where a terminal or the system journal takes it."""

from __future__ import annotations

import logging
import sys
import time


class _Format(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def set_up(process: str) -> logging.Logger:
    """The logger of this process; `process` stands in each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format(f"%(asctime)s {process}: %(message)s"))
    logger = logging.getLogger("firewitness")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger
