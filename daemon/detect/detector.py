# SPDX-License-Identifier: AGPL-3.0-or-later
"""FireDetector: weights in, detections for a batch of images out; it is warm before it says so.

Composes the layers: weights → runtime → model → function. It knows no sockets, queues or cameras.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from daemon.detect.boxes import iou
from daemon.detect.closer import SIDE_PX, CloserLook
from daemon.detect.function import DetectorAlone, Function, Verified
from daemon.detect.letterbox import letterbox
from daemon.detect.model import Picture, Runtime, YoloModel
from daemon.detect.runtimes import Choice, choose, in_best_form, in_one_sentence, load, load_here, load_verifier, look
from daemon.detect.verifier import Verifier, Verify
from daemon.detect.weights import Weights, read_weights
from daemon.domain import Detection, ModelInfo, VerifierInfo
from daemon.errors import DetectorError
from daemon.shipped import MODELS

REFERENCE_PICTURE = MODELS / "reference.jpg"
REFERENCE_ANSWER = MODELS / "reference.json"

# Between runtimes and precisions (f32, bf16, f16) the answers differ by less; another network's differ by more.
CONFIDENCE_TOLERANCE = 0.08
_LEAST_IOU = 0.7
STRONG = 0.5
_WARM_ASPECTS = ((16, 9), (4, 3), (1, 1))  # of cameras and squares; another costs its first picture 0.1 s


class FireDetector:
    """Finds fire and smoke. Belongs to the thread that made it: sharing a network has mixed up answers (design, Traps).

    Raises DetectorError, one sentence, when the weights cannot be trusted or loaded on this host.
    """

    def __init__(
        self,
        weights: Path | None = None,
        *,
        sha256: str | None = None,
        device: str = "auto",
        input_px: int = 640,
        batch: int = 8,
        allow_pickle: bool = False,
        other_px: Sequence[int] = (),
        closer: bool = False,
        verify: Verify | None = None,
        runtime: str | None = None,
    ) -> None:
        """`weights`: None takes the shipped ones; `sha256`: what the file must hash to; `device`: auto, cpu or cuda.

        `other_px`: input sizes that some pictures will be given with, beside `input_px`; to be warm for them too.
        `closer`: each detection is looked at once more, close.
        `runtime`: that one, and the weights as they are, instead of what is best here (to measure and compare).
        `verify`: the model that looks at each detection once more; None: nobody does.
        """
        self._owner = threading.get_ident()
        self._batch = batch
        given = read_weights(weights, sha256, allow_pickle)
        host = look()
        if runtime is None:
            self._weights, choice = in_best_form(given, choose(host, device, given.format), host)
            self._runtime, choice = load_here(choice, self._weights, host, device)
        else:
            self._weights, choice = given, Choice(runtime, "it was asked for")
            self._runtime = load(choice, self._weights)
        model = YoloModel(self._runtime, batch)
        self._function: Function = DetectorAlone(model)
        self._warm_px = (input_px, *other_px)
        self.info = ModelInfo(
            self._weights.sha256,
            self._weights.name,
            self._runtime.name,
            input_px,
            card_sha256=self._weights.card_sha256,
        )
        self.why = (
            f"{self._runtime.name}: {choice.why}; weights {self._weights.name}, SHA-256 {self._weights.sha256[:12]}"
        )
        self._closer = closer
        if closer:
            self._function = CloserLook(self._function, model)
            self.why += "; each detection is looked at once more, close"
        self._verifier: Verifier | None = None
        if verify is not None:
            checked = read_weights(verify.weights, verify.sha256)
            self._add(verify, load_verifier(host, checked), checked)

    def detect(
        self, images: Sequence[Picture], floor: float, input_px: Sequence[int] | None = None
    ) -> list[tuple[Detection, ...]]:
        """For each image its detections, in the images' order.

        Args: `images` are BGR (height, width, 3), uint8, of any sizes, mixed. Returned are detections of at least
        `floor`, strongest first, at most 200, boxes in pixels of the image and clipped to it. `input_px`: for each
        image the longer side at which the network is to see it; 0 or None: the detector's own. Raises DetectorError
        when the inference fails, ValueError for what is no image.
        """
        if threading.get_ident() != self._owner:
            raise RuntimeError("a FireDetector may be used only by the thread that made it")
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise ValueError(f"not a BGR uint8 picture: {image.dtype} {image.shape}")
        sides_px = [side_px or self.info.input_px for side_px in input_px or [0] * len(images)]
        return self._function(images, floor, sides_px)

    def _add(self, verify: Verify, runtime: Runtime, weights: Weights) -> None:
        """Puts a verifier behind what is there."""
        self._verifier = Verifier(runtime, verify.input_px)
        self._function = Verified(self._function, self._verifier, verify.threshold, verify.floor)
        verifier = VerifierInfo(weights.sha256, weights.name, verify.input_px, verify.threshold)
        self.info = replace(self.info, verifier=verifier)
        self.why += f"; verified by {weights.name}, SHA-256 {weights.sha256[:12]}"

    def adopt(self) -> None:
        """From now on it belongs to the calling thread; the one that made it must not use it any more."""
        self._owner = threading.get_ident()

    def warm(self) -> None:
        """Computes every size once, so that no frame waits for it, and compares the answer on a shipped picture.

        Raises DetectorError when it cannot compute, or the answer is not what these weights give: then nothing that it says
        can be believed.
        """
        with in_one_sentence(self._weights.path):
            sizes = [*product(self._warm_px, _WARM_ASPECTS), *([(SIDE_PX, (1, 1))] if self._closer else [])]
            for side_px, (across, down) in dict.fromkeys(sizes):
                layout = letterbox((across, down), side_px)
                self._runtime.prepare(layout.padded)
                blank: Picture = np.zeros((layout.inner_height, layout.inner_width, 3), np.uint8)
                for images in (1, self._batch):
                    self.detect([blank] * images, 0.5, [side_px] * images)
            if self._verifier is not None:
                self._verifier.judge([(blank, (0, 0, 1, 1))])
            _compare(self._weights, reference_answer(self._runtime))


def reference_picture() -> Picture:
    """The shipped picture of a drawn fire, BGR; raises DetectorError when it is missing."""
    picture = cv2.imread(str(REFERENCE_PICTURE), cv2.IMREAD_COLOR)
    if picture is None:
        raise DetectorError(f"{REFERENCE_PICTURE}: missing or damaged; it is shipped with Firewitness: install again")
    return np.asarray(picture, np.uint8)


def reference_answer(runtime: Runtime) -> tuple[Detection, ...]:
    """What a network sees in the shipped picture, always at the size it was drawn for, whatever input_px is."""
    picture = reference_picture()
    return YoloModel(runtime, 1).find([picture], 0.25, [max(picture.shape[:2])])[0]


def _compare(weights: Weights, found: Sequence[Detection]) -> None:
    """Compares with the answer that was written down for these weights; others have none to compare with."""
    if not weights.shipped:
        return
    answer = json.loads(REFERENCE_ANSWER.read_text())["detections"]
    if not agrees(found, answer):
        raise DetectorError(
            f"{weights.path}: this host's inference cannot be trusted: on {REFERENCE_PICTURE.name} these weights give "
            f"{_written(_detections(answer))}, and here {_written(found)}"
        )


def agrees(found: Sequence[Detection], answer: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what was found in the shipped picture is the answer that was written down, as far as precisions differ."""
    strong = [each for each in found if each.confidence >= STRONG]
    expected = _detections(answer)
    return len(strong) == len(expected) and all(map(_alike, strong, expected))


def _detections(answer: Sequence[Mapping[str, Any]]) -> list[Detection]:
    return [Detection(each["label"], each["confidence"], tuple(each["box"])) for each in answer]


def _alike(found: Detection, expected: Detection) -> bool:
    return (
        found.label == expected.label
        and abs(found.confidence - expected.confidence) <= CONFIDENCE_TOLERANCE
        and iou(found.box, expected.box) >= _LEAST_IOU
    )


def _written(found: Sequence[Detection]) -> str:
    each = (f"{one.label} {one.confidence:.2f} at {tuple(round(side) for side in one.box)}" for one in found)
    return ", ".join(each) or "nothing"
