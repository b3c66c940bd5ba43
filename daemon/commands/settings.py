# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which settings a command works with."""

from __future__ import annotations

from pathlib import Path

from daemon.config_file import ConfigFile, read
from daemon.settings import Settings

DEFAULT = Path("config.yaml")


def file(path: Path | None) -> ConfigFile:
    """What --config names, or ./config.yaml."""
    return read(path or DEFAULT)


def of(path: Path | None) -> Settings:
    """The settings in it."""
    return file(path).settings


def of_or_defaults(path: Path | None) -> Settings:
    """For commands that are useful without any: the defaults where no file is named and none is here."""
    return Settings() if path is None and not DEFAULT.exists() else of(path)
