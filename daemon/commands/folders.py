# SPDX-License-Identifier: AGPL-3.0-or-later
"""The folders of a daemon: made and tried before anything starts, so that a mistake is a sentence and no crash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from daemon.config_file import runtime_dir, state_dir
from daemon.errors import SettingsError
from daemon.settings import Settings


def prepare(settings: Settings) -> None:
    """Makes root, state_dir and runtime_dir where they are missing; raises SettingsError when one cannot be written."""
    storage = settings.storage
    for key, folder in (
        ("storage.root", storage.root),
        ("storage.state_dir", state_dir(storage)),
        ("storage.runtime_dir", runtime_dir(storage)),
    ):
        _writable(key, folder)
    for place, folder in enumerate(settings.api.image_roots):
        if not folder.is_dir():
            raise SettingsError(f"api.image_roots.{place}: {folder} is no folder; name folders that are there")


def _writable(key: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"{key}: {folder} cannot be written by uid {os.getuid()} ({error.strerror}); name a folder that can, or change its owner"
        ) from error
