# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pure parts of a worker: ring, backoff, eyes, keeping, outbox, condition."""

from __future__ import annotations

import errno
from itertools import pairwise

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.clock import NS
from daemon.domain import Box, Clip, Evidence, FrameTime, Incident, ModelInfo, Run
from daemon.ingest.backoff import Backoff
from daemon.ingest.condition import Condition, Signs, Watch, judge
from daemon.ingest.eyes import Eyes, Look
from daemon.ingest.keeping import Keeping, Rank
from daemon.ingest.outbox import MOST_CLIP_SENT, MOST_SENT, Outbox
from daemon.ingest.packet import Packet
from daemon.ingest.plan import Credentials, ThinningPlan, WorkerPlan
from daemon.ingest.ring import PACKET_OVERHEAD_BYTES, Ring
from daemon.ingest.stream import NETWORK, while_opening, with_credentials
from daemon.messages import ClipFragment, IncidentChanged, RunBegan, StillTaken

FRAME_NS = 40_000_000


def packet(place: int, size: int = 1000, *, key: bool = False) -> Packet:
    """The packet of a camera with 25 frames a second."""
    now_ns = place * FRAME_NS
    return Packet(bytes(size), place, place, key=key, emitted_ns=now_ns, arrival_ns=now_ns)


# ------------------------------------------------------------------ ring


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.booleans(), st.integers(0, 3)), max_size=300),
    st.integers(1, 5),
    st.integers(2_000, 60_000),
)
def test_the_ring_keeps_its_caps_and_begins_at_a_key_frame(
    coming: list[tuple[int, bool, int]], most_s: int, most_bytes: int
) -> None:
    """Whatever comes, the ring begins at a key frame, holds whole GOPs, and never more than its cap."""
    ring = Ring(most_s, most_bytes)
    place = 0
    for size, key, gap in coming:
        place += 1 + gap * 20
        ring.add(packet(place, size, key=key))
        held = list(ring._packets)
        assert ring.bytes == sum(len(each.data) + PACKET_OVERHEAD_BYTES for each in held) <= most_bytes
        assert not held or held[0].key
        gop = ring.current_gop()
        assert gop == held[len(held) - len(gop) :]
        assert not gop or (gop[0].key and not any(each.key for each in gop[1:]))
        keys = [each.emitted_ns for each in held if each.key]
        assert len(keys) < 2 or held[-1].emitted_ns - keys[1] < most_s * NS, "no GOP more than the seconds need"


def test_the_ring_holds_its_seconds() -> None:
    """As long as the bytes allow, what was within ring_seconds is there."""
    ring = Ring(10, 10**9)
    for place in range(1000):
        ring.add(packet(place, key=place % 50 == 0))
        assert place < 251 or ring.seconds() >= 10


def test_a_gop_beyond_the_cap_makes_the_ring_unavailable() -> None:
    """Until the next key frame, which makes it whole again."""
    ring = Ring(60, 10_000)
    ring.add(packet(0, key=True))
    for place in range(1, 20):
        ring.add(packet(place))
    assert (ring.available, len(ring), ring.bytes) == (False, 0, 0)
    ring.add(packet(20, key=True))
    assert ring.available
    assert len(ring) == 1


def test_no_key_frame_for_30_s_makes_the_ring_unavailable() -> None:
    """An intra-refresh stream has none at all."""
    ring = Ring(60, 10**9)
    for place in range(25 * 30 + 1):
        ring.add(packet(place))
        assert ring.available
    ring.add(packet(25 * 30 + 2))
    assert not ring.available
    assert len(ring) == 0


def test_another_connection_does_not_continue_a_gop() -> None:
    """What comes before its first key frame has no head in the ring; what was there stays."""
    ring = Ring(60, 10**6)
    ring.add(packet(0, key=True))
    ring.interrupt()
    ring.add(packet(1))
    assert len(ring) == 1
    assert ring.current_gop() == []
    ring.add(packet(2, key=True))
    assert len(ring) == 2
    assert len(ring.current_gop()) == 1


# ------------------------------------------------------------------ backoff


def test_backoff_doubles_to_ten_seconds() -> None:
    """1, 2, 4, 8, 10, 10 … with up to a quarter more; 1 again after a success."""
    backoff = Backoff(lambda: 0.0)
    assert [backoff.after("stalled") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.succeeded()
    assert backoff.after("unreachable") == 1
    late = Backoff(lambda: 0.999)
    assert all(1 <= wait <= 12.5 for wait in (late.after("decode") for _ in range(50)))


def test_refused_credentials_wait_a_minute() -> None:
    """Cameras lock accounts that keep trying."""
    for chance in (0.0, 0.999):
        assert 60 <= Backoff(lambda chance=chance: chance).after("refused") <= 75  # type: ignore[misc]


# ------------------------------------------------------------------ eyes


def looks(eyes: Eyes, count: int, gop: int, first: int = 0) -> list[Look]:
    """What is done with the packets of a camera with 25 frames a second; decoded frames are offered at once."""
    done = []
    for place in range(first, first + count):
        look = eyes.packet(place * FRAME_NS, key=place % gop == 0)
        if look is Look.KEY:
            eyes.analysing(place * FRAME_NS)
        elif look is not Look.PASS:
            eyes.wants(place * FRAME_NS, FRAME_NS)
        done.append(look)
    return done


@pytest.mark.parametrize("gop", [25, 50, 54])
def test_quiet_eyes_decode_key_frames_only(gop: int) -> None:
    """Also where they are a little more than max_interval apart: 29.97 frames a second give 2.002 s."""
    done = looks(Eyes(2.0, 5), 500, gop)
    assert [place for place, look in enumerate(done) if look is Look.KEY] == list(range(0, 500, gop))
    assert set(done) == {Look.KEY, Look.PASS}


def test_an_all_intra_stream_is_not_analysed_in_full() -> None:
    """Every frame a key frame is no reason to look more often than an active camera is looked at."""
    assert looks(Eyes(2.0, 5), 250, 1).count(Look.KEY) == 50


def test_long_gops_are_decoded_in_full() -> None:
    """Once it is known that key frames are too far apart, everything is decoded from them on."""
    done = looks(Eyes(2.0, 5), 1000, 250)
    assert done.index(Look.CATCH_UP) == 55
    assert Look.PASS not in done[55:]
    assert done.count(Look.CATCH_UP) == 1


@given(st.sampled_from([10, 12, 15, 25, 30, 50]), st.sampled_from([1.0, 2.0, 5.0, 10.0]))
def test_active_eyes_want_no_more_than_active_fps(fps: int, active_fps: float) -> None:
    """And not much less, as far as the camera's rate divides: of 12 a second at most 10 means every other."""
    eyes = Eyes(2.0, active_fps)
    eyes.active = True
    step_ns = NS // fps
    eyes.packet(0, key=True)
    wanted = sum(eyes.wants(place * step_ns, step_ns) for place in range(fps * 20))
    assert wanted <= min(fps, active_fps) * 20 * 1.02 + 1
    assert wanted >= min(fps, active_fps) * 20 * 0.5


@given(st.sampled_from([5, 8, 12, 15, 25, 30]), st.sampled_from([0.5, 1.0, 2.0]))
def test_quiet_eyes_keep_the_interval_in_long_gops(fps: int, interval_s: float) -> None:
    """Of what is decoded in full while all is quiet, wanted frames are never further apart than the interval."""
    eyes = Eyes(interval_s, 5)
    step_ns = NS // fps
    eyes.packet(0, key=True)
    wanted = [place * step_ns for place in range(fps * 30) if eyes.wants(place * step_ns, step_ns)]
    assert max(after - before for before, after in pairwise(wanted)) <= interval_s * NS
    assert len(wanted) <= 30 / (interval_s - 1 / fps) + 1


def test_eyes_come_back_to_key_frames() -> None:
    """When the incident is over, from the next key frame on."""
    eyes = Eyes(2.0, 5)
    looks(eyes, 60, 50)
    eyes.active = True
    assert looks(eyes, 10, 50, 60) == [Look.CATCH_UP] + [Look.FOLLOW] * 9
    eyes.active = False
    done = looks(eyes, 60, 50, 70)
    assert done[:30] == [Look.FOLLOW] * 30
    assert done[30] is Look.KEY
    assert set(done[31:]) == {Look.PASS}


# ------------------------------------------------------------------ keeping

STEPS = (ThinningPlan(30, 1), ThinningPlan(300, 10), ThinningPlan(3600, 60))


LAMP = (0.40, 0.40, 0.45, 0.45)
ELSEWHERE = (0.90, 0.10, 0.95, 0.15)


def keep(
    keeping: Keeping, kind: str, incident: int, now_s: float, size: int = 1, place: Box = LAMP
) -> tuple[Rank | None, int]:
    """What is decided of a frame, and the bytes of the still if it is made."""
    rank = keeping.decide(kind, incident, now_s, place)
    if rank is None:
        return None, 0
    keeping.kept(kind, incident, now_s, size)
    return rank, size


def test_keeping_thins_by_the_schedule() -> None:
    """Every frame for 30 s, then one a second, after 5 min one in 10 s."""
    keeping = Keeping(STEPS, 10**12)
    keep(keeping, "first_suspect", 1, 0.0)
    keep(keeping, "first_confirmed", 1, 0.4)
    ticks = (tick / 5 for tick in range(3, 5 * 400))
    kept = [now_s for now_s in ticks if keep(keeping, "hit", 1, now_s)[0] is not None]
    assert len([at for at in kept if at < 30]) == 5 * 30 - 3
    assert len([at for at in kept if 30 <= at < 300]) == 270
    assert len([at for at in kept if at >= 300]) == 10


def test_what_the_clip_of_a_fire_leaves_out_is_not_thinned_below_two_seconds() -> None:
    """The camera may be lost in it; of what is not confirmed, or filmed, the schedule alone decides."""
    for kind, filmed, apart_s in (("first_confirmed", False, 2), ("first_confirmed", True, 10), ("hit", False, 10)):
        keeping = Keeping(STEPS, 10**12)
        keep(keeping, "first_suspect", 1, 0.0)
        keep(keeping, kind, 1, 0.4)
        kept = []
        for tick in range(5 * 310, 5 * 400):
            if keeping.decide("hit", 1, tick / 5, LAMP, filmed=filmed) is not None:
                keeping.kept("hit", 1, tick / 5, 1)
                kept.append(tick / 5)
        assert [after - before for before, after in pairwise(kept)] == pytest.approx([apart_s] * (len(kept) - 1))
        assert len(kept) >= 9


def test_a_lamp_that_flickers_all_night_is_bounded() -> None:
    """Ten hours at 1 MB a still: twice the budget an hour, and one first frame a minute; another place's is kept too."""
    budget, size, hours = 50_000_000, 1_000_000, 10
    keeping = Keeping(STEPS, budget)
    kept_bytes = 0
    for incident in range(1, hours * 3600 // 11):  # as often as unconfirmed_after lets one place be suspected anew
        start_s = incident * 11.0
        kept_bytes += keep(keeping, "first_suspect", incident, start_s, size)[1]
        for tick in range(1, 3):
            kept_bytes += keep(keeping, "hit", incident, start_s + tick / 5, size)[1]
        keeping.closed(incident)
    an_hour = 2 * (budget + size) + 60 * size
    assert 2 * budget < kept_bytes <= hours * an_hour
    now_s = hours * 3600.0 + 60
    assert keep(keeping, "first_suspect", 10_000, now_s, size)[0] is Rank.FIRST
    assert keep(keeping, "first_suspect", 10_001, now_s + 1, size)[0] is None
    assert keep(keeping, "first_suspect", 10_002, now_s + 1, size, ELSEWHERE)[0] is Rank.FIRST
    assert keep(keeping, "first_suspect", 10_003, now_s + 60, size)[0] is Rank.FIRST
    assert keep(keeping, "first_suspect", 10_004, now_s + 60, size, ELSEWHERE)[0] is None


@given(
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 0.95), st.floats(0, 0.95), st.integers(1, 1000)), max_size=400)
)
def test_sparks_all_over_the_picture_are_bounded(sparks: list[tuple[float, float, float, int]]) -> None:
    """Wherever and whenever something flickers: in no hour more than the budget twice, and eight a minute."""
    keeping, budget = Keeping(STEPS, 5_000), 5_000
    kept: list[tuple[float, int]] = []
    now_s = 0.0
    for incident, (pause_s, x, y, size) in enumerate(sparks):
        now_s += pause_s / 8
        place = (x, y, x + 0.004, y + 0.004)
        kept.append((now_s, keep(keeping, "first_suspect", incident, now_s, size, place)[1]))
        kept.append((now_s, keep(keeping, "hit", incident, now_s, size, place)[1]))
    for from_s, _ in kept:
        hour_bytes = sum(size for at_s, size in kept if from_s <= at_s <= from_s + 3600)
        minutes = min(now_s - from_s, 3600) / 60 + 1
        assert hour_bytes <= 2 * (budget + 1000) + 8 * minutes * 1000


def test_one_flicker_without_a_first_frame_has_its_hits() -> None:
    """Where the first frames' reserve is used up, the hits' own is not touched; and confirming counts from there."""
    keeping = Keeping(STEPS, 1_000)
    assert keep(keeping, "first_suspect", 1, 0.0, 1_000)[0] is Rank.FIRST
    assert keep(keeping, "first_suspect", 2, 20.0, 1_000)[0] is None
    assert keep(keeping, "hit", 2, 20.2, 1_000)[0] is Rank.HIT
    assert keep(keeping, "hit", 2, 20.4, 1_000)[0] is None
    assert keep(keeping, "first_confirmed", 2, 20.6, 1_000)[0] is Rank.FIRST
    assert keep(keeping, "hit", 2, 20.8, 1_000)[0] is Rank.HIT


def test_confirming_lifts_the_bound() -> None:
    """What proves to be a fire is not on the lamps' accounts, from its first frame on."""
    keeping = Keeping(STEPS, 1_000)
    assert keep(keeping, "first_suspect", 1, 0.0, 2_000)[0] is Rank.FIRST
    assert keep(keeping, "hit", 1, 0.2, 2_000)[0] is Rank.HIT
    assert keep(keeping, "hit", 1, 0.4)[0] is None
    assert keep(keeping, "first_confirmed", 1, 0.6, 2_000)[0] is Rank.FIRST
    assert keep(keeping, "hit", 1, 0.8)[0] is Rank.HIT
    assert keep(keeping, "context", 1, 0.8)[0] is Rank.THINNED
    assert keep(keeping, "first_suspect", 2, 1.0)[0] is Rank.FIRST
    assert keep(keeping, "hit", 2, 1.2)[0] is Rank.HIT


def test_one_sighting_can_be_enough() -> None:
    """With m = 1 an incident begins confirmed; what follows is kept all the same."""
    keeping = Keeping(STEPS, 0)
    assert keep(keeping, "first_confirmed", 1, 0.0)[0] is Rank.FIRST
    assert keep(keeping, "hit", 1, 0.2)[0] is Rank.HIT


# ------------------------------------------------------------------ outbox

RUN = Run("run-1", "hall", 0, 0, (1, 90_000), "h264", 320, 240, "connected")
MODEL = ModelInfo("0" * 64, "fake", "none", 640)


def still(name: str, kind: str = "hit", at_ns: int = 0) -> StillTaken:
    """A still's record."""
    time = FrameTime(at_ns, 0.1, 0.1, True, False)
    return StillTaken(
        evidence=Evidence(
            name,
            "hall",
            kind,
            "run-1",
            0,
            (1, 90_000),
            time,
            320,
            240,
            (),
            None,
            MODEL,
            {},
            "no",
            ("bt601", "full"),
            "0",
        )
    )


def send_all(outbox: Outbox) -> list[str]:
    """What would be sent now."""
    sent = []
    for record in outbox.unsent():
        outbox.mark_sent(record)
        sent.append(record.id)
    return sent


def test_the_outbox_drops_the_least_first() -> None:
    """Thinned hits and context, then hits, firsts last; the oldest of equals; what went is counted once."""
    outbox = Outbox(6_000 + 6 * 1000)
    outbox.run(RunBegan(run=RUN))
    outbox.still(still("first", "first_suspect", 1), bytes(1000), Rank.FIRST)
    outbox.still(still("hit-1", at_ns=2), bytes(1000), Rank.HIT)
    outbox.still(still("context-1", at_ns=3), bytes(1000), Rank.THINNED)
    outbox.still(still("hit-2", at_ns=4), bytes(1000), Rank.HIT)
    outbox.still(still("context-2", at_ns=5), bytes(1000), Rank.THINNED)
    assert outbox.dropped is None
    gone = []
    for number in range(4):
        before = {each.id for each in outbox.unsent()}
        outbox.still(still(f"new-{number}", "first_confirmed", 10), bytes(1000), Rank.FIRST)
        gone += before - {each.id for each in outbox.unsent()}
    assert gone == ["context-1", "context-2", "hit-1", "hit-2"]
    assert outbox.dropped is not None
    assert (outbox.dropped.count, outbox.dropped.from_at_ns, outbox.dropped.to_at_ns) == (4, 2, 5)
    assert next(iter(outbox.unsent())).id == "run-1"


def test_reference_stills_go_before_all_else_and_are_no_gap() -> None:
    """The camera was watched although its picture of that minute is not kept; the count says it."""
    outbox = Outbox(3 * 2000)
    outbox.still(still("context", "context"), bytes(1000), Rank.THINNED)
    outbox.still(still("reference", "reference"), bytes(1000), Rank.REFERENCE)
    outbox.still(still("manual", "manual"), bytes(1000), Rank.MANUAL)
    outbox.still(still("hit"), bytes(1000), Rank.HIT)
    assert [each.id for each in outbox.unsent()] == ["context", "manual", "hit"]
    assert (outbox.dropped, outbox.stills_dropped) == (None, 1)


def test_a_run_waits_once() -> None:
    """Told twice, by whoever first has a frame of it, it counts once towards the cap."""
    outbox = Outbox(10**9)
    outbox.run(RunBegan(run=RUN))
    before = outbox.bytes
    outbox.run(RunBegan(run=RUN))
    assert outbox.bytes == before
    assert send_all(outbox) == [RUN.id]


def test_the_outbox_resends_in_the_old_order() -> None:
    """At most 32 are out; what was acknowledged never comes again."""
    outbox = Outbox(10**9)
    names = [f"still-{number:02d}" for number in range(50)]
    for name in names:
        outbox.still(still(name), b"jpeg", Rank.HIT)
    assert send_all(outbox) == names[:MOST_SENT]
    assert send_all(outbox) == []
    outbox.acknowledge((names[0], names[5], "unknown"))
    assert send_all(outbox) == names[MOST_SENT : MOST_SENT + 2]
    outbox.resend()
    left = [name for name in names if name not in {names[0], names[5]}]
    assert send_all(outbox) == left[:MOST_SENT]


def clip_part(number: int) -> ClipFragment:
    """The next second of a clip."""
    clip = Clip("clip", "hall", RUN.id, (1, 90_000), "h264", 640, 360, 0, "confirmed", "0")
    return ClipFragment(f"part-{number:02d}", clip, number, (), 25, number, number, number, number)


def test_what_is_seen_now_does_not_wait_behind_a_ring() -> None:
    """A minute of a clip goes two parts at a time, in order; stills, said later, go before the rest of it."""
    outbox = Outbox(10**9)
    parts = [clip_part(number) for number in range(60)]
    for part in parts:
        outbox.clip(part, b"fragment")
    assert send_all(outbox) == ["part-00", "part-01"]
    outbox.still(still("now"), b"jpeg", Rank.HIT)
    assert send_all(outbox) == ["now"]
    outbox.acknowledge(("part-00",))
    assert send_all(outbox) == ["part-02"]
    sent = ["part-01", "part-02"]
    while sent:
        outbox.acknowledge(tuple(sent))
        sent = send_all(outbox)
        assert len(sent) <= MOST_CLIP_SENT
    outbox.acknowledge(("now",))
    assert (len(outbox), outbox.bytes) == (0, 0)


def change(message: str, incident: str, state: str = "suspect") -> IncidentChanged:
    """What is said of an incident."""
    now = Incident(incident, "hall", state, 0, None, None, (), 0.5, (0, 0, 1, 1))
    return IncidentChanged(id=message, at_ns=0, incident=now)


def test_present_states_go_before_all_else() -> None:
    """To a new recorder; what waits to be said of an incident is not said twice."""
    outbox = Outbox(10**9)
    outbox.still(still("still-1"), b"jpeg", Rank.HIT)
    outbox.incident(change("change-b", "b"))
    outbox.restate([change("again-a", "a"), change("again-b", "b")])
    assert send_all(outbox) == ["again-a", "still-1", "change-b"]
    outbox.resend()
    outbox.restate([change("anew-a", "a")])
    assert send_all(outbox) == ["again-a", "still-1", "change-b"]
    outbox.acknowledge(("again-a", "still-1", "change-b"))
    assert (len(outbox), outbox.bytes) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "send", "ack", "resend", "change", "restate"]), st.integers(0, 3000)),
        max_size=120,
    )
)
def test_the_outbox_never_holds_more_than_its_cap(steps: list[tuple[str, int]]) -> None:
    """Besides what is on its way, which the recorder has."""
    outbox, cap = Outbox(20_000), 20_000
    sent: list[str] = []
    for number, (step, size) in enumerate(steps):
        match step:
            case "add":
                outbox.still(still(str(number)), bytes(size), Rank(size % 3))
            case "change":
                outbox.incident(change(str(number), str(size)))
            case "restate":
                outbox.restate([change(f"{number}-{each}", str(each)) for each in range(size % 4)])
            case "send":
                sent += send_all(outbox)
            case "ack":
                outbox.acknowledge(tuple(sent[: size % 4]))
                del sent[: size % 4]
            case "resend":
                outbox.resend()
                sent.clear()
        records = list(outbox._records.values())
        assert outbox.bytes == sum(record.bytes for record in records)
        assert sum(record.bytes for record in records if not record.sent) <= cap
        assert outbox._sent == sum(record.sent for record in records) <= MOST_SENT


# ------------------------------------------------------------------ condition


def test_the_first_cause_along_the_way_is_told() -> None:
    """From the camera on: a camera that is away is not the detector's fault."""
    away = Condition("unreachable", "gone")
    assert judge(Signs(connection=away, detector_ready=False, disk="full"), 5, 2) == away
    assert judge(Signs(packet_s=5.1, detector_ready=False), 5, 2).reason == "stalled"
    assert judge(Signs(undecoded_s=2.5, detector_ready=False), 5, 2).reason == "decode"
    assert judge(Signs(detector_ready=False, disk="full"), 5, 2).reason == "detector"
    assert judge(Signs(announced_s=6, analysed_s=1), 5, 2).reason == "detector"
    assert judge(Signs(announced_s=1, analysed_s=4.5), 5, 2).reason == "overload"
    assert judge(Signs(analysed_s=100), 5, 2).reason == "ok"
    assert judge(Signs(disk="full"), 5, 2).reason == "disk"


def test_watched_frames_in_a_row_keep_twice_the_interval() -> None:
    """A longer interval begins the row anew; silence ends it; the longest interval is told once."""
    watch = Watch(2.0)
    assert watch.watermark(Condition(), 0, 0).watched_at_ns is None
    for at_s in (0, 2, 4, 9, 11):
        watch.watched("run", at_s, at_s * NS, at_s * NS)
    mark = watch.watermark(Condition(), 11 * NS, 11 * NS)
    assert (mark.frames_watched, mark.in_row, mark.interval_s, mark.pts) == (5, 2, 5.0, 11)
    later = watch.watermark(Condition(), 16 * NS, 16 * NS)
    assert (later.in_row, later.interval_s, later.frames_watched) == (0, None, 5)


# ------------------------------------------------------------------ what failed

PLAN = WorkerPlan(camera="hall", url="rtsp://127.0.0.1/a", version="0", recorder_socket="/r", thresholds={})


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ECONNREFUSED, "nothing listens"),
        (errno.EHOSTUNREACH, "no host answers"),
        (errno.ENETUNREACH, "no way to its network"),
        (errno.ECONNRESET, "broke the connection off"),
    ],
)
def test_the_networks_errors_in_plain_words(number: int, says: str) -> None:
    """What the kernel knows is said, however long it took."""
    assert set(NETWORK) == {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET}
    for after_s in (0.0, 5.0):
        failed = while_opening(OSError(number, "rtsp://secret"), PLAN, after_s)
        assert failed.reason == "unreachable"
        assert says in str(failed)
        assert "secret" not in str(failed)


@pytest.mark.parametrize("kind", [av.error.InvalidDataError, av.error.OSError, av.error.ExitError])
def test_what_fails_at_the_time_out_failed_because_of_it(kind: type[av.error.FFmpegError]) -> None:
    """FFmpeg calls the end of its patience "Invalid data found when processing input"."""
    assert str(while_opening(kind(5, "x"), PLAN, 4.5)) == "the camera did not answer within 5 s"
    assert "Invalid data" not in str(while_opening(kind(5, "x"), PLAN, 0.1))


# ------------------------------------------------------------------ secrets


def test_credentials_say_nothing() -> None:
    """Neither a plan's text nor the credentials' holds the secret; the address percent-encodes it."""
    plan = WorkerPlan(
        camera="hall",
        url="rtsp://10.0.0.1:8554/a?b=c",
        credentials=Credentials("user@site", "geh:eim/?#"),
        version="0",
        recorder_socket="/run/r",
        thresholds={},
    )
    assert "geheim" not in repr(plan).replace(":", "")
    assert "site" not in repr(plan)
    assert with_credentials(plan.url, plan.credentials) == "rtsp://user%40site:geh%3Aeim%2F%3F%23@10.0.0.1:8554/a?b=c"
