# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness model list|add|use|remove|export`: the network that looks."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from daemon import card, models, sockets
from daemon.commands import settings as settings_of
from daemon.config_file import runtime_dir
from daemon.control import Control
from daemon.errors import DetectorError, FirewitnessError
from daemon.settings import DetectSettings, Settings, Thresholds

LOADING_S = 120.0  # a GPU's libraries and a large network on a busy host


def run(options: argparse.Namespace) -> int:
    """0 when it was done."""
    if options.what in ("add", "export"):
        module = importlib.import_module(f"daemon.commands.model_{options.what}")
        status: int = module.run(options)
        return status
    here = {"list": _list, "use": _use, "remove": _remove}
    return here[options.what](options)


def _list(options: argparse.Namespace) -> int:
    storage, detect = (settings := settings_of.of(options.config)).storage, settings.detect
    chosen = models.in_use(storage)
    added = models.names(storage)
    _show(models.CONFIGURED, chosen, _configured(detect), detect.weights)
    for name in added:
        try:
            model = models.find(storage, name)
        except FirewitnessError as error:  # the others are listed all the same
            _show(name, chosen, f"cannot be used: {error}")
        else:
            _show(name, chosen, f"SHA-256 {model.sha256[:12]}, added {model.added_at}", model.weights)
    if chosen not in (models.CONFIGURED, *added):
        _show(chosen, chosen, "is gone, and nothing looks in its place: choose another with `firewitness model use`")
    print(f"* is in use; {models.folder(storage)} holds what was added")
    return 0


def _show(name: str, chosen: str, about: str, weights: Path | None = None) -> None:
    print(f"{'*' if name == chosen else ' '} {name:20} {about}")
    if weights is not None:
        card = _card_of(weights)
        print(f"    {weights}")
        print(f"    {card}" if card.exists() else "    no model card beside it")


def _configured(detect: DetectSettings) -> str:
    """As doctor: whether anything says that they are the right ones."""
    from daemon.detect.weights import read_weights

    try:
        weights = read_weights(detect.weights, detect.weights_sha256, detect.allow_pickle)
    except DetectorError:
        return "cannot be used: see `firewitness check-config`"
    sure = weights.shipped or detect.weights_sha256 is not None
    return f"SHA-256 {weights.sha256[:12]}{'' if sure else ', not pinned'}"


def _use(options: argparse.Namespace) -> int:
    settings = settings_of.of(options.config)
    control = Control(sockets.control(runtime_dir(settings.storage)))
    done = control.ask("model_use", {"name": options.name}, timeout_s=LOADING_S)
    print(f"{done['name']} is in use, and will be after a restart: {done['weights']}")
    if write := card.to_write(_chosen(settings, options.name), settings.detect):
        print(write)
    return 0


def _remove(options: argparse.Namespace) -> int:
    models.remove(settings_of.of(options.config).storage, options.name)
    print(f"{options.name} is removed; records of what it saw go on naming its hash")
    return 0


def _chosen(settings: Settings, name: str) -> Thresholds | None:
    if name == models.CONFIGURED:
        return card.thresholds_of(_card_of(settings.detect.weights))
    return models.find(settings.storage, name).thresholds


def _card_of(weights: Path) -> Path:
    from daemon.detect.weights import card_of

    return card_of(weights)
