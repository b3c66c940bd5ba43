# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which is the last frame that is kept of a camera before it fell silent: a still's, or one in a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.clock import NS
from daemon.storage.clips import Ended
from daemon.storage.last_frames import LastFrame, last_frame
from daemon.storage.store import Store
from tests.storage.store_kit import (
    BEGIN_NS,
    ClipWriter,
    FakeClocks,
    clip_of,
    evidence_of,
    numbered,
    opened,
    settings_of,
    still_entries,
)

CLIP = numbered(50)


@pytest.fixture(params=["closed", "growing"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Two frames a second for 12 s, of hall, closed or not; a still of the frame at 3 s, and one at 20 s."""
    writer = ClipWriter(clip_of(50), BEGIN_NS)
    with opened(settings_of(tmp_path), FakeClocks()) as made:
        made.commit([], [writer.next() for _ in range(12)])
        if request.param == "closed":
            made.commit([], [Ended(CLIP, "run")])
        made.commit(still_entries(made, evidence_of(1, BEGIN_NS + 3 * NS), evidence_of(2, BEGIN_NS + 20 * NS)))
        yield made


def last(store: Store, until_s: float, camera: str = "hall", since_s: float = 0.0) -> LastFrame | None:
    begin_ns, end_ns = BEGIN_NS + round(since_s * NS), BEGIN_NS + round(until_s * NS)
    return store.read(lambda session: last_frame(session, store.root, camera, begin_ns, end_ns))


def test_the_newest_up_to_that_moment(store: Store) -> None:
    """A frame of the clip, by its number; of the same frame the still; the still where it is later."""
    assert last(store, 2.3) == LastFrame(CLIP, 4, BEGIN_NS + 2 * NS, 0.03)
    assert last(store, 3.2) == LastFrame(numbered(1), None, BEGIN_NS + 3 * NS, 0.03)
    assert last(store, 5.0) == LastFrame(CLIP, 10, BEGIN_NS + 5 * NS, 0.03)
    assert last(store, 15.0) == LastFrame(CLIP, 23, BEGIN_NS + 23 * NS // 2, 0.03)
    assert last(store, 60.0) == LastFrame(numbered(2), None, BEGIN_NS + 20 * NS, 0.03)


def test_nothing_of_another_camera_or_of_longer_ago(store: Store) -> None:
    """What was long before a loss says nothing about it."""
    assert last(store, 15.0, camera="yard") is None
    assert last(store, 19.0, since_s=12.0) is None


def test_a_clip_that_cannot_be_read_is_passed_over(store: Store) -> None:
    """The still before stays what it is."""
    (path,) = store.root.rglob("*.mp4*")
    path.chmod(0o640)
    path.write_bytes(b"x" * 1000)
    assert last(store, 15.0) == LastFrame(numbered(1), None, BEGIN_NS + 3 * NS, 0.03)
    path.unlink()
    assert last(store, 2.0) is None
