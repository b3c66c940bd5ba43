# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is told of a site's cameras in one fire: error bars that hold whatever became of the wall clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from daemon.clock import NS, HostClocks
from daemon.domain import Incident, Run
from daemon.ids import new_id
from daemon.origin.record import to_json
from daemon.origin.sequence import Event, sequence
from daemon.storage import bodies
from daemon.storage.queries import Index
from daemon.storage.writing import Entry
from tests.api.shelf import Shelf
from tests.api.web_under_test import Site
from tests.storage.analysis_kit import analysis_of

CAMERAS = ("hall", "yard")
AT_NS = 1_795_449_909 * NS
INTERVAL_S = 2.0


@dataclass
class Fires:
    """A store, and what is asked of it."""

    shelf: Shelf
    index: Index

    def began(self, camera: str, utc_ns: int, mono_ns: int) -> str:
        """A run, with the pair of clocks that was read at its start."""
        run = Run(new_id(), camera, utc_ns, mono_ns, (1, 90_000), "h264", 320, 180, "connected")
        self.shelf.store.commit([Entry("run", bodies.run(run, self.shelf.store.next_run_seq()))])
        return run.id

    def seen(self, camera: str, at_ns: int, run: str) -> Incident:
        """A fire that was first visible at that moment, certain to 0.07 s, in a run."""
        incident = self.shelf.incident(at_ns + NS, camera=camera)
        told = analysis_of(incident.id, at_ns, camera=camera)
        told = replace(told, first_visible=replace(told.first_visible, run=run))
        self.shelf.store.commit([Entry("analysis", to_json(told))])
        return incident

    def events(self, incident: Incident) -> dict[str, Event]:
        return {each.id: each for each in self.index.site_events(incident.id, CAMERAS, INTERVAL_S)}

    def order_is_told(self, one: Incident, other: Incident) -> bool:
        """Whichever of the two is asked."""
        answers = {
            other.id not in placed.not_determined_with
            for asked in (one, other)
            for placed in sequence(self.index.site_events(asked.id, CAMERAS, INTERVAL_S))
            if placed.event.id == one.id
        }
        (answer,) = answers
        return answer


@pytest.fixture
def fires(tmp_path: Path) -> Iterator[Fires]:
    """An empty store."""
    site = Site(tmp_path, cameras={name: {"url": f"rtsp://{name}/1"} for name in CAMERAS})
    shelf = Shelf(site.settings, CAMERAS)
    yield Fires(shelf, Index(Path(site.settings.storage.root), HostClocks()))
    shelf.close()
    site.close()


@pytest.mark.parametrize(("stepped_s", "told"), [(0.0, True), (0.4, True), (60.0, True), (-1.5, False), (-60.0, False)])
def test_a_wall_clock_that_was_set_between_tells_no_wrong_order(fires: Fires, stepped_s: float, told: bool) -> None:
    """Hall saw it at 10 s by the clock of before, yard a second later by that of after."""
    stepped_ns = round(stepped_s * NS)
    before = fires.began("hall", AT_NS, 1000 * NS)
    after = fires.began("yard", AT_NS + 10 * NS + stepped_ns, 1010 * NS)
    hall = fires.seen("hall", AT_NS + 10 * NS, before)
    yard = fires.seen("yard", AT_NS + 11 * NS + stepped_ns, after)
    assert fires.order_is_told(hall, yard) == told
    first = sequence(fires.index.site_events(hall.id, CAMERAS, INTERVAL_S))[0].event.camera
    assert first == "hall" or not told


def test_a_picture_that_was_purged_is_not_offered(fires: Fires) -> None:
    """The analysis stays, and names it for ever."""
    run = fires.began("hall", AT_NS, 1000 * NS)
    incident = fires.shelf.incident(AT_NS)
    still = fires.shelf.still(AT_NS, kind="first_visible", incident=incident.id)
    told = analysis_of(incident.id, AT_NS)
    for evidence, offered in ((still.id, still.id), (new_id(), None), (None, None)):
        first = replace(told.first_visible, run=run, evidence=evidence)
        fires.shelf.store.commit([Entry("analysis", to_json(replace(told, id=new_id(), first_visible=first)))])
        assert fires.events(incident)[incident.id].evidence == offered


def test_who_is_only_suspected_may_have_seen_it_before_anybody(fires: Fires) -> None:
    """The detector's first suspicion comes late: what was visible until then, nobody has looked at."""
    run = fires.began("hall", AT_NS, 1000 * NS)
    hall = fires.seen("hall", AT_NS + 10 * NS, run)
    yard = fires.shelf.incident(AT_NS + 30 * NS, camera="yard")
    late = fires.events(hall)[yard.id]
    assert (late.how, late.from_ns, late.to_ns) == ("suspected", None, AT_NS + 32 * NS)
    assert not fires.order_is_told(hall, yard)


def test_a_loss_of_which_no_frame_is_kept_is_no_more_certain_than_the_interval(fires: Fires) -> None:
    """There is no record that says how exact the time of its last frame is."""
    hall = fires.shelf.incident(AT_NS, camera="hall")
    gap = fires.shelf.gap(AT_NS + 20 * NS, None, camera="yard", reason="unreachable")
    lost = fires.events(hall)[gap.id]
    assert (lost.from_ns, lost.at_ns, lost.to_ns) == (AT_NS + 18 * NS, AT_NS + 20 * NS, AT_NS + 24 * NS)
