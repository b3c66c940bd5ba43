# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which settings a command works with."""

from __future__ import annotations

from pathlib import Path

from daemon.config_file import load
from daemon.settings import Settings

DEFAULT = Path("config.yaml")


def of(path: Path | None) -> Settings:
    """The settings of --config, or of ./config.yaml."""
    return load(path or DEFAULT)


def of_or_defaults(path: Path | None) -> Settings:
    """For commands that are useful without any: the defaults where no file is named and none is here."""
    return Settings() if path is None and not DEFAULT.exists() else of(path)
