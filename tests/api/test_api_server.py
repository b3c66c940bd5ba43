# SPDX-License-Identifier: AGPL-3.0-or-later
"""The web process: who may see what, how it ends, and what it never loads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from daemon.api.server import STOP_WITHIN_S
from daemon.loopback import is_loopback
from tests.api.web_under_test import Site, Web

HEAVY = ("torch", "ultralytics", "av", "openvino", "onnxruntime", "daemon.ingest", "apscheduler")


def family(web: Web) -> list[psutil.Process]:
    """Master and worker, once both are there."""
    assert web.get("/healthz").json() == {"status": "ok"}
    master = psutil.Process(web.process.pid)
    found = [master, *master.children(recursive=True)]
    assert len(found) == 2
    return found


def gone(processes: list[psutil.Process], within_s: float = 10) -> bool:
    return not psutil.wait_procs(processes, within_s)[1]


def test_it_loads_no_model_and_no_demuxer() -> None:
    """Import of its entry point leaves the heavy modules alone."""
    code = f"import sys, daemon.api.server; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert found.stdout.strip() == "[]"


def test_sigterm_ends_it_quickly_and_silently(make_site: Callable[..., Site]) -> None:
    """Master and worker, without a line of log, also while a browser keeps its connection open."""
    web = make_site().start()
    processes = family(web)
    with requests.Session() as session:
        session.get(web.url + "/healthz", timeout=10)
        began_s = time.monotonic()
        errors = web.stop()
        assert time.monotonic() - began_s < STOP_WITHIN_S, "by itself: then it would have been killed"
    assert errors == ""
    assert web.process.returncode == 0
    assert gone(processes)


def test_an_answer_under_way_is_finished_before_it_ends(
    make_site: Callable[..., Site], picture64: Callable[..., str]
) -> None:
    """SIGTERM in the middle of a POST: the caller still gets its result."""
    site = make_site()
    web = site.start()
    answers: list[requests.Response] = []
    site.detector.hold.clear()
    caller = threading.Thread(target=lambda: answers.append(web.post(json={"image": picture64(50)})))
    caller.start()
    while not site.detector.seen:
        caller.join(0.01)
    threading.Timer(0.5, site.detector.hold.set).start()
    web.stop()
    caller.join()
    assert answers[0].json()["err_no"] == 0


def test_nobody_outlives_the_supervisor(make_site: Callable[..., Site]) -> None:
    """When the lifeline ends, master and worker end, and the port is free."""
    web = make_site().start()
    processes = family(web)
    os.close(web.lifeline_held)
    web.lifeline_held = -1
    assert gone(processes)
    web.process.communicate()
    web.listening.close()


def test_a_killed_worker_is_replaced_and_nobody_is_refused(make_site: Callable[..., Site]) -> None:
    """Kill -9 of the worker: connections wait for the next one."""
    web = make_site().start()
    worker = family(web)[1]
    worker.kill()
    assert web.get("/healthz").status_code == 200
    assert family(web)[1].pid != worker.pid


def test_a_killed_master_takes_its_worker_along(make_site: Callable[..., Site]) -> None:
    """No orphan keeps the port."""
    web = make_site().start()
    processes = family(web)
    web.process.kill()
    assert gone(processes)


def test_the_port_stays_open_over_a_restart(make_site: Callable[..., Site]) -> None:
    """The listening socket is the supervisor's: who connects while nobody serves is served by the next."""
    site = make_site()
    first = site.start()
    family(first)
    first.process.kill()
    first.process.wait()
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(first.get("/healthz").status_code))
    caller.start()
    second = Web(site.settings, listening=first.listening)
    caller.join(30)
    assert answers == [200]
    second.stop()


def test_sleepy_clients_cannot_hold_every_thread(make_site: Callable[..., Site]) -> None:
    """More clients than threads that never finish their request: others are served once their time is over."""
    site = make_site(api={"threads": 2})
    web = site.start(first="from daemon.api import patience; patience.READ_WITHIN_S = 1.0")
    family(web)
    head = b"POST /fire_detector HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    sleepy = [socket.create_connection(("127.0.0.1", web.port), timeout=20) for _ in range(4)]
    for client, sent in zip(sleepy, (head, head, head + b"Content-Length: 50\r\n\r\n{", head + b"X: 1"), strict=True):
        client.sendall(sent)
    assert web.get("/healthz").status_code == 200
    assert b'"err_no": 1001' in sleepy[2].makefile("rb").read()
    for client in sleepy:
        client.close()


def test_readiness_follows_the_supervisor(make_site: Callable[..., Site]) -> None:
    """200 when the daemon says ready; else 503 with why; healthz is 200 throughout."""
    site = make_site()
    web = site.start()
    assert web.get("/readyz").json() == {"ready": True}
    site.supervisor.status = {
        "ready": False,
        "detector": {"state": "loading"},
        "recorder": {"disk": "full", "detail": "5 MB"},
    }
    answer = not_ready(web, "the detector is loading")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["why"] == ["the detector is loading", "the recorder's disk is full (5 MB)"]
    site.supervisor.close()
    not_ready(web, "no daemon is running")
    assert web.get("/healthz").status_code == 200
    site.supervisor = type(site.supervisor)(site.run_dir)


def not_ready(web: Web, why: str, within_s: float = 10) -> requests.Response:
    """The answer, once it says `why`; it may be half a second old."""
    until_s = time.monotonic() + within_s
    while why not in (answer := web.get("/readyz")).text:
        assert time.monotonic() < until_s, answer.text
    assert answer.status_code == 503
    return answer


def test_beyond_loopback_no_evidence_is_served(make_site: Callable[..., Site]) -> None:
    """Before there are users: 403, and how to look all the same; the algorithm service and health are open."""
    web = make_site().start("0.0.0.0")
    for path in ("/", "/api/v1/evidence", "/api/v1/cameras", "/static/page.css", "/nothing"):
        answer = web.get(path)
        assert answer.status_code == 403
        assert "ssh -L" in answer.json()["detail"]
    assert web.get("/healthz").status_code == web.get("/readyz").status_code == 200
    assert web.post(json={}).json()["err_no"] == 1002


def test_a_foreign_name_gets_no_evidence(make_site: Callable[..., Site]) -> None:
    """DNS rebinding: a page of another site cannot read the evidence under its own name."""
    web = make_site().start()
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:2222"):
        assert web.get("/static/page.css", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", "evil.example:2222", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0"):
        assert web.get("/static/page.css", headers={"Host": host}).status_code == 403, host
        assert web.get("/healthz", headers={"Host": host}).status_code == 200


def test_another_loopback_address_is_a_name_of_its_own(make_site: Callable[..., Site]) -> None:
    """What was bound and announced is served, and is what a foreign name is referred to."""
    web = make_site().start("127.0.0.2")
    assert web.get("/static/page.css").status_code == 200
    refused = web.get("/static/page.css", headers={"Host": "evil.example"})
    assert refused.status_code == 403
    assert "open http://127.0.0.2:" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("::ffff:127.0.0.1", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.5", False), ("firewitness.example", False)],
)  # fmt: skip
def test_what_counts_as_loopback(host: str, inside: bool) -> None:
    """By the address that is bound."""
    assert is_loopback(host) == inside


def test_errors_outside_the_service_are_problem_details(make_site: Callable[..., Site]) -> None:
    """Unknown URLs and methods, Allow kept."""
    web = make_site().start()
    answer = web.get("/api/v1/nothing")
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["title"]) == (
        404,
        "application/problem+json",
        "Not Found",
    )
    answer = requests.post(web.url + "/api/v1/evidence", timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")
    assert "GET" in answer.headers["Allow"]
    assert web.get("/fire_detector/").status_code == 404
