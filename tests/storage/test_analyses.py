# SPDX-License-Identifier: AGPL-3.0-or-later
"""Analyses in the store: durable before they are acknowledged, immutable, each naming the one before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from daemon.domain import Incident
from daemon.messages import Analysed
from daemon.origin.record import Analysis, Component, thinned, to_json
from daemon.storage import schemas
from daemon.storage.verify import verify
from tests.storage.analysis_kit import analysis_of
from tests.storage.recorder_under_test import Host, Worker, wait_for


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose recorder is running."""
    host = Host(tmp_path)
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    yield host
    host.close()


@pytest.fixture
def worker(host: Host) -> Worker:
    """The hall's worker, connected, with a run."""
    worker = Worker(host)
    worker.connect()
    worker.began()
    return worker


def confirmed(worker: Worker) -> Incident:
    """An incident that is confirmed, in the store."""
    incident = worker.incident("suspect")
    worker.incident("confirmed", id=incident.id, first_confirmed_at_ns=incident.first_suspect_at_ns)
    worker.settle()
    return incident


def send(worker: Worker, analysis: Analysis) -> None:
    worker._keep(analysis.id, Analysed(analysis=analysis))


def test_an_analysis_is_a_line_and_a_row_before_it_is_acknowledged(host: Host, worker: Worker) -> None:
    """As documented, and found again by verify."""
    incident = confirmed(worker)
    analysis = analysis_of(incident.id, incident.first_suspect_at_ns)
    send(worker, analysis)
    worker.settle()
    (body,) = host.bodies("analysis")
    assert body == to_json(analysis)
    for line in host.lines():
        Draft202012Validator(schemas.LINES[line["kind"]]).validate(line)
    assert host.rows("SELECT id, incident, camera FROM analyses") == [(analysis.id, incident.id, "hall")]
    assert host.stop() == 0
    assert [each.what for each in verify(host.root).findings] == []


def test_a_new_one_names_the_one_before_and_leaves_it(host: Host, worker: Worker) -> None:
    """Also where both come in one group; of another incident none is named."""
    one, other = confirmed(worker), confirmed(worker)
    several = [analysis_of(each.id, each.first_suspect_at_ns) for each in (one, one, other)]
    for each in several:
        send(worker, each)
    worker.settle()
    third = analysis_of(one.id, one.first_suspect_at_ns)
    send(worker, third)
    worker.settle()
    named = {body["id"]: body["previous"] for body in host.bodies("analysis")}
    assert named == {several[0].id: None, several[1].id: several[0].id, several[2].id: None, third.id: several[1].id}


def test_sent_again_it_is_acknowledged_and_stored_once(host: Host, worker: Worker) -> None:
    """A recorder that was killed after it stored and before it acknowledged."""
    incident = confirmed(worker)
    analysis = analysis_of(incident.id, incident.first_suspect_at_ns)
    for _ in range(2):
        send(worker, analysis)
        worker.settle()
        worker.connect()
    assert len(host.bodies("analysis")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"camera": "yard"},
        {"incident": "../x"},
        {"clean_s": math.nan},
        {"previous": "0193a000-0000-7000-8000-000000000001"},
        {"analysed_at_ns": -1},
        {"component": Component(note="\0" * 40_000)},
    ],
)
def test_what_cannot_be_stored_is_refused_at_the_door(host: Host, worker: Worker, changes: dict[str, Any]) -> None:
    """It ends its connection, and the store goes on."""
    incident = confirmed(worker)
    worker.raw(Analysed(analysis=replace(analysis_of(incident.id, incident.first_suspect_at_ns), **changes)))
    wait_for(worker.ended, "the end of the connection")
    assert host.bodies("analysis") == []
    worker.connect()
    worker.take()
    worker.settle()


def test_a_reindexed_store_has_the_same_rows(host: Host, worker: Worker) -> None:
    """The index is a cache of the ledger also here: without it the next start makes the rows anew."""
    incident = confirmed(worker)
    send(worker, analysis_of(incident.id, incident.first_suspect_at_ns))
    worker.settle()
    before = host.rows("SELECT * FROM analyses")
    host.stop()
    for path in host.root.glob("index.sqlite*"):
        path.unlink()
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    assert host.rows("SELECT * FROM analyses") == before != []


@given(count=st.integers(1, 2000), near=st.floats(0, 1), most=st.integers(4, 200))
def test_a_long_chain_is_thinned(count: int, near: float, most: int) -> None:
    """Never more than allowed, in order, the first flame's surroundings whole and the last one kept."""
    places = list(range(0, 3 * count, 3))
    first = places[min(count - 1, int(near * count))]
    kept = thinned(places, first, most)
    assert len(kept) <= max(most, 0)
    assert kept == sorted(set(kept))
    assert places[-1] in kept
    assert first in kept
    if count <= most:
        assert kept == places
