# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every child of the supervisor is given: descriptors as options, and its settings in one of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from daemon.settings import Settings


def descriptors(module: str, *names: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The descriptors of `python -m module --name FD …`, by name."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    for name in names:
        parser.add_argument(f"--{name}", type=int, required=True, metavar="FD")
    return parser.parse_args(arguments)


def settings_in(descriptor: int) -> Settings:
    """The settings in a memfd; all children share its position, which is therefore not used."""
    text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    return Settings.model_validate_json(text)
