# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recorder as a process: what it acknowledges is there whatever happens to it, to its workers and to the disk."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from daemon import wire
from daemon.clock import host_clocks
from daemon.domain import Detection, Incident
from daemon.ids import new_id
from daemon.memory import sealed
from daemon.messages import IncidentChanged, RecorderHello, RunBegan, StillsDropped, StillTaken, Watermark
from daemon.storage import still
from daemon.storage.verify import verify
from tests.storage.recorder_under_test import Host, Worker, wait_for


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Makes a host whose recorder is running; keywords are blocks of the settings."""
    hosts: list[Host] = []

    def make(**settings: Any) -> Host:
        hosts.append(Host(tmp_path, **settings))
        hosts[-1].start()
        hosts[-1].beat(lambda beat: beat.disk == "ok", "an open store")
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """A host with two cameras, hall and yard."""
    return make_host()


@pytest.fixture
def worker(host: Host) -> Worker:
    """The hall's worker, connected."""
    worker = Worker(host)
    worker.connect()
    return worker


def test_stored_and_acknowledged(host: Host, worker: Worker) -> None:
    """What is acknowledged is in file, ledger line and row; the file is where the format says."""
    worker.began()
    evidence = [worker.take() for _ in range(5)]
    worker.settle()
    host.check_stored(worker.acknowledged)
    assert len(worker.acknowledged) == 5
    paths = dict(host.rows("SELECT id, path FROM evidence"))
    moment = time.strftime("%Y/%m/%d/%H%M%S", time.gmtime(evidence[0].time.captured_at_ns // 10**9))
    assert paths[evidence[0].id].startswith(f"evidence/hall/{moment}.")
    assert still.read_record((host.root / paths[evidence[0].id]).read_bytes()) == evidence[0]
    assert host.rows("SELECT run_seq FROM runs") == [(1,)]
    assert {seq for (seq,) in host.rows("SELECT run_seq FROM evidence")} == {1}
    assert worker.states == ["ok"]


def test_many_in_one_group(host: Host, worker: Worker) -> None:
    """What waits together is stored together, in order: fewer syncs than stills, and the ledger keeps the order."""
    worker.began()
    taken = [worker.take().id for _ in range(30)]
    worker.settle()
    assert [body["id"] for body in host.bodies("stored")] == taken


def test_sent_twice(host: Host, worker: Worker) -> None:
    """A still that is sent again is acknowledged again and stored once, also within one group."""
    evidence = worker.take()
    jpeg = worker.unacknowledged[evidence.id][1]
    assert jpeg is not None
    for _ in range(3):
        descriptor = sealed("still", jpeg)
        worker.raw(StillTaken(evidence=evidence), descriptor)
        os.close(descriptor)
    worker.settle()
    worker.run = new_id()
    worker.began()
    worker.settle()
    worker._keep(evidence.id, StillTaken(evidence=evidence), jpeg)
    worker.began()
    worker.settle()
    assert [body["id"] for body in host.bodies("stored")] == [evidence.id]
    assert len(host.bodies("run")) == 1


def test_too_many_detections(host: Host, worker: Worker) -> None:
    """The row has what the file has: where the record was cut to fit, both say how many were left out."""
    found = tuple(Detection("smoke", index / 500, (1, 2, 3, 4)) for index in range(300))
    evidence = worker.take(detections=found)
    worker.settle()
    [(path,)] = host.rows("SELECT path FROM evidence WHERE id = ?", evidence.id)
    [(omitted,)] = host.rows("SELECT json_extract(record, '$.detections_omitted') FROM evidence")
    assert omitted == still.read_record((host.root / path).read_bytes()).detections_omitted == 100


# ------------------------------------------------------------------ killed


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_while_sending(host: Host, times: int) -> None:
    """Killed at random moments: all that was acknowledged is there, the rest is sent again, nothing is torn."""
    random.seed(4)
    workers = [Worker(host, camera, (320, 240)) for camera in ("hall", "yard")]
    for worker in workers:
        worker.began()
    for _ in range(times):
        until = time.monotonic() + random.uniform(0.0, 0.15)
        started = {worker: len(worker.acknowledged) for worker in workers}
        while time.monotonic() < until or all(len(each.acknowledged) == started[each] for each in workers):
            for worker in workers:
                if len(worker.unacknowledged) < 40:
                    worker.take()
                worker.pump()
        host.kill()
        for worker in workers:
            worker.hear_out()
        host.check_stored(workers[0].acknowledged | workers[1].acknowledged)
        host.start()
    for worker in workers:
        worker.settle()
    host.check_stored(workers[0].acknowledged | workers[1].acknowledged)
    assert host.parts() == []
    assert host.stop() == 0
    stored = {id_ for (id_,) in host.rows("SELECT id FROM evidence")}
    assert stored == {*workers[0].acknowledged, *workers[1].acknowledged}
    assert len(list((host.root / "evidence").rglob("*.jpg"))) == len(stored)
    assert verify(host.root).findings == ()


def test_supervisor_killed(host: Host, worker: Worker) -> None:
    """The recorder does not outlive the supervisor, whose death the pipe's end tells."""
    worker.take()
    worker.settle()
    assert host.cut_lifeline() != 0
    host.start()
    host.check_stored(worker.acknowledged)


# ------------------------------------------------------------------ bad peers


def _bad(worker: Worker) -> Iterator[tuple[str, object, list[int]]]:
    evidence = worker.evidence()
    jpeg = worker.jpeg(evidence)
    run = next(message.run for message, _ in worker.unacknowledged.values() if isinstance(message, RunBegan))
    incident = next(message for message, _ in worker.unacknowledged.values() if isinstance(message, IncidentChanged))
    yield "another camera's still", StillTaken(evidence=replace(evidence, camera="yard")), [sealed("s", jpeg)]
    yield "a still of an unknown camera", StillTaken(evidence=replace(evidence, camera="attic")), [sealed("s", jpeg)]
    yield "an id that leads elsewhere", StillTaken(evidence=replace(evidence, id="../../../tmp/x")), [sealed("s", jpeg)]
    yield "another id than the file's", StillTaken(evidence=replace(evidence, id=new_id())), [sealed("s", jpeg)]
    yield "another kind than the file's", StillTaken(evidence=replace(evidence, kind="context")), [sealed("s", jpeg)]
    yield "another time than the file's", StillTaken(evidence=replace(evidence, pts=1)), [sealed("s", jpeg)]
    yield "no picture", StillTaken(evidence=evidence), []
    yield "two pictures", StillTaken(evidence=evidence), [sealed("s", jpeg), sealed("s", jpeg)]
    yield "no JPEG", StillTaken(evidence=evidence), [sealed("s", b"GIF89a")]
    yield "half a JPEG", StillTaken(evidence=evidence), [sealed("s", jpeg[: len(jpeg) // 2])]
    yield "a file that can be changed", StillTaken(evidence=evidence), [os.memfd_create("s")]
    yield "a descriptor too many", StillsDropped(count=1, from_at_ns=1, to_at_ns=2), [sealed("s", jpeg)]
    yield "a second hello", RecorderHello(camera="hall", worker="w"), []
    yield "a run of another camera", RunBegan(run=replace(run, camera="yard")), []
    yield "a run without a size", RunBegan(run=replace(run, width_px=0)), []
    yield "a run before 1970", RunBegan(run=replace(run, started_at_ns=-1)), []
    yield "a time of 65 bits", RunBegan(run=replace(run, started_at_ns=2**63)), []
    yield "a state that is none", replace_incident(incident, state="burning"), []
    yield "a confidence that is none", replace_incident(incident, max_confidence=float("nan")), []
    yield "a condition that is none", Watermark(at_ns=1, condition="sleepy"), []
    yield "a PTS of 65 bits", Watermark(at_ns=1, condition="ok", pts=2**63), []


def replace_incident(message: IncidentChanged, **changes: object) -> IncidentChanged:
    return IncidentChanged(id=message.id, at_ns=message.at_ns, incident=replace(message.incident, **changes))


def test_what_is_no_message_ends_its_connection_only(host: Host, worker: Worker) -> None:
    """Each kind of nonsense costs its sender the connection, and nobody else anything; nothing of it is stored."""
    yard = Worker(host, "yard")
    yard.connect()
    worker.began()
    worker.incident("suspect")
    bad = list(_bad(worker))
    worker.settle()
    for what, message, descriptors in bad:
        worker.connect()
        worker.raw(message, *descriptors)  # type: ignore[arg-type]
        wait_for(worker.ended, f"the end of the connection after {what}")
        for descriptor in descriptors:
            os.close(descriptor)
        yard.take()
        yard.settle()
        assert host.running()
    assert not yard.ended()
    assert {camera for (camera,) in host.rows("SELECT camera FROM evidence")} == {"yard"}
    assert len(list((host.root / "evidence").rglob("*.jpg"))) == len(bad)


def test_garbage_and_strangers(host: Host, worker: Worker) -> None:
    """Bytes that are no message, a message before the hello, an unknown camera: closed; the worker notices nothing."""
    for data in (b"\xc1", b"{}", b"\x81\xa4type\xa4Fire", os.urandom(1000)):
        stranger = wire.connect(host.runtime_dir / "recorder.sock")
        stranger.send(data)
        stranger.settimeout(20)
        assert stranger.recv(10) == b""
        stranger.close()
    unknown = Worker(host, "attic")
    unknown.connect()
    wait_for(unknown.ended, "the end of the unknown camera's connection")
    hasty = wire.Channel(wire.connect(host.runtime_dir / "recorder.sock"), RecorderHello)
    hasty.send(Watermark(at_ns=1, condition="ok"))
    hasty.settimeout(20)
    with pytest.raises(Exception, match="closed"):
        hasty.receive()
    hasty.close()
    worker.take()
    worker.settle()


def test_a_flood_starves_nobody(host: Host) -> None:
    """A camera that sends as fast as it can and never reads its answers does not keep another's still from the disk."""
    flood, yard = Worker(host), Worker(host, "yard")
    flood.connect()
    yard.connect()
    evidence = flood.evidence()
    descriptor = sealed("still", flood.jpeg(evidence))
    assert flood._channel is not None
    sent = 0
    until = time.monotonic() + 3
    while time.monotonic() < until:
        for _ in range(64):
            sent += flood._channel.send(StillTaken(evidence=evidence), [descriptor])
        if not yard.unacknowledged:
            yard.take()
        yard.pump()
    os.close(descriptor)
    yard.settle()
    assert sent > 100
    assert len(yard.acknowledged) > 3
    beat = host.beat(lambda beat: True, "a beat")
    assert beat.oldest_item_s < 5


def test_a_flood_of_watermarks_stops_no_clock(host: Host, worker: Worker) -> None:
    """Messages that need no storing are taken in turn, too: beats, commands and another camera's stills go on."""
    ended = threading.Event()

    def flood() -> None:
        while not ended.is_set():
            worker.watermark(watched=False)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yard = Worker(host, "yard")
        for _ in range(3):
            yard.take()
            yard.settle()
            host.beat(lambda beat: True, "a beat")
        assert host.ask("head").error == ""
    finally:
        ended.set()
        thread.join()


def test_last_words(host: Host) -> None:
    """What a worker sent before it ended is stored, though it took no answer any more."""
    ids = set()
    for _ in range(10):
        worker = Worker(host)
        worker.connect()
        worker.take()
        worker.settle()
        ids |= {*worker.acknowledged} | {worker.take().id for _ in range(10)}
        worker.pump()
        worker.close()
    wait_for(lambda: {id_ for (id_,) in host.rows("SELECT id FROM evidence")} == ids, "the last words")


# ------------------------------------------------------------------ incidents


def test_worker_gone_interrupts(host: Host, worker: Worker) -> None:
    """A worker that is gone leaves no running incident; the next suspect at the same place names it as previous."""
    incident = worker.incident("suspect")
    worker.incident("confirmed", **{"id": incident.id, "first_confirmed_at_ns": time.time_ns()})
    worker.settle()
    worker.close()
    wait_for(lambda: host.rows("SELECT state FROM incidents") == [("interrupted",)], "interrupted")
    host.beat(lambda beat: beat.interrupted == 1, "that somebody may have to go back for it")
    again = Worker(host)
    elsewhere = again.incident("suspect", place=(0.7, 0.7, 0.75, 0.75))
    same = again.incident("suspect", place=(0.12, 0.1, 0.22, 0.2))
    again.settle()
    previous = dict(host.rows("SELECT id, previous FROM incidents"))
    assert previous == {incident.id: None, elsewhere.id: None, same.id: incident.id}


def test_second_hello_replaces_the_first(host: Host, worker: Worker) -> None:
    """Of two workers of one camera the newer is the camera's; the older one's connection ends, its incident too."""
    incident = worker.incident("suspect")
    worker.settle()
    second = Worker(host)
    second.take()
    second.settle()
    wait_for(worker.ended, "the end of the first worker's connection")
    wait_for(
        lambda: host.rows("SELECT state FROM incidents WHERE id = ?", incident.id) == [("interrupted",)], "the end"
    )
    assert host.beat(lambda beat: True, "a beat").interrupted == 0, "it was never confirmed"


def test_reconnecting_worker_keeps_its_incident(host: Host, worker: Worker) -> None:
    """A worker whose connection the recorder had closed, and that comes back, has its incident still running."""
    incident = worker.incident("suspect")
    worker.settle()
    worker.raw(Watermark(at_ns=1, condition="sleepy"))
    wait_for(worker.ended, "the end of the connection")
    worker.connect()
    worker.incident("ended", id=incident.id, ended_at_ns=time.time_ns())
    worker.settle()
    states = [body["state"] for body in host.bodies("incident")]
    assert states == ["suspect", "ended"]


def _burning(host: Host, worker: Worker) -> Incident:
    """A confirmed incident of a worker that the heartbeat names."""
    _known(host, worker)
    now_ns = time.time_ns()
    incident = worker.incident("confirmed", first_suspect_at_ns=now_ns, first_confirmed_at_ns=now_ns)
    worker.settle()
    return incident


def _known(host: Host, worker: Worker) -> None:
    """The heartbeat names the worker: it is awaited should the recorder die."""
    worker.watermark()
    wait_for(lambda: _heart(host).get("worker") == worker.name, "a heartbeat that names the worker", 4)


def _confirmed_by_a_still(worker: Worker) -> Incident:
    """A suspect whose confirming still is stored; its own line, which says that it is confirmed, is not."""
    incident = worker.incident("suspect")
    worker.settle()
    confirming = worker.take(kind="first_confirmed", incident=incident.id)
    worker.settle()
    return replace(incident, state="confirmed", first_confirmed_at_ns=confirming.time.captured_at_ns)


def _again(worker: Worker, incident: Incident) -> None:
    """What a worker says of an open incident after each hello."""
    id_ = new_id()
    worker._keep(id_, IncidentChanged(id=id_, at_ns=time.time_ns(), incident=incident))


def _states(host: Host) -> list[str]:
    return [body["state"] for body in host.bodies("incident")]


def test_recorder_killed_while_it_burns(host: Host, worker: Worker) -> None:
    """The recorder's death interrupts nothing whose worker lives on and comes back; saying it again makes no line."""
    incident = _burning(host, worker)
    for _ in range(3):
        host.kill()
        host.start()
        _again(worker, incident)
        worker.settle()
        host.beat(lambda beat: beat.disk == "ok", "a beat")
    assert _states(host) == ["confirmed"]
    worker.incident("ended", id=incident.id, ended_at_ns=time.time_ns())
    worker.settle()
    assert host.rows("SELECT state FROM incidents") == [("ended",)]


def test_another_worker_interrupts_after_the_recorders_death(host: Host, worker: Worker) -> None:
    """Recorder and worker died: the next worker's hello ends what was running, and its suspect continues it."""
    incident = _burning(host, worker)
    host.kill()
    worker.close()
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    assert _states(host) == ["confirmed"]
    again = Worker(host)
    same = again.incident("suspect")
    again.settle()
    states = dict(host.rows("SELECT id, state FROM incidents"))
    assert states == {incident.id: "interrupted", same.id: "suspect"}
    assert host.rows("SELECT previous FROM incidents WHERE id = ?", same.id) == [(incident.id,)]


def test_what_a_still_confirmed_is_confirmed(host: Host, worker: Worker) -> None:
    """A kill came after the confirming still and before its incident's own line: the incident is gone back for all the same.

    A worker that lived on says it again, and that is a line.
    """
    _known(host, worker)
    incident = _confirmed_by_a_still(worker)
    host.kill()
    host.start()
    _again(worker, incident)
    worker.settle()
    assert _states(host) == ["suspect", "confirmed"]
    other = _confirmed_by_a_still(worker)
    host.kill()
    worker.close()
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    Worker(host).connect()
    query = "SELECT first_confirmed_at_ns, state FROM incidents WHERE id = ?"
    interrupted = [(other.first_confirmed_at_ns, "interrupted")]
    wait_for(
        lambda: host.rows(query, other.id) == interrupted, "the interruption in the index: the ledger has it before"
    )


def test_a_worker_that_comes_late_has_its_incident_again(make_host: Callable[..., Host], tmp_path: Path) -> None:
    """Without any hello for 15 s what was running is interrupted; its worker, which lived on, makes it run again."""
    clock = tmp_path / "clock.json"
    host = make_host(environment={"FIREWITNESS_TEST_CLOCK": str(clock), "FIREWITNESS_TESTING": "1"})
    worker = Worker(host)
    worker.connect()
    incident = _burning(host, worker)
    host.kill()
    worker.close()
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    clock.write_text(json.dumps({"monotonic_s": 16}))
    wait_for(lambda: _states(host) == ["confirmed", "interrupted"], "the interruption")
    _again(worker, incident)
    worker.settle()
    assert _states(host) == ["confirmed", "interrupted", "confirmed"]
    assert host.rows("SELECT id, state, ended_at_ns FROM incidents") == [(incident.id, "confirmed", None)]


def test_after_a_reboot_no_worker_is_awaited(make_host: Callable[..., Host], tmp_path: Path) -> None:
    """Nobody lives on through a restart of the host: what was running is interrupted at once."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"boot_id": "one"}))
    host = make_host(environment={"FIREWITNESS_TEST_CLOCK": str(clock), "FIREWITNESS_TESTING": "1"})
    worker = Worker(host)
    worker.connect()
    _burning(host, worker)
    host.kill()
    clock.write_text(json.dumps({"boot_id": "two"}))
    worker.close()
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    wait_for(lambda: _states(host) == ["confirmed", "interrupted"], "the interruption", 5)


def test_a_malformed_index_stops_nobody(host: Host, worker: Worker) -> None:
    """Spoilt between two starts, where only storing meets it: it is made anew, and what the worker has is stored and acknowledged."""
    worker.began()
    for _ in range(5):
        worker.take()
    worker.settle()
    host.stop()
    with closing(sqlite.connect(str(host.root / "index.sqlite"))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_sightings_1'")
    with (host.root / "index.sqlite").open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    host.start()
    worker.take()
    worker.settle()
    host.check_stored(worker.acknowledged)
    assert (host.root / "index-malformed.sqlite").exists()
    host.stop()
    assert verify(host.root).findings == ()


def test_a_drill_is_not_awaited(host: Host) -> None:
    """Its camera is in no configuration: what a kill left open of it is interrupted at the next start, so that it can be purged."""
    drill = Worker(host, "drill")
    drill.connect()
    drill.incident("confirmed", first_confirmed_at_ns=time.time_ns(), drill=True)
    drill.settle()
    host.kill()
    drill.close()
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    wait_for(lambda: _states(host) == ["confirmed", "interrupted"], "the interruption", 5)


def test_transitions_sent_again_are_no_lines(host: Host, worker: Worker) -> None:
    """What a worker sends again because its acknowledgement was lost is acknowledged again, and told once."""
    incident = worker.incident("suspect")
    confirmed = replace(incident, state="confirmed", first_confirmed_at_ns=time.time_ns())
    _again(worker, confirmed)
    sent = dict(worker.unacknowledged)
    worker.settle()
    for id_, (message, _) in sent.items():
        worker._keep(id_, message)
    worker.settle()
    assert _states(host) == ["suspect", "confirmed"]
    assert host.rows("SELECT state FROM incidents") == [("confirmed",)]


# ------------------------------------------------------------------ gaps


def _gaps(host: Host, camera: str = "hall") -> list[tuple[str, bool]]:
    rows = host.rows("SELECT reason, to_at_ns IS NULL FROM gaps WHERE camera = ? ORDER BY from_at_ns", camera)
    return [(reason, bool(is_open)) for reason, is_open in rows]


def test_gap_of_a_dead_worker(host: Host, worker: Worker) -> None:
    """A killed worker leaves a gap that ends when the next one watches again."""
    worker.watermark()
    worker.watermark()
    worker.watermark()
    watched_ns = time.time_ns()
    worker.close()
    wait_for(lambda: _gaps(host) == [("worker", True)], "the gap")
    [(from_ns,)] = host.rows("SELECT from_at_ns FROM gaps WHERE camera = 'hall'")
    assert abs(from_ns - watched_ns) < 10**9
    again = Worker(host)
    again.connect()
    with again.watching():
        wait_for(lambda: _gaps(host) == [("worker", False)], "the end of the gap")
    host.beat(lambda beat: beat.open_gaps == {"yard": "worker"}, "a beat with the other camera's gap alone")


def test_gap_of_a_dead_daemon(host: Host, worker: Worker) -> None:
    """After everything was killed the gap begins where the heartbeat says that the camera was watched last."""
    with worker.watching():
        wait_for(lambda: _heart(host).get("frames", 0) > 3, "a heartbeat with frames")
    worker.close()
    host.kill()
    seen = _heart(host)
    time_of_death = host_clocks().monotonic_ns()
    wait_for(lambda: host_clocks().monotonic_ns() - time_of_death > 1.2e9, "more than the limit")
    host.start()
    wait_for(lambda: _gaps(host) == [("daemon", True)], "the gap")
    assert host.rows("SELECT from_at_ns FROM gaps WHERE camera = 'hall'") == [(int(seen["watched_at_ns"]),)]
    again = Worker(host)
    again.connect()
    with again.watching():
        wait_for(lambda: _gaps(host) == [("daemon", False)], "the end of the gap")


def _heart(host: Host) -> dict[str, Any]:
    """What the heartbeat says of the hall."""
    file = host.root / "heartbeat"
    cameras: dict[str, dict[str, Any]] = json.loads(file.read_text())["cameras"] if file.exists() else {}
    return cameras.get("hall", {})


def test_recorder_killed_while_the_worker_watches(host: Host, worker: Worker) -> None:
    """A worker that goes on watching while the recorder is restarted proves it: there is no gap."""
    with worker.watching():
        wait_for(lambda: _heart(host), "a heartbeat")
        host.kill()
        host.start()
        host.beat(lambda beat: beat.disk == "ok" and "yard" in beat.open_gaps, "the yard's gap")
        host.beat(lambda beat: True, "a beat")
    assert _gaps(host) == []


def test_orderly_stop_is_a_gap_too(host: Host, worker: Worker) -> None:
    """A stop writes the gap `daemon` for every camera, then `closed` and `head`; coverage is told."""
    with worker.watching():
        wait_for(lambda: worker.frames > 20, "frames")
    assert host.stop() == 0
    assert _gaps(host) == [("daemon", True)]
    assert [line["kind"] for line in host.lines()][-2:] == ["closed", "head"]
    [coverage] = [body for body in host.bodies("coverage") if body["camera"] == "hall"][-1:]
    assert coverage["frames"] >= 20
    assert 1 < coverage["watched_s"] < 30


def test_a_new_camera_has_no_gap_before_it_was_known(host: Host) -> None:
    """Its first gap begins when it was first seen: what was before that nobody promised to watch."""
    wait_for(lambda: _gaps(host, "yard") == [("worker", True)], "the gap")
    [(from_ns, seen_ns)] = host.rows(
        "SELECT from_at_ns, first_seen_at_ns FROM gaps JOIN cameras ON name = camera WHERE camera = 'yard'"
    )
    assert from_ns >= seen_ns


def test_disabled_camera(host: Host) -> None:
    """A camera that the configuration switches off has the gap `disabled`; so has one that is no longer in it."""
    host.beat(lambda beat: beat.disk == "ok", "a beat")
    host.stop()
    host.cameras = {"hall": {"enabled": False}}
    host.start()
    beat = host.beat(lambda beat: len(beat.open_gaps) == 2, "both gaps")
    assert beat.open_gaps == {"hall": "disabled", "yard": "disabled"}


def test_dropped_stills_are_a_gap(host: Host, worker: Worker) -> None:
    """What a worker had to let go is told as a gap with its count."""
    worker.watermark()
    now_ns = time.time_ns()
    worker.raw(StillsDropped(count=5, from_at_ns=now_ns, to_at_ns=now_ns))
    wait_for(lambda: _gaps(host) == [("recorder", True)], "the gap")
    assert host.bodies("gap")[-1]["detail"] == "5 stills dropped"


# ------------------------------------------------------------------ commands and signals


def test_commands(host: Host, worker: Worker) -> None:
    """Purge, head and clock_accept are answered; an unknown one is one sentence."""
    worker.take()
    worker.settle()
    result = host.ask("purge", dry_run=True).result
    assert (result["due"], result["removed"]) == (0, 0)
    head = host.ask("head")
    assert head.result["seq"] == host.bodies("head")[-1]["of_seq"]
    assert head.result["hash"] == host.bodies("head")[-1]["of_hash"]
    assert host.ask("clock_accept").result["trusted_at"].endswith("Z")
    assert "explode" in host.ask("explode").error


def test_purge_removes_what_is_old(make_host: Callable[..., Host], tmp_path: Path) -> None:
    """An old still goes by command, with a line; a young one stays; storing goes on."""
    clock = tmp_path / "clock.json"
    environment = {"FIREWITNESS_TEST_CLOCK": str(clock), "FIREWITNESS_TESTING": "1"}
    host = make_host(storage={"retention": 3600}, environment=environment)
    worker = Worker(host)
    old = worker.take()
    worker.settle()
    clock.write_text(json.dumps({"wall_s": 10_800, "boot_s": 10_800}))
    time_then = worker.evidence().time
    young = worker.take(time=replace(time_then, captured_at_ns=time_then.captured_at_ns + 10_800 * 10**9))
    worker.settle()
    result = host.ask("purge", all_due=True).result
    assert (result["due"], result["removed"], result["left"]) == (1, 1, 0)
    assert [id_ for (id_,) in host.rows("SELECT id FROM evidence")] == [young.id]
    assert host.bodies("purged")[-1]["ids"] == [old.id]
    worker.take()
    worker.settle()


def test_stop_drains(host: Host, worker: Worker) -> None:
    """What the workers had sent before the word to stop is stored before the end."""
    worker.pump()
    ids = {worker.take().id for _ in range(20)}
    worker.pump()
    worker.close()
    assert host.stop() == 0
    assert {id_ for (id_,) in host.rows("SELECT id FROM evidence")} == ids


def test_sigterm_is_a_stop(host: Host, worker: Worker) -> None:
    """SIGTERM ends it in order."""
    worker.take()
    worker.settle()
    assert host.terminate() == 0
    assert host.bodies("closed") == [{"why": "stop"}]


def test_the_log_of_a_life(host: Host, worker: Worker) -> None:
    """Sentences; the last one holds the ledger's head, as a witness outside the disk."""
    worker.take()
    worker.settle()
    host.ask("purge", dry_run=True, all_due=True)
    host.ask("head")
    assert host.stop() == 0
    log = host.log.read_text()
    last = (host.root / "ledger").glob("*.jsonl").__next__().read_bytes().splitlines()[-1]
    head = f"seq {json.loads(last)['seq']} hash {hashlib.sha256(last).hexdigest()}"
    assert log.splitlines()[-1].endswith(f"the store is closed; ledger head: {head}")
    assert f"the store {host.root} is open\n" in log
    assert "asked to say what a purge would remove, all that is due\n" in log
    assert "asked for the ledger's head\n" in log
    assert "{" not in log
    assert "Recovery" not in log


def test_a_recovery_is_told_in_words(host: Host) -> None:
    """What a killed recorder left and the next one mended is one sentence in its log."""
    (host.root / "evidence" / ".x.part").write_bytes(b"half")
    host.kill()
    (host.root / ".y.part").write_bytes(b"half")
    host.start()
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    assert "recovered after an end that was not in order: 1 half-written files removed" in host.log.read_text()


def test_beats_go_on_while_the_store_is_opened(host: Host) -> None:
    """A recovery that takes long is no silence, for which the supervisor would kill it and let it begin again."""
    host.stop()
    stores = host.folder / "state" / "stores.json"
    content = stores.read_bytes()
    stores.unlink()
    os.mkfifo(stores)  # whoever reads it waits for us
    host.start()
    host.beat(lambda beat: beat.disk == "starting" and beat.detail == "recovering the store", "a beat meanwhile")
    host.beat(lambda beat: beat.disk == "starting", "another one")
    stores.write_bytes(content)
    host.beat(lambda beat: beat.disk == "ok", "an open store")
    worker = Worker(host)
    worker.take()
    worker.settle()


def test_beats(host: Host, worker: Worker) -> None:
    """A beat a second says disk, head, clock and what was stored."""
    worker.take()
    worker.settle()
    beat = host.beat(lambda beat: beat.stored == 1, "a beat")
    assert beat.disk == "ok"
    assert beat.stored_bytes > 500
    assert beat.free_bytes > 0
    assert beat.ledger_seq == len(host.lines())
    assert len(beat.ledger_head) == 64
    assert beat.oldest_item_s < 5


def test_settings_are_named(host: Host) -> None:
    """The ledger says by which settings it recorded."""
    host.beat(lambda beat: beat.disk == "ok", "a beat")
    assert len(host.bodies("settings")[0]["sha256"]) == 64
