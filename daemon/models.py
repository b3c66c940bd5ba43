# SPDX-License-Identifier: AGPL-3.0-or-later
"""A site's own models: each in a folder of its name below `state_dir/models`, and which one is in use instead of the configured one.

models/<name>/model.json   which file, its hash, when it was added, its card's thresholds, what the check found
models/<name>/<name>.onnx  the weights (or .xml with .bin, or .engine), and <name>.md, their card, where there is one
models/in_use.json         the name and hash of the one in use; absent: the one that the settings name
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config_file import state_dir
from daemon.detect.weights import CHOICE, unreadable_choice
from daemon.errors import FirewitnessError
from daemon.settings import Settings, StorageSettings, Thresholds
from daemon.storage.durable import RealDisk, make_folders, replace

CONFIGURED = "configured"
"""The name under which the model of the settings is known."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_FACTS = "model.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A model that was added."""

    name: str
    weights: Path
    sha256: str
    added_at: str
    """RFC 3339, UTC."""
    thresholds: Thresholds | None = None
    """Which its card chose, if it has one that says."""

    @property
    def card(self) -> Path:
        """Where its card lies, if it has one."""
        return self.weights.with_suffix(".md")


def folder(storage: StorageSettings) -> Path:
    """Where they all are."""
    return state_dir(storage) / "models"


def names(storage: StorageSettings) -> list[str]:
    """Of all that were added, in order, also of one that cannot be read any more; what is none is passed over."""
    return sorted(path.parent.name for path in folder(storage).glob(f"[!.]*/{_FACTS}"))


def find(storage: StorageSettings, name: str) -> Kept:
    """Raises FirewitnessError when there is none of that name."""
    _check_there(storage, name)
    return _read(folder(storage) / name)


def check_name(storage: StorageSettings, name: str) -> None:
    """Raises FirewitnessError for a name that cannot be given."""
    if not NAME.match(name) or name in (CONFIGURED, CHOICE):
        raise FirewitnessError(
            f"{name!r} is no name for a model: letters, digits, . - and _, and neither {CONFIGURED} nor {CHOICE}; "
            "give one with --name"
        )
    if (folder(storage) / name).exists():
        raise FirewitnessError(
            f"there is a model {name} already; what records name is never changed: give another with --name"
        )


def keep(storage: StorageSettings, name: str, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Kept:
    """Puts the files (suffix → content) in place, durable, all or none."""
    check_name(storage, name)
    disk = RealDisk()
    make_folders(disk, folder(storage), state_dir(storage).parent)
    making = _unfinished(storage, name)
    disk.make_folder(making)
    for suffix, content in files.items():
        disk.write_new(making / f"{name}{suffix}", content)
    disk.write_new(making / _FACTS, _json(facts))
    disk.sync_folder(making)
    disk.rename(making, folder(storage) / name)
    disk.sync_folder(folder(storage))
    return find(storage, name)


def remove(storage: StorageSettings, name: str) -> None:
    """Its name is free then. Raises FirewitnessError for the one in use, and for what is none of ours."""
    if name == CONFIGURED:
        raise FirewitnessError(f"{CONFIGURED} is what detect.weights names, and was not added: it cannot be removed")
    _check_there(storage, name)
    if name == in_use(storage):
        raise FirewitnessError(
            f"{name} is in use: go over to another one first, such as `firewitness model use {CONFIGURED}`"
        )
    disk = RealDisk()
    going = _unfinished(storage, name)
    disk.rename(folder(storage) / name, going)  # at once gone for all, also when killed in between
    disk.sync_folder(folder(storage))
    shutil.rmtree(going)


def in_use(storage: StorageSettings) -> str:
    """The name of the model in use."""
    return str(_in_use(storage).get("name", CONFIGURED))


def use(storage: StorageSettings, name: str) -> None:
    """From the next start on; raises StoreError when it cannot be written down."""
    disk = RealDisk()
    place = folder(storage) / CHOICE
    if name == CONFIGURED:
        disk.unlink(place)
        if place.parent.is_dir():
            disk.sync_folder(place.parent)
        return
    replace(disk, place, _json({"name": name, "sha256": find(storage, name).sha256}))


def applied(settings: Settings) -> Settings:
    """The settings with the model in use."""
    try:
        choice = _in_use(settings.storage)
    except FirewitnessError:  # all cameras are recorded all the same; the detector, check-config and doctor say so
        return with_model(settings, folder(settings.storage) / CHOICE, None)
    if not choice:
        return settings
    name = str(choice["name"])
    try:
        weights, sha256 = find(settings.storage, name).weights, str(choice["sha256"])
    except FirewitnessError:  # its folder is gone: the detector says so, instead of other weights looking in its name
        weights, sha256 = folder(settings.storage) / name / f"{name}.onnx", str(choice["sha256"])
    return with_model(settings, weights, sha256)


def with_model(settings: Settings, weights: Path, sha256: str | None) -> Settings:
    """The same settings with other weights."""
    detect = settings.detect.model_copy(update={"weights": weights, "weights_sha256": sha256})
    return settings.model_copy(update={"detect": detect})


def _check_there(storage: StorageSettings, name: str) -> None:
    if not NAME.match(name) or not (folder(storage) / name / _FACTS).exists():
        known = ", ".join([CONFIGURED, *names(storage)])
        raise FirewitnessError(f"there is no model {name!r}; there are {known}. `firewitness model add` adds one")


def _unfinished(storage: StorageSettings, name: str) -> Path:
    """Where a model is while it comes or goes; what a kill has left there is cleared."""
    place = folder(storage) / f".{name}.part"
    shutil.rmtree(place, ignore_errors=True)
    return place


def _in_use(storage: StorageSettings) -> dict[str, str]:
    if storage.state_dir is None:  # defaults, of no file: nobody can have chosen
        return {}
    try:
        choice = json.loads((folder(storage) / CHOICE).read_text(encoding="utf-8"))
        return {"name": str(choice["name"]), "sha256": str(choice["sha256"])}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FirewitnessError(unreadable_choice(folder(storage) / CHOICE)) from error


def _read(place: Path) -> Kept:
    try:
        facts = json.loads((place / _FACTS).read_text(encoding="utf-8"))
        chosen = facts.get("thresholds")
        thresholds = None if chosen is None else Thresholds.model_validate(chosen)
        file, sha256, added_at = (facts[key] for key in ("file", "sha256", "added_at"))
        if not all(isinstance(each, str) for each in (file, sha256, added_at)):
            raise TypeError(f"not text: {file}, {sha256}, {added_at}")
        return Kept(place.name, place / file, sha256, added_at, thresholds)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        again = f"`firewitness model remove {place.name}`, and add the model again"
        raise FirewitnessError(f"{place / _FACTS} cannot be read: {again}") from error


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
