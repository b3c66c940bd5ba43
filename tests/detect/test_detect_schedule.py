# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is computed next: fairness, replacement, priority, refusal."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.detect.schedule import CAPS, WORK_EVERY, Job, LiveFrames, Schedule, WorkQueue

WIDE, SQUARE = (384, 640), (640, 640)


def job(
    name: str, kind: str = "post", *, shape=WIDE, deadline_s: float = 1000, size: int = 1, owner: str = "me"
) -> Job[str]:
    return Job(name, kind, shape, deadline_s, size, owner)


def test_a_newer_frame_replaces_the_one_that_waits() -> None:
    """A camera has at most one waiting frame, the newest, and the older one is given back."""
    frames: LiveFrames[str] = LiveFrames()
    assert frames.offer("a", "a1", WIDE) is None
    assert frames.offer("a", "a2", WIDE) == "a1"
    assert frames.take(8) == ("a2",)
    assert frames.take(8) == ()


def test_cameras_take_turns() -> None:
    """With more cameras than a batch holds, each is served once before any is served again."""
    frames: LiveFrames[str] = LiveFrames()
    served: Counter[str] = Counter()
    for _ in range(10):
        for camera in "abcde":
            frames.offer(camera, camera, WIDE)
        served.update(frames.take(2))
    assert set(served.values()) == {4}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans()), max_size=200))
def test_no_camera_starves(offers: list[tuple[str, bool, bool]]) -> None:
    """Whatever shapes and frames come, a camera that waits is served within as many batches as there are cameras."""
    frames: LiveFrames[str] = LiveFrames()
    waited: dict[str, int] = {}
    for camera, square, take in offers:
        frames.offer(camera, camera, SQUARE if square else WIDE)
        waited.setdefault(camera, 0)
        if take:
            for served in frames.take(2):
                del waited[served]
            waited = {each: count + 1 for each, count in waited.items()}
            assert max(waited.values(), default=0) <= 6


def test_a_batch_has_one_shape() -> None:
    """Pictures of another shape wait for their own batch, and it comes next."""
    frames: LiveFrames[str] = LiveFrames()
    for camera, shape in (("a", WIDE), ("b", SQUARE), ("c", WIDE)):
        frames.offer(camera, camera, shape)
    assert frames.take(8) == ("a", "c")
    frames.offer("a", "a", WIDE)
    assert frames.take(8) == ("b",)


def test_live_goes_first_and_work_is_every_fourth_batch() -> None:
    """With both waiting all the time, three batches of frames go before one of work."""
    schedule: Schedule[str, str] = Schedule(batch=2, images_per_s=100)
    for n in range(50):
        schedule.work.offer(job(str(n)), 0)
    kinds = []
    for _ in range(12):
        schedule.live.offer("a", "frame", WIDE)
        batch = schedule.next(0)
        kinds.append("live" if batch.live else "work")
    assert kinds == (["live"] * (WORK_EVERY - 1) + ["work"]) * 3


def test_work_alone_does_not_wait() -> None:
    """Without frames every batch is work; without anything there is nothing to do."""
    schedule: Schedule[str, str] = Schedule(batch=2, images_per_s=100)
    for n in range(4):
        schedule.work.offer(job(str(n)), 0)
    assert [[each.item for each in schedule.next(0).jobs] for _ in range(2)] == [["0", "1"], ["2", "3"]]
    assert not schedule.waiting()


def test_kinds_of_work_have_their_order() -> None:
    """POST before going back before analyse before patrol, each first in, first out."""
    queue: WorkQueue[str] = WorkQueue(100)
    for kind in reversed(CAPS):
        for n in range(2):
            queue.offer(job(f"{kind}{n}", kind), 0)
    taken, _ = queue.take(100, 0)
    assert [each.item for each in taken] == [f"{kind}{n}" for kind in CAPS for n in range(2)]


@pytest.mark.parametrize("kind", CAPS)
def test_each_kind_has_a_cap_of_its_own(kind: str) -> None:
    """A full kind refuses, and the others still take."""
    queue: WorkQueue[str] = WorkQueue(1e6)
    for n in range(CAPS[kind].images):
        assert queue.offer(job(str(n), kind), 0) is None
    assert "wait already" in str(queue.offer(job("more", kind), 0))
    other = next(each for each in CAPS if each != kind)
    assert queue.offer(job("other", other), 0) is None


def test_bytes_are_capped_but_one_large_picture_is_taken() -> None:
    """What waits of a kind is bounded in bytes; a single picture of any allowed size is computed all the same."""
    queue: WorkQueue[str] = WorkQueue(1e6)
    assert queue.offer(job("huge", size=10 * CAPS["post"].bytes), 0) is None
    assert queue.offer(job("small"), 0) is not None


def test_what_cannot_be_done_in_time_is_refused_at_once() -> None:
    """Pending images ÷ rate beyond the deadline is refused; within it is taken."""
    queue: WorkQueue[str] = WorkQueue(images_per_s=2)
    taken = [queue.offer(job(str(n), deadline_s=5), 0) is None for n in range(20)]
    assert taken == [True] * 10 + [False] * 10
    assert queue.offer(job("patient", deadline_s=60), 0) is None


def test_later_kinds_do_not_count_against_earlier_ones() -> None:
    """A long queue of analysis does not make a POST be refused."""
    queue: WorkQueue[str] = WorkQueue(images_per_s=1)
    for n in range(40):
        queue.offer(job(str(n), "analyse"), 0)
    assert queue.offer(job("post", "post", deadline_s=2), 0) is None
    assert queue.offer(job("patrol", "patrol", deadline_s=2), 0) is not None


def test_the_rate_is_measured_while_there_is_work() -> None:
    """Idle time does not lower the rate; live batches in between do, since work waits for them."""
    queue: WorkQueue[str] = WorkQueue(images_per_s=1000)
    now_s = 0.0
    for _ in range(10):
        for n in range(4):
            queue.offer(job(str(n), deadline_s=1e9), now_s)
        taken, _ = queue.take(4, now_s)
        now_s += 2.0
        queue.done(len(taken), now_s)
        now_s += 500
    assert queue.rate.images_per_s == pytest.approx(2.0)


def test_a_rate_that_was_slow_once_is_measured_again() -> None:
    """After a stall the next job is tried although the old rate says it is hopeless."""
    queue: WorkQueue[str] = WorkQueue(images_per_s=0.001)
    for now_s in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0):
        assert queue.offer(job("x", deadline_s=now_s + 5), now_s) is None
        queue.take(8, now_s)
        queue.done(1, now_s + 0.1)
    assert queue.rate.images_per_s == pytest.approx(10)


def test_what_is_late_when_its_turn_comes_is_not_computed() -> None:
    """A job whose deadline passed while it waited is given back as late."""
    queue: WorkQueue[str] = WorkQueue(images_per_s=100)
    queue.offer(job("late", deadline_s=1), 0)
    queue.offer(job("good", deadline_s=9), 0)
    taken, late = queue.take(8, 2)
    assert ([each.item for each in taken], [each.item for each in late]) == (["good"], ["late"])
    assert "has passed" in str(queue.offer(job("past", deadline_s=1), 2))


def test_who_has_gone_is_forgotten() -> None:
    """The work of a closed connection and the frame of a detached camera are not computed."""
    schedule: Schedule[str, str] = Schedule(batch=8, images_per_s=100)
    schedule.work.offer(job("mine", owner="me"), 0)
    schedule.work.offer(job("theirs", owner="them"), 0)
    schedule.live.offer("a", "frame", WIDE)
    schedule.work.drop("them")
    schedule.live.forget("a")
    assert [each.item for each in schedule.next(0).jobs] == ["mine"]
    assert not schedule.waiting()
