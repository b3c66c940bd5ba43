# SPDX-License-Identifier: AGPL-3.0-or-later
"""The patrol: tiles of native resolution through the work channel, and what follows a hit on one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, takewhile

import numpy as np
import pytest

from daemon.clock import NS
from daemon.detect.boxes import normalised
from daemon.detect.rules import Zone
from daemon.detect.tiling import Tile, tile_around, tiles_of
from daemon.domain import Box, Detection
from daemon.ingest.focus import Focus
from daemon.messages import FrameWaiting, WorkRequest
from daemon.simulate.chart import Chart, Inset, make_chart
from daemon.simulate.farm import Camera, FarmThread
from tests.ingest.work_under_test import FakeWork
from tests.ingest.worker_under_test import FIRE, FPS, INPUT_PX, WorkerUnderTest

Start = Callable[..., WorkerUnderTest]
SIZE = (960, 640)
FLAME: Box = (500.0, 300.0, 512.0, 316.0)
OTHER: Box = (180.0, 250.0, 188.0, 262.0)
RESTLESS_PX = (640, 144)  # in the middle of the chart: FLAME and OTHER lie in it


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """A chart three times and twice the detector's input, a key frame every second."""
    return make_chart(tmp_path_factory.mktemp("large") / "large.mp4", size=SIZE, fps=FPS, gop_s=1, seconds=12)


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """The same, and in its middle nothing looks as it did a key frame before."""
    width, height = RESTLESS_PX

    def picture(number: int) -> np.ndarray:
        coarse = np.random.default_rng(number // FPS).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        return np.kron(coarse, np.ones((4, 4, 1), np.uint8))

    path = tmp_path_factory.mktemp("restless") / "restless.mp4"
    return make_chart(path, size=SIZE, fps=FPS, gop_s=1, seconds=12, inset=Inset(RESTLESS_PX, picture))


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


def of_hints(work: FakeWork) -> list[WorkRequest]:
    """What was asked of the work channel for hints: tiles as large as the input, not larger."""
    return [each for each in work.requests if is_of_hint(each)]


def is_of_hint(request: WorkRequest) -> bool:
    return (request.width_px, request.height_px) == (INPUT_PX, INPUT_PX)


def begun_s(requests: Sequence[WorkRequest]) -> list[float]:
    """When each look at hints, of up to four tiles, began."""
    asked = [each.deadline_mono_ns / NS for each in requests]
    return [at for at, before in zip(asked, [0.0, *asked], strict=False) if at - before > 0.7]


def test_where_the_whole_has_a_hint_it_is_looked_at_between_rounds(
    restless: Chart, start: Start, work: FakeWork
) -> None:
    """What the whole picture shows too weakly to report is found by the tile round it, long before the next round."""
    tiles, crop = tiles_of(SIZE, INPUT_PX), tile_around(normalised(FLAME, SIZE), SIZE, INPUT_PX)
    work.sees = lambda request: flame_in(crop) if is_of_hint(request) else ()
    with FarmThread([Camera("hall", restless.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=6.0)
        worker.detector.hints = lambda message: () if is_tile(message) else (FLAME,)
        worker.detector.sees = lambda message, _: flame_in(crop) if is_tile(message) else ()
        worker.until(lambda: worker.got.stills, "a suspect")
        first = worker.got.stills[0][0]
        assert (first.kind, [each.box for each in first.detections]) == ("first_suspect", [FLAME])
        assert len(of_hints(work)) == 1
        assert len(work.requests) == len(tiles) + 1, "the first round has to come before, and no second one did"
        looked = next(each for each in worker.got.looked if each.message.pts == first.pts)
        assert not is_tile(looked.message), "of the frame whose hint it was"
        worker.until(lambda: worker.got.incidents[-1].incident.state == "confirmed", "confirmed, as after a round")


def test_a_hint_that_comes_to_nothing_is_left_alone(restless: Chart, start: Start, work: FakeWork) -> None:
    """A place is not looked at again for half a minute, whatever the whole picture hints at; others are.

    Nothing is what its tile shows elsewhere, or as smoke, or cut by its border, however surely.
    """
    middle = INPUT_PX / 2
    elsewhere = (30.0, 30.0, 42.0, 42.0), (middle - 6, INPUT_PX - 9.0, middle + 6, float(INPUT_PX))
    at_it = Detection("smoke", 0.9, (middle - 6, middle - 8, middle + 6, middle + 8))
    scraps = at_it, *(Detection("fire", 0.9, box) for box in elsewhere)
    work.sees = lambda request: scraps if is_of_hint(request) else ()
    weak = (Detection("smoke", 0.2, (700.0, 80.0, 710.0, 90.0)), Detection("fire", 0.2, OTHER))
    with FarmThread([Camera("hall", restless.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=6.0)
        worker.detector.hints = lambda _: (FLAME,)
        worker.until(lambda: of_hints(work), "a look")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 7, "seven key frames")
        assert len(of_hints(work)) == 1
        worker.detector.sees = lambda *_: weak
        worker.until(lambda: len(of_hints(work)) == 2, "a look at what counts weakly elsewhere")
        count = len(worker.got.looked)
        worker.until(lambda: len(worker.got.looked) >= count + 7, "seven more")
        assert len(of_hints(work)) == 2, "smoke is none: a tile shows no more of it than the whole"
        assert worker.got.incidents == []


def test_what_counted_is_not_left_alone(restless: Chart, start: Start, work: FakeWork) -> None:
    """A suspicion that nothing bears out leaves no doubt of its place: it is looked at again long before half a minute."""
    crop = tile_around(normalised(FLAME, SIZE), SIZE, INPUT_PX)
    work.sees = lambda request: flame_in(crop) if is_of_hint(request) else ()
    with FarmThread([Camera("hall", restless.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=6.0, unconfirmed_after_s=2.0)
        worker.detector.hints = lambda message: () if is_tile(message) else (FLAME,)
        worker.until(lambda: worker.got.incidents, "a suspect")
        # the next suspect may be told in the same moment as this one's end
        worker.until(lambda: any(each.incident.state == "unconfirmed" for each in worker.got.incidents), "its end")
        worker.until(lambda: len(of_hints(work)) >= 2, "another look")


def test_the_first_four_that_are_credible_are_followed(restless: Chart, start: Start, work: FakeWork) -> None:
    """Stronger ones that stand there, are large, or lie in an ignore zone take nobody's place."""
    crop = tile_around(normalised(FLAME, SIZE), SIZE, INPUT_PX)
    stand: list[Box] = [(140.0, y, 148.0, y + 12) for y in (110.0, 238.0, 366.0)]  # at corners of patches
    large: Box = (180.0, 190.0, 290.0, 320.0)
    stove: Box = (700.0, 250.0, 708.0, 262.0)
    zone = Zone("stove", ((0.7, 0.3), (0.78, 0.3), (0.78, 0.5), (0.7, 0.5)))
    work.sees = lambda request: flame_in(crop) if is_of_hint(request) else ()
    with FarmThread([Camera("hall", restless.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=6.0, zones=(zone,))
        worker.detector.hints = lambda message: () if is_tile(message) else (*stand, large, stove, FLAME)
        worker.until(lambda: worker.got.stills, "a suspect")
        assert [each.box for each in worker.got.stills[0][0].detections] == [FLAME]
        assert len(of_hints(work)) == 1


def test_a_look_that_the_detector_has_no_time_for_is_no_look(restless: Chart, start: Start, work: FakeWork) -> None:
    """The place is not in doubt after it: the next picture is looked at there."""
    crop = tile_around(normalised(FLAME, SIZE), SIZE, INPUT_PX)
    tiles = tiles_of(SIZE, INPUT_PX)
    work.sees = lambda request: flame_in(crop) if is_of_hint(request) else ()
    with FarmThread([Camera("hall", restless.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=8.0)
        worker.until(lambda: len(work.requests) == len(tiles), "the first round")
        work.outcome = lambda _: "analysed" if len(of_hints(work)) > 1 else "overloaded"
        worker.detector.hints = lambda message: () if is_tile(message) else (FLAME,)
        worker.until(lambda: worker.got.stills, "a suspect")
        assert [each.box for each in worker.got.stills[0][0].detections] == [FLAME]
        assert len(of_hints(work)) == 2


def test_hints_cost_no_more_than_rounds(restless: Chart, start: Start, work: FakeWork) -> None:
    """New ones in every picture: a look every two seconds at most, and between two rounds as many tiles as one has."""
    tiles = tiles_of(SIZE, INPUT_PX)
    frames = count()

    def hints(_: FrameWaiting) -> tuple[Box, ...]:
        """Three that no two share a tile, at places that never were before."""
        at = next(frames)
        y = 186.0 + 26 * (at % 5)
        return tuple((x + at // 5 * 30, y, x + at // 5 * 30 + 6, y + 6) for x in (165.0, 400.0, 640.0))

    with FarmThread([Camera("hall", restless.path)]) as farm:
        worker = start(farm.url("hall"), work_socket=str(work.path), patrol_s=9.0)
        worker.detector.hints = hints
        worker.until(lambda: len(work.requests) - len(of_hints(work)) > len(tiles), "the second round", 40.0)
        between = list(takewhile(is_of_hint, work.requests[len(tiles) :]))
        assert len(between) == len(tiles), "three tiles, twice"
        begun = begun_s(between)
        assert len(begun) == 2
        assert begun[1] - begun[0] > 1.5, "though key frames come every second"


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
    work.outcome = lambda _: outcome
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
