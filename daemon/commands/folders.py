# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folders and files that the settings name: tried before anything starts, so that a mistake is a sentence and no crash."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon import sockets, wire
from daemon.config_file import ConfigFile, runtime_dir, state_dir
from daemon.errors import SettingsError
from daemon.secrets import password_of


def check(file: ConfigFile) -> None:
    """Raises SettingsError when one of them cannot be used; makes none."""
    _check_own(file)
    for sentence in lacking(file):
        raise SettingsError(sentence)


def lacking(file: ConfigFile) -> Iterator[str]:
    """What is wrong with files and folders of others: without them all else can be recorded (docs/decisions/0010)."""
    for place, folder in enumerate(file.settings.api.image_roots):
        if not os.path.isdir(folder):  # Path.is_dir raises in a closed folder
            where = file.place("api", "image_roots", place)
            yield f"{where}: {folder} is no folder; name folders that are there"
    for name, camera in file.settings.cameras.items():
        if camera.enabled and camera.password_file is not None:
            yield from _refusal(password_of, camera, file.place("cameras", name, "password_file"))
        if camera.components_view is not None:
            where = file.place("cameras", name, "components_view")
            yield from _refusal(_check_picture, where, camera.components_view, file.settings.storage.root)


def _refusal(attempt: Callable[..., object], *arguments: object) -> Iterator[str]:
    try:
        attempt(*arguments)
    except SettingsError as error:
        yield str(error)


def _check_own(file: ConfigFile) -> None:
    storage = file.settings.storage
    for name, folder in (
        ("root", storage.root),
        ("state_dir", state_dir(storage)),
        ("runtime_dir", runtime_dir(storage)),
    ):
        _check_writable(file.place("storage", name), folder)
    wire.check_path(sockets.recorder(runtime_dir(storage)))


def prepare(file: ConfigFile) -> None:
    """Checks the daemon's own folders, and makes state_dir and runtime_dir.

    The root is the store's to make: a missing one may be a disk that is not mounted, which only the store can tell.
    """
    _check_own(file)
    for folder in (state_dir(file.settings.storage), runtime_dir(file.settings.storage)):
        folder.mkdir(parents=True, exist_ok=True)


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that this user can find: of what lies in a closed one nobody tells more."""
    return next(each for each in (folder, *folder.parents) if os.path.exists(each))  # Path.exists raises there


def _check_writable(where: str, folder: Path) -> None:
    """A full or read-only disk is no mistake in the settings: the recorder says so and waits for it."""
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)):
            pass
        with contextlib.suppress(FileNotFoundError):
            os.stat(folder)  # what is not there yet may have a name that is too long to ever be
    except OSError as error:
        if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return
        who = f"uid {os.getuid()}"
        raise SettingsError(
            f"{where}: {folder} cannot be written by {who} ({error.strerror}); name a folder that can, or change its owner"
        ) from error


def _check_picture(where: str, path: Path, store: Path) -> None:
    """By its first bytes: decoding is the worker's, and this process loads no decoder."""
    if store.resolve() in path.resolve().parents:
        raise SettingsError(
            f"{where}: {path} lies in storage.root, from where it is purged one day; name a copy elsewhere"
        )
    try:
        with path.open("rb") as picture:
            begins = picture.read(8)
    except OSError as error:
        raise SettingsError(
            f"{where}: {path} cannot be read ({error.strerror}); name a still of this camera"
        ) from error
    if not begins.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise SettingsError(f"{where}: {path} is neither JPEG nor PNG; name a still of this camera")
