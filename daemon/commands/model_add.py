# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness model add FILE`: checks a model on this host, and keeps it under its name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon import card, models
from daemon.clock import host_clocks, rfc3339
from daemon.commands import settings as settings_of
from daemon.commands.stills import Stills, reference_stills
from daemon.detect.checking import Checked, check
from daemon.detect.model import Picture
from daemon.detect.served import in_words
from daemon.detect.weights import card_of, read_weights
from daemon.errors import FirewitnessError
from daemon.settings import Settings, Thresholds


def run(options: argparse.Namespace) -> int:
    """0 when it is kept; which one is in use does not change."""
    settings = settings_of.of(options.config)
    file: Path = options.file
    name = options.name or file.stem
    models.check_name(settings.storage, name)
    if file.suffix == ".pt":
        raise FirewitnessError(
            f"{file}: a .pt file runs code when it is opened: make data of your own one with "
            f"`firewitness model export --to onnx {file}`, or, if `python -m training train` wrote it, "
            f"`python -m training export {file}`"
        )
    weights = read_weights(file)
    stills = reference_stills(settings)
    pictures = stills.pictures if stills is not None else ()
    card_file = card_of(file)
    chosen = card.thresholds_of(card_file)
    measured_at = card.at(settings.detect, chosen)
    found = check(file, weights.sha256, measured_at, pictures)
    now = _check_in_use(settings, pictures)
    _tell(found, now, settings, measured_at.thresholds)
    _tell_alarms(found, now, stills, measured_at.thresholds, settings.detect.thresholds)
    if found.drawn_fire is None:
        raise FirewitnessError(
            f"{file}: does not see the drawn fire of the picture that Firewitness comes with: not kept"
        )
    files = {file.suffix: weights.content}
    if weights.values:
        files[".bin"] = weights.values
    if card_file.exists():
        files[".md"] = card_file.read_bytes()
    facts = _facts(name + file.suffix, weights.sha256, found, chosen)
    kept = models.keep(settings.storage, name, files, facts)
    print(f"{name} is kept as {kept.weights}; `firewitness model use {name}` goes over to it")
    if write := card.to_write(chosen, settings.detect):
        print(write)
    return 0


def _check_in_use(settings: Settings, stills: Sequence[Picture]) -> Checked | None:
    """None, and said, where it cannot be loaded: another one is needed most then."""
    try:
        present = models.applied(settings).detect
        return check(present.weights, present.weights_sha256, settings.detect, stills)
    except FirewitnessError as error:
        print(f"compared with   nothing, since the one in use cannot be loaded: {error}")
        return None


def _tell(found: Checked, now: Checked | None, settings: Settings, measured_at: Thresholds) -> None:
    print(f"computed by     {found.runtime}")
    print(f"drawn fire      {_drawn(found.drawn_fire, measured_at.fire, settings.detect.thresholds.fire)}")
    compared = f"; the one in use takes {now.picture_ms:.0f} ms" if now is not None else ""
    print(f"a picture       {found.picture_ms:.0f} ms{compared}")
    watched = sum(camera.enabled for camera in settings.cameras.values())
    if watched > found.cameras:
        print(
            f"                too slow: {found.cameras} cameras are possible, {in_words(settings.detect)}; "
            f"{watched} are configured"
        )


def _drawn(confidence: float | None, own: float, in_force: float) -> str:
    """Seen is from detect.floor on, which alone starts nothing."""
    if confidence is None:
        return "not seen"
    seen = f"seen at {confidence:.2f}"
    if confidence < in_force:
        return f"{seen}: too weak to count, from {in_force:g} on (detect.thresholds, fire)"
    if confidence < own:
        return f"{seen}: too weak to count at the model's own threshold of fire, {own:g}"
    return seen


def _tell_alarms(
    found: Checked, now: Checked | None, stills: Stills | None, measured_at: Thresholds, in_force: Thresholds
) -> None:
    if stills is None:
        print("false alarms    there are no reference stills of this site yet to look at")
        return
    own, others = _in_words(measured_at), _in_words(in_force)
    compared = f"; by the one in use {now.alarmed}{f', at {others}' * (own != others)}" if now is not None else ""
    print(
        f"false alarms    {found.alarmed} of {found.stills} reference stills of this site give a detection at {own}{compared}"
    )
    print(f"                {stills}")


def _in_words(thresholds: Thresholds) -> str:
    return f"fire {thresholds.fire:g}, smoke {thresholds.smoke:g}"


def _facts(file: str, sha256: str, found: Checked, chosen: Thresholds | None) -> dict[str, Any]:
    return {
        "file": file,
        "sha256": sha256,
        **({"thresholds": chosen.as_dict()} if chosen is not None else {}),
        "added_at": rfc3339(host_clocks().wall_ns()),
        "runtime": found.runtime,
        "drawn_fire": found.drawn_fire,
        "picture_ms": round(found.picture_ms, 1),
        "reference_stills": found.stills,
        "reference_stills_alarmed": found.alarmed,
    }
