# SPDX-License-Identifier: AGPL-3.0-or-later
"""For how long evidence can be expected to be kept, and what limits it; from what was stored of late, or assumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from daemon.settings import StorageSettings
from daemon.sizing import Basis
from daemon.storage.rates import Rate, Seen, lasts_s, references_bytes
from daemon.storage.room import Space

DAY_S = 86_400.0
REFERENCE_BYTES = 100_000  # at most 960 px, quality 80


@dataclass(frozen=True, slots=True)
class CameraRate:
    """What one camera stores a day, and where that is from."""

    camera: str
    rate: Rate
    basis: Basis


@dataclass(frozen=True, slots=True)
class Expected:
    """The retention to be expected."""

    lasts_s: float
    """What the disk would hold, whatever the retention asked for."""
    limited_by: str
    allowed_bytes: int
    """What evidence may take of this disk."""
    references_bytes: float
    """Of it, what reference stills come to."""
    references_s: float
    references_limited_by: str


def rates_of(cameras: Iterable[str], seen: Seen | None, settings: StorageSettings) -> list[CameraRate]:
    """As seen; of cameras of which nothing is known the assumption, which is no small one."""
    found = []
    for camera in cameras:
        if seen is not None and (rate := seen.cameras.get(camera)) is not None:
            found.append(CameraRate(camera, rate, Basis("seen", f"the index, {seen.span_s / DAY_S:.1f} days")))
        else:
            where = "24 × storage.suspect_bytes_per_hour; reference stills of 100 kB"
            found.append(CameraRate(camera, _assumed(settings), Basis("assumed", where)))
    return found


def _assumed(settings: StorageSettings) -> Rate:
    """As if something flickered all day."""
    references = DAY_S / settings.reference_interval if settings.reference_interval else 0.0
    return Rate(24.0 * settings.suspect_bytes_per_hour, references * REFERENCE_BYTES, 0.0, references)


def expected(rates: list[CameraRate], settings: StorageSettings, space: Space, held: int) -> Expected:
    """`space` of the disk, `held` the bytes that evidence takes of it now."""
    by_camera = {each.camera: each.rate for each in rates}
    allowed = space.allowed(held)
    kept_s = lasts_s(by_camera, settings, allowed)
    references_s, references_limit = _references(by_camera, settings)
    return Expected(
        kept_s,
        _limit(by_camera, settings, space, held) if kept_s < settings.retention else "storage.retention",
        allowed,
        references_bytes(by_camera, settings),
        references_s,
        references_limit,
    )


def _limit(rates: dict[str, Rate], settings: StorageSettings, space: Space, held: int) -> str:
    """What would have to change for the retention asked for: the first of these that would be enough."""
    set_aside = space.reserve + 2 * space.headroom
    if lasts_s(rates, settings, held + space.free) >= settings.retention:
        return "storage.reserve"
    if lasts_s(rates, settings, max(0, space.total - set_aside)) >= settings.retention:
        return "other files on the disk"
    return "the size of the disk"


def _references(rates: dict[str, Rate], settings: StorageSettings) -> tuple[float, str]:
    """The camera with the largest ones has the shortest time."""
    most = max((rate.references_bytes_a_day for rate in rates.values()), default=0.0)
    quota = settings.reference_bytes / max(1, len(rates))
    if most and quota / most * DAY_S < settings.reference_retention:
        return quota / most * DAY_S, "storage.reference_bytes"
    return settings.reference_retention, "storage.reference_retention"
