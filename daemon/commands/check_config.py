# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness check-config`: whether `run` would find all that these settings name."""

from __future__ import annotations

import argparse

from daemon import models
from daemon.commands import settings as settings_of
from daemon.commands.folders import check
from daemon.detect.weights import read_weights
from daemon.errors import DetectorError, SettingsError
from daemon.settings import Thresholds


def run(options: argparse.Namespace) -> int:
    """Says what would be watched; every mistake is a SettingsError."""
    file = settings_of.file(options.config)
    check(file)
    settings = file.settings
    model = models.in_use(settings.storage)
    detect = models.applied(settings).detect
    try:
        read_weights(detect.weights, detect.weights_sha256, detect.allow_pickle)
    except DetectorError as error:
        at = file.place("detect", "weights") if model == models.CONFIGURED else f"the model in use, {model}"
        raise SettingsError(f"{at}: {error}") from error
    if settings.detect.verify.weights is not None:
        try:
            read_weights(settings.detect.verify.weights, settings.detect.verify.weights_sha256)
        except DetectorError as error:
            raise SettingsError(f"{file.place('detect', 'verify', 'weights')}: {error}") from error
    count = sum(camera.enabled for camera in settings.cameras.values())
    print(f"The settings are good: {count} camera{'s' * (count != 1)} to watch, evidence in {settings.storage.root}.")
    if model != models.CONFIGURED:
        print(f"  The model in use is {model} (`firewitness model list`), not the one that the settings name.")
    for label in () if settings.detect.closer_look else _as_shipped(settings.detect.thresholds):
        print(
            f"  detect.closer_look is off, but detect.thresholds.{label} is the shipped one, chosen for both looks: "
            "with one look choose another (docs/detector.md, The closer look)."
        )
    for name, camera in settings.cameras.items():
        print(f"  {name}  {camera.url}{'' if camera.enabled else '  (disabled)'}")
    if not settings.cameras:
        print("  No camera is named: `firewitness run` would watch a simulated one.")
    return 0


def _as_shipped(thresholds: Thresholds) -> list[str]:
    """The labels whose threshold is the one that Firewitness comes with."""
    shipped = Thresholds().as_dict()
    return [label for label, value in thresholds.as_dict().items() if value == shipped[label]]
