# SPDX-License-Identifier: AGPL-3.0-or-later
"""How models combine: a verifier behind the detector, and detectors side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import shipped
from daemon.detect import runtimes
from daemon.detect.detector import REFERENCE_PICTURE, FireDetector
from daemon.detect.function import InParallel, Verified
from daemon.detect.letterbox import GREY
from daemon.detect.rules import RuleSettings, counting_places
from daemon.detect.runtimes import Host, load_verifier
from daemon.detect.verifier import CONTEXT, Verifier, Verify, cut_out, verify_in
from daemon.detect.weights import read_weights
from daemon.detect.work import WorkClient
from daemon.domain import Box, Detection, Verdict
from daemon.errors import DetectorError
from daemon.settings import DetectSettings, VerifySettings
from tests.detect import verifier_kit
from tests.detect.conftest import Supervisor

HERE = Host(torch=False, cuda=False, openvino=True, onnxruntime=True)
RED, BLUE = (10.0, 10.0, 30.0, 30.0), (110.0, 10.0, 130.0, 30.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verifier_kit.write(tmp_path_factory.mktemp("verifier") / "redness.onnx")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Red to the left, blue to the right."""
    made = np.zeros((40, 200, 3), np.uint8)
    made[:, :100, 2] = made[:, 100:, 0] = 200
    return made


class Says:
    """A function that always answers the same."""

    def __init__(self, *detections: Detection) -> None:
        self._detections = detections

    def __call__(
        self, pictures: Sequence[np.ndarray], floor: float, input_px: Sequence[int]
    ) -> list[tuple[Detection, ...]]:
        return [self._detections for _ in pictures]


@pytest.mark.parametrize("host", [HERE, Host(torch=True, cuda=True, openvino=False, onnxruntime=True)])
def test_what_the_verifier_does_not_believe_is_marked_and_stays(weights: Path, picture: np.ndarray, host: Host) -> None:
    """Each box is judged by its own cut-out and label, in every picture, on either runtime; order and figures stay."""
    verifier = Verifier(load_verifier(host, read_weights(weights)), 32)
    said = [Detection("fire", 0.9, RED), Detection("fire", 0.8, BLUE), Detection("smoke", 0.7, BLUE)]
    answers = Verified(Says(*said), verifier, 0.5)([picture, picture[:, ::-1]], 0.1, [640, 640])
    passed = [[each.verdict is not None and each.verdict.passed for each in found] for found in answers]
    assert passed == [[True, False, True], [False, True, False]]
    assert [(each.label, each.confidence, each.box) for each in answers[0]] == [
        (each.label, each.confidence, each.box) for each in said
    ]
    assert all(each.verdict is not None and abs(each.verdict.confidence - 0.5) > 0.49 for each in answers[0])
    assert [each.rejected for each in answers[0]] == [False, True, False]
    rules = RuleSettings({"fire": 0.3, "smoke": 0.3}, 3, 5, 10, 10, 30)
    boxes = [tuple(40 * edge for edge in place) for place in counting_places(answers[0], (200, 40), rules)]
    assert boxes == [RED, BLUE], "a rejected one counts for nothing"


def test_what_nobody_is_told_of_is_not_judged(
    weights: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hints lie below detect.floor, and there may be many; those above keep their verdicts."""
    verifier = Verifier(load_verifier(HERE, read_weights(weights)), 32)
    judged: list[Box] = []

    def judge(boxes: Sequence[tuple[np.ndarray, Box]]) -> np.ndarray:
        judged.extend(box for _, box in boxes)
        return Verifier.judge(verifier, boxes)

    monkeypatch.setattr(verifier, "judge", judge)
    said = [Detection("fire", 0.9, BLUE), Detection("fire", 0.1, RED), Detection("fire", 0.05, BLUE)]
    (found,) = Verified(Says(*said), verifier, 0.5, judged_from=0.1)([picture], 0.02, [640])
    assert [each.verdict is None or each.verdict.passed for each in found] == [False, True, True]
    assert judged == [BLUE, RED]
    assert [each.verdict is None for each in found] == [False, False, True]


def test_nothing_to_verify_is_no_mistake(weights: Path, picture: np.ndarray) -> None:
    """Pictures in which nothing is seen, and no pictures at all."""
    function = Verified(Says(), Verifier(load_verifier(HERE, read_weights(weights)), 32), 0.5)
    assert function([picture], 0.1, [640]) == [()]
    assert function([], 0.1, []) == []


def test_functions_side_by_side_tell_each_thing_once() -> None:
    """The surer one's box; what only one of them sees stays, and so does another label."""
    one = Says(Detection("fire", 0.6, RED), Detection("smoke", 0.5, RED))
    other = Says(Detection("fire", 0.7, (11.0, 10.0, 31.0, 30.0)), Detection("fire", 0.2, BLUE))
    found = InParallel([one, other])([np.zeros((9, 9, 3), np.uint8)], 0.1, [640])
    assert [(each.label, each.confidence) for each in found[0]] == [("fire", 0.7), ("smoke", 0.5), ("fire", 0.2)]


@given(st.integers(0, 199), st.integers(0, 99), st.floats(1, 90))
def test_a_cut_out_has_the_box_in_its_middle(x: int, y: int, size: float) -> None:
    """Square, of the verifier's size, the box in the middle; small ones pixel by pixel; grey outside the picture."""
    picture = np.full((100, 200, 3), 7, np.uint8)
    picture[y, x] = 255
    made = cut_out(picture, (x - size / 2, y - size / 2, x + size / 2, y + size / 2), 32)
    assert made.shape == (32, 32, 3)
    assert made.dtype == np.uint8
    if CONTEXT * size <= 32:
        assert made[14:19, 14:19].max() == 255, "not scaled"
    assert {GREY, 7} & set(np.unique(made).tolist())


def test_the_detector_with_a_verifier(weights: Path) -> None:
    """Detections bear verdicts, records name the verifier, and warming up still knows the detector's own answer."""
    picture = cv2.imread(str(REFERENCE_PICTURE))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    detector = FireDetector(device="cpu", batch=1, verify=Verify(weights, sha256, 32, 0.5))
    detector.warm()
    info = detector.info.verifier
    assert info is not None
    assert (info.sha256, info.name, info.input_px, info.threshold) == (sha256, "redness", 32, 0.5)
    assert "verified by redness" in detector.why
    found = detector.detect([picture], 0.3)[0]
    bare = FireDetector(device="cpu", batch=1)
    bare.warm()  # as the other: a size that is prepared is computed in another order
    alone = bare.detect([picture], 0.3)[0]
    assert [(each.label, each.confidence, each.box) for each in found] == [
        (each.label, each.confidence, each.box) for each in alone
    ]
    assert all(each.verdict is None for each in alone)
    assert found[0].verdict is not None
    assert found[0].verdict.passed, "the drawn flame is red"


def test_the_verifier_judges_from_the_floor_of_the_settings_on(weights: Path) -> None:
    """What the detector is asked for below it is no detection."""
    verify = verify_in(DetectSettings(floor=0.2, verify=VerifySettings(weights=weights, threshold=0.4)))
    assert verify == Verify(weights, None, 64, 0.4, floor=0.2)
    detector = FireDetector(device="cpu", batch=1, verify=Verify(weights, None, 32, 0.5, floor=1.0))
    found = detector.detect([cv2.imread(str(REFERENCE_PICTURE))], 0.02)[0]
    assert found
    assert all(each.verdict is None for each in found)


@pytest.mark.parametrize(
    ("path", "sha256", "sentence"),
    [
        (None, "0" * 64, "these are not the weights expected"),
        (shipped.WEIGHTS, None, "not a verifier"),
        (Path("nowhere.onnx"), None, "cannot be read"),
    ],
)
def test_what_is_no_verifier_is_refused(weights: Path, path: Path | None, sha256: str | None, sentence: str) -> None:
    """One sentence: another file than was meant, a detector's weights, none."""
    with pytest.raises(DetectorError, match=sentence):
        FireDetector(device="cpu", batch=1, verify=Verify(path or weights, sha256))


def test_a_host_without_either_library_says_so(weights: Path) -> None:
    """The verifier is computed by OpenVINO or ONNX Runtime."""
    with pytest.raises(DetectorError, match="install openvino or onnxruntime"):
        load_verifier(Host(torch=True, cuda=True, openvino=False, onnxruntime=False), read_weights(weights))
    assert runtimes.look().openvino or runtimes.look().onnxruntime


@pytest.mark.parametrize("closer_look", [True, False])
def test_the_closer_look_is_the_settings(closer_look: bool) -> None:
    """On by default, through the real process; both looks reach whoever asks."""
    supervisor = Supervisor(**({} if closer_look else {"closer_look": False}))
    supervisor.start()
    client = WorkClient(supervisor.work_path)
    try:
        supervisor.wait_until("ready")
        answer = client.detect(cv2.imread(str(REFERENCE_PICTURE)), floor=0.3, deadline_s=20)
        assert [each.looks is not None for each in answer.detections] == [closer_look]
    finally:
        client.close()
        supervisor.kill()
        supervisor.close()


def test_verdicts_come_over_the_work_channel(weights: Path) -> None:
    """From the settings to whoever asked, through the real process; the asking end knows nothing of a second model."""
    supervisor = Supervisor(verify={"weights": str(weights), "input_px": 32, "threshold": 1.0})
    supervisor.start()
    client = WorkClient(supervisor.work_path)
    try:
        supervisor.wait_until("ready")
        answer = client.detect(cv2.imread(str(REFERENCE_PICTURE)), floor=0.3, deadline_s=20)
        assert answer.model is not None
        assert answer.model.verifier is not None
        assert answer.detections[0].verdict == Verdict(pytest.approx(0.99, abs=0.02), passed=False)
    finally:
        client.close()
        supervisor.kill()
        supervisor.close()
