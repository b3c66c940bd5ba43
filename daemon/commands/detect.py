# SPDX-License-Identifier: AGPL-3.0-or-later
"""`firewitness detect FILE…`: by the running daemon's detector where there is one, else by one of our own."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon import models, sockets
from daemon.api.codes import Refusal
from daemon.api.orientation import Picture
from daemon.api.picture import read_picture
from daemon.api.response import ResponseArgument
from daemon.commands import settings as settings_of
from daemon.control import Control
from daemon.detect.work import WorkClient
from daemon.domain import Detection, ModelInfo
from daemon.errors import DetectorError, FirewitnessError, NotRunning
from daemon.settings import Settings

Detect = Callable[[Picture], tuple[tuple[Detection, ...], ModelInfo]]


def run(options: argparse.Namespace) -> int:
    """0 when every file could be looked at, else 2."""
    settings = settings_of.of_or_defaults(options.config)
    detect = _running_detector(settings) or own_detector(settings)
    failed = False
    for name in options.files:
        try:
            answer = _look(name, settings, detect)
        except (FirewitnessError, Refusal, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            print(f"{name}: {reason}", file=sys.stderr)
            failed = True
            continue
        print(answer.body().decode(), end="") if options.json else _tell(name, answer)
    return 2 if failed else 0


def _look(name: str, settings: Settings, detect: Detect) -> ResponseArgument:
    began_s = time.monotonic()
    data = _read(Path(name), settings.api.max_upload + 1)
    picture = read_picture(data, most_bytes=settings.api.max_upload, most_pixels=settings.api.max_pixels)
    detections, model = detect(picture.image)
    elapsed_ms = (time.monotonic() - began_s) * 1000
    thresholds = settings.detect.thresholds.as_dict()
    return ResponseArgument.from_detections(json.dumps(name), picture.header, detections, thresholds, model, elapsed_ms)


def _read(path: Path, most_bytes: int) -> bytes:
    """What is longer than any picture, such as a film or a device, is not read to its end to find that out."""
    with path.open("rb") as file:
        return file.read(most_bytes)


def _tell(name: str, answer: ResponseArgument) -> None:
    assert answer.result is not None
    found: list[dict[str, Any]] = answer.result["detections"]
    for each in found:
        box = ", ".join(f"{value:.0f}" for value in each["box"])
        looks = each.get("looks")
        both = f" ({looks['whole']:.2f} in the whole, {looks['close']:.2f} close)" if looks else ""
        print(f"{name}: {each['label']} {each['confidence']:.2f}{both} at {box}")
    for each in answer.result.get("rejected", ()):
        print(f"{name}: {each['label']} {each['confidence']:.2f} rejected by the verifier ({each['verified']:.2f})")
    if not found:
        print(f"{name}: nothing")


def _running_detector(settings: Settings) -> Detect | None:
    """The daemon's, when one is running with these settings and its detector is ready."""
    runtime = settings.storage.runtime_dir
    if runtime is None:
        return None
    try:
        status = Control(sockets.control(runtime)).ask("status")
    except NotRunning:
        return None
    if status["detector"]["state"] != "ready":
        return None
    client = WorkClient(sockets.work(runtime))

    def detect(image: Picture) -> tuple[tuple[Detection, ...], ModelInfo]:
        answer = client.detect(image, kind="post", deadline_s=settings.api.deadline, floor=settings.detect.floor)
        if answer.outcome != "analysed" or answer.model is None:
            raise DetectorError(
                f"the running daemon's detector answered {answer.outcome}: {answer.detail or 'try again'}"
            )
        return answer.detections, answer.model

    return detect


def own_detector(settings: Settings) -> Detect:
    """Of the model in use, in this process, looking as the settings say; raises DetectorError."""
    from daemon.detect.detector import FireDetector
    from daemon.detect.verifier import verify_in

    chosen = models.applied(settings).detect
    detector = FireDetector(
        chosen.weights, sha256=chosen.weights_sha256, device=chosen.device, input_px=chosen.input_px,
        batch=1, allow_pickle=chosen.allow_pickle, closer=chosen.closer_look, verify=verify_in(chosen),
    )  # fmt: skip

    def detect(image: Picture) -> tuple[tuple[Detection, ...], ModelInfo]:
        return detector.detect([image], chosen.floor)[0], detector.info

    return detect
