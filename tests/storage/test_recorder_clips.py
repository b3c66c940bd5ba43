# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips through a real recorder: acknowledged when durable, closed by whoever remains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.domain import Clip
from daemon.ids import new_id
from daemon.storage.verify import verify
from tests.storage.recorder_under_test import Host, Worker, wait_for
from tests.storage.store_kit import ClipWriter, clip_of


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    made.start()
    made.beat(lambda beat: beat.disk == "ok", "an open store")
    yield made
    made.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Host]:
    """One camera, whose frames may be far apart: a disk that is away for some seconds begins no gap."""
    made = Host(tmp_path, cameras={"hall": {}}, detect={"max_interval": 10})
    made.start()
    made.beat(lambda beat: beat.disk == "ok", "an open store")
    yield made
    made.close()


def begun(host: Host, *, sibling: bool = False) -> tuple[Worker, ClipWriter]:
    """A worker with a clip of which three seconds are acknowledged."""
    worker = Worker(host)
    worker.began()
    served = ((), (new_id(),)) if sibling else ((new_id(),), ())
    writer = ClipWriter(clip_of(5, run=worker.run), time.time_ns(), *served)
    worker.film(writer, 3)
    worker.settle()
    return worker, writer


def clips(host: Host) -> list[Path]:
    return sorted(path for path in (host.root / "evidence").rglob("*.mp4*"))


def closed(host: Host) -> list[str]:
    return [body["clip"]["closed"] for body in host.bodies("stored") if "clip" in body]


def test_what_is_acknowledged_of_a_clip_is_on_the_disk(host: Host) -> None:
    """Every byte, at once; its end gives it its name and its line."""
    worker, writer = begun(host)
    (path,) = clips(host)
    assert path.read_bytes() == writer.content
    worker.film(writer, 10, "ended")
    worker.settle()
    (path,) = clips(host)
    assert (path.suffix, path.read_bytes()) == (".mp4", writer.content)
    assert closed(host) == ["ended"]
    host.stop()
    assert verify(host.root).findings == ()


def test_the_worker_s_end_closes_its_clip(host: Host) -> None:
    """A clip lives on one connection."""
    worker, writer = begun(host)
    worker.close()
    wait_for(lambda: closed(host) == ["worker"], "the clip's line")
    assert [path.read_bytes() for path in clips(host)] == [writer.content]
    host.stop()
    assert verify(host.root).findings == ()


@pytest.mark.parametrize("kind", ["clip", "sibling"])
def test_recovery_closes_it_after_a_kill_of_the_recorder(host: Host, kind: str) -> None:
    """Whatever was acknowledged is in a closed clip after the next start."""
    _, writer = begun(host, sibling=kind == "sibling")
    host.kill()
    host.start()
    wait_for(lambda: closed(host) == ["recovery"], "the clip's line")
    assert [body["kind"] for body in host.bodies("stored")] == [kind]
    (path,) = clips(host)
    assert path.read_bytes() == writer.content
    host.stop()
    assert verify(host.root).findings == ()


def test_a_clip_ends_with_the_store_that_wrote_it(watched: Host) -> None:
    """Also where nothing was to be written while the disk was away: what goes on with it is refused, and another clip begins."""
    worker, writer = begun(watched)
    with worker.watching():
        watched.beat(lambda beat: not beat.open_gaps, "the camera to be watched")
        away = watched.root.with_name("away")
        watched.root.rename(away)
        watched.beat(lambda beat: beat.disk == "gone", "a beat that says so")
        away.rename(watched.root)
        watched.beat(lambda beat: beat.disk == "ok", "the store again")
    assert closed(watched) == ["recovery"]
    content = writer.content
    worker.film(writer, 1)
    worker.pump()
    watched.beat(lambda beat: True, "a beat after it")
    worker.close()
    worker.unacknowledged.clear()
    other = ClipWriter(clip_of(6, run=worker.run), time.time_ns(), (new_id(),))
    worker.film(other, 2, "ended")
    worker.settle()
    assert [path.read_bytes() for path in clips(watched)] == [content, other.content]


def test_the_recorder_s_stop_closes_it(host: Host) -> None:
    """In order, so that the next start has nothing to recover."""
    begun(host)
    host.stop()
    assert closed(host) == ["stop"]
    assert [path.suffix for path in clips(host)] == [".mp4"]


@pytest.mark.parametrize("fault", ["hole", "camera"])
def test_what_is_no_part_of_the_clip_ends_the_connection(host: Host, fault: str) -> None:
    """A part that leaves a hole, or that is of another camera: nothing of it is stored."""
    worker, writer = begun(host)
    content = writer.content
    if fault == "hole":
        writer.next()
    else:
        writer.clip = Clip(**{each: getattr(writer.clip, each) for each in writer.clip.__slots__} | {"camera": "yard"})
    worker.film(writer, 1)
    worker.unacknowledged = dict(list(worker.unacknowledged.items())[-1:])

    def ended() -> bool:
        worker.pump()
        return closed(host) == ["worker"]

    wait_for(ended, "the connection's end")
    assert content in [path.read_bytes() for path in clips(host)]
