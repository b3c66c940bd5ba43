# SPDX-License-Identifier: AGPL-3.0-or-later
"""The patrol: tiles of native resolution through the work channel, and what follows a hit on one of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from daemon.clock import NS
from daemon.detect.tiling import Tile, tile_around, tiles_of
from daemon.domain import Box, Detection
from daemon.ingest.focus import Focus
from daemon.messages import FrameWaiting
from daemon.simulate.chart import Chart, make_chart
from daemon.simulate.farm import Camera, FarmThread
from tests.ingest.work_under_test import FakeWork
from tests.ingest.worker_under_test import FIRE, FPS, INPUT_PX, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
SIZE = (960, 640)
FLAME: Box = (500.0, 300.0, 512.0, 316.0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """A chart three times and twice the detector's input, a key frame every second."""
    return make_chart(tmp_path_factory.mktemp("large") / "large.mp4", size=SIZE, fps=FPS, gop_s=1, seconds=12)


def is_tile(message: FrameWaiting) -> bool:
    return message.original_width_px == INPUT_PX == message.original_height_px


def flame_in(tile: Tile) -> tuple[Detection, ...]:
    """The flame as that tile shows it, where its middle lies in it."""
    x1, y1, x2, y2 = (each - (tile.left, tile.top)[place % 2] for place, each in enumerate(FLAME))
    inside = 0 <= (x1 + x2) / 2 < tile.width and 0 <= (y1 + y2) / 2 < tile.height
    box = (max(0.0, x1), max(0.0, y1), min(float(tile.width), x2), min(float(tile.height), y2))
    return (Detection("fire", 0.8, box),) if inside else ()


def test_what_is_too_small_for_the_whole_is_found_and_confirmed(large: Chart, start: Start, work: FakeWork) -> None:
    """A flame that only native resolution shows: suspect by a tile of a key frame, confirmed by tiles of live frames."""
    tiles = tiles_of(SIZE, INPUT_PX)
    work.sees = lambda _: (
        flame_in(tiles[(len(work.requests) - 1) % len(tiles)]) if len(work.requests) > len(tiles) else ()
    )

    def patrolled() -> int:
        return sum(each.kind == "patrol" for each in work.requests)

    crop = tile_around((FLAME[0] / 960, FLAME[1] / 640, FLAME[2] / 960, FLAME[3] / 640), SIZE, INPUT_PX)
    burns = True
    with FarmThread([Camera("hall", large.path)]) as farm:
        worker = start(
            farm.url("hall"), work_socket=str(work.path), patrol_s=1.0, ended_after_s=2.0, unconfirmed_after_s=2.0
        )
        worker.detector.sees = lambda message, _: flame_in(crop) if burns and is_tile(message) else ()
        states: list[str] = []

        def confirmed() -> bool:
            states[:] = [each.incident.state for each in worker.got.incidents]
            return "confirmed" in states

        worker.until(confirmed, "a confirmed incident")
        assert states == ["suspect", "confirmed"]
        first = worker.got.stills[0][0]
        assert first.kind == "first_suspect"
        assert (first.width_px, first.height_px) == SIZE
        assert [each.box for each in first.detections] == [FLAME], "once, though tiles overlap, in the picture's pixels"
        looked = next(each for each in worker.got.looked if each.message.pts == first.pts)
        assert looked.number is not None
        assert looked.number % FPS == 0, "of that key frame"
        then = next(each for each, _ in worker.got.stills if each.kind == "first_confirmed")
        assert [each.box for each in then.detections] == [FLAME]
        count, rounds = len(worker.got.looked), patrolled()
        worker.until(lambda: len(worker.got.looked) >= count + 15, "three seconds of it")
        part = [is_tile(each.message) for each in worker.got.looked[count:]]
        assert part.count(False) >= 2, "the whole picture about once a second"
        assert part.count(True) >= 3 * part.count(False)
        assert patrolled() == rounds, "no patrol while something is open"
        beat = worker.beat
        assert beat is not None
        assert beat.interval_s is None or beat.interval_s <= 1.3
        assert all(each.interval_s is None or each.interval_s <= 2 for each in worker.got.watermarks[-2:])
        burns, work.sees = False, lambda _: ()
        worker.until(lambda: worker.got.incidents[-1].incident.state == "ended", "its end")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 3, "quiet")
        assert not any(is_tile(each.message) for each in worker.got.looked[count + 1 :])


def test_a_round_is_one_picture_in_its_own_pixels(large: Chart, start: Start, work: FakeWork) -> None:
    """The tiles of a round make up one key frame, pixel for pixel; rounds keep their distance; nothing is raised."""
    tiles = tiles_of(SIZE, INPUT_PX)
    with FarmThread([Camera("hall", large.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=2.0, floor=0.07)
        worker.until(lambda: len(work.requests) >= 2 * len(tiles), "two rounds")
        whole = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        for tile, pixels in zip(tiles, work.pixels[: len(tiles)], strict=True):
            assert pixels.shape == (tile.height, tile.width, 3)
            tile.of(whole)[:] = pixels
        assert Chart.read_frame_number(whole) % FPS == 0
        for x, y, colour in large.patches:
            assert np.abs(whole[y, x].astype(int) - colour).max() <= 3
        assert {(each.kind, each.floor) for each in work.requests} == {("patrol", 0.07)}
        begun = [each.deadline_mono_ns for each in work.requests[:: len(tiles)]]
        assert (begun[1] - begun[0]) / NS >= 1.9
        assert worker.got.incidents == []


@pytest.mark.parametrize(("share", "raised"), [(0.4, True), (0.6, False)])
def test_what_fills_a_tile_is_the_whole_pictures(
    large: Chart, start: Start, work: FakeWork, share: float, raised: bool
) -> None:
    """Smoke over more than half of a tile begins nothing; the first round only learns what stands there."""
    tiles = tiles_of(SIZE, INPUT_PX)

    def sees(_: object) -> tuple[Detection, ...]:
        number = len(work.requests) - 1
        tile = tiles[number % len(tiles)]
        shown = number >= len(tiles) and number % len(tiles) == 0
        return (Detection("smoke", 0.8, (9.0, 9.0, 9 + share * tile.width, 9 + 0.3 * tile.height)),) if shown else ()

    work.sees = sees
    with FarmThread([Camera("hall", large.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=1.0)
        if raised:
            worker.until(lambda: worker.got.incidents, "a suspicion")
        else:
            worker.until(lambda: len(work.requests) >= 4 * len(tiles), "four rounds")
            assert worker.got.incidents == []


@pytest.mark.parametrize("outcome", ["overloaded", "not_ready"])
def test_a_busy_detector_ends_the_round(large: Chart, start: Start, work: FakeWork, outcome: str) -> None:
    """What the detector has no time for is let go: no condition, nothing asked again before the next round."""
    work.outcome = outcome
    with FarmThread([Camera("hall", large.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=1.0)
        worker.until(lambda: len(work.requests) >= 4, "two rounds")
        deadlines = [each.deadline_mono_ns / NS for each in work.requests]
        assert deadlines[2] - deadlines[1] > 0.5, "two tiles, and no more of that round"
        worker.until(lambda: worker.got.watermarks[-1].in_row >= 3, "watched frames")
        assert worker.condition == "ok"


def test_a_camera_that_loses_nothing_is_not_patrolled(chart: Chart, start: Start, work: FakeWork) -> None:
    """A picture no larger than the detector's input is seen whole in its own resolution anyway; 0 means never."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.1)
        worker.until(lambda: len(worker.got.looked) >= 4, "key frames")
        assert work.requests == []


def test_a_fire_that_the_whole_shows_needs_no_tiles(large: Chart, start: Start, work: FakeWork) -> None:
    """Native tiles are for what the patrol alone has found."""
    with FarmThread([Camera("hall", large.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=0.0)
        worker.detector.sees = lambda *_: (FIRE,)
        worker.until(lambda: len(worker.got.stills) >= 6, "stills")
        assert not any(is_tile(each.message) for each in worker.got.looked)


def test_focus_shows_the_places_and_the_whole() -> None:
    """Of five frames a second four are a tile, a second for each place; beside other incidents every second frame is."""
    focus, step = Focus(640, 2.0), NS // 5
    places: list[Box] = [(0.1, 0.1, 0.12, 0.12), (0.8, 0.8, 0.82, 0.82)]
    shown = [focus.next(places, False, (1920, 1080), number * step) for number in range(1, 31)]
    assert sum(tile is None for tile in shown) in (5, 6)
    wholes = [place for place, tile in enumerate(shown) if tile is None]
    assert max(np.diff(wholes)) <= 5
    between = shown[wholes[0] + 1 : wholes[1]], shown[wholes[1] + 1 : wholes[2]]
    assert all(len({*each}) == 1 and len(each) >= 3 for each in between)
    assert between[0][0] != between[1][0]
    both = [focus.next(places[:1], True, (1920, 1080), (40 + number) * step) is None for number in range(10)]
    assert both in ([True, False] * 5, [False, True] * 5)
    assert focus.next([], True, (1920, 1080), 60 * step) is None
