# SPDX-License-Identifier: AGPL-3.0-or-later
"""FireDetector with the shipped weights, on each runtime that this environment has."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from daemon.detect import detector as module
from daemon.detect.detector import REFERENCE_ANSWER, REFERENCE_PICTURE, FireDetector
from daemon.detect.runtimes import Choice
from daemon.domain import Detection
from daemon.errors import DetectorError

RUNTIMES = ["openvino", "onnxruntime", pytest.param("torch-cpu", marks=pytest.mark.torch)]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """The shipped picture of a drawn fire, 640×360."""
    return cv2.imread(str(REFERENCE_PICTURE))


@pytest.fixture(scope="module")
def detector() -> FireDetector:
    """On the CPU, as most hosts run it."""
    return FireDetector(device="cpu")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_gives_the_answer_written_down(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warming up compares the answer on the shipped picture, and it is right on each runtime."""
    pytest.importorskip({"torch-cpu": "torch"}.get(runtime, runtime))
    monkeypatch.setattr(module, "choose", lambda *_: Choice(runtime, "the test wants it"))
    each = FireDetector(batch=2)
    each.warm()
    assert each.info.labels == ("fire", "smoke")
    assert "the test wants it" in each.why
    assert each.info.sha256[:12] in each.why


@pytest.mark.torch
def test_torch_needs_no_torchvision() -> None:
    """The CPU-only torch of a host without a GPU may have no working torchvision."""
    pytest.importorskip("torch")
    code = (
        "import sys; from daemon.detect.runtimes import *; from daemon.detect.weights import read_weights;"
        "load(Choice('torch-cpu', ''), read_weights()); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_without_a_gpu_torch_is_not_imported() -> None:
    """A CPU host's detector loads neither torch nor Ultralytics."""
    if importlib.util.find_spec("torch"):
        pytest.skip("torch is asked for a GPU where it is installed")
    code = (
        "import sys; from daemon.detect.detector import FireDetector; FireDetector();"
        "assert not {'torch', 'ultralytics', 'onnx', 'onnxruntime', 'flask', 'sqlalchemy', 'av'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_a_wrong_answer_is_found_when_warming_up(detector: FireDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that computes nonsense is never ready."""
    monkeypatch.setattr(detector._runtime, "infer", lambda pictures: np.zeros((len(pictures), 6, 5040), np.float32))
    sure = json.loads(REFERENCE_ANSWER.read_text())["detections"][0]["confidence"]
    with pytest.raises(
        DetectorError, match=rf"cannot be trusted.*fire {re.escape(f'{sure:.2f}')} at .*and here nothing"
    ):
        detector.warm()


def test_what_a_library_raises_while_warming_up_is_one_sentence(
    detector: FireDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the weights, and is an error that commands and the detector process know."""
    monkeypatch.setattr(detector._runtime, "infer", lambda _: np.zeros((1, 1)).reshape(3))
    with pytest.raises(DetectorError, match=r"\.(onnx|xml): cannot be computed: cannot reshape"):
        detector.warm()


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (640, 360), (800, 600), (360, 640)])
def test_boxes_are_in_pixels_of_the_original(
    detector: FireDetector, picture: np.ndarray, size: tuple[int, int]
) -> None:
    """The same fire in a larger, a smaller or a padded picture is found at the same place in it."""
    width, height = size
    scale = min(width / 640, height / 360)
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    canvas = np.full((height, width, 3), 90, np.uint8)
    top, left = height - scaled.shape[0], width - scaled.shape[1]
    canvas[top:, left:] = scaled
    found = detector.detect([canvas], 0.3)[0]
    assert found[0].label == "fire"
    centre = ((found[0].box[0] + found[0].box[2]) / 2, (found[0].box[1] + found[0].box[3]) / 2)
    assert centre == pytest.approx((left + 472 * scale, top + 165 * scale), abs=8 * scale)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in (found[0].box[:2], found[0].box[2:]))


def test_answers_come_in_the_order_of_the_images(detector: FireDetector, picture: np.ndarray) -> None:
    """In a batch of mixed sizes and places, larger than `batch`, each answer is that of its image alone."""
    images = varied(picture, 21)
    together = detector.detect(images, 0.1)
    assert together == [detector.detect([image], 0.1)[0] for image in images]
    assert len(set(together)) > 10


def varied(picture: np.ndarray, count: int) -> list[np.ndarray]:
    """Pictures of several sizes, each with the fire at its own place."""
    images = []
    for n in range(count):
        moved = np.roll(picture, (-7 * n, -20 * n), axis=(0, 1))
        images.append(cv2.resize(moved, ((640, 360), (800, 600), (500, 500))[n % 3]))
    return images


def test_each_image_is_looked_at_at_its_own_size(detector: FireDetector, picture: np.ndarray) -> None:
    """A sub-stream's small pictures are not enlarged for it: they share a call with others, and boxes are in their pixels."""
    small = cv2.resize(picture, (320, 180), interpolation=cv2.INTER_AREA)
    together = detector.detect([small, picture, small], 0.1, [320, 0, 0])
    assert together == [
        detector.detect([small], 0.1, [320])[0], detector.detect([picture], 0.1)[0], detector.detect([small], 0.1)[0],
    ]  # fmt: skip
    assert together[0] != together[2]
    assert together[0][0].label == "fire"
    whole = [side / 2 for side in together[1][0].box]
    assert np.allclose(together[0][0].box, whole, atol=12)


def test_no_images_no_answers(detector: FireDetector) -> None:
    """An empty batch is nothing to compute."""
    assert detector.detect([], 0.3) == []


def test_an_empty_scene_holds_no_fire(detector: FireDetector) -> None:
    """Grey, black, white and noise are not taken for fire."""
    noise = np.random.default_rng(1).integers(0, 255, (360, 640, 3), dtype=np.uint8)
    blanks = [np.full((360, 640, 3), level, np.uint8) for level in (0, 114, 255)]
    assert detector.detect([*blanks, noise], 0.3) == [(), (), (), ()]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(detector: FireDetector, image: np.ndarray) -> None:
    """Only BGR uint8 with at least one pixel is looked at."""
    with pytest.raises(ValueError, match="not a BGR uint8 picture"):
        detector.detect([image], 0.3)


@pytest.mark.parametrize("size", [(1, 1), (5000, 3), (3, 4000), (33, 31)])
def test_odd_sizes_are_answered(detector: FireDetector, size: tuple[int, int]) -> None:
    """A picture of one pixel, or a thin strip, is answered and not a failure."""
    assert detector.detect([np.zeros((size[1], size[0], 3), np.uint8)], 0.5) == [()]


def test_it_belongs_to_one_thread(detector: FireDetector, picture: np.ndarray) -> None:
    """Another thread is refused: sharing a network has given one picture another's answer."""
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            detector.detect([picture], 0.3)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "only by the thread that made it" in str(caught[0])


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    """device: cuda on a host without a GPU."""
    with pytest.raises(DetectorError, match=r"detect\.device is cuda, but"):
        FireDetector(device="cuda")


IDLE = """
import sys, time
import numpy as np
from daemon.detect import detector as module
from daemon.detect.runtimes import Choice
module.choose = lambda *_: Choice(sys.argv[1], "")
detector = module.FireDetector(batch=4)
detector.warm()
detector.detect([np.zeros((1080, 1920, 3), np.uint8)] * 8, 0.3)
time.sleep(0.3)  # what a runtime spins after a batch is allowed to end
before = time.process_time()
time.sleep(2)
print((time.process_time() - before) / 2)
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_idle_it_burns_nothing(runtime: str) -> None:
    """After inferences, less than 2 % of a core: no runtime's threads spin while they wait."""
    pytest.importorskip({"torch-cpu": "torch"}.get(runtime, runtime))
    done = subprocess.run([sys.executable, "-c", IDLE, runtime], check=True, capture_output=True, timeout=55)
    assert float(done.stdout.split()[-1]) < 0.02


def test_the_detections_are_the_domains(detector: FireDetector, picture: Sequence[int]) -> None:
    """Plain Python values, so that they travel and compare."""
    (found,) = detector.detect([picture], 0.3)[0]
    assert isinstance(found, Detection)
    assert all(type(value) is float for value in (found.confidence, *found.box))
