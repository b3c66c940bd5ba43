# SPDX-License-Identifier: AGPL-3.0-or-later
"""What evidence takes of the disk, by camera: counted once when the store is opened, and kept in step from then on."""

from __future__ import annotations

from collections.abc import Mapping


class Held:
    """Stills and their bytes."""

    def __init__(self, by_camera: Mapping[str, tuple[int, int]]) -> None:
        """Camera → (stills, bytes)."""
        self._stills = {camera: stills for camera, (stills, _) in by_camera.items()}
        self._bytes = {camera: size for camera, (_, size) in by_camera.items()}

    @property
    def stills(self) -> int:
        return sum(self._stills.values())

    @property
    def bytes(self) -> int:
        return sum(self._bytes.values())

    def by_camera(self) -> dict[str, int]:
        """Bytes of each camera that has evidence."""
        return dict(self._bytes)

    def add(self, camera: str, size: int) -> None:
        self._stills[camera] = self._stills.get(camera, 0) + 1
        self._bytes[camera] = self._bytes.get(camera, 0) + size

    def remove(self, camera: str, size: int) -> None:
        self._stills[camera] -= 1
        self._bytes[camera] -= size
        if not self._stills[camera]:
            del self._stills[camera], self._bytes[camera]
