# SPDX-License-Identifier: AGPL-3.0-or-later
"""When packets really came: FFmpeg gives each out when the next begins, and one at a time-out that nobody sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from daemon.clock import NS
from daemon.ingest.demux import packets_of
from daemon.ingest.packet import Packet

MS = 1_000_000


@dataclass
class FakePacket:
    """What is read of PyAV's."""

    pts: int | None
    dts: int | None = None
    is_keyframe: bool = False
    is_corrupt: bool = False
    size: int = 4
    duration: int = 3600

    def __post_init__(self) -> None:
        self.dts = self.pts if self.dts is None else self.dts

    def __bytes__(self) -> bytes:
        return b"data"

    clock_us: int | None = 1_700_000_000_000_000
    """The camera's clock at PTS 0."""

    def has_sidedata(self, _: str) -> bool:
        return self.clock_us is not None

    def get_sidedata(self, _: str) -> bytes:
        return ((self.clock_us or 0) + (self.pts or 0) * 100 // 9).to_bytes(16, "little")


@dataclass
class FakeVideo:
    average_rate: Fraction | None = Fraction(25)
    time_base: Fraction = Fraction(1, 90_000)


@dataclass
class FakeStream:
    """Gives packets out at the moments that the test says."""

    given: list[tuple[int, FakePacket]]
    now_ns: int = 0
    video: FakeVideo = field(default_factory=FakeVideo)

    @property
    def container(self) -> FakeStream:
        return self

    def demux(self, _: Any) -> Iterator[FakePacket]:
        for at_ns, packet in self.given:
            self.now_ns = at_ns
            yield packet


def read(given: list[tuple[int, FakePacket]], timeout_s: float = 5.0) -> list[Packet]:
    """What `packets_of` makes of them."""
    stream = FakeStream(given)
    now: Callable[[], int] = lambda: stream.now_ns  # noqa: E731
    return list(packets_of(stream, timeout_s, now))  # type: ignore[arg-type]


def test_a_packet_arrived_when_the_one_before_was_given_out() -> None:
    """To the moment; the first one's arrival is not known."""
    found = read([(place * 40 * MS, FakePacket(place * 3600)) for place in range(1, 5)])
    assert [each.arrival_ns for each in found] == [None, 40 * MS, 80 * MS, 120 * MS]
    assert [each.emitted_ns for each in found] == [40 * MS, 80 * MS, 120 * MS, 160 * MS]
    assert found[2].camera_clock_ns == (1_700_000_000_000_000 + 3 * 40_000) * 1000


def test_what_a_time_out_gave_out_tells_nothing_of_the_next() -> None:
    """After a silence as long as the time-out the next one's arrival is not known; then it goes on as before."""
    given = [(0, FakePacket(0)), (40 * MS, FakePacket(3600)), (5 * NS, FakePacket(7200)), (7 * NS, FakePacket(623_600))]
    found = read([*given, (7 * NS + 40 * MS, FakePacket(627_200))])
    assert [each.arrival_ns for each in found] == [None, 0, 40 * MS, None, 7 * NS]


def test_the_first_packet_without_a_time_gets_the_one_it_must_have_had() -> None:
    """It is mostly a key frame; the camera's clock that it comes with is its successor's."""
    found = read([(0, FakePacket(None, is_keyframe=True)), (MS, FakePacket(3600)), (2 * MS, FakePacket(7200))])
    assert [each.pts for each in found] == [0, 3600, 7200]
    assert found[0].key
    assert found[0].camera_clock_ns is None
    assert found[1].camera_clock_ns is not None


def test_the_cameras_clock_is_its_own_of_every_packet() -> None:
    """From the first report on; forwards, backwards (B-frames), and within a second after the camera has set it."""
    order = [0, 3, 1, 2, *range(4, 80)]
    late_us, set_us = 1_700_000_000_000_000, 1_700_000_500_000_000
    given = [
        (
            place * 40 * MS,
            FakePacket(at * 3600, at * 3600, clock_us=None if place < 3 else late_us if at < 40 else set_us),
        )
        for place, at in enumerate(order)
    ]
    said = {(each.pts or 0) // 3600: each.camera_clock_ns for each in read(given)}
    truth = {at: (late_us + at * 40_000) * 1000 for at in order}
    assert {at for at, clock in said.items() if clock is None} == {0, 3, 1}
    assert all(abs(clock - truth[at]) <= 1000 for at, clock in said.items() if clock is not None and at < 40)
    wrong = [at for at in range(40, 80) if abs((said[at] or 0) - truth[at] - 500 * NS) > 1000]
    assert len(wrong) < 25
    assert not wrong or max(wrong) < 65
    none = read([(place * 40 * MS, FakePacket(place * 3600, clock_us=None)) for place in range(5)])
    assert {each.camera_clock_ns for each in none} == {None}


def test_the_end_of_the_stream_is_no_packet() -> None:
    """FFmpeg's last one is empty."""
    assert len(read([(0, FakePacket(0)), (MS, FakePacket(None, size=0))])) == 1
