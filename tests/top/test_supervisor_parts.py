# SPDX-License-Identifier: AGPL-3.0-or-later
"""The supervisor's parts: children that die, fall silent or are asked to end; commands and their answers."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent

from daemon import wire
from daemon.control import Control
from daemon.errors import FirewitnessError, NotRunning
from daemon.messages import Answer, Command, DetectorBeat, RecorderBeat
from daemon.supervisor import schedule, status
from daemon.supervisor.children import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, Pauses, Process, start_module
from daemon.supervisor.control_server import MOST_CONNECTIONS, ControlServer
from daemon.supervisor.forks import Forks
from daemon.supervisor.loop import Loop
from daemon.supervisor.notify import notify
from daemon.supervisor.service import Service
from daemon.supervisor.supervisor import OLD_S

LOG = logging.getLogger("test")


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def turn_until(loop: Loop, condition: Callable[[], Any], service: Service | None = None, within_s: float = 10) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "not in time"
        if service is not None:
            service.tick(time.monotonic())
        loop.turn(0.05)


def refuse(*_: Any, **__: Any) -> Any:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def sleeper() -> tuple[Process, None]:
    return start_module("sleeper", "timeit", {"number": "1", "setup": "import time; time.sleep(60)"}), None


def test_pauses_grow_and_a_steady_life_forgives() -> None:
    """A process that dies at once is not restarted in a tight loop; one that lived is back at once."""
    pauses = Pauses()
    grown = [pauses.after_death(0) for _ in range(10)]
    assert grown[0] == FIRST_PAUSE_S
    assert grown == sorted(grown)
    assert grown[-1] == LONGEST_PAUSE_S
    assert pauses.after_death(STEADY_S) == FIRST_PAUSE_S


def test_a_killed_service_is_started_again(loop: Loop) -> None:
    """Kill -9 from outside: noticed by the pidfd, another pid takes its place."""
    service = Service("sleeper", loop, LOG, sleeper)
    turn_until(loop, lambda: service.process is not None, service)
    assert service.process is not None
    first = service.process.pid
    os.kill(first, signal.SIGKILL)
    turn_until(loop, lambda: service.process is not None and service.process.pid != first, service)
    service.kill()
    turn_until(loop, lambda: service.process is None)
    service.tick(time.monotonic() + 100)
    assert service.process is None, "a stopped service stays stopped"


def test_one_whose_end_is_its_own_affair_is_started_again_only_when_asked(loop: Loop, tmp_path: Path) -> None:
    """It ends, stays ended, and runs once more when there is something to do again; asked while it runs, it goes on."""
    started: list[int] = []
    may_end = tmp_path / "may-end"
    waits = f"import os, time\nwhile not os.path.exists({str(may_end)!r}): time.sleep(0.01)"

    def start() -> tuple[Process, None]:
        process = start_module("brief", "timeit", {"number": "1", "setup": waits})
        started.append(process.pid)
        return process, None

    service = Service("brief", loop, LOG, start, once=True)
    turn_until(loop, lambda: started, service)
    service.again()
    may_end.touch()
    turn_until(loop, lambda: service.process is None, service)
    service.tick(time.monotonic() + 100)
    assert len(started) == 1
    service.again()
    turn_until(loop, lambda: len(started) == 2, service)
    turn_until(loop, lambda: service.process is None, service)


def test_a_silent_service_is_killed(loop: Loop) -> None:
    """Alive is not enough: one that says nothing for too long is killed and started again."""
    ends: list[socket.socket] = []

    def start() -> tuple[Process, wire.Channel[Any]]:
        ours, theirs = wire.pair()
        ends.append(theirs)
        return sleeper()[0], wire.Channel(ours, DetectorBeat)

    service = Service("sleeper", loop, LOG, start, silent_s=0.3)
    turn_until(loop, lambda: len(ends) == 2, service)
    service.kill()
    turn_until(loop, lambda: service.process is None)
    for end in ends:
        end.close()


def test_one_that_cannot_be_killed_is_told_as_silent(loop: Loop) -> None:
    """Waiting for a disk that hangs (state D): what it said last does not hold, and the watchdog is starved in the end."""

    class Hanging(Process):
        def kill(self, number: int = signal.SIGKILL) -> None:
            kills.append(number)

    kills: list[int] = []
    ours, theirs = wire.pair()
    process = sleeper()[0]
    hanging = Hanging(process.name, process.pid, process.pidfd, process.started_mono_s, process.popen)
    service = Service("recorder", loop, LOG, lambda: (hanging, wire.Channel(ours, RecorderBeat)), silent_s=30.0)
    beat = RecorderBeat(disk="ok")
    service.tick(began_s := time.monotonic())
    assert status.recorder_now(beat, service, began_s + 4) is beat
    told = status.recorder_now(beat, service, began_s + 6.1)
    assert told is not None
    assert (told.disk, told.detail) == ("silent", "the recorder has said nothing for 6 s")
    assert not status.is_ready(DetectorBeat(state="ready"), told)
    for seconds in range(91):
        service.tick(began_s + seconds)
    assert len(kills) == 2
    assert service.silent_for_s(began_s + 90) > OLD_S
    process.kill()
    turn_until(loop, lambda: service.process is None)
    theirs.close()


def test_what_a_killed_one_said_does_not_hold(loop: Loop) -> None:
    """From the moment on that it is killed, however lately it spoke."""
    service = Service("detector", loop, LOG, sleeper)
    service.tick(time.monotonic())
    beat = DetectorBeat(state="ready")
    assert status.detector_now(beat, service, time.monotonic()) is beat
    service.end_now()
    told = status.detector_now(beat, service, time.monotonic())
    assert told is not None
    assert told.state == "silent"
    turn_until(loop, lambda: service.process is None)


def test_a_forkserver_that_cannot_be_started_is_tried_again(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For want of processes or descriptors, however often: with pauses, said once, and with nothing left behind."""
    lifeline = os.pipe()
    forks = Forks(lifeline[0], loop, LOG, died=lambda: None)
    descriptors = len(os.listdir("/proc/self/fd"))
    for where in ("subprocess.Popen", "os.pidfd_open"):
        with monkeypatch.context() as short:
            short.setattr(f"daemon.ingest.forkserver.{where}", refuse)
            forks.tick(1000)
            forks.tick(1000 + FIRST_PAUSE_S / 2)
            forks.tick(1000 + FIRST_PAUSE_S)
        assert forks.pid is None
        assert len(os.listdir("/proc/self/fd")) == descriptors
    assert caplog.text.count("the forkserver cannot be started") == 1
    forks.tick(1000 + LONGEST_PAUSE_S)
    assert forks.pid is not None
    forks.close()
    for end in lifeline:
        os.close(end)


def test_a_child_inherits_only_what_it_is_given(tmp_path: Path) -> None:
    """Descriptors named as options are open in the child, others are not; it has a session of its own."""
    (tmp_path / "child.py").write_text(
        "import os, sys\n"
        "given, other, out = int(sys.argv[2]), int(sys.argv[4]), sys.argv[6]\n"
        "def is_open(fd):\n"
        "    return os.path.exists(f'/proc/self/fd/{fd}')\n"
        "open(out, 'w').write(f'{is_open(given)} {is_open(other)} {os.getsid(0) == os.getpid()}')\n"
    )
    given, other = os.pipe()
    process = start_module(
        "child",
        "child",
        {"given": given, "other": str(other), "out": str(tmp_path / "out")},
        {"PYTHONPATH": str(tmp_path)},
    )
    assert process.popen is not None
    process.popen.wait(20)
    assert process.ended()
    assert process.how_it_ended() == "ended with status 0"
    assert (tmp_path / "out").read_text() == "True False True"
    process.close()
    os.close(given)
    os.close(other)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def asked(loop: Loop, path: Path, name: str, arguments: dict[str, Any] | None = None) -> Any:
    """The result, or the error, of a command asked from another thread while the loop turns."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(Control(path).ask, name, arguments)
        turn_until(loop, future.done)
        return future.exception() or future.result()


def test_commands_are_carried_out_here_or_elsewhere(loop: Loop, folder: Path) -> None:
    """An answer goes to who asked; what nobody carries out, and what fails, is a sentence."""
    sent: list[Command] = []
    path = folder / "c.sock"

    def refuse(_: dict[str, Any]) -> dict[str, Any]:
        raise FirewitnessError("not now")

    def elsewhere(command: Command) -> bool:
        sent.append(command)
        server.answered(Answer(id=command.id, result={"removed": command.arguments["n"]}))
        return True

    server = ControlServer(
        wire.listen(path), loop, LOG,
        here={"status": lambda _: {"ready": True}, "refuse": refuse},
        elsewhere={"purge": elsewhere, "gone": lambda _: False},
    )  # fmt: skip
    assert asked(loop, path, "status") == {"ready": True}
    assert asked(loop, path, "purge", {"n": 3}) == {"removed": 3}
    assert [command.name for command in sent] == ["purge"]
    assert str(asked(loop, path, "refuse")) == "not now"
    assert "is being restarted; try again" in str(asked(loop, path, "gone"))
    assert "there is no command 'nonsense'; there are gone, purge, refuse, status" in str(asked(loop, path, "nonsense"))
    server.close()


def test_nobody_waits_for_a_dead_recorder(loop: Loop, folder: Path) -> None:
    """A command whose carrier dies is answered."""
    path = folder / "c.sock"
    taken: list[Command] = []

    def elsewhere(command: Command) -> bool:
        taken.append(command)
        return True

    server = ControlServer(wire.listen(path), loop, LOG, here={}, elsewhere={"purge": elsewhere})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(Control(path).ask, "purge")
        turn_until(loop, lambda: taken)
        server.fail_waiting("it was restarted")
        turn_until(loop, future.done)
        assert str(future.exception()) == "it was restarted"
    server.close()


def test_who_comes_when_too_many_ask_waits_its_turn(loop: Loop, folder: Path) -> None:
    """Connections that are left open do not use up the supervisor's descriptors; the next is answered once one has gone."""
    path = folder / "c.sock"
    server = ControlServer(wire.listen(path), loop, LOG, here={"status": lambda _: {"ready": True}}, elsewhere={})
    before = len(os.listdir("/proc/self/fd"))
    idle = []
    for _ in range(MOST_CONNECTIONS):
        idle.append(wire.connect(path))
        loop.turn(0.05)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(Control(path).ask, "status", timeout_s=20)
        for _ in range(10):
            loop.turn(0.05)
        assert not future.done()
        assert len(os.listdir("/proc/self/fd")) <= before + 2 * MOST_CONNECTIONS + 1  # both ends of each are ours here
        idle.pop().close()
        turn_until(loop, future.done)
        assert future.result() == {"ready": True}
    assert asked(loop, path, "status") == {"ready": True}, "it listens on"
    for each in idle:
        each.close()
    server.close()


class SteppingClock(datetime):
    """The wall clock, and by how much somebody has set it."""

    step = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + cls.step


def test_what_is_due_hourly_goes_on_after_the_clock_was_set_back(
    loop: Loop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a day: it happens soon, and not again while the clock goes on."""
    done: list[str] = []
    ended: list[JobExecutionEvent] = []

    def take(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda _: done.append(name) or {}

    for module in ("apscheduler.schedulers.base", "daemon.supervisor.schedule"):
        monkeypatch.setattr(f"{module}.datetime", SteppingClock)
    monkeypatch.setattr(SteppingClock, "step", timedelta())
    monkeypatch.setattr(schedule, "FIRST_AFTER_S", 0)
    server = ControlServer(
        wire.listen(folder / "c.sock"), loop, LOG, here={each: take(each) for each in ("purge", "head")}, elsewhere={}
    )
    hourly = schedule.Schedule(folder / "c.sock", LOG)
    hourly._scheduler.add_listener(ended.append, EVENT_JOB_EXECUTED)
    hourly.start()
    turn_until(loop, lambda: len(ended) == 2)
    hourly.tick(1000)
    monkeypatch.setattr(SteppingClock, "step", timedelta(days=-1))
    hourly.tick(1000 + schedule.LOOK_EVERY_S)
    turn_until(loop, lambda: len(ended) == 4)
    assert sorted(done) == ["head", "head", "purge", "purge"]
    hourly.tick(1000 + 2 * schedule.LOOK_EVERY_S)
    planned = [job.next_run_time - SteppingClock.now(job.next_run_time.tzinfo) for job in hourly._scheduler.get_jobs()]
    assert all(timedelta(minutes=59) < each <= timedelta(hours=1) for each in planned)
    hourly.stop()
    server.close()


def test_no_daemon_is_said_so(folder: Path) -> None:
    """A command without a daemon is one sentence that names where it looked."""
    with pytest.raises(NotRunning, match=r"no daemon is running here \(nobody listens at .*c.sock\)"):
        Control(folder / "c.sock").ask("status")


def test_systemd_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY and STATUS reach the service manager's socket; without one nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY="1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        notify(READY="1", STATUS="watching 2 cameras")
        assert manager.recv(100) == b"READY=1\nSTATUS=watching 2 cameras"


def test_the_service_managers_line_names_who_is_not_watched() -> None:
    """With its reason; of many the first few, since it is one line."""
    detector, recorder = DetectorBeat(state="ready"), RecorderBeat(disk="ok")
    assert status.in_a_line({"hall": "ok"}, detector, recorder) == "1 of 1 cameras watched; detector ready; disk ok"
    line = status.in_a_line({"hall": "ok", "yard": "refused", "gate": "stalled"}, None, None)
    assert line == "1 of 3 cameras watched (not: yard refused, gate stalled); detector starting; disk starting"
    many = status.in_a_line({f"{'x' * 60}{place}": "no_picture" for place in range(64)}, detector, recorder)
    assert "0 of 64 cameras watched" in many
    assert "and 56 more" in many
    assert len(many) < 1000
