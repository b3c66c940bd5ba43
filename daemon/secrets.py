# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a camera's password comes from; it goes to that camera's worker and nowhere else, and into no text."""

from __future__ import annotations

from daemon.errors import SettingsError
from daemon.redaction import redactor
from daemon.settings import CameraSettings


def password_of(camera: CameraSettings, where: str) -> str | None:
    """The password, read anew each time, so that a changed file needs no restart; None where there is none.

    Raises SettingsError, beginning with `where`, when password_file cannot be read.
    """
    password = _read(camera, where)
    redactor.know(*(each for each in (camera.username, password) if each is not None))
    return password


def _read(camera: CameraSettings, where: str) -> str | None:
    if camera.password is not None:
        return camera.password.get_secret_value()
    if camera.password_file is None:
        return None
    try:
        return camera.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{where}: {camera.password_file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{where}: {camera.password_file} is not UTF-8 text (byte {error.start})") from error
