# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's connection, by itself: what it says of its time however late its events are taken."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from daemon.ingest.connection import Connection
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.reader import Wake
from daemon.simulate.chart import Chart
from daemon.simulate.farm import Camera, FarmThread


@pytest.fixture
def woken() -> Iterator[int]:
    """An eventfd that counts what the reader has woken the loop for."""
    descriptor = os.eventfd(0, os.EFD_CLOEXEC)
    yield descriptor
    for thread in threading.enumerate():
        if thread.name == "reader":
            thread.join()
    os.close(descriptor)


def test_it_streams_since_before_its_first_packet(chart: Chart, woken: int) -> None:
    """A loop that comes late to a new connection does not say that it began when it came: its packets would be older."""
    with FarmThread([Camera("hall", chart.path)]) as farm:
        plan = WorkerPlan(camera="hall", url=farm.url("hall"), version="0.0.0", recorder_socket="/r", thresholds={})
        asked_ns = time.monotonic_ns()
        with closing(Connection(plan, woken, time.monotonic_ns)) as connection:
            connection.wake_for(Wake.PACKETS)
            connection.tick()
            events = 0
            while events < 4:  # it is open, and three packets
                events += os.eventfd_read(woken)
            assert connection.state == "connecting"
            packets = [event for event in connection.events() if isinstance(event, Packet)]
            assert len(packets) >= 3
            assert connection.state == "streaming"
            assert asked_ns < connection.since_ns <= packets[0].emitted_ns
            assert connection.packet_ns is not None
            assert connection.since_ns <= connection.packet_ns < time.monotonic_ns()
