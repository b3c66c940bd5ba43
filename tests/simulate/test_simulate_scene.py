# SPDX-License-Identifier: AGPL-3.0-or-later
"""The drawn scene: repeatable, alive, and for the shipped detector a fire from its second on and nothing before."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from daemon import shipped
from daemon.simulate import recording
from daemon.simulate.scene import FIRE_FROM_S, FIRE_UNTIL_S, LOOP_S, QUIET_PERIOD_S, Scene, flame_height_px

INPUT = (384, 640)  # height, width of the model's input; the picture is 360 high


@pytest.fixture(scope="module")
def scene() -> Scene:
    """The scene as it ships."""
    return Scene()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip as a new user's first start makes it."""
    return recording.recorded_scene(tmp_path_factory.mktemp("recording"))


@pytest.mark.parametrize("at_s", [3.0, 12.4, 30.0, 47.0, 80.0])
def test_a_second_is_always_the_same(at_s: float, scene: Scene) -> None:
    """Another process would draw the same picture, in whatever order it is asked; the next loop too."""
    picture = scene.picture(at_s)
    scene.picture(at_s + 5)
    assert picture.shape == (720, 1280, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, Scene().picture(at_s))
    assert np.array_equal(picture, scene.picture(at_s + LOOP_S))


def test_another_seed_is_another_scene(scene: Scene) -> None:
    """The seed reaches noise and flame."""
    assert not np.array_equal(scene.picture(20), Scene(2).picture(20))


def test_the_quiet_room_has_a_sensors_noise(scene: Scene) -> None:
    """Neighbouring quiet pictures differ everywhere a little, as a real camera's do."""
    first, second = (scene.picture(at_s).astype(int) for at_s in (5.0, 5.0 + 1 / recording.FPS))
    wall = np.abs(second - first)[330:440, 440:480]
    assert 1 < wall.std() < 4
    assert (wall > 0).mean() > 0.7
    assert wall.max() < 24


def test_the_fires_life() -> None:
    """Nothing before, at once visible, grown within seconds, gone in time for the room to be quiet again."""
    assert flame_height_px(FIRE_FROM_S - 0.01) == flame_height_px(FIRE_UNTIL_S) == flame_height_px(0) == 0
    assert flame_height_px(FIRE_FROM_S) > 15
    assert flame_height_px(FIRE_FROM_S + 2) > 50
    assert flame_height_px(FIRE_FROM_S + 10) > 150
    assert (LOOP_S - FIRE_UNTIL_S) % QUIET_PERIOD_S == 0


def decoded(path: Path) -> list[tuple[float, av.VideoFrame]]:
    """Every 5th picture and its second."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = enumerate(container.decode(video=0))
        return [(number / recording.FPS, frame) for number, frame in frames if number % 5 == 0]


def test_the_shipped_model_sees_the_fire_and_nothing_else(clip: Path) -> None:
    """After H.264: fire that counts in nine of ten frames from 2 s after it began, at times above 0.5; nothing in the quiet room."""
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().read_model(shipped.WEIGHTS)
    model.reshape([1, 3, *INPUT])
    network = openvino.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    fires, quiet = {}, []
    for at_s, frame in decoded(clip):
        small = frame.reformat(640, 360, "rgb24", interpolation="AREA", threads=1).to_ndarray()
        boxed = np.full((*INPUT, 3), 114, np.uint8)
        boxed[12:372] = small
        scores = network(boxed.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0][0]
        if FIRE_FROM_S <= at_s < FIRE_UNTIL_S:
            fires[at_s] = (float(scores[4].max()), scores[:2, scores[4].argmax()])
        else:
            quiet.append((float(scores[4].max()), float(scores[5].max())))
    steady = {at_s: fire for at_s, fire in fires.items() if FIRE_FROM_S + 2 <= at_s < FIRE_UNTIL_S - 2}
    assert np.mean([score >= shipped.FIRE for score, _ in steady.values()]) >= 0.9
    assert min(score for score, _ in steady.values()) >= 0.3
    assert max(score for score, _ in steady.values()) > 0.5
    assert all(430 < x < 515 and 120 < y < 230 for _, (x, y) in steady.values()), "the box is where the fire is drawn"
    assert max(fire for fire, _ in quiet) < 0.20
    assert max(smoke for _, smoke in quiet) < 0.25


def test_the_clip_is_what_a_camera_sends(clip: Path) -> None:
    """720p H.264, BT.709 limited and saying so, a key frame every 2 s, the whole loop, no two key frames alike."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 1280, 720)
        assert stream.average_rate == recording.FPS
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert len(packets) == LOOP_S * recording.FPS
    step = recording.FPS * recording.KEY_EVERY_S
    assert [place for place, packet in enumerate(packets) if packet.is_keyframe] == list(range(0, len(packets), step))
    times = [packet.dts for packet in packets]
    assert all(later - earlier == times[1] - times[0] for earlier, later in pairwise(times))
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONKEY"
        keys = list(container.decode(video=0))
        lumas = [frame.to_ndarray(format="gray", threads=1)[330:440, 440:480].astype(int) for frame in keys]
    assert all((frame.colorspace, frame.color_range, frame.color_primaries) == (1, 1, 1) for frame in keys)
    assert all((later != earlier).mean() > 0.3 for earlier, later in pairwise(lumas))


def test_the_colours_survive(clip: Path, scene: Scene) -> None:
    """By its tags the picture decodes to the drawn colours, within 5; taken for BT.601 the flame would be far off."""
    at_s, frame = decoded(clip)[90]
    drawn = scene.picture(at_s).astype(float)

    def errors(**how: Any) -> list[float]:
        picture = frame.to_ndarray(format="bgr24", threads=1, **how).astype(float)
        places = ((946, 370, 12), (930, 490, 30), (527, 465, 30), (150, 400, 30), (640, 320, 200))
        areas = [(slice(y - r, y + r), slice(x - r, x + r)) for x, y, r in places]
        return [float(np.abs(picture[area].mean((0, 1)) - drawn[area].mean((0, 1))).max()) for area in areas]

    assert max(errors()) < 5
    assert errors(src_colorspace="ITU601")[0] > 8


def test_the_clip_is_kept(clip: Path) -> None:
    """A second start finds it and draws nothing; nothing half-made lies beside it."""
    before = clip.stat()
    assert recording.recorded_scene(clip.parent) == clip
    assert clip.stat().st_mtime_ns == before.st_mtime_ns
    assert list(clip.parent.iterdir()) == [clip]


def test_old_clips_and_leftovers_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier version or a killed process left is removed; what another process is making is not."""
    monkeypatch.setattr(recording, "record", lambda path: path.write_bytes(b"clip"))
    for name in ("simulated-0123.mp4", "simulated-4567.mp4.99.1.part", "simulated-89ab.mp4.98.1.part", "mine.mp4"):
        (tmp_path / name).write_bytes(b"")
    for name in ("simulated-0123.mp4", "simulated-4567.mp4.99.1.part", "mine.mp4"):
        os.utime(tmp_path / name, (1, 1))
    made = recording.recorded_scene(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {made.name, "simulated-89ab.mp4.98.1.part", "mine.mp4"}


def test_a_broken_off_recording_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the clip's name nor a part is there after drawing failed midway."""

    class Broken(Scene):
        def picture(self, at_s: float) -> np.ndarray:
            if at_s > 0.4:
                raise KeyboardInterrupt
            return super().picture(at_s)

    monkeypatch.setattr("daemon.simulate.scene.Scene", Broken)
    with pytest.raises(KeyboardInterrupt):
        recording.recorded_scene(tmp_path)
    assert list(tmp_path.iterdir()) == []
