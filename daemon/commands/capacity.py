# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness capacity`: for how long evidence will be kept, and what this configuration needs of a host."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from daemon import sizing, sockets
from daemon.commands import settings as settings_of
from daemon.commands.folders import nearest
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.errors import FirewitnessError, SettingsError
from daemon.settings import Settings, StorageSettings
from daemon.storage import capacity, disk, index, rates, room
from daemon.storage.durable import RealDisk

DAY_S = 86_400.0
LEAST_RING_S = 5.0
MB, GB = 1e6, 1e9


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What can be found out here."""

    space: room.Space
    held: int
    seen: rates.Seen | None
    bits_s: dict[str, float]
    """Of the cameras that a running daemon watches."""


def run(options: argparse.Namespace) -> int:
    """0 when the retention asked for can be expected, 1 when not."""
    file = settings_of.file(options.config)
    settings = file.settings
    if not sizing.enabled(settings):
        raise SettingsError(f"{file.path}: names no camera that is enabled, and what is needed depends on them")
    facts = _facts(settings)
    of_cameras = capacity.rates_of(sizing.enabled(settings), facts.seen, settings.storage)
    answer = _answer(settings, facts, of_cameras)
    if options.json:
        print(json.dumps(answer, indent=1))
    else:
        print("\n".join(_table(answer)))
    return 0 if answer["storage"]["warning"] is None else 1


# ------------------------------------------------------------ found out


def _facts(settings: Settings) -> Facts:
    seen, held = _of_index(settings.storage)
    return Facts(_space(settings.storage), held, seen, _bits_s(settings))


def _space(storage: StorageSettings) -> room.Space:
    root = disk.root_of(storage)
    free, total = RealDisk().space_bytes(nearest(root))
    return room.Space(free, total, disk.reserve_bytes(storage, total))


def _of_index(storage: StorageSettings) -> tuple[rates.Seen | None, int]:
    """Nothing where there is no store yet."""
    root = disk.root_of(storage)
    try:
        index.path_of(root).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None, 0
    except OSError as error:
        raise FirewitnessError(f"{index.path_of(root)}: cannot be read ({error.strerror})") from error
    with index.reading(root) as session:
        held = room.held_by_camera(session)
        return rates.seen(session), sum(size for _, size in held.values())


def _bits_s(settings: Settings) -> dict[str, float]:
    try:
        cameras = Control(sockets.control(runtime_dir(settings.storage))).ask("status")["cameras"]
    except FirewitnessError:
        return {}
    return {
        name: each["ring_bytes"] * 8 / each["ring_s"]
        for name, each in cameras.items()
        if each.get("ring_s", 0.0) >= LEAST_RING_S
    }


# ------------------------------------------------------------ answered


def _answer(settings: Settings, facts: Facts, of_cameras: list[capacity.CameraRate]) -> dict[str, Any]:
    sent = sizing.streams(settings, facts.bits_s)
    return {
        "storage": _storage(settings.storage, facts, of_cameras),
        "memory_bytes": _part(sizing.memory_bytes(settings, sent)),
        "memory_at_most_bytes": _part(sizing.memory_at_most_bytes(settings, sent)),
        "gpu_memory_bytes": _part(sizing.gpu_memory_bytes(settings)),
        "network_bits_s": _part(sizing.network_bits_s(sent)),
        "cores": _part(sizing.cores(settings)),
        "cores_more_for_each_burning_camera": _part(sizing.cores_burning(settings)),
    }


def _part(figures: list[sizing.Figure]) -> dict[str, Any]:
    return {"total": sizing.total(figures), "figures": [dataclasses.asdict(each) for each in figures]}


def _storage(storage: StorageSettings, facts: Facts, of_cameras: list[capacity.CameraRate]) -> dict[str, Any]:
    expected = capacity.expected(of_cameras, storage, facts.space, facts.held)
    warning = None
    if expected.lasts_s < storage.retention:
        warning = (
            f"evidence will be kept for {_days(expected.lasts_s)}, and storage.retention asks for {_days(storage.retention)}: "
            f"{expected.limited_by} is in the way"
        )
    return {
        "root": str(disk.root_of(storage)),
        "disk_bytes": facts.space.total,
        "free_bytes": facts.space.free,
        "reserve_bytes": facts.space.reserve,
        "headroom_bytes": 2 * facts.space.headroom,
        "evidence_bytes": facts.held,
        "allowed_bytes": expected.allowed_bytes,
        "retention_s": storage.retention,
        "lasts_s": expected.lasts_s,
        "limited_by": expected.limited_by,
        "references_bytes": expected.references_bytes,
        "references_s": expected.references_s,
        "references_limited_by": expected.references_limited_by,
        "cameras": [dataclasses.asdict(each) for each in of_cameras],
        "warning": warning,
    }


# ------------------------------------------------------------ for people


def _table(answer: dict[str, Any]) -> list[str]:
    return [
        *_of_storage(answer["storage"]),
        *_of_part("Memory in quiet times", answer["memory_bytes"], MB, "MB"),
        *_of_part("Memory at most (all at once: everything burns, the disk fails, uploads)", answer["memory_at_most_bytes"], MB, "MB"),
        *_of_part("GPU memory", answer["gpu_memory_bytes"], MB, "MB"),
        *_of_part("Network", answer["network_bits_s"], 1e6, "Mbit/s"),
        *_of_part("Cores busy in quiet times", answer["cores"], 1.0, "cores"),
        *_of_part("and for each camera that burns", answer["cores_more_for_each_burning_camera"], 1.0, "cores"),
        *([f"\nWARNING  {answer['storage']['warning']}"] if answer["storage"]["warning"] else []),
    ]  # fmt: skip


def _of_storage(told: dict[str, Any]) -> list[str]:
    lines = [
        f"Evidence in {told['root']}",
        _line("disk", told["disk_bytes"] / GB, "GB", f"{told['free_bytes'] / GB:,.1f} GB free"),
        _line("reserve and headroom", (told["reserve_bytes"] + told["headroom_bytes"]) / GB, "GB", "never filled"),
        _line("evidence now", told["evidence_bytes"] / GB, "GB", ""),
        _line("evidence may take", told["allowed_bytes"] / GB, "GB", "with what else is on this disk"),
    ]
    for each in told["cameras"]:
        size = each["rate"]["bytes_a_day"] + each["rate"]["references_bytes_a_day"]
        lines.append(_line(f"camera {each['camera']}, a day", size / GB, "GB", _basis(each["basis"])))
    kept_s = min(told["lasts_s"], told["retention_s"])
    room_for = "" if told["lasts_s"] < told["retention_s"] else f"; there is room for {_days(told['lasts_s'])}"
    lines.append(_line("kept for", kept_s / DAY_S, "days", f"limited by {told['limited_by']}{room_for}"))
    limit = f"limited by {told['references_limited_by']}, {told['references_bytes'] / GB:,.1f} GB"
    return [*lines, _line("reference stills for", told["references_s"] / DAY_S, "days", limit)]


def _of_part(title: str, part: dict[str, Any], scale: float, unit: str) -> list[str]:
    if not part["figures"]:
        return []
    lines = [_line(each["what"], each["value"] / scale, unit, _basis(each["basis"])) for each in part["figures"]]
    return ["", title, *lines, _line("in all", part["total"] / scale, unit, "")]


def _line(what: str, value: float, unit: str, more: str) -> str:
    number = f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"
    return f"  {what:<44}{number:>10} {unit:<7}{more}".rstrip()


def _basis(basis: dict[str, str]) -> str:
    return f"{basis['how']}: {basis['where']}"


def _days(seconds: float) -> str:
    days = seconds / DAY_S
    return f"{days:,.1f} days" if days < 10 else f"{days:,.0f} days"
