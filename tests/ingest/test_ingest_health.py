# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frozen and no picture: what is found, from when on it counts, and that neither night nor a still scene is one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.clock import NS
from daemon.ingest.colour import luma_of
from daemon.ingest.condition import Condition, Signs, Watch, judge
from daemon.ingest.health import Health, Moment
from daemon.messages import Watermark
from daemon.simulate.bitstream import CODECS
from daemon.simulate.chart import Chart
from daemon.simulate.encoder import Encoder, Encoding, Target
from daemon.simulate.farm import Camera, FarmThread
from daemon.simulate.library import prepare
from daemon.simulate.scene import Scene
from tests.ingest.worker_under_test import WorkerUnderTest

Luma = NDArray[np.uint8]
Start = Callable[..., WorkerUnderTest]
Coded = Callable[..., list[str]]
SIZE = (360, 640)
KEYS_S = 2.0
CLIPS = Path(os.environ.get("FIREWITNESS_DATA", "/none")) / "clips"
CHANCE = np.random.default_rng(7)
ROOM: Luma = cv2.cvtColor(cv2.resize(Scene().picture(1.0), (640, 360)), cv2.COLOR_BGR2GRAY).astype(np.uint8)


def noisy(picture: NDArray[np.generic], sigma: float) -> Luma:
    """A picture as a sensor sees it, in studio levels."""
    return np.clip(picture + CHANCE.normal(0, sigma, picture.shape), 16, 235).astype(np.uint8)


def flat(level: int) -> Luma:
    return np.full(SIZE, level, np.uint8)


def shown(pictures: list[Luma], health: Health | None = None, every_s: float = KEYS_S) -> list[str]:
    """What is said after each of these key frames."""
    health = health or Health()
    said = []
    for place, luma in enumerate(pictures):
        at_ns = round(place * every_s * NS)
        health.look(luma, Moment(at_ns, at_ns + NS))
        said.append(health.condition.reason)
    return said


def test_a_frozen_picture_is_found_after_ten_seconds() -> None:
    """And counts from the first key frame on that showed it; the first other one ends it."""
    health = Health()
    live = [noisy(ROOM, 1.5) for _ in range(5)]
    assert shown([*live, *[live[-1]] * 4], health) == ["ok"] * 9
    assert shown([*live, *[live[-1]] * 8]) == ["ok"] * 9 + ["frozen"] * 4
    assert shown([*[live[0]] * 8, *live]) == ["ok"] * 5 + ["frozen"] * 3 + ["frozen", *["ok"] * 4]
    found = Health()
    shown([*live, *[live[-1]] * 8], found)
    assert found.condition.since_at_ns == 8 * NS + NS


def test_a_clock_burnt_into_a_frozen_picture_does_not_hide_it(coded: Coded) -> None:
    """Cameras whose sensor has died go on to write the time into the picture, and to code it anew."""
    pictures = []
    for place in range(10):
        picture = ROOM.copy()
        cv2.putText(picture, f"10:00:{place:02d}", (20, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
        pictures.append(picture)
    assert shown(pictures)[-1] == "frozen"
    assert coded(pictures, bitrate=2_000_000)[-1] == "frozen"


def test_key_frames_far_apart_need_three() -> None:
    """A glance every five seconds is enough; two pictures alone never are; more than a minute apart they say nothing."""
    assert shown([ROOM] * 4, every_s=5) == ["ok", "ok", "frozen", "frozen"]
    assert shown([ROOM] * 3, every_s=30) == ["ok", "ok", "frozen"]
    assert set(shown([ROOM] * 9, every_s=61)) == {"ok"}


@pytest.mark.parametrize("light", [1.0, 0.1])
@pytest.mark.parametrize("target", [{"quality": 23}, {"quality": 44}, {"bitrate": 100_000}])
def test_a_still_but_noisy_scene_is_not_frozen(coded: Coded, light: float, target: dict[str, int]) -> None:
    """Nothing moves; what is coded leaves hardly anything of the noise: by day and in the dark, to the worst quality."""
    assert set(coded([noisy(16 + (ROOM - 16.0) * light, 0.7) for _ in range(9)], **target)) == {"ok"}


@pytest.fixture
def coded(tmp_path: Path) -> Coded:
    """What is said of pictures once an encoder has made key frames of them, with ten pictures of each in a GOP."""

    def said(pictures: list[Luma], **wanted: int) -> list[str]:
        path = tmp_path / "coded.mp4"
        target = Target(CODECS["h264"], (SIZE[1], SIZE[0]), Fraction(5), 10, **wanted)  # type: ignore[arg-type]
        with Encoder(path, target) as encoder:
            for picture in pictures:
                for _ in range(10):
                    encoder.add(av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), format="bgr24"))
        return shown(list(_keys_of(path)))

    return said


def _keys_of(path: Path) -> Iterator[Luma]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONKEY"
        for frame in container.decode(stream):
            yield luma_of(frame)


def test_a_lens_cap_is_found(coded: Coded) -> None:
    """Black at once and without noise, and a camera that has been so from the start; the room is back: ok at once."""
    live = [noisy(ROOM, 1.5) for _ in range(5)]
    said = shown([*live, *[flat(16)] * 8, *live])
    assert said == ["ok"] * 10 + ["no_picture"] * 3 + ["ok"] * 5
    assert shown([flat(16)] * 7)[-1] == "no_picture"
    assert set(coded([*live[:3], *[flat(16)] * 8])[-2:]) == {"no_picture"}


def test_a_lens_cap_under_the_cameras_own_text_is_found() -> None:
    """The name and the running clock at the borders are not what it sees."""
    capped = []
    for place in range(10):
        picture = flat(16)
        cv2.putText(picture, f"GATE 3 10:00:{place:02d}", (20, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 235, 2)
        capped.append(picture)
    assert shown(capped)[-1] == "no_picture"


def test_a_covered_camera_is_found() -> None:
    """An even grey where there is light: paint, paper, a hand; whatever the noise."""
    live = [noisy(ROOM, 1.5) for _ in range(3)]
    said = shown([*live, *[noisy(flat(120), 3.0) for _ in range(8)]])
    assert said == ["ok"] * 8 + ["no_picture"] * 3


def test_darkness_with_its_noise_is_no_fault(coded: Coded) -> None:
    """The light goes out, and the sensor shows what its gain makes of nothing; coded at a low rate as well."""
    live, dark = noisy(ROOM, 1.5), [noisy(flat(20), 3.0) for _ in range(12)]
    assert set(shown([live, live, *dark])) == {"ok"}
    assert set(shown(dark)) == {"ok"}
    assert set(coded([live, *dark[:8]], bitrate=100_000)) == {"ok"}


def test_a_gradual_nightfall_is_no_fault() -> None:
    """Down to a black in which no noise is left: the picture went slowly, so it was night that came; and the morning."""
    dusk = [noisy(16 + (ROOM - 16.0) * 0.96**step, 1.5 * 0.97**step) for step in range(150)]
    night = [flat(16)] * 60
    assert set(shown([*dusk, *night, *dusk[::-1]])) == {"ok"}


def test_a_lamp_in_the_dark_is_a_picture() -> None:
    """Black all around and without noise, but for one lamp and its glow, which are alive."""

    def lamp() -> Luma:
        picture = flat(16)
        picture[150:180, 300:330] = noisy(flat(200)[:30, :30], 3.0)
        return picture

    assert set(shown([noisy(ROOM, 1.5), *[lamp() for _ in range(12)]])) == {"ok"}


def test_the_switch_to_infrared_is_no_fault() -> None:
    """A moment of black while the filter moves, then another picture of the same scene."""
    day, night = [noisy(ROOM, 1.5) for _ in range(8)], [noisy(200 - ROOM * 0.6, 4.0) for _ in range(8)]
    assert set(shown([*day, flat(16), flat(16), *night])) == {"ok"}


def test_our_own_simulated_camera_is_well(chart: Chart) -> None:
    """The drawn room is quiet and not still; nor is the numbered chart, whose bar moves."""
    scene = Scene()
    room = [cv2.cvtColor(scene.picture(60 + 2.0 * step), cv2.COLOR_BGR2GRAY).astype(np.uint8) for step in range(12)]
    assert set(shown(room)) == {"ok"}
    assert set(shown(list(_keys_of(chart.path)))) == {"ok"}


@pytest.mark.skipif(not CLIPS.is_dir(), reason="FIREWITNESS_DATA is not set")
@pytest.mark.parametrize("name", ["night_road", "house_night", "neon", "corridor", "warehouse", "pit"])
def test_real_clips_are_well(name: str, tmp_path: Path) -> None:
    """By night and by day, with hardly anything moving, coded at a low rate, in a loop of a minute."""
    keys = list(_keys_of(prepare(CLIPS / f"{name}.mp4", Encoding(size=(640, 360), gop=25, bitrate=150_000), tmp_path)))
    assert len(keys) >= 4
    assert set(shown((keys * 20)[:40], every_s=1.0)) == {"ok"}


def test_ten_bits_are_eight(tmp_path: Path) -> None:
    """The luma of a deeper format is brought to 8 bits; of the usual one it is as coded, without a copy."""
    ramp = np.tile(np.arange(0, 240, dtype=np.uint8), (16, 1))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp), format="gray")
    usual = frame.reformat(format="yuv420p", threads=1)
    deep = usual.reformat(format="yuv420p10le", threads=1)
    assert not luma_of(usual).flags.owndata
    assert np.abs(luma_of(deep).astype(int) - luma_of(usual)).max() <= 1


def test_picture_health_has_its_place_among_the_causes() -> None:
    """After what keeps packets from coming, before the detector, with its beginning; watched frames in a row end there."""
    frozen = Condition("frozen", "nothing changes", 5)
    assert judge(Signs(health=frozen, detector_ready=False), 5, 2) == frozen
    assert judge(Signs(connection=Condition("refused"), health=frozen), 5, 2).reason == "refused"
    watch = Watch(2.0)
    for place in range(1, 6):
        watch.watched("run", place, place * NS, place * NS)
    mark: Watermark = watch.watermark(frozen, 6 * NS, 6 * NS)
    assert (mark.condition, mark.since_at_ns, mark.in_row) == ("frozen", 5, 0)


def test_frozen_and_black_cameras_are_told(chart: Chart, start: Start) -> None:
    """At the seam: found 10 s after it began and dated back to then, nothing watched meanwhile, and it ends by itself.

    Where only the sub-stream is frozen, the main stream keeps watch.
    """
    cameras = [Camera(name, chart.path) for name in ("frozen", "black", "main", "sub")]
    with FarmThread(cameras) as farm:
        frozen, black = start(farm.url("frozen")), start(farm.url("black"))
        both = start(farm.url("main"), detect_url=farm.url("sub"), patrol_s=0.0)
        workers = [frozen, black, both]
        wait_for(workers, lambda: all(len(each.got.looked) >= 4 for each in workers), "frames")
        for name, fault in (("frozen", "freeze"), ("black", "black"), ("sub", "freeze")):
            farm.command(name, fault)
        told = {"frozen": frozen, "no_picture": black}
        wait_for(workers, lambda: all(worker.condition == reason for reason, worker in told.items()), "both are told")
        for reason, worker in told.items():
            check_told(next(each for each in worker.got.watermarks if each.condition == reason))
        wait_for(workers, lambda: both.beat and both.beat.sub_condition == "frozen", "the sub-stream is told")
        marks = [frozen.got.watermarks[-1], black.got.watermarks[-1], both.got.watermarks[-1]]
        wait_for(workers, lambda: both.got.watermarks[-1].frames_watched >= marks[2].frames_watched + 3, "watched")
        assert frozen.got.watermarks[-1].frames_watched == marks[0].frames_watched
        assert black.got.watermarks[-1].frames_watched == marks[1].frames_watched
        assert both.beat is not None
        assert (both.beat.condition, both.beat.detail.split(",")[0]) == (
            "ok",
            "detection runs on the main stream: the sub-stream is frozen",
        )
        farm.command("*", "resume")
        wait_for(workers, lambda: all(each.condition == "ok" for each in workers), "ok")
        wait_for(workers, lambda: all(each.got.watermarks[-1].in_row >= 3 for each in workers), "watched again")


def check_told(mark: Watermark) -> None:
    """The first watermark that tells: when it began, and that until it was found frames still counted."""
    assert mark.since_at_ns is not None
    assert mark.watched_at_ns is not None
    assert 10 * NS <= mark.at_ns - mark.since_at_ns <= 14 * NS
    assert 8 * NS <= mark.watched_at_ns - mark.since_at_ns <= 11 * NS
    assert mark.in_row == 0


def wait_for(workers: list[WorkerUnderTest], condition: Callable[[], object], what: str) -> None:
    """Serves all of them until it holds."""

    def holds() -> object:
        for each in workers[1:]:
            each.pump()
        return condition()

    workers[0].until(holds, what, 40)
