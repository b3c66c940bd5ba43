# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frame times: packets that are late by chance, clocks that drift and jump; never a time before the truth."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.clock import NS, Synchronisation
from daemon.ingest.run_clock import RunClock

MS = 1_000_000
KERNEL = Synchronisation(True, 0.005)
STEP_NS = 40 * MS
TRUE_OFFSET_NS = 5000 * NS
UTC_NS = 1_795_000_000 * NS

latenesses = st.lists(st.integers(0, 900), min_size=2, max_size=400)


def feed(late_ms: list[int], step_ns: int = STEP_NS, rate: float = 1.0) -> tuple[RunClock, list[str]]:
    """A run whose packets come so much later than they were taken; `rate`: the camera's seconds per second."""
    clock: RunClock | None = None
    causes = []
    for place, late in enumerate(late_ms):
        pts_ns, arrival_ns = round(place * step_ns * rate), TRUE_OFFSET_NS + place * step_ns + late * MS
        if clock is None:
            clock = RunClock(pts_ns, arrival_ns, arrival_ns, UTC_NS)
        elif (cause := clock.add(pts_ns, arrival_ns)) is not None:
            causes.append(cause)
    assert clock is not None
    return clock, causes


@given(latenesses)
def test_a_frame_is_never_seen_before_it_was_taken(late_ms: list[int]) -> None:
    """However late packets are, a frame's time is not before the truth, and late by no more than the least lateness."""
    clock, causes = feed(late_ms)
    assert causes == [], "jitter below a second breaks no run"
    error_ns = clock.at_mono_ns(0) - TRUE_OFFSET_NS
    assert error_ns >= 0
    if len(late_ms) * STEP_NS < 10 * NS:
        assert error_ns == min(late_ms) * MS


@given(latenesses)
def test_the_uncertainty_covers_the_spread(late_ms: list[int]) -> None:
    """p95 − min plus half a frame interval; against UTC the kernel's estimate besides."""
    clock, _ = feed(late_ms)
    time = clock.time_of(0, KERNEL, 7)
    ordered = sorted(late_ms)
    spread_s = (ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] - ordered[0]) / 1000
    assert time.relative_uncertainty_s <= (max(late_ms) - min(late_ms)) / 1000 + 0.020001
    assert len(late_ms) > 20 or abs(time.relative_uncertainty_s - spread_s - 0.02) < 0.900001
    assert time.uncertainty_s == time.relative_uncertainty_s + 0.005
    assert time.camera_clock_ns == 7


@settings(max_examples=20)
@given(st.floats(-150e-6, 150e-6))
def test_a_camera_clock_that_drifts_is_followed(drift: float) -> None:
    """A camera clock that is 150 ppm off is followed for an hour without a break, and within the window's drift."""
    clock, causes = feed([10] * 9000, step_ns=400 * MS, rate=1 + drift)
    assert causes == []
    last = 8999
    error_ns = clock.at_mono_ns(round(last * 400 * MS * (1 + drift))) - (TRUE_OFFSET_NS + last * 400 * MS + 10 * MS)
    assert abs(error_ns) < 25 * MS


def test_the_offset_falls_freely_only_at_first() -> None:
    """The first packets of a run can come in a burst; after 10 s the offset moves by a thousandth of the time passed."""
    clock, _ = feed([800, 700, 600, 500, 100])
    assert clock.at_mono_ns(0) - TRUE_OFFSET_NS == 100 * MS
    assert clock.time_of(0, KERNEL).settling
    clock, _ = feed([800] * 300)
    assert not clock.time_of(0, KERNEL).settling
    before_ns = clock.at_mono_ns(0)
    assert clock.add(340 * STEP_NS, TRUE_OFFSET_NS + 340 * STEP_NS) is None
    assert 0 < before_ns - clock.at_mono_ns(0) <= 40 * STEP_NS // 1000


def test_an_offset_that_is_still_on_its_way_is_uncertain_by_what_is_left() -> None:
    """Timestamps that were corrected by less than a second: until the offset has followed, each frame says how wrong it may be."""
    for jump_ns in (400 * MS, -400 * MS):
        clock, _ = feed([10] * 3000)
        assert clock.time_of(0, KERNEL).relative_uncertainty_s < 0.05
        for number in range(3000, 3000 + 120 * 25):
            at_ns = TRUE_OFFSET_NS + number * STEP_NS + 10 * MS
            assert clock.add(number * STEP_NS + jump_ns, at_ns) is None
            if (
                number < 3000 + 4 * 25
            ):  # until a twentieth of the window is as late, it cannot be told from packets that are
                continue
            error_s = abs(clock.at_mono_ns(number * STEP_NS + jump_ns) - at_ns) / NS
            assert error_s <= clock.time_of(0, KERNEL).relative_uncertainty_s + 0.01, (jump_ns, number)
        assert error_s > 0.2


def test_a_jump_of_the_timestamps_is_another_run() -> None:
    """More than a second between what the timestamps and what the arrivals say, either way."""
    for jump_ns in (1_100 * MS, -1_100 * MS, -(2**33) * NS // 90_000):
        clock, _ = feed([0] * 10)
        assert clock.add(10 * STEP_NS + jump_ns, TRUE_OFFSET_NS + 10 * STEP_NS) == "pts"
    clock, _ = feed([0] * 10)
    assert clock.add(10 * STEP_NS + 900 * MS, TRUE_OFFSET_NS + 10 * STEP_NS) is None


def test_a_gap_in_both_is_none() -> None:
    """A camera that pauses and goes on with its clock is the same run."""
    clock, _ = feed([0] * 10)
    assert clock.add(10 * STEP_NS + 30 * NS, TRUE_OFFSET_NS + 10 * STEP_NS + 30 * NS) is None


def test_a_target_that_stays_away_is_another_run() -> None:
    """Half a second of lateness that comes and stays for a whole window is another clock, not jitter."""
    _, causes = feed([0] * 300 + [990] * 2900)
    assert causes == [], "as long as the window remembers better, and a window more"
    _, causes = feed([0] * 300 + [990] * 3400)
    assert causes[:1] == ["drift"]


def test_a_wall_clock_that_steps_is_noticed() -> None:
    """Half a second against the monotonic clock since the run's start, either way."""
    clock, _ = feed([0, 0])
    mono_ns = clock.started_mono_ns
    assert not clock.wall_stepped(mono_ns + 9 * NS, UTC_NS + 9 * NS + 400 * MS)
    assert clock.wall_stepped(mono_ns + 9 * NS, UTC_NS + 9 * NS + 600 * MS)
    assert clock.wall_stepped(mono_ns + 9 * NS, UTC_NS + 9 * NS - 600 * MS)


def test_utc_is_the_pair_of_the_runs_start() -> None:
    """A frame's UTC is its distance from the run's start on the monotonic clock, whatever the wall clock does later."""
    clock, _ = feed([5, 5, 5])
    assert clock.time_of(2 * STEP_NS, KERNEL).captured_at_ns == UTC_NS + 2 * STEP_NS
    assert clock.interval_ns() == STEP_NS
