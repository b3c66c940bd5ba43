# SPDX-License-Identifier: AGPL-3.0-or-later
"""Going back without a worker: the ring's packets of a chart, and a detector that a test plays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import pytest

from daemon.clock import NS, host_clocks
from daemon.domain import Detection, Evidence, Incident
from daemon.ids import new_id
from daemon.ingest.colour import Converter
from daemon.ingest.concluding import Outcome, subject_of
from daemon.ingest.examination import Examination
from daemon.ingest.going_back import MOST_WAITING, GoingBack
from daemon.ingest.live_run import LiveRun
from daemon.ingest.outbox import Outbox
from daemon.ingest.packet import Packet
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.ring import Ring
from daemon.ingest.snapshot import Snapshot
from daemon.messages import Analysed
from daemon.simulate.chart import Chart
from tests.ingest.work_under_test import FakeWork
from tests.ingest.worker_under_test import FIRE, FPS, MODEL

ONSET, LAST = 130, 249
PLAN = WorkerPlan(
    camera="hall", url="", version="0", recorder_socket="", input_px=320, thresholds={"fire": 0.5, "smoke": 0.5}
)
Sees = Callable[[int], Sequence[Detection]]


def packets_of(chart: Chart, runs: int = 1) -> list[Packet]:
    """The chart's packets up to LAST as the ring holds them: of one run, or of several in a row, each from a key frame on."""
    clocks = host_clocks()
    packets: list[Packet] = []
    with av.open(str(chart.path)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base or 1)
        begin_ns = clocks.monotonic_ns() - 20 * NS
        run = None
        for number, coded in enumerate(container.demux(stream)):
            if coded.pts is None or number > LAST:
                break
            if number % ((LAST + 1) // runs) == 0:
                run = LiveRun("connected", "h264", base, clocks, stream.codec_context.extradata)
            at_ns = begin_ns + round(coded.pts * base * NS)
            packet = Packet(
                bytes(coded), coded.pts, coded.dts, key=coded.is_keyframe, emitted_ns=at_ns, arrival_ns=at_ns
            )
            assert run is not None
            run.add(packet)
            if run.record is None:
                run.describe("hall", *chart.size)
            packets.append(packet)
    return packets


def confirming(packets: Sequence[Packet]) -> Evidence:
    """The still of the last packet's frame."""
    last = packets[-1]
    run = last.run.record
    assert run is not None
    return Evidence(
        new_id(), "hall", "first_confirmed", run.id, last.pts or 0, run.time_base, last.run.time_of(last),
        run.width_px, run.height_px, (FIRE,), new_id(), MODEL, PLAN.thresholds, "no", ("bt709", "limited"), "0",
    )  # fmt: skip


def from_onset(number: int) -> Sequence[Detection]:
    return (FIRE,) if number >= ONSET else ()


def examination_of(packets: Sequence[Packet]) -> Examination:
    evidence = confirming(packets)
    snapshot = Snapshot.until(packets, evidence.run, evidence.pts)
    assert snapshot is not None
    return Examination(subject_of(evidence, PLACE, ["fire"]), snapshot, PLAN, Converter())


PLACE = (0.125, 0.17, 0.25, 0.33)


def finish(examination: Examination, sees: Sees = from_onset) -> Outcome:
    """To its end."""
    while examination.outcome is None:
        examination.step()
        while examination.questions:
            question = examination.questions.popleft()
            examination.answered(question, sees(Chart.read_frame_number(question.pixels)), MODEL)
    return examination.outcome


def number_of(outcome: Outcome, packets: Sequence[Packet]) -> int:
    """Which picture first visible is."""
    first = outcome.analysis.first_visible
    return next(
        number for number, each in enumerate(packets)
        if each.run.record is not None and (each.run.record.id, each.pts) == (first.run, first.pts)
    )  # fmt: skip


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_the_past_may_have_several_runs(chart: Chart, runs: int) -> None:
    """A camera that reconnected in between, with a decoder's parameters of its own each time: exact all the same."""
    packets = packets_of(chart, runs)
    outcome = finish(examination_of(packets))
    assert number_of(outcome, packets) == ONSET
    assert outcome.analysis.ended == "clean"


def test_a_damaged_frame_counts_as_not_looked_at(chart: Chart) -> None:
    """From a corrupt packet to the next key frame nothing is believed: the first good frame, and the last good one before."""
    packets = packets_of(chart)
    packets[ONSET - 2].corrupt = True
    outcome = finish(examination_of(packets))
    good = ONSET - ONSET % FPS + FPS  # the next key frame
    assert number_of(outcome, packets) == good
    last = outcome.analysis.last_clean
    assert last is not None
    assert last.pts == packets[ONSET - 3].pts
    assert outcome.analysis.first_visible.uncertainty_s > (good - ONSET) / FPS


def test_given_up_it_says_what_is_known_by_then(chart: Chart) -> None:
    """A detector that has no time any more: the earliest sighting so far, ended by a bound, with its still."""
    packets = packets_of(chart)
    examination = examination_of(packets)
    answers = 0
    while answers < 3:
        examination.step()
        while examination.questions:
            question = examination.questions.popleft()
            examination.answered(question, from_onset(Chart.read_frame_number(question.pixels)), MODEL)
            answers += 1
    while not examination.questions:
        examination.step()
    examination.give_up_search()
    outcome = finish(examination, lambda number: pytest.fail("nothing is asked any more"))
    assert outcome.analysis.ended == "bound"
    assert ONSET <= number_of(outcome, packets) < LAST


def test_a_frame_that_the_ring_does_not_hold(chart: Chart) -> None:
    """There is no snapshot of it."""
    packets = packets_of(chart)
    assert Snapshot.until(packets[:-1], confirming(packets).run, confirming(packets).pts) is None


def incident_of(evidence: Evidence) -> Incident:
    return Incident(evidence.incident or "", "hall", "confirmed", 1, 1, None, ("fire",), 0.9, PLACE)


def test_incidents_queue_and_the_queue_has_an_end(chart: Chart, work: FakeWork) -> None:
    """Six are confirmed at once: four analyses in their order, two without; the outbox has the stills before each."""
    packets = packets_of(chart)
    ring = Ring(60.0, 64_000_000)
    for packet in packets:
        ring.add(packet)
    work.sees = lambda _: from_onset(Chart.read_frame_number(work.pixels[-1]))
    plan = WorkerPlan(
        **{name: getattr(PLAN, name) for name in PLAN.__struct_fields__} | {"work_socket": str(work.path)}
    )
    outbox = Outbox(64_000_000)
    going_back = GoingBack(plan, host_clocks(), Converter(), ring, outbox)
    told = [confirming(packets) for _ in range(MOST_WAITING + 2)]
    for evidence in told:
        going_back.confirmed(incident_of(evidence), evidence)
    until = time.monotonic() + 60
    while going_back.done < MOST_WAITING:
        assert time.monotonic() < until
        going_back.turn()
        going_back.take()
        time.sleep(0.001)
    assert not going_back.busy
    messages = [each.message for each in outbox.unsent()]
    analyses = [each.analysis for each in messages if isinstance(each, Analysed)]
    assert [each.incident for each in analyses] == [each.incident for each in told[:MOST_WAITING]]
    assert {each.first_visible.pts for each in analyses} == {packets[ONSET].pts}
    assert len(messages) == 3 * MOST_WAITING
    going_back.close()


def test_what_is_held_is_bounded(chart: Chart) -> None:
    """Snapshots share what they have in common; one that would hold more than twice the ring's cap is refused."""
    one, other = packets_of(chart), packets_of(chart)
    size = sum(len(each.data) + 250 for each in one)
    plan = WorkerPlan(
        camera="hall", url="", version="0", recorder_socket="", work_socket="/nowhere", ring_bytes=int(0.9 * size),
        thresholds=PLAN.thresholds,
    )  # fmt: skip
    ring = Ring(60.0, 64_000_000)
    going_back = GoingBack(plan, host_clocks(), Converter(), ring, Outbox(1000))
    waiting: list[int] = []
    for packets in (one, one, other):
        ring = Ring(60.0, 64_000_000)
        for packet in packets:
            ring.add(packet)
        going_back._ring = ring
        going_back.confirmed(incident_of(confirming(packets)), confirming(packets))
        waiting.append(len(going_back._waiting))
    assert waiting == [1, 2, 2], "the second shares the first one's bytes; the third has others"
