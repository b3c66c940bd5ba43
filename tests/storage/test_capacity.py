# SPDX-License-Identifier: AGPL-3.0-or-later
"""Capacity: rates from what was stored, for how long that can be kept, and what limits it; sizing from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import and_

from daemon import sizing
from daemon.settings import Settings, StorageSettings
from daemon.sizing import Basis
from daemon.storage import rates
from daemon.storage.capacity import CameraRate, expected, rates_of
from daemon.storage.due import Rule
from daemon.storage.index import EvidenceRow
from daemon.storage.rates import Rate
from daemon.storage.reindex import reindex
from daemon.storage.room import Space
from tests.storage.store_kit import (
    BEGIN_NS,
    DAY_NS,
    HOUR_NS,
    FakeClocks,
    evidence_of,
    opened,
    settings_of,
    still_entries,
)

GB = 10**9
MEASURED = Basis("seen", "")


def test_a_day_as_it_was_stored(tmp_path: Path) -> None:
    """Bytes and stills a day of each camera, reference stills apart and drills left out; no clock makes the time longer."""
    clocks = FakeClocks()
    with opened(settings_of(tmp_path), clocks) as store:
        store.commit(still_entries(store, evidence_of(0, BEGIN_NS)))
        assert store.read(rates.seen) is None
        for hour in range(1, 13):
            clocks.run_for(HOUR_NS)
            clocks.wall += (-1) ** hour * 3653 * DAY_NS
            several = [evidence_of(hour * 10 + n, clocks.wall, kind="reference" if n else "hit") for n in range(3)]
            drill = evidence_of(hour * 10 + 7, clocks.wall, camera="drill", drill=True)
            store.commit(still_entries(store, *several, drill))
        seen = store.read(rates.seen)
        assert seen is not None
        assert seen.span_s == 12 * 3600
        assert set(seen.cameras) == {"hall"}
        rate = seen.cameras["hall"]
        assert (rate.stills_a_day, rate.references_a_day) == pytest.approx((2 * 13, 2 * 24))
        stored = sum(path.stat().st_size for path in (store.root / "evidence/hall").rglob("*.jpg"))
        assert rate.bytes_a_day + rate.references_bytes_a_day == pytest.approx(2 * stored)


@pytest.mark.parametrize("lost_index", [False, True])
def test_a_day_of_what_is_partly_gone(tmp_path: Path, lost_index: bool) -> None:
    """Only what is younger than the newest that a purge removed counts, for as long as that is; also after a reindex."""
    clocks, number = FakeClocks(), iter(range(1, 1000))
    settings = settings_of(tmp_path, reference_retention=86_400)
    row = EvidenceRow
    with opened(settings, clocks) as store:
        for _ in range(7 * 12):
            both = [evidence_of(next(number), clocks.wall, kind=kind) for kind in ("hit", "reference")]
            store.commit(still_entries(store, *both))
            clocks.run_for(2 * HOUR_NS)
            store.purge.run(dry_run=False, all_due=True)
            old = and_(row.kind == "hit", row.captured_at_ns < clocks.wall - 2 * DAY_NS)
            store.purge._portion(Rule("retention", "space", old), 1000)
        store.commit(still_entries(store, evidence_of(next(number), clocks.wall, camera="yard")))
    if lost_index:
        reindex(settings, clocks, version="0.1.0", cameras=["hall", "yard"])
    with opened(settings, clocks) as store:
        seen = store.read(rates.seen)
    assert seen is not None
    assert seen.span_s == pytest.approx(7 * 86_400)
    hall, yard = seen.cameras["hall"], seen.cameras["yard"]
    assert (hall.stills_a_day, hall.references_a_day) == pytest.approx((12, 12), rel=0.1)
    assert yard.stills_a_day == pytest.approx(1 / 7), "nothing of it is gone: it is told from the whole week"


def of(bytes_a_day: float, references: float = 0.0) -> list[CameraRate]:
    return [CameraRate("hall", Rate(bytes_a_day, references), MEASURED)]


@pytest.mark.parametrize(
    ("a_day", "space", "held", "days", "limit"),
    [
        (10 * GB, Space(900 * GB, 1000 * GB, 10 * GB), 100 * GB, 98.6, "storage.retention"),
        (40 * GB, Space(900 * GB, 1000 * GB, 10 * GB), 100 * GB, 24.65, "the size of the disk"),
        (33 * GB, Space(900 * GB, 1000 * GB, 50 * GB), 100 * GB, 28.67, "storage.reserve"),
        (30 * GB, Space(100 * GB, 1000 * GB, 10 * GB), 100 * GB, 6.2, "other files on the disk"),
    ],
)
def test_what_limits_it(a_day: float, space: Space, held: int, days: float, limit: str) -> None:
    """The first thing that would be enough if it alone were otherwise."""
    found = expected(of(a_day), StorageSettings(), space, held)
    assert found.lasts_s / 86_400 == pytest.approx(days, rel=0.01)
    assert found.limited_by == limit


def test_reference_stills_are_counted_as_far_as_they_are_kept() -> None:
    """By their retention, or by their quota where that is less."""
    space = Space(1000 * GB, 1000 * GB, 0)
    short = expected(of(10 * GB, 1 * GB), StorageSettings(), space, 0)
    assert (short.references_bytes, short.references_s) == (3 * GB, 3 * 86_400)
    assert short.references_limited_by == "storage.reference_retention"
    many = expected(of(10 * GB, 1 * GB), StorageSettings(reference_bytes=2 * GB), space, 0)
    assert (many.references_bytes, many.references_s) == (2 * GB, 2 * 86_400)
    assert many.references_limited_by == "storage.reference_bytes"
    assert many.lasts_s > short.lasts_s


def test_what_is_not_known_is_assumed_and_said_so() -> None:
    """A camera without history is taken as one that flickers all day."""
    seen = rates.Seen(86_400.0, {"hall": Rate(1.0)})
    hall, yard = rates_of(["hall", "yard"], seen, StorageSettings())
    assert (hall.basis.how, hall.rate.bytes_a_day) == ("seen", 1.0)
    assert (yard.basis.how, yard.rate.bytes_a_day) == ("assumed", 24 * 50_000_000)
    assert rates_of(["hall"], None, StorageSettings(reference_interval=0))[0].rate.references_bytes_a_day == 0


def sized(**blocks: Any) -> Settings:
    cameras = {f"c{number}": {"url": f"rtsp://10.0.0.{number}/a"} for number in range(1, 5)}
    cameras["c1"]["detect_url"] = "rtsp://10.0.0.1/b"
    cameras["c4"]["enabled"] = False  # type: ignore[assignment]
    return Settings.model_validate({"cameras": cameras, **blocks})


def test_sizing_follows_the_settings() -> None:
    """Disabled cameras cost nothing; caps count where they are caps; what is seen replaces what is assumed."""
    settings = sized(ingest={"ring_bytes": 16_000_000, "unacked_bytes": 4_000_000})
    sent = sizing.streams(settings, {"c2": 8_000_000.0})
    assert set(sent) == {"c1", "c2", "c3"}
    assert [each.basis.how for each in sent.values()] == ["assumed", "seen", "assumed"]
    assert sizing.total(sizing.network_bits_s(sent)) == 3_500_000 + 8_000_000 + 3_000_000
    quiet = {each.what: each.value for each in sizing.memory_bytes(settings, sent)}
    assert quiet["rings"] == 3 * 16_000_000  # 3 Mbit/s for 60 s would be 22.5 MB
    worst = {each.what: each.value for each in sizing.memory_at_most_bytes(settings, sent)}
    assert worst["unacknowledged stills"] == 12_000_000
    assert worst["uploads as pixels"] == 8 * 50_000_000 * 3
    assert worst["uploads as they came"] == 16 * 2 * 20_000_000
    assert worst["packets held on for captures and going back"] == 3 * 3 * 16_000_000
    assert sizing.gpu_memory_bytes(sized(detect={"device": "cpu"})) == []


def test_cores_follow_the_looks() -> None:
    """Twice the looks cost twice the inference; a sub-stream's size counts by its area."""
    inference = [sizing.cores(sized(detect=each))[2].value for each in ({}, {"interval": 0.25, "max_interval": 1})]
    assert inference[1] == pytest.approx(2 * inference[0])
    assert sizing.inference_cpu_s(640) == pytest.approx(0.033)
    patrol = [sizing.cores(sized(detect=each))[3] for each in ({"patrol": 30}, {"patrol": 15}, {"patrol": 0})]
    assert patrol[0].value == pytest.approx(3 * 6 / 30 * 0.033 * 640 / 384), "three cameras of 6 tiles each"
    assert patrol[1].value == pytest.approx(2 * patrol[0].value)
    assert patrol[2].value == 0
    burning = [sizing.total(sizing.cores_burning(sized(detect={"closer_look": each}))) for each in (True, False)]
    assert burning[0] - burning[1] == pytest.approx(5 * 3.4 * 0.46 * 0.033), "five looks a second, and closer ones"
    assert sizing.inference_cpu_s(320) == pytest.approx(0.0101, rel=0.02)
