# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a changed file means, what a capture may ask for, and cameras that join and leave: without a daemon."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.detect.live import make_live_channel
from daemon.errors import FirewitnessError
from daemon.ingest.plan import WorkerPlan
from daemon.ingest.planning import Sockets, plan_for
from daemon.messages import Attach, Detach
from daemon.settings import Settings
from daemon.supervisor.cameras import Cameras
from daemon.supervisor.captures import Wanted, every_s, wanted
from daemon.supervisor.children import Process, start_module
from daemon.supervisor.drill import LONGEST_S, Drill
from daemon.supervisor.loop import Loop
from daemon.supervisor.reload import change, need_restart
from daemon.supervisor.supervisor import PASSWORDS_EVERY_S, Supervisor
from daemon.supervisor.systemd import Systemd

LOG = logging.getLogger("test")
SOCKETS = Sockets(Path("/r"), Path("/w"))


def settings(**blocks: Any) -> Settings:
    return Settings.model_validate(blocks)


def cameras(*names: str, **more: Any) -> dict[str, Any]:
    return {name: {"url": f"rtsp://10.0.0.1/{name}", **more.get(name, {})} for name in names}


def plans(of: Settings) -> dict[str, WorkerPlan]:
    return {name: plan_for(of, name, None, SOCKETS) for name in of.cameras}


def test_only_what_a_worker_goes_by_is_a_change() -> None:
    """A camera is left alone when its plan is the same, wherever it stands in the file."""
    before = plans(settings(cameras=cameras("hall", "yard", "shed")))
    after = plans(settings(cameras=cameras("roof", "shed", "hall", shed={"thresholds": {"fire": 0.9}})))
    done = change(before, after)
    assert (done.added, done.removed, done.changed) == (("roof",), ("yard",), ("shed",))
    assert str(done) == "added roof; removed yard; changed shed"
    assert str(change(before, before)) == "no camera changed"


def test_what_waits_for_a_restart_is_named_by_key() -> None:
    """Down to the key that differs; cameras never."""
    running = settings(cameras=cameras("hall"))
    file = settings(
        cameras=cameras("yard"), api={"port": 1}, detect={"thresholds": {"fire": 0.2}}, storage={"thinning": []}
    )
    assert need_restart(running, file) == ["api.port", "detect.thresholds.fire", "storage.thinning"]
    assert need_restart(running, running) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"cameras": ["hall"]}, "reason must be one line of text"),
        ({"cameras": ["hall"], "reason": " "}, "reason must be one line of text"),
        ({"cameras": ["hall"], "reason": "a\nb"}, "reason must be one line of text"),
        ({"cameras": ["hall"], "reason": "x" * 201}, "of 1 to 200 characters"),
        ({"reason": "panel"}, "give cameras, a list of names, or site, its name or true for all"),
        ({"reason": "panel", "site": "mill"}, "no enabled camera has the site 'mill'; there are none"),
        ({"reason": "panel", "cameras": "hall"}, "give cameras, a list of names"),
        ({"reason": "panel", "cameras": ["hall"], "site": True}, "cameras or site, not both"),
        ({"reason": "panel", "cameras": ["roof"]}, "there is no camera 'roof'; there are hall, yard"),
        ({"reason": "panel", "cameras": ["hall"], "before_s": -1}, "before_s must be a number of seconds from 0 to 600"),
        ({"reason": "panel", "cameras": ["hall"], "after_s": True}, "after_s must be a number"),
    ],
)  # fmt: skip
def test_a_capture_that_cannot_be_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    """Whoever speaks to the control socket."""
    configured = settings(cameras=cameras("hall", "yard")).cameras
    with pytest.raises(FirewitnessError, match=sentence):
        wanted(arguments, configured)


def test_a_capture_of_the_site_is_of_all_that_are_watched() -> None:
    """A disabled camera has nothing to keep."""
    configured = settings(cameras=cameras("hall", "yard", yard={"enabled": False})).cameras
    found = wanted({"site": True, "reason": " panel 3 ", "after_s": 5}, configured)
    assert (found.cameras, found.reason, found.before_s, found.after_s) == (("hall",), "panel 3", 30.0, 5.0)
    sites = {"hall": {"site": "mill"}, "yard": {"site": "mill", "enabled": False}, "shed": {"site": "farm"}}
    configured = settings(cameras=cameras("hall", "yard", "shed", **sites)).cameras
    assert wanted({"site": "mill", "reason": "panel 3"}, configured).cameras == ("hall",)
    with pytest.raises(FirewitnessError, match="no enabled camera has the site 'mil'; there are farm, mill"):
        wanted({"site": "mil", "reason": "panel 3"}, configured)
    none = settings(cameras=cameras("hall", hall={"enabled": False})).cameras
    with pytest.raises(FirewitnessError, match="no camera is configured and enabled"):
        wanted({"site": True, "reason": "panel 3"}, none)


def test_a_long_capture_has_its_stills_further_apart() -> None:
    """Evenly, so that none has more than 600; a short one has `active_fps` a second."""
    assert every_s(5, 60) == 0.2
    assert every_s(5, 1200) == 2.0
    assert every_s(0.5, 60) == 2.0


def test_a_capture_is_refused_camera_by_camera(site: Site) -> None:
    """In words: what is switched off, not watched yet, or captured already; the others are captured all the same."""
    site.listens = True
    for plan in plans(settings(cameras=cameras("hall"))).values():
        site.join(plan)
    site.turn_until(lambda: site.started == ["hall"])
    asked = Wanted(("hall", "yard", "shed"), "panel 3", 30.0, 5.0)
    configured = {"hall": True, "yard": False, "shed": True}
    done = site.cameras.capture(asked, configured)
    assert [(each["camera"], each["condition"]) for each in done["captures"]] == [("hall", "worker")]
    assert done["refused"] == [
        {"camera": "yard", "why": "it is switched off in the configuration"},
        {"camera": "shed", "why": "it is not watched yet; try again"},
    ]
    again = site.cameras.capture(asked, configured)
    assert again["captures"] == []
    assert again["refused"][0] == {"camera": "hall", "why": "a capture of it is still under way"}


def test_a_drill_that_nobody_ends_is_over() -> None:
    """One at a time; its address is checked like any camera's."""
    drill = Drill()
    with pytest.raises(FirewitnessError, match="write an RTSP address"):
        drill.begin({"url": "http://127.0.0.1/"}, 0)
    drill.begin({"url": "rtsp://127.0.0.1:1/drill"}, 0)
    with pytest.raises(FirewitnessError, match="under way"):
        drill.begin({"url": "rtsp://127.0.0.1:1/drill"}, 1)
    assert not drill.is_over(LONGEST_S)
    assert drill.is_over(LONGEST_S + 1)


class Site:
    """Cameras whose workers are processes that do nothing."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.told: list[Any] = []
        self.started: list[str] = []
        self.listens = False
        self.ends: list[int] = []
        self.cameras = Cameras(self.loop, LOG, self._fork, lambda *told: self.told.append(told))

    def _fork(self, plan: WorkerPlan, descriptors: list[int]) -> Process:
        self.started.append(plan.camera)
        if self.listens:
            self.ends.append(os.dup(descriptors[0]))
        return start_module(plan.camera, "timeit", {"number": "1", "setup": "import time; time.sleep(60)"})

    def join(self, plan: WorkerPlan) -> None:
        with self.cameras.made([plan]) as [camera]:
            self.cameras.join(camera)

    def turn_until(self, condition: Any) -> None:
        until = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < until, "not in time"
            self.cameras.tick(time.monotonic())
            self.loop.turn(0.02)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.cameras.kill()
    made.turn_until(lambda: made.cameras.ended)
    made.cameras.close()
    made.loop.close()
    for end in made.ends:
        os.close(end)


def test_a_camera_that_comes_back_waits_for_the_one_that_leaves(site: Site) -> None:
    """Two workers of one name never run at once; the detector hears of each; no descriptor is left."""
    plan = plans(settings(cameras=cameras("hall")))["hall"]
    before = len(os.listdir("/proc/self/fd"))
    site.join(plan)
    site.turn_until(lambda: site.started == ["hall"])
    site.cameras.leave("hall")
    site.join(plan)
    assert "hall" in site.cameras
    assert site.started == ["hall"]
    site.turn_until(lambda: len(site.started) == 2)
    assert [type(told[0]) for told in site.told] == [Attach, Detach, Attach]
    assert list(site.cameras.plans()) == ["hall"]
    site.cameras.leave("hall")
    site.turn_until(lambda: site.cameras.ended)
    site.cameras.tick(time.monotonic())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_changed_camera_gets_another_worker_and_keeps_its_channel(site: Site) -> None:
    """At once, without the pause that follows a death, and without a word to the detector."""
    file = settings(cameras=cameras("hall"))
    site.join(plans(file)["hall"])
    site.turn_until(lambda: site.started == ["hall"])
    other = plans(settings(cameras=cameras("hall", hall={"transport": "udp"})))["hall"]
    site.cameras.change(other)
    site.turn_until(lambda: len(site.started) == 2)
    assert site.cameras.plans() == {"hall": other}
    assert len(site.told) == 1
    assert site.cameras.status({"hall": True})["hall"]["restarts"] == 0


@contextmanager
def running(of: Settings) -> Iterator[Supervisor]:
    """As far as it goes without a process."""
    http = socket.create_server(("127.0.0.1", 0))
    made = Supervisor(of, http, LOG, lambda: made.settings)
    made._join(made._first_plan(name) for name in of.cameras)
    made._schedule.start()
    yield made
    made._end()
    for each in (made._recorder_listen, made._work_listen, made._loop, http):
        each.close()
    os.close(made._lifeline)
    os.close(made._settings_fd)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """One that watches two cameras."""
    storage = {"root": tmp_path / "store", "state_dir": tmp_path, "runtime_dir": tmp_path}
    with running(settings(cameras=cameras("hall", "yard"), storage=storage)) as made:
        yield made


def test_a_camera_without_its_password_joins_once_it_can_be_read(tmp_path: Path) -> None:
    """At the start it costs no other camera anything; a reload refuses what lacks one."""
    secret = {"username": "viewer", "password_file": str(tmp_path / "yard.password")}
    storage = {"root": tmp_path / "store", "state_dir": tmp_path, "runtime_dir": tmp_path}
    with running(settings(cameras=cameras("hall", "yard", yard=secret), storage=storage)) as made:
        hall, yard = made._cameras.plans().values()
        assert (hall.no_password, yard.credentials and yard.credentials.password) == ("", "")
        assert (
            yard.no_password
            == f"yard: password_file: {tmp_path}/yard.password cannot be read (No such file or directory)"
        )
        with pytest.raises(FirewitnessError, match=r"yard\.password cannot be read"):
            made.reload()
        made._look_for_passwords(1000)
        (tmp_path / "yard.password").write_text("s3cret\n")
        made._look_for_passwords(1000 + PASSWORDS_EVERY_S / 2)
        assert made._cameras.plans()["yard"] is yard
        made._look_for_passwords(1000 + PASSWORDS_EVERY_S)
        found = made._cameras.plans()
        assert (found["hall"], found["yard"].no_password) == (hall, "")
        assert found["yard"].credentials is not None
        assert found["yard"].credentials.password == "s3cret"


def short_of(what: OSError | ValueError, after: int = 0) -> Any:
    """A call that ends in this, once it has worked so many times."""

    def call(*arguments: Any) -> Any:
        nonlocal after
        if after == 0:
            raise what
        after -= 1
        return make_live_channel(*arguments)

    return call


@pytest.mark.parametrize(
    ("where", "how", "sentence"),
    [
        ("supervisor.sealed", short_of(OSError(24, "Too many open files")), "taken over .*Too many open files"),
        ("camera.make_live_channel", short_of(OSError(12, "Cannot allocate memory"), 1), "taken over .*Cannot allocate"),
        ("supervisor.password_of", short_of(ValueError("embedded null byte")), "taken over .*embedded null byte"),
    ],
)  # fmt: skip
def test_a_reload_that_fails_changes_nothing(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, where: str, how: Any, sentence: str
) -> None:
    """Neither for want of descriptors or memory, half-way through the new cameras: it is refused, and nothing is left of it."""
    running, watched, descriptors = supervisor.settings, supervisor._cameras.plans(), len(os.listdir("/proc/self/fd"))
    changed = running.model_copy(update={"cameras": settings(cameras=cameras("roof", "shed", "hall")).cameras})
    monkeypatch.setattr(supervisor, "_reread", lambda: changed)
    with monkeypatch.context() as short:
        short.setattr(f"daemon.supervisor.{where}", how)
        with pytest.raises(FirewitnessError, match=sentence):
            supervisor.reload()
    assert (supervisor.settings, supervisor._cameras.plans()) == (running, watched)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    done = supervisor.reload()
    assert (done["added"], done["removed"], done["changed"]) == (["roof", "shed"], ["yard"], [])


def test_a_signal_to_reload_never_ends_the_daemon(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever reading the file ends in; the log has the sentence."""
    monkeypatch.setattr(supervisor, "_reread", short_of(OSError(11, "Resource temporarily unavailable")))
    supervisor._reload_or_say_why()
    assert "reload refused, all stays as it was: the settings cannot be read ([Errno 11]" in caplog.text


def test_a_drill_without_a_camera_is_none(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and the next one is not."""
    asked = {"url": "rtsp://127.0.0.1:1/drill"}
    with monkeypatch.context() as short:
        short.setattr("daemon.supervisor.camera.make_live_channel", short_of(OSError(24, "Too many open files")))
        with pytest.raises(FirewitnessError, match="no camera for the drill can be made"):
            supervisor._begin_drill(asked)
    assert supervisor._begin_drill(asked) == {"camera": "drill"}


def test_the_watchdog_is_fed_only_while_evidence_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of its period apart; and a sentence only when it is another one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        systemd = Systemd()

        def told(now_s: float, **how: Any) -> list[str]:
            systemd.tick(now_s, **{"ready": True, "going_on": True, "status": "1 of 1 cameras", **how})
            found = []
            while True:
                try:
                    found.append(manager.recv(200).decode())
                except BlockingIOError:
                    return found

        assert told(100, ready=False) == ["STATUS=1 of 1 cameras", "WATCHDOG=1"]
        assert told(101) == ["READY=1"]
        assert told(109) == []
        assert told(111, status="0 of 1 cameras") == ["STATUS=0 of 1 cameras", "WATCHDOG=1"]
        assert told(130, going_on=False, status="0 of 1 cameras") == []
        assert told(131, status="0 of 1 cameras") == ["WATCHDOG=1"]
