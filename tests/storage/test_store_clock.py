# SPDX-License-Identifier: AGPL-3.0-or-later
"""The trusted clock, and what the purge takes while clocks lie: never what is younger than the retention."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.clock import NS
from daemon.storage.storing_times import LONG_AGO, add, prune, reachable_seq
from daemon.storage.trusted_clock import (
    FILE,
    LONGEST_OFF_NS,
    TOLERANCE_NS,
    Anchor,
    Reading,
    advance,
    complaint,
    first_anchor,
)
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    HOUR_NS,
    FakeClocks,
    evidence_of,
    numbered,
    opened,
    settings_of,
    still_entries,
)

YEARS_NS = 3653 * DAY_NS
ANCHOR = Anchor("a", 100 * NS, BEGIN_NS)
STEPS = [HOUR_NS, -HOUR_NS, YEARS_NS, -YEARS_NS]


def reading(boot: str = "a", after_ns: int = 0, wall_off_ns: int = 0, synchronised: bool = True) -> Reading:
    return Reading(boot, 100 * NS + after_ns, BEGIN_NS + after_ns + wall_off_ns, synchronised)


@pytest.mark.parametrize("synchronised", [True, False])
@pytest.mark.parametrize("step_ns", [*STEPS, TOLERANCE_NS + 1, -TOLERANCE_NS - 1])
def test_within_a_boot_the_wall_clock_cannot_move_it(step_ns: int, synchronised: bool) -> None:
    """Elapsed boot time alone counts, whatever the kernel says of the wall clock."""
    now = advance(ANCHOR, reading(after_ns=HOUR_NS, wall_off_ns=step_ns, synchronised=synchronised))
    assert now.utc_ns == BEGIN_NS + HOUR_NS
    assert "the clock says" in complaint(now, reading(after_ns=HOUR_NS, wall_off_ns=step_ns))


def test_small_differences_follow_a_synchronised_clock() -> None:
    """Within 5 min and synchronised it is anchored again; unsynchronised it is not."""
    off = reading(after_ns=NS, wall_off_ns=TOLERANCE_NS)
    assert advance(ANCHOR, off).utc_ns == off.wall_ns
    unsynchronised = reading(after_ns=NS, wall_off_ns=TOLERANCE_NS, synchronised=False)
    assert advance(ANCHOR, unsynchronised).utc_ns == BEGIN_NS + NS


@pytest.mark.parametrize(
    ("off_ns", "synchronised", "goes_on"),
    [
        (0, True, True), (HOUR_NS, True, True), (LONGEST_OFF_NS, True, True), (LONGEST_OFF_NS + 1, True, False),
        (-1, True, False), (-HOUR_NS, True, False), (YEARS_NS, True, False), (-YEARS_NS, True, False),
        (HOUR_NS, False, False),
    ],
)  # fmt: skip
def test_after_a_reboot(off_ns: int, synchronised: bool, goes_on: bool) -> None:
    """It goes on with a synchronised wall clock 0 to 7 days later, else it stands still and says so."""
    after = Reading("b", NS, BEGIN_NS + off_ns, synchronised)
    now = advance(ANCHOR, after)
    assert now.utc_ns == (BEGIN_NS + off_ns if goes_on else BEGIN_NS)
    assert (complaint(now, after) == "ok") is goes_on


def test_it_goes_on_when_the_clock_becomes_right_later() -> None:
    """A host whose NTP comes after the daemon needs no operator."""
    early = advance(ANCHOR, Reading("b", NS, 5, False))
    assert early == ANCHOR
    late = Reading("b", 60 * NS, BEGIN_NS + HOUR_NS, True)
    assert advance(early, late).utc_ns == late.wall_ns


def test_first_anchor() -> None:
    """Docs/decisions/0003: vouched for, provisional, or none."""
    assert first_anchor(reading(), nothing_stored=False) == ANCHOR
    assert first_anchor(reading(synchronised=False), nothing_stored=False) is None
    provisional = first_anchor(Reading("a", 0, 7, False), nothing_stored=True)
    assert provisional == Anchor("a", 0, 7, True)
    assert advance(provisional, reading()) == reading().anchor()


def test_notes_keep_what_a_purge_can_ask() -> None:
    """Lines are reachable once noted for long enough; there are at most two an hour; old ones are dropped."""
    notes = [(0, 1)]
    for minute in range(0, 24 * 60, 5):
        notes = add(notes, (BEGIN_NS + minute * 60 * NS, 10 + minute))
    assert len(notes) <= 24 * 2 + 2
    assert reachable_seq(notes, BEGIN_NS - 1) == 1
    assert 10 + 11 * 60 < reachable_seq(notes, BEGIN_NS + 12 * HOUR_NS) <= 10 + 12 * 60
    later = add(notes, (BEGIN_NS + 40 * DAY_NS, 5000))
    pruned = prune(later, BEGIN_NS + 10 * DAY_NS)
    assert pruned == [(0, 1), (LONG_AGO, 1445), (BEGIN_NS + 40 * DAY_NS, 5000)]
    assert prune(pruned, BEGIN_NS + 10 * DAY_NS) == pruned
    assert prune(pruned, BEGIN_NS + 40 * DAY_NS) == [(0, 1), (LONG_AGO, 5000)]
    ahead = add([(0, 1), (BEGIN_NS + YEARS_NS, 9)], (BEGIN_NS, 10))
    assert max(at_ns for at_ns, _ in ahead) == BEGIN_NS


def stored(tmp_path: Path, clocks: FakeClocks, count: int = 20) -> set[str]:
    """A store with stills of now."""
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit(still_entries(store, *(evidence_of(number, clocks.wall + number) for number in range(count))))
        store.close("stop")
    return {numbered(number) for number in range(count)}


@pytest.mark.parametrize("how", ["running", "restarted", "rebooted", "rebooted unsynchronised"])
@pytest.mark.parametrize("step_ns", STEPS)
def test_a_lying_clock_purges_nothing_and_a_right_one_purges_again(tmp_path: Path, step_ns: int, how: str) -> None:
    """±1 h and ±10 years, in a boot and across one: nothing young goes; once the clock is right, what is due goes."""
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    ids = stored(tmp_path, clocks)

    def lie_begins() -> None:
        clocks.run_for(29 * DAY_NS)
        if how.startswith("rebooted"):
            with opened(settings, clocks) as store:  # as any purge of those days would have kept the anchor
                store.purge.run(dry_run=False, all_due=True)
            clocks.reboot(HOUR_NS, synchronised=how == "rebooted")
        clocks.wall += step_ns

    if how == "running":
        with opened(settings, clocks) as store:
            lie_begins()
            for _ in range(3):
                assert store.purge.run(dry_run=False, all_due=True).removed == 0
                clocks.run_for(HOUR_NS)
    else:
        lie_begins()
        for _ in range(3):
            with opened(settings, clocks) as store:
                assert store.purge.run(dry_run=False, all_due=True).removed == 0
                store.close("stop")
            clocks.run_for(HOUR_NS)
    clocks.wall -= step_ns
    clocks.synchronised = True
    with opened(settings, clocks) as store:
        assert store.knows(ids) == ids
        if not (how == "rebooted" and abs(step_ns) == HOUR_NS):  # a plausible lie across a reboot is believed (design)
            assert store.clock_state() == "ok"
        clocks.run_for(2 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == len(ids)


@pytest.mark.parametrize("content", ["", "{}", '{"boot":"a","boot_ns":"x","utc_ns":"1"}', "[1]", "\x00" * 40])
def test_a_damaged_anchor_holds_back_the_purge_and_no_recording(tmp_path: Path, content: str) -> None:
    """As one that is gone (docs/decisions/0003): it goes on once the kernel vouches for its clock."""
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    ids = stored(tmp_path, clocks)
    (anchor,) = tmp_path.rglob(FILE)
    anchor.write_text(content)
    clocks.run_for(40 * DAY_NS)
    clocks.synchronised = False
    with opened(settings, clocks) as store:
        store.commit(still_entries(store, evidence_of(100, clocks.wall)))
        assert "no trusted time yet" in store.clock_state()
        assert store.purge.run(dry_run=False, all_due=True).removed == 0
        clocks.synchronised = True
        assert store.clock_state() == "ok"
        assert store.purge.run(dry_run=False, all_due=True).removed == len(ids)
        assert store.knows({numbered(100)}) == {numbered(100)}
        store.close("stop")
    assert "utc_ns" in json.loads(anchor.read_text())


def test_what_was_taken_while_the_clock_was_ten_years_slow(tmp_path: Path) -> None:
    """It says it is ten years old; it is kept for the retention, like all that was taken that day."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit(still_entries(store, evidence_of(1, clocks.wall)))
        clocks.run_for(DAY_NS)
        clocks.wall -= YEARS_NS
        store.commit(still_entries(store, evidence_of(2, clocks.wall)))
        clocks.run_for(HOUR_NS)
        clocks.wall += YEARS_NS
        assert store.purge.run(dry_run=False, all_due=True).removed == 0
        clocks.run_for(29 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == 1
        assert store.knows([numbered(2)])
        clocks.run_for(2 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == 1


@pytest.mark.parametrize("lost", [False, True], ids=["", "index lost"])
def test_what_was_taken_while_the_clock_was_ten_years_fast(tmp_path: Path, lost: bool) -> None:
    """It says that it is of the future; it is kept for the retention, and not for ten years.

    Where the index was lost, nothing tells when it was stored: then it is kept until its own time has come.
    """
    clocks, settings = FakeClocks(), settings_of(tmp_path)
    with opened(settings, clocks) as store:
        clocks.wall += YEARS_NS
        store.commit(still_entries(store, evidence_of(1, clocks.wall), evidence_of(2, clocks.wall, drill=True)))
        clocks.run_for(HOUR_NS)
        clocks.wall -= YEARS_NS
        store.commit(still_entries(store, evidence_of(3, clocks.wall)))
    if lost:
        for path in settings.root.glob("index.sqlite*"):
            path.unlink()
    with opened(settings, clocks) as store:
        assert store.purge.run(dry_run=False, all_due=True).removed == 0
        clocks.run_for(DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).due_by == ({} if lost else {"drills": 1})
        clocks.run_for(28 * DAY_NS)
        for step_ns in (YEARS_NS, -YEARS_NS):  # a clock that lies meanwhile can only delay
            clocks.wall += step_ns
            assert store.purge.run(dry_run=False, all_due=True).removed == 0
            clocks.wall -= step_ns
        clocks.run_for(2 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).due_by == {"retention": 1 if lost else 2}


def test_a_host_that_begins_in_1970(tmp_path: Path) -> None:
    """Without a battery: the first synchronisation is believed, and what was taken before is not taken for old."""
    clocks = FakeClocks(wall=30 * NS, synchronised=False)
    ids = stored(tmp_path, clocks)
    with opened(settings_of(tmp_path), clocks) as store:
        clocks.run_for(60 * NS)
        clocks.wall, clocks.synchronised = BEGIN_NS, True
        assert store.purge.run(dry_run=False, all_due=True).removed == 0
        assert store.clock_state() == "ok"
        clocks.run_for(29 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == 0
        assert store.knows(ids) == ids
        clocks.run_for(2 * DAY_NS)
        assert store.purge.run(dry_run=False, all_due=True).removed == len(ids)


def test_the_operator_accepts_the_clock(tmp_path: Path) -> None:
    """After a long time off the trusted clock stands still until the operator says that the wall clock is right."""
    clocks = FakeClocks()
    ids = stored(tmp_path, clocks)
    clocks.reboot(60 * DAY_NS)
    with opened(settings_of(tmp_path), clocks) as store:
        result = store.purge.run(dry_run=False, all_due=True)
        assert (result.removed, "stands still" in result.clock) == (0, True)
        assert store.accept_clock() == clocks.wall
        assert store.clock_state() == "ok"
        assert store.purge.run(dry_run=False, all_due=True).removed == len(ids)
    assert json.loads((tmp_path / "state/trusted-clock.json").read_text())["utc_ns"] == str(clocks.wall)


def test_a_lost_state_dir_and_a_clock_nobody_vouches_for(tmp_path: Path) -> None:
    """No trusted time: nothing is purged, and it says so."""
    clocks = FakeClocks()
    stored(tmp_path, clocks)
    (tmp_path / "state/trusted-clock.json").unlink()
    clocks.run_for(60 * DAY_NS)
    clocks.synchronised = False
    with opened(settings_of(tmp_path), clocks) as store:
        result = store.purge.run(dry_run=False, all_due=True)
        assert (result.due, "no trusted time" in result.clock) == (0, True)


def test_a_daemon_that_runs_for_long_is_not_thought_off_for_long(tmp_path: Path) -> None:
    """The anchor is kept from time to time: a reboot after a hundred days needs no operator."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        for _ in range(100):
            clocks.run_for(DAY_NS)
            store.clock_state()
    clocks.reboot(DAY_NS)
    with opened(settings_of(tmp_path), clocks) as store:
        assert store.clock_state() == "ok"
